"""One run of Ray Tune: begun, or gone on with after its driver was killed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from ray import tune as ray_tune

from synthray import storage
from synthray.config import Config
from synthray.distributed.cluster import offered_cpus
from synthray.distributed.failures import unwrapped
from synthray.distributed.listening import Listener, Listening, listening
from synthray.distributed.trials import Job, TrialActor, failed, number_of
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


def run_trials(
    job: Job, name: str, space: dict[str, Any], options: dict[str, Any], listener: Listener
) -> list[TrialRow]:
    """One run of Ray Tune, begun or gone on with; its trials by number."""
    config, cluster = job.config, job.config.cluster
    filesystem, path = storage.filesystem(config.place("tune", "ray"))
    for package in ("ray.tune", "ray.train"):
        # Of a lost trial our own line tells.
        logging.getLogger(package).setLevel(logging.CRITICAL)
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
                        # Population-based training asks for more of them, and reads those of
                        # other trials.
                        num_to_keep=None if config.tune.scheduler == "pbt" else KEPT,
                    ),
                ),
            )
        results = tuner.fit()
    return sorted(
        (_row_of(job, results[i]) for i in range(len(results))), key=lambda row: row.number
    )


def _folder_of(trial: Any) -> str:
    return f"trial-{number_of(trial.trial_id, trial.config)}-{trial.trial_id}"


def _concurrent(config: Config) -> int | None:
    """Trials at a time; on a running cluster Ray decides, and its autoscaler with it."""
    if config.tune.concurrent is not None:
        return config.tune.concurrent
    offered = offered_cpus(config.cluster)
    return None if offered is None else max(offered // config.cluster.cpus_per_worker, 1)


def _row_of(job: Job, result: Any) -> TrialRow:
    found = (result.metrics or {}).get("row")
    if found is None:
        number = int(Path(result.path).name.split("-")[1])
        return failed(job, number, result.config, str(result.error or "it never reported"))
    row = TrialRow.model_validate(found)
    if row.ended != "running":
        return row
    if result.error is None:
        return row.model_copy(update={"ended": "stopped early"})
    return row.model_copy(update={"ended": "failed", "why": str(result.error)})
