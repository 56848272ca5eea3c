"""Submitting a stage to a cluster as a Ray job."""

from __future__ import annotations

import logging
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from synthray import config as configs
from synthray import storage
from synthray.config import Config
from synthray.distributed.cluster import first_line
from synthray.errors import ClusterError, GateError, SynthRayError, UsageError

JOBS = {
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
POLL_SECONDS = 1.0


def submit_job(
    stage: str,
    config: Config,
    address: str,
    wait: bool,
    say: Callable[[str], None] = print,
    base: str | None = None,
) -> str:
    """Submit ``python -m synthray`` for one stage; returns the job's id.

    The package and the whole config travel with the job; the cluster's image has the dependencies;
    source and output must be where every node reaches them.

    Args:
        base: the artifact to adapt; of the stage adapt alone.

    Raises:
        UsageError: no such stage; or the job found a config that cannot be.
        GateError: the job missed a quality gate.
        ClusterError: the address does not answer, or the job failed.
    """
    if stage not in JOBS:
        raise UsageError(f"stage {stage!r} is unknown", f"use one of {', '.join(JOBS)}")
    if (base is not None) != (stage == "adapt"):
        raise UsageError(
            f"submit {stage}: --base is {'given' if base else 'missing'}",
            "the stage adapt takes --base ARTIFACT, and no other does",
        )
    command = JOBS[stage]
    if base is not None:
        command += f" --base {shlex.quote(storage.absolute(base))}"
    text = configs.dump(_for_job(config))
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with _answering(address):
        client = JobSubmissionClient(address)
        with tempfile.TemporaryDirectory(prefix="synthray-job-") as folder:
            (Path(folder) / "config.yaml").write_text(text, encoding="utf-8")
            job = client.submit_job(
                entrypoint=f"python -m synthray {command} config.yaml",
                runtime_env={"working_dir": folder, "py_modules": [str(PACKAGE)]},
            )
    say(f"submitted {job}")
    if wait:
        try:
            with _answering(address):
                _follow(client, job, say)
        except KeyboardInterrupt:
            say(f"{job} goes on; to end it: ray job stop {job} --address {address}")
            raise
    return job


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


@contextmanager
def _answering(address: str) -> Iterator[None]:
    try:
        yield
    except SynthRayError:
        raise
    except AuthenticationError as error:
        raise ClusterError(
            f"{address} refuses the token: {first_line(error)}",
            "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token",
        ) from error
    except (ConnectionError, RuntimeError, ValueError, requests.RequestException) as error:
        raise ClusterError(
            f"no Ray dashboard answers at {address}: {first_line(error)}",
            "give the address of the cluster's dashboard, such as http://HOST:8265",
        ) from error


def _follow(client: JobSubmissionClient, job: str, say: Callable[[str], None]) -> None:
    shown = 0
    while True:
        ended = client.get_job_status(job).is_terminal()
        log = client.get_job_logs(job)
        # A line that is not yet whole waits for its rest.
        whole = len(log) if ended else log.rfind("\n") + 1
        if whole > shown:
            say(log[shown:whole].rstrip("\n"))
            shown = whole
        if ended:
            break
        time.sleep(POLL_SECONDS)
    info = client.get_job_info(job)
    if info.status != JobStatus.SUCCEEDED:
        # The log has been shown; the message ends with it once more.
        reason = (info.message or "").partition(", last available logs")[0]
        kinds: dict[int | None, type[SynthRayError]] = {2: UsageError, 3: GateError}
        raise kinds.get(info.driver_exit_code, ClusterError)(
            f"job {job} ended as {info.status.value}: {reason}",
            "mend what its log names; submitted again, it goes on from what is there",
        )
