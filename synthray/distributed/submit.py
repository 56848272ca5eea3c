"""Submitting a stage to a cluster as a Ray job."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

from synthray import storage
from synthray.errors import ClusterError, UsageError

JOBS = ("train", "generate", "evaluate", "serve", "pipeline")
PACKAGE = Path(__file__).parents[1]


def submit_job(
    stage: str,
    config: str,
    overrides: Sequence[str],
    address: str,
    wait: bool,
    say: Callable[[str], None] = print,
) -> str:
    """Submit ``python -m synthray`` for one stage; returns the job's id.

    The package and the config travel with the job; the cluster's image has the dependencies;
    source and output must be where every node reaches them.

    Raises:
        UsageError: no such stage.
        ClusterError: the address does not answer, or the job failed.
    """
    if stage not in JOBS:
        raise UsageError(f"stage {stage!r} is unknown", f"use one of {', '.join(JOBS)}")
    command = "run" if stage == "pipeline" else stage
    text = storage.read_bytes(config)
    quoted = " ".join(shlex.quote(item) for item in overrides)
    try:
        client = JobSubmissionClient(address)
        with tempfile.TemporaryDirectory(prefix="synthray-job-") as folder:
            (Path(folder) / "config.yaml").write_bytes(text)
            job = client.submit_job(
                entrypoint=f"python -m synthray {command} config.yaml {quoted}".rstrip(),
                runtime_env={"working_dir": folder, "py_modules": [str(PACKAGE)]},
            )
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(
            f"no job can be submitted to {address}: {error}",
            "give the dashboard's address; with token authentication set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN",
        ) from error
    say(f"submitted {job}")
    if wait:
        _follow(client, job, say)
    return job


def _follow(client: JobSubmissionClient, job: str, say: Callable[[str], None]) -> None:
    shown = 0
    while True:
        status = client.get_job_status(job)
        log = client.get_job_logs(job)
        if len(log) > shown:
            say(log[shown:].rstrip("\n"))
            shown = len(log)
        if status.is_terminal():
            break
        time.sleep(1)
    if status != JobStatus.SUCCEEDED:
        info = client.get_job_info(job)
        raise ClusterError(
            f"job {job} ended as {status.value}: {info.message}",
            "mend what its log names; submitted again, it goes on from what is there",
        )
