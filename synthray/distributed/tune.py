"""Searching settings on Ray Tune: trials of several seeds, resumed after a kill, told as files.

OUTPUT/tune/plan.json     created once: what this search depends on
OUTPUT/tune/ray/          Ray Tune's own state while the search runs; gone when it is done
OUTPUT/tune/best.yaml     the best settings, for `synthray train`
OUTPUT/tune/trials.csv    all trials, best first; trials.png, the same as a picture
OUTPUT/tune/result.json   everything, for machines; written last
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

from ray import tune as ray_tune
from ray.tune.search import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from synthray import storage
from synthray.config import Config
from synthray.distributed.listening import Listener, Show
from synthray.distributed.metrics import TuneMeters
from synthray.distributed.searching import (
    domains,
    drawn_at_random,
    grace_steps,
    optuna_search,
    scheduler_of,
)
from synthray.distributed.train import prepare
from synthray.distributed.trials import Job
from synthray.distributed.tuner import run_trials
from synthray.errors import (
    AlreadyExistsError,
    ConfigError,
    NotFoundError,
    OutputTakenError,
    TrainingError,
)
from synthray.models import check_params
from synthray.training.fingerprint import fingerprint
from synthray.tuning.report import (
    TrialRow,
    Tuning,
    as_csv,
    best_config,
    plot,
    told,
    trials_table,
)
from synthray.tuning.space import check_space
from synthray.tuning.trial import Lineage

SEARCH, FRESH = "trials", "fresh"
"""Names of Ray Tune's two runs: the search, and the best once more on fresh seeds."""


def tune(
    config: Config, show: Show = lambda *_: None, say: Callable[[str], None] = print
) -> Tuning:
    """Search the config's ``tune.space``. Ray must be connected.

    A search that was interrupted goes on; one that is done is read. Going on unpickles Ray Tune's
    state under OUTPUT/tune/ray: an output that others can write to is not for that.

    Args:
        show: given (steps done, steps in all, a line) now and then.
        say: given a line about what was decided, and one when a trial has ended.

    Raises:
        SourceError, SchemaError, ConfigError, OutputTakenError, StorageError, ClusterError.
    """
    check_params(config.model)
    if config.train.privacy is not None:
        raise ConfigError(
            "train.privacy: a search scores many trainings by real rows, and spends for each",
            "search without it on data that may be public, then train with the settings found",
        )
    storage.preflight(config.output)
    _, codec, data = prepare(config, say)
    if data is None:
        raise ConfigError(
            "data.memory_gb: the data does not fit, and a search keeps it in memory",
            "tune on a part of it (data.source), or raise data.memory_gb",
        )
    check_space(config, codec)
    done = _claim(config, _name(config, fingerprint(config, codec, data)))
    if done is not None:
        say(f"{place_of(config)} is already there")
        return done
    job = Job(config, codec, data)
    _say_grace(config, say)
    tuning = Tuning(trials=_search(job, show, say))
    _write_trials(config, tuning)
    if tuning.best.ended != "finished":
        raise TrainingError(
            f"no trial of {len(tuning.trials)} ended well; the best one {tuning.best.ended}: "
            f"{tuning.best.why or tuning.best.seeds[0].why}",
            f"see {place_of(config, 'trials.csv')}; widen tune.space, and choose another output",
        )
    say(f"best: trial {tuning.best.number}: {told(tuning.best.score)}")
    if not tuning.best.score.successes:
        say(f"no seed of any trial succeeded; those of the best: {tuning.best.verdicts}")
    fresh = _fresh_seeds(config)
    if fresh:
        rows = _replay(job, tuning.best.lineage, fresh, show, say)
        tuning = tuning.model_copy(update={"fresh": [row.seeds[0] for row in rows]})
    _write(config, tuning)
    return tuning


def place_of(config: Config, name: str = "best.yaml") -> str:
    return config.place("tune", name)


