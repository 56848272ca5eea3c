"""Submitting a stage to a cluster as a Ray job."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthray import config as configs
from synthray import storage
from synthray.config import Config
from synthray.distributed.jobs import OUTPUT, SETTINGS, STAGE, Jobs, name_of
from synthray.errors import ClusterError, UsageError

STAGES = {
    "train": "train",
    "tune": "tune",
    "adapt": "adapt",
    "generate": "generate",
    "evaluate": "evaluate",
    "serve": "serve",
    "pipeline": "run",
}
"""The command behind each stage."""
PACKAGE = Path(__file__).parents[1]
CONFIG = "SYNTHRAY_CONFIG"
"""The variable in which the config travels: nothing has to be uploaded for it."""
CONFIG_BYTES = 120_000
"""A little less than what Linux takes in one variable."""
STOP_SECONDS = 120
"""Between a job's SIGTERM and its SIGKILL: Ray's own 3 s are too few for a checkpoint."""


def submit_job(
    stage: str,
    config: Config,
    address: str,
    wait: bool,
    say: Callable[[str], None] = print,
    base: str | None = None,
) -> str:
    """Submit ``python -m synthray`` for one stage; returns the job's id.

    Its id follows from the stage and the output. While such a job runs, submitting it again
    attaches to it; after that, it is a new attempt, which goes on from what is there.

    The whole config travels with the job. With ``cluster.runtime: checkout`` this package does too,
    and the cluster's image has the dependencies; with ``image`` the image has the package. Source
    and output must be where every node reaches them.

    Args:
        wait: follow its log until it ends.
        base: the artifact to adapt; of the stage adapt alone.

    Raises:
        UsageError: no such stage; or the job found a config that cannot be.
        GateError: the job missed a quality gate.
        ClusterError: the address does not answer, the job failed, or one with other settings runs.
    """
    if stage not in STAGES:
        raise UsageError(f"stage {stage!r} is unknown", f"use one of {', '.join(STAGES)}")
    if (base is not None) != (stage == "adapt"):
        raise UsageError(
            f"submit {stage}: --base is {'given' if base else 'missing'}",
            "the stage adapt takes --base ARTIFACT, and no other does",
        )
    command = f"python -m synthray {STAGES[stage]} env:{CONFIG}"
    if base is not None:
        command += f" --base {shlex.quote(storage.absolute(base))}"
    text = configs.dump(_for_job(config))
    about = {
        STAGE: stage,
        OUTPUT: config.output,
        SETTINGS: hashlib.sha256(f"{command}\n{text}".encode()).hexdigest(),
    }
    jobs = Jobs(address)
    job, attached = _submitted(jobs, command, _runtime(config, text), about)
    say(f"{job} is running already: attached to it" if attached else f"submitted {job}")
    if wait:
        jobs.follow(job, say)
    return job


def _submitted(
    jobs: Jobs, command: str, runtime: dict[str, Any], about: dict[str, str]
) -> tuple[str, bool]:
    """The job's id, and whether it was running already."""
    name = name_of(about[STAGE], about[OUTPUT])
    while True:
        attempts = jobs.attempts(name)
        last = attempts[-1] if attempts else None
        if last is not None and not last.status.is_terminal():
            if last.metadata.get(SETTINGS) != about[SETTINGS]:
                raise ClusterError(
                    f"{last.submission_id} is running: {about[STAGE]} of {about[OUTPUT]} with "
                    "other settings",
                    f"wait for it, choose another output, or end it: synthray jobs stop "
                    f"{last.submission_id} --address {jobs.address}",
                )
            return last.submission_id, True
        number = int(last.submission_id.rpartition("-")[2]) + 1 if last is not None else 1
        if jobs.submit(f"{name}-{number}", command, runtime, about):
            return f"{name}-{number}", False
        # Somebody else was faster, and that one is to be looked at.


def _runtime(config: Config, text: str) -> dict[str, Any]:
    """Raises: UsageError: the config is too long to travel."""
    if len(text.encode()) > CONFIG_BYTES:
        raise UsageError(
            f"the config has {len(text):,} characters, more than travel with a job",
            "put it where the cluster reads it, and submit: ray job submit -- python -m synthray "
            "STAGE s3://…/config.yaml",
        )
    runtime: dict[str, Any] = {
        "env_vars": {CONFIG: text, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}
    }
    if config.cluster.runtime == "checkout":
        runtime["py_modules"] = [str(PACKAGE)]
    return runtime


def _for_job(config: Config) -> Config:
    """The same config in another working directory, on the cluster that the job is given."""
    data, judged = config.data, config.evaluate
    places = {
        name: storage.absolute(uri)
        for name, uri in (("holdout", judged.holdout), ("weights", judged.weights))
        if uri is not None
    }
    return config.model_copy(
        update={
            "data": data.model_copy(update={"source": storage.absolute(data.source)}),
            "evaluate": judged.model_copy(update=places),
            "cluster": config.cluster.model_copy(update={"address": None}),
        }
    )
