"""The jobs of a cluster: which there are, how they do, what they say, and their end.

Ray's own `ray job` does the same by a job's id. What is more here: jobs are told by their stage and
output, exit codes are the stage's own, and a job that is stopped has time for a checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from synthray.distributed.cluster import first_line
from synthray.errors import ClusterError, GateError, SynthRayError, UsageError

STAGE, OUTPUT, SETTINGS = "synthray.stage", "synthray.output", "synthray.settings"
"""What a job's metadata says of it."""
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A job of ours. started: UTC, to the second; empty while it waits."""

    job: str
    stage: str
    status: str
    started: str
    output: str

    @property
    def line(self) -> str:
        return f"{self.job:40} {self.status:9} {self.started or '-':20} {self.output}"


def name_of(stage: str, output: str) -> str:
    """A job's id without the number of its attempt: one for each stage of an output."""
    place = output.rstrip("/").rpartition("/")[2].lower()
    readable = re.sub(r"[^a-z0-9]+", "-", place).strip("-")[:24]
    digest = hashlib.sha256(f"{stage} {output}".encode()).hexdigest()[:8]
    return "-".join(part for part in (stage, readable, digest) if part)


class Jobs:
    """The jobs at a dashboard's address.

    Raises:
        ClusterError: it does not answer, or refuses the token; from every method too.
    """

    def __init__(self, address: str) -> None:
        for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = address
        with self._answering():
            self._client = JobSubmissionClient(address)

    def listed(self) -> list[Job]:
        """Those that SynthRay submitted, the oldest first."""
        return [_job(found) for found in self._ours()]

    def attempts(self, name: str) -> list[Any]:
        """Ray's details of the jobs of this name, by number."""
        named = re.compile(re.escape(name) + r"-(\d+)")
        matched = [(named.fullmatch(found.submission_id), found) for found in self._ours()]
        numbered = [(int(match[1]), found) for match, found in matched if match]
        return [found for _, found in sorted(numbered, key=lambda pair: pair[0])]

    def submit(
        self, job: str, command: str, runtime: dict[str, Any], about: dict[str, str]
    ) -> bool:
        """Submit it; False: there is one of that id already."""
        with self._answering():
            try:
                self._client.submit_job(
                    entrypoint=command, submission_id=job, runtime_env=runtime, metadata=about
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    return False
                raise
        return True

    def status(self, job: str) -> Job:
        """Raises: UsageError: no such job."""
        return _job(self._info(job))

    def logs(self, job: str) -> str:
        """Its driver's log so far. Raises: UsageError: no such job."""
        self._info(job)
        with self._answering():
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, say: Callable[[str], None], shown: int = 0) -> None:
        """Say what it logs, from character ``shown`` on, until it has ended.

        Raises:
            UsageError: no such job, or it found a config that cannot be.
            GateError: it missed a quality gate. ClusterError: it failed, or was stopped.
        """
        where = f"{job} --address {self.address}"
        with _noting(
            f"interrupted, but {job} goes on\n  → to follow it: synthray jobs logs --follow {where}"
            f"\n  → to end it: synthray jobs stop {where}"
        ):
            info = self._ended(job, say, shown)
        if info.status == JobStatus.SUCCEEDED:
            return
        kinds: dict[int | None, type[SynthRayError]] = {2: UsageError, 3: GateError}
        raise kinds.get(info.driver_exit_code, ClusterError)(_what(job, info), _remedy(info))

    def stop(self, job: str, say: Callable[[str], None]) -> Job:
        """Have it end, a training with a checkpoint, and wait for that; one that has ended stays.

        Raises:
            UsageError: no such job.
        """
        if not self._info(job).status.is_terminal():
            shown = len(self.logs(job))
            with self._answering():
                self._client.stop_job(job)
            with _noting(f"interrupted, but {job} has been asked to end, and will"):
                self._ended(job, say, shown)
        return self.status(job)

    def _ended(self, job: str, say: Callable[[str], None], shown: int) -> Any:
        while True:
            info = self._info(job)
            ended = info.status.is_terminal()
            with self._answering():
                log = self._client.get_job_logs(job)
            # A line that is not yet whole waits for its rest.
            whole = len(log) if ended else log.rfind("\n") + 1
            if whole > shown:
                say(log[shown:whole].rstrip("\n"))
                shown = whole
            if ended:
                return info
            time.sleep(POLL_SECONDS)

    def _ours(self) -> Sequence[Any]:
        with self._answering():
            found = [each for each in self._client.list_jobs() if STAGE in (each.metadata or {})]
        return sorted(found, key=lambda each: each.start_time or 0)

    def _info(self, job: str) -> Any:
        with self._answering():
            try:
                return self._client.get_job_info(job)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
        raise UsageError(
            f"job {job} is unknown at {self.address}", "synthray jobs list tells those there are"
        )

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except AuthenticationError as error:
            path = os.environ.get("RAY_AUTH_TOKEN_PATH")
            if path and not os.environ.get("RAY_AUTH_TOKEN") and not Path(path).is_file():
                raise ClusterError(
                    f"RAY_AUTH_TOKEN_PATH: {path} is gone, probably with its cluster; nobody was "
                    "asked",
                    "load the environment of a cluster that runs, or set RAY_AUTH_TOKEN",
                ) from error
            raise ClusterError(
                f"{self.address} refuses the token: {first_line(error)}",
                "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token",
            ) from error
        except (ConnectionError, RuntimeError, ValueError, requests.RequestException) as error:
            raise ClusterError(
                f"no Ray dashboard answers at {self.address}: {first_line(error)}",
                "give the address of the cluster's dashboard, such as http://HOST:8265",
            ) from error


def _what(job: str, info: Any) -> str:
    # The log has been shown; the message ends with it once more.
    reason = (info.message or "").partition(", last available logs")[0]
    return f"job {job} ended as {info.status.value}" + (f": {reason}" if reason else "")


def _remedy(info: Any) -> str:
    """Of a job that has ended, but not well."""
    again = "submitted again, it goes on from what is there"
    code = info.driver_exit_code
    if info.status == JobStatus.STOPPED:
        return f"it was stopped on purpose; {again}"
    if code is None:
        return f"it never began, or its node went; {again}"
    if code < 0 or code > 128:  # of itself, or as a shell tells it
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return (
            f"its driver was ended by {name}, so its log names no fault: look for memory that ran "
            f"out on the head, and for a node that went; {again}"
        )
    return f"mend what its log names; {again}"


@contextmanager
def _noting(what: str) -> Iterator[None]:
    """Have an interruption tell what becomes of the job."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as ended:
        ended.add_note(what)
        raise


def _job(details: Any) -> Job:
    about, started = details.metadata or {}, ""
    if details.start_time:
        moment = datetime.fromtimestamp(details.start_time / 1000, UTC)
        started = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Job(
        details.submission_id or details.job_id or "",
        about.get(STAGE, ""),
        details.status.value,
        started,
        about.get(OUTPUT, ""),
    )
