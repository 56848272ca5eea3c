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
import logging
import os
import random
from collections.abc import Callable
from typing import Any

from ray import tune as ray_tune
from ray.tune.search import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch

from synthray import storage
from synthray.config import Config
from synthray.distributed.cluster import offered_cpus
from synthray.distributed.failures import unwrapped
from synthray.distributed.listening import Listener, Listening, Show, listening
from synthray.distributed.searching import (
    drawn_at_random,
    grace_steps,
    optuna_search,
    population,
    scheduler_of,
)
from synthray.distributed.train import prepare
from synthray.distributed.trials import Job, TrialActor, given_up
from synthray.errors import (
    AlreadyExistsError,
    ClusterError,
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
from synthray.tuning.space import check_space, settings_of
from synthray.tuning.trial import Lineage

SEARCH, FRESH = "trials", "fresh"
"""Names of Ray Tune's two runs: the search, and the best once more on fresh seeds."""
SETTINGS = {
    # Ctrl-C belongs to the command line.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The table and the picture are ours.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ray's new output goes to stdout, silent or not.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Relative paths of a config mean the folder it was started in.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # What a killed driver can lose of finished trials, in seconds.
    "TUNE_GLOBAL_CHECKPOINT_S": "5",
}


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
            f"none of {len(tuning.trials)} trials finished; the best one {tuning.best.ended}: "
            f"{tuning.best.why or tuning.best.seeds[0].why}",
            f"see {place_of(config, 'trials.csv')}; widen tune.space, and choose another output",
        )
    say(f"best: trial {tuning.best.number}: {told(tuning.best.score)}")
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
            "asha stops nothing here: the burn-in of some settings is the whole training; give "
            "their ramps an end (until: 0.3) to have hopeless trials stopped"
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
        space, samples, search = population(config), 1, drawn_at_random(config)
    else:
        space, samples, search = {}, config.tune.trials, optuna_search(config)
    options = {"scheduler": scheduler, "search_alg": search, "num_samples": samples}
    listener = Listener(show, say, config.tune.trials, config.train.steps)
    rows = _run(job, SEARCH, space, options, listener)
    if not any(row.is_baseline for row in rows) and config.tune.scheduler != "pbt":
        raise ClusterError("the search lost its first trial", "delete OUTPUT/tune and start again")
    return rows


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
    space = {
        "number": ray_tune.grid_search(list(range(len(seeds)))),
        "seeds": ray_tune.sample_from(_Nth(seeds)),
    }
    options = {"search_alg": BasicVariantGenerator(), "num_samples": 1}
    listener = Listener(show, say, len(seeds), job.config.train.steps)
    return _run(settled, FRESH, space, options, listener)


class _Nth:
    """The seed that belongs to a trial's number."""

    def __init__(self, seeds: list[int]) -> None:
        self.seeds = seeds

    def __call__(self, asked: Any) -> list[int]:
        return [self.seeds[asked["number"]]]


def _run(
    job: Job, name: str, space: dict[str, Any], options: dict[str, Any], listener: Listener
) -> list[TrialRow]:
    """One run of Ray Tune, begun or gone on with; its trials by number."""
    config, cluster = job.config, job.config.cluster
    filesystem, path = storage.filesystem(config.place("tune", "ray"))
    for package in ("ray.tune", "ray.train"):
        logging.getLogger(package).setLevel(logging.ERROR)
    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    needed = {"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker}
    trainable = ray_tune.with_resources(
        ray_tune.with_parameters(TrialActor, job=job), {k: v for k, v in needed.items() if v}
    )
    with unwrapped(), listening(listener):
        if ray_tune.Tuner.can_restore(f"{path}/{name}", storage_filesystem=filesystem):
            listener.say("going on with the trials that are there")
            tuner = ray_tune.Tuner.restore(
                f"{path}/{name}",
                trainable=trainable,
                resume_errored=True,
                storage_filesystem=filesystem,
            )
        else:
            tuner = ray_tune.Tuner(
                trainable,
                param_space=space,
                tune_config=ray_tune.TuneConfig(
                    max_concurrent_trials=_concurrent(config),
                    reuse_actors=True,
                    trial_dirname_creator=_folder_of,
                    **options,
                ),
                run_config=ray_tune.RunConfig(
                    name=name,
                    storage_path=path,
                    storage_filesystem=filesystem,
                    verbose=0,
                    callbacks=[Listening()],
                    failure_config=ray_tune.FailureConfig(max_failures=config.train.max_failures),
                    checkpoint_config=ray_tune.CheckpointConfig(
                        # Population-based training reads the checkpoints of others.
                        num_to_keep=4 if config.tune.scheduler == "pbt" else 1,
                        checkpoint_frequency=_checkpoint_every(config),
                    ),
                ),
            )
        results = tuner.fit()
    return sorted(
        (_row_of(job, results[i]) for i in range(len(results))), key=lambda row: row.number
    )


def _folder_of(trial: Any) -> str:
    return f"trial-{trial.config['number']}-{trial.trial_id}"


def _concurrent(config: Config) -> int | None:
    """Trials at a time; on a running cluster Ray decides, and its autoscaler with it."""
    if config.tune.concurrent is not None:
        return config.tune.concurrent
    offered = offered_cpus(config.cluster)
    return None if offered is None else max(offered // config.cluster.cpus_per_worker, 1)


def _checkpoint_every(config: Config) -> int:
    """In evaluations."""
    return max(config.train.checkpoint_every // config.train.eval_every, 1)


def _row_of(job: Job, result: Any) -> TrialRow:
    asked, found = result.config, (result.metrics or {}).get("row")
    if found is not None:
        row = TrialRow.model_validate(found)
        if row.ended != "running":
            return row
        if result.error is None:
            return row.model_copy(update={"ended": "stopped early"})
        return row.model_copy(update={"ended": "failed", "why": str(result.error)})
    why = str(result.error or "it never reported")
    lineage = job.lineage or Lineage(settings=settings_of(job.config, asked.get("sampled", {})))
    first = job.config.seed
    seeds = asked.get("seeds") or range(first, first + job.config.tune.seeds)
    return TrialRow(
        number=asked["number"],
        ended="failed",
        step=0,
        lineage=lineage,
        seeds=[given_up(seed, why) for seed in seeds],
        why=why,
    )


def _write_trials(config: Config, tuning: Tuning) -> None:
    storage.write_bytes(place_of(config, "trials.csv"), as_csv(trials_table(config, tuning)))
    storage.write_bytes(place_of(config, "trials.png"), plot(tuning))


def _write(config: Config, tuning: Tuning) -> None:
    """The best config, and last what says that the search is done."""
    storage.write_bytes(place_of(config), best_config(config, tuning).encode())
    storage.write_json(place_of(config, "result.json"), tuning.model_dump(mode="json"))
    storage.delete_tree(config.place("tune", "ray"))