def _name(config: Config, trained: str) -> str:
    """What the search depends on, as one name: data, settings, space; not how many run at once."""
    settings = config.tune.model_dump(mode="json", exclude={"concurrent"})
    parts = [trained, config.train.eval_every, settings]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _claim(config: Config, name: str) -> Tuning | None:
    """Make the place this search's own; its result, where that is there already."""
    plan, data = place_of(config, "plan.json"), (json.dumps({"search": name}) + "\n").encode()
    try:
        storage.create_once(plan, data)
    except AlreadyExistsError:
        if storage.read_json(plan) != {"search": name}:
            raise OutputTakenError(
                f"output: {config.place('tune')} was begun with other settings or data",
                "choose another output, restore the settings, or delete the folder",
            ) from None
    try:
        return Tuning.model_validate(storage.read_json(place_of(config, "result.json")))
    except NotFoundError:
        return None


def _say_grace(config: Config, say: Callable[[str], None]) -> None:
    if config.tune.scheduler != "asha":
        return
    grace, steps = grace_steps(config), config.train.steps
    if grace >= steps:
        say(
            "asha stops nothing here: the burn-in of some settings, or the guard's warm-up, is the "
            "whole training; give ramps an end (until: 0.3) to have hopeless trials stopped"
        )
    else:
        say(f"asha stops no trial before step {grace:,} of {steps:,}")


def _search(job: Job, show: Show, say: Callable[[str], None]) -> list[TrialRow]:
    config = job.config
    scheduler = scheduler_of(config)
    space: dict[str, Any]
    search: BasicVariantGenerator | OptunaSearch
    if config.tune.scheduler == "pbt":
        random.seed(config.seed)  # Ray's copies are drawn from it
        space, search = domains(config), drawn_at_random(config)
    else:
        space, search = {}, optuna_search(config)
    options = {
        "scheduler": scheduler,
        "search_alg": search,
        "num_samples": config.tune.trials,
        "max_concurrent_trials": config.tune.concurrent,
    }
    with TuneMeters(config.output) as meters:
        listener = Listener(show, say, config.tune.trials, config.train.steps, meters)
        return run_trials(job, SEARCH, space, options, listener, config.tune.trials)


def _fresh_seeds(config: Config) -> list[int]:
    asked, seeds = config.tune.fresh_seeds, config.tune.seeds
    count = (seeds if config.tune.scheduler == "pbt" else 0) if asked is None else asked
    return list(range(config.seed + seeds, config.seed + seeds + count))


def _replay(
    job: Job, lineage: Lineage, seeds: list[int], show: Show, say: Callable[[str], None]
) -> list[TrialRow]:
    """The best settings once more, as `synthray train` will follow them, a trial a seed."""
    say(f"trying the best on fresh seeds: {', '.join(map(str, seeds))}")
    settled = Job(job.config, job.codec, job.data, lineage)
    space = {"seeds": ray_tune.grid_search([[seed] for seed in seeds])}
    at_a_time = job.config.tune.concurrent or 0
    options = {"search_alg": BasicVariantGenerator(max_concurrent=at_a_time), "num_samples": 1}
    with TuneMeters(job.config.output) as meters:
        listener = Listener(show, say, len(seeds), job.config.train.steps, meters, "the best")
        return run_trials(settled, FRESH, space, options, listener, len(seeds))


def _write_trials(config: Config, tuning: Tuning) -> None:
    storage.write_bytes(place_of(config, "trials.csv"), as_csv(trials_table(config, tuning)))
    storage.write_bytes(place_of(config, "trials.png"), plot(tuning))


def _write(config: Config, tuning: Tuning) -> None:
    """The best config, and last what says that the search is done."""
    storage.write_bytes(place_of(config), best_config(config, tuning).encode())
    storage.write_json(place_of(config, "result.json"), tuning.model_dump(mode="json"))
    storage.delete_tree(config.place("tune", "ray"))
