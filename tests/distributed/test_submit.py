"""Which job a submission becomes, or attaches to; with no cluster at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.job_submission import JobStatus

from synthray import config as configs
from synthray.distributed import submit
from synthray.distributed.jobs import name_of
from synthray.distributed.stopping import GRACE_SECONDS
from synthray.distributed.submit import submit_job
from synthray.errors import ClusterError, UsageError

TREE = {"data": {"source": "s3://raw/digits/"}, "output": "s3://synth/My Digits/"}


@dataclass
class Details:
    """What Ray tells of a job."""

    submission_id: str
    metadata: dict[str, str]
    runtime: dict[str, Any]
    command: str
    status: JobStatus = JobStatus.RUNNING


@dataclass
class Cluster:
    """Jobs as the dashboard would keep them; ``rival`` is submitted just before the next one."""

    jobs: dict[str, Details] = field(default_factory=dict)
    followed: list[str] = field(default_factory=list)
    rival: bool = False
    address: str = "http://head:8265"

    def attempts(self, name: str) -> list[Details]:
        return [job for id, job in self.jobs.items() if id.rpartition("-")[0] == name]

    def submit(self, job: str, command: str, runtime: Any, about: dict[str, str]) -> bool:
        if self.rival:
            self.rival = False
            self.submit(job, command, runtime, about)
        if job in self.jobs:
            return False
        self.jobs[job] = Details(job, about, runtime, command)
        return True

    def follow(self, job: str, say: Any) -> None:
        self.followed.append(job)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(submit, "Jobs", lambda address: cluster)
    return cluster


def submitted(*changes: str, stage: str = "train", wait: bool = False) -> tuple[str, str]:
    """The job's id, and what was said."""
    lines: list[str] = []
    settings = configs.parse(TREE, changes)
    job = submit_job(stage, settings, "http://head:8265", wait, lines.append)
    return job, "\n".join(lines)


def test_an_id_follows_from_the_stage_and_the_output() -> None:
    name = name_of("train", "s3://synth/My Digits/")
    assert name.startswith("train-my-digits-")
    others = [name_of("tune", "s3://synth/My Digits/"), name_of("train", "s3://other/My Digits/")]
    assert len({name, *others}) == 3
    assert name_of("train", "/").startswith("train-")


def test_a_running_job_is_attached_to_and_an_ended_one_is_tried_again(cluster: Cluster) -> None:
    first, said = submitted()
    assert first.endswith("-1") and said == f"submitted {first}"
    again, said = submitted(wait=True)
    assert again == first and "is running already" in said
    assert cluster.followed == [first]
    assert submitted(stage="generate")[0] != first
    for status in (JobStatus.STOPPED, JobStatus.FAILED, JobStatus.SUCCEEDED):
        newest = list(cluster.attempts(first.rpartition("-")[0]))[-1]
        newest.status = status
        number = int(newest.submission_id.rpartition("-")[2])
        assert submitted()[0] == f"{first[:-2]}-{number + 1}"


def test_a_running_job_with_other_settings_is_told_and_left_alone(cluster: Cluster) -> None:
    first, _ = submitted()
    with pytest.raises(ClusterError, match="with other settings") as caught:
        submitted("train.steps=7")
    assert f"synthray jobs stop {first}" in caught.value.remedy
    assert list(cluster.jobs) == [first]


def test_of_two_submitters_at_once_the_slower_attaches(cluster: Cluster) -> None:
    cluster.rival = True
    job, said = submitted()
    assert list(cluster.jobs) == [job]
    assert "attached" in said


def test_the_config_travels_and_the_package_where_it_is_wanted(cluster: Cluster) -> None:
    for runtime, uploads in (("checkout", ["py_modules"]), ("image", [])):
        job, _ = submitted(f"cluster.runtime={runtime}", f"output=s3://synth/{runtime}/")
        made = cluster.jobs[job]
        assert sorted(made.runtime) == ["env_vars", *uploads]
        assert made.command == "python -m synthray train env:SYNTHRAY_CONFIG"
        text = made.runtime["env_vars"]["SYNTHRAY_CONFIG"]
        assert f"output: s3://synth/{runtime}/" in text
        assert int(made.runtime["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) > GRACE_SECONDS


def test_a_config_that_is_too_long_to_travel_is_refused(cluster: Cluster) -> None:
    schema = {f"column {i}": {"kind": "integer"} for i in range(8000)}
    with pytest.raises(UsageError, match="more than travel with a job"):
        submitted(f"data.schema={schema}")
    assert not cluster.jobs
