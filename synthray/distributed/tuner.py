"""One run of Ray Tune: begun, or gone on with after its driver was killed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune as ray_tune

from synthray import storage
from synthray.distributed.cluster import without_spare
from synthray.distributed.failures import last_line, unwrapped
from synthray.distributed.listening import Listener, Listening, listening
from synthray.distributed.trials import Job, TrialActor, failed, number_of
from synthray.errors import ClusterError, NotFoundError
from synthray.tuning.report import TrialRow

SETTINGS = {
    # Ctrl-C belongs to the command line.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The table and the picture are ours.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ray's new output goes to stdout, silent or not.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Relative paths of a config mean the folder it was started in.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Seconds between snapshots of which trials there are and what they reported.
    "TUNE_GLOBAL_CHECKPOINT_S": "2",
}
KEPT = 3
"""Checkpoints of a trial: they are some seconds apart, so that one that the last snapshot named is
still there when a killed driver comes back.
"""
KEPT_IN_POPULATION = 10
"""A copy may have to wait for a processor, and then begins from what its model saved by then."""


def run_trials(
    job: Job,
    name: str,
    space: dict[str, Any],
    options: dict[str, Any],
    listener: Listener,
    expected: int,
) -> list[TrialRow]:
    """One run of Ray Tune, begun or gone on with; its trials by number.

    Raises:
        ClusterError: there are not as many trials as ``expected``.
    """
    config, cluster = job.config, job.config.cluster
    place = config.place("tune", "ray")
    filesystem, path = storage.filesystem(place)
    needed = {"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker}
    trainable = ray_tune.with_resources(
        ray_tune.with_parameters(TrialActor, job=job), {k: v for k, v in needed.items() if v}
    )
    with unwrapped(), listening(listener), without_spare(cluster), _quietly():
        if _has_begun(storage.join(place, name)):
            listener.say("going on with the trials that are there")
            tuner = ray_tune.Tuner.restore(
                f"{path}/{name}",
                trainable=trainable,
                resume_errored=True,
                storage_filesystem=filesystem,
            )
        else:
            storage.delete_tree(storage.join(place, name))
            pbt = config.tune.scheduler == "pbt"
            tuner = ray_tune.Tuner(
                trainable,
                param_space=space,
                tune_config=ray_tune.TuneConfig(
                    reuse_actors=True, trial_dirname_creator=_folder_of, **options
                ),
                run_config=ray_tune.RunConfig(
                    name=name,
                    storage_path=path,
                    storage_filesystem=filesystem,
                    verbose=0,
                    callbacks=[Listening()],
                    failure_config=ray_tune.FailureConfig(max_failures=config.train.max_failures),
                    checkpoint_config=ray_tune.CheckpointConfig(
                        num_to_keep=KEPT_IN_POPULATION if pbt else KEPT
                    ),
                ),
            )
        results = tuner.fit()
    if len(results) != expected:
        raise ClusterError(
            f"the search has {len(results)} trials and should have {expected}",
            f"delete {config.place('tune')} and start again",
        )
    rows = (_row_of(job, results[i]) for i in range(len(results)))
    return sorted(rows, key=lambda row: row.number)


def _has_begun(place: str) -> bool:
    """Whether there is a snapshot of trials. Without one Ray would go on with a single trial: it
    keeps their number nowhere else.
    """
    try:
        files = storage.list_files(place)
    except NotFoundError:
        return False
    return any("/experiment_state" in file.uri for file in files)


@contextmanager
def _quietly() -> Iterator[None]:
    """With Ray Tune's settings as they are to be, and back to what they were."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train")]
    levels = [logger.level for logger in loggers]
    os.environ.update({k: v for k, v in SETTINGS.items() if k not in os.environ})
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # of a lost trial our own line tells
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _folder_of(trial: Any) -> str:
    return f"trial-{number_of(trial.trial_id, trial.config)}-{trial.trial_id}"


def _row_of(job: Job, result: Any) -> TrialRow:
    found = (result.metrics or {}).get("row")
    error = last_line(result.error) if result.error else ""
    if found is None:
        number = int(Path(result.path).name.split("-")[1])
        return failed(job, number, result.config, error or "it never reported")
    row = TrialRow.model_validate(found)
    if row.ended != "running":
        return row
    if not error:
        return row.model_copy(update={"ended": "stopped early"})
    return row.model_copy(update={"ended": "failed", "why": error})
