"""From the config's space to Ray Tune's: samplers, schedulers, and the config itself as a trial."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from synthray.config import Config, Range
from synthray.tuning.space import burn_in, clipped

OBJECTIVES = {"lower": "max", "distance": "min"}
"""Reported figures and which way they are to go, for Optuna's multi-objective samplers. Not spread
and seconds: a trial that fails at once is best at both, and would be sought.
"""
FEW = 30
"""Integers that a copy steps through one by one."""
STARTUP = 3
"""One of so many trials is drawn at random before TPE begins to learn from them; at most ten."""


class ConfigFirst(OptunaSearch):
    """Optuna's suggestions, after a first trial that is the config as it stands.

    That trial need not lie in the space, so Optuna does not hear of it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._given: list[str] = []
        super().__init__(*args, **options)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        number = len(self._given)
        self._given.append(trial_id)
        if number == 0:
            return {"number": 0, "sampled": {}}
        return {"number": number, **(super().suggest(trial_id) or {})}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id != self._given[0]:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id != self._given[0]:
            super().on_trial_complete(trial_id, result, error)


class SparingTheConfig(AsyncHyperBandScheduler):
    """Never stops the config as it stands: others are to be compared with where it ends."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        is_config = trial.config["number"] == 0
        return TrialScheduler.CONTINUE if is_config else decision


def optuna_search(config: Config) -> OptunaSearch:
    """The searcher that ``tune.search`` names, seeded by the config's seed."""
    settings, seed = config.tune, config.seed % 2**32
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(
            n_startup_trials=min(10, -(-settings.trials // STARTUP)), seed=seed
        ),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(
            population_size=max(2, min(50, settings.trials // 4)), seed=seed
        ),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return ConfigFirst(
            ConfigFirst.convert_search_space(domains(config)),
            metric=list(OBJECTIVES),
            mode=list(OBJECTIVES.values()),
            sampler=samplers[settings.search](),
        )


def grace_steps(config: Config) -> int:
    """Steps before anything is stopped: as asked, and never within the burn-in or the guard's
    warm-up.
    """
    share = max(config.tune.grace or 0.0, burn_in(config))
    least = max(round(share * config.train.steps), config.train.guard.warm_up, 1)
    return min(max(least, config.train.eval_every), config.train.steps)


def scheduler_of(config: Config) -> TrialScheduler:
    """The scheduler that ``tune.scheduler`` names."""
    settings, steps = config.tune, config.train.steps
    if settings.scheduler == "pbt":
        return PopulationBasedTraining(
            time_attr="step",
            metric="objective",
            mode="max",
            perturbation_interval=perturb_every(config),
            burn_in_period=min(grace_steps(config), config.train.steps // 2),
            hyperparam_mutations={
                "sampled": {path: _mutation(values) for path, values in settings.space.items()}
            },
            custom_explore_fn=lambda asked: asked | {"sampled": clipped(config, asked["sampled"])},
            log_config=False,
        )
    grace = grace_steps(config)
    if settings.scheduler == "none" or grace >= steps:
        return FIFOScheduler()
    return SparingTheConfig(
        time_attr="step",
        metric="objective",
        mode="max",
        max_t=steps,
        grace_period=grace,
        reduction_factor=settings.reduction,
    )


def perturb_every(config: Config) -> int:
    """Steps between copies: whole evaluations, for trials report at these."""
    every = config.train.eval_every
    asked = config.tune.perturb_every or config.train.steps // 10
    return max(round(asked / every), 1) * every


def domains(config: Config) -> dict[str, Any]:
    """The config's space as Ray's domains, under the key that trials look at."""
    return {"sampled": {path: _domain(values) for path, values in config.tune.space.items()}}


def drawn_at_random(config: Config) -> BasicVariantGenerator:
    return BasicVariantGenerator(random_state=config.seed % 2**32)


def _domain(values: Range | list[Any]) -> Any:
    """Choices are sampled by their index: they may be anything, ramps included."""
    if not isinstance(values, Range):
        return tune.choice(list(range(len(values))))
    low, high = values.low, values.high
    if values.integer:
        # Ray's integer domains end before their upper bound.
        whole = tune.lograndint if values.log else tune.randint
        return whole(int(low), int(high) + 1)
    return tune.loguniform(low, high) if values.log else tune.uniform(low, high)


def _mutation(values: Range | list[Any]) -> Any:
    """For a list, Ray goes to a neighbour; a domain's value it multiplies, which would leave small
    integers where they are.
    """
    if not isinstance(values, Range):
        return list(range(len(values)))
    if values.integer and values.high - values.low < FEW:
        return list(range(int(values.low), int(values.high) + 1))
    return _domain(values)
