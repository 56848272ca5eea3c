"""What the commands about jobs say when things go wrong; with no cluster at all."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus

from synthray.distributed import jobs
from synthray.errors import ClusterError, SynthRayError, UsageError

ADDRESS = "http://head:8265"


@dataclass
class Client:
    """The dashboard's: one job, and what happens when its log is asked for."""

    status: JobStatus = JobStatus.RUNNING
    driver_exit_code: int | None = None
    message: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    on_log: Callable[[], None] = lambda: None

    def get_job_info(self, job: str) -> Client:
        return self

    def get_job_logs(self, job: str) -> str:
        self.on_log()
        return "first\n"


def followed(monkeypatch: pytest.MonkeyPatch, client: Client) -> SynthRayError:
    monkeypatch.setattr(jobs, "JobSubmissionClient", lambda address: client)
    with pytest.raises(SynthRayError) as caught:
        jobs.Jobs(ADDRESS).follow("train-1", lambda line: None)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (JobStatus.STOPPED, None, ClusterError, "stopped on purpose"),
        (JobStatus.FAILED, -9, ClusterError, "ended by SIGKILL"),
        (JobStatus.FAILED, 137, ClusterError, "ended by SIGKILL"),
        (JobStatus.FAILED, None, ClusterError, "never began, or its node went"),
        (JobStatus.FAILED, 1, ClusterError, "mend what its log names"),
        (JobStatus.FAILED, 2, UsageError, "mend what its log names"),
    ],
)
def test_the_remedy_is_that_of_the_way_a_job_ended(
    monkeypatch: pytest.MonkeyPatch,
    status: JobStatus,
    code: int | None,
    kind: type[SynthRayError],
    told: str,
) -> None:
    error = followed(monkeypatch, Client(status, code))
    assert type(error) is kind and told in error.remedy
    assert "submitted again, it goes on" in error.remedy


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_stops_following_hears_that_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch, run: Any, number: signal.Signals
) -> None:
    client = Client(on_log=lambda: signal.raise_signal(number))
    monkeypatch.setattr(jobs, "JobSubmissionClient", lambda address: client)
    code, out, err = run("jobs", "logs", "--follow", "train-1", "--address", ADDRESS)
    assert (code, out) == (128 + number, "")
    assert "interrupted, but train-1 goes on" in err
    assert f"synthray jobs stop train-1 --address {ADDRESS}" in err
    assert "the same command" not in err


def test_a_token_that_went_with_its_cluster_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(address: str) -> None:
        raise AuthenticationError("RAY_AUTH_TOKEN_PATH is set but file cannot be opened")

    monkeypatch.setattr(jobs, "JobSubmissionClient", refused)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(ClusterError, match="token is gone, probably with its cluster"):
        jobs.Jobs(ADDRESS)
    (tmp_path / "token").write_text("another")
    with pytest.raises(ClusterError, match="refuses the token"):
        jobs.Jobs(ADDRESS)
