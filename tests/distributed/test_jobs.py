"""The stages as Ray jobs, on a real head with a dashboard and token authentication."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mortal
import pytest
import tiny
import yaml
from processes import end_all, until, with_path
from ray.job_submission import JobSubmissionClient

from cluster.local.ports import free_ports
from cluster.local.ray_cluster import HEAD_PORTS
from synthray import config as configs
from synthray.config import ClusterConfig
from synthray.distributed.cluster import connect
from synthray.distributed.submit import STAGES, submit_job
from synthray.errors import ClusterError, UsageError

pytestmark = pytest.mark.timeout(400)

JOBS = Path(__file__).parents[2] / "jobs"
RAY = (sys.executable, "-m", "ray.scripts.scripts")
TOKEN = uuid.uuid4().hex * 2
PORTS = (*HEAD_PORTS, "--dashboard-port")


@dataclass
class Head:
    """A head node of our own; it and all that it started carry a mark in their environment."""

    place: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    ports: dict[str, int] = field(
        default_factory=lambda: dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    )

    def __post_init__(self) -> None:
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": with_path(Path(__file__).parent),
            mortal.FOLDER: str(self.orders),
        }
        self.orders.mkdir()
        self.url = f"http://127.0.0.1:{self.ports['--dashboard-port']}"
        self.log = self.place / "head.log"
        words = [f"{name}={port}" for name, port in self.ports.items()]
        words += [f"--temp-dir={self.place}", "--num-cpus=3", "--object-store-memory=100000000"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*RAY, "start", "--head", "--block", "--min-worker-port=0", *words],
                env=self.environment | {"SYNTHRAY_TEST_MARK": self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def orders(self) -> Path:
        """What the family `Mortal` obeys."""
        return self.place / "orders"

    @property
    def client(self) -> JobSubmissionClient:
        return JobSubmissionClient(self.url, headers={"Authorization": f"Bearer {TOKEN}"})

    def wait(self) -> None:
        """Until jobs are taken: the dashboard answers, and the agent is there to run them."""

        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.client.list_jobs()
            except (OSError, RuntimeError):
                return False
            return "Ray runtime started" in self.log.read_text()

        until(ready, 120)

    def stop(self) -> None:
        """Only what is ours: `ray stop` would end every Ray of this machine."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        end_all(self.mark)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    # Short, for the length of socket names is limited.
    with tempfile.TemporaryDirectory(prefix="srj", ignore_cleanup_errors=True) as folder:
        started = Head(Path(folder))
        try:
            started.wait()
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What travels as the jobs' working directory: a config and the entry points."""
    root = tmp_path_factory.mktemp("jobs")
    source = tiny.class_folders(root / "data" / "pets", each=60)
    tree: dict[str, Any] = {
        "data": {"source": str(source)},
        "model": {"name": "dcgan", "params": {"width": 4, "critic_width": 4, "latent_dim": 8}},
        "train": {"steps": 4, "batch_size": 16, "eval_every": 2, "checkpoint_every": 2},
        "generate": {"rows": 1100, "shard_rows": 1024},
        "evaluate": {"epochs": 1},
        "serve": {"port": free_ports(1)[0], "cpus_per_replica": 0.5},
        "output": str(root / "out"),
    }
    work = root / "work"
    shutil.copytree(JOBS, work / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (work / "config.yaml").write_text(yaml.safe_dump(tree))
    return work


def run(head: Head, *command: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=head.environment | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def ray_job(head: Head, folder: Path, stage: str, *words: str) -> str:
    """`ray job submit … -- python jobs/STAGE.py config.yaml`; returns the job's id."""
    job = f"{stage}-{uuid.uuid4().hex[:8]}"
    options = ["--address", head.url, "--working-dir", ".", "--submission-id", job]
    entrypoint = ["python", f"jobs/{stage}.py", "config.yaml", *words]
    code, out, err = run(head, *RAY, "job", "submit", *options, "--", *entrypoint, cwd=folder)
    assert code == 0, out + err
    return job


def attached(head: Head, job: str) -> bool:
    """Whether the job's driver is known to this cluster as one of its own."""
    return head.client.get_job_info(job).driver_info is not None


@pytest.fixture(scope="module")
def made(head: Head, folder: Path) -> Path:
    """What the job `pipeline` leaves."""
    job = ray_job(head, folder, "pipeline")
    assert attached(head, job)
    return folder.parent / "out"


def test_the_stages_run_as_a_job_on_the_cluster_it_is_given(head: Head, made: Path) -> None:
    manifest = json.loads((made / "synthetic/_synthray/manifest.json").read_text())
    assert manifest["rows"] == 1100
    for name in ("artifact/artifact.json", "report.json", "served.arrow"):
        assert (made / name).exists()
    # The cluster was used and left as it was.
    assert head.process.poll() is None


def test_every_stage_that_can_be_submitted_has_an_entry_point(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {path.stem for path in JOBS.glob("*.py")} == set(STAGES)
    for stage, command in STAGES.items():
        monkeypatch.setattr(sys, "argv", [f"{stage}.py", "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(JOBS / f"{stage}.py"), run_name="__main__")
        assert ended.value.code == 0
        assert f"{stage}.py {command} [OPTIONS]" in capsys.readouterr().out


def test_a_search_runs_as_a_job_on_the_cluster_that_it_is_given(head: Head, folder: Path) -> None:
    space = "tune.space={train.batch_size: [8, 16]}"
    few = ("tune.trials=2", "tune.seeds=1", "train.guard.warm_up=0")
    output = folder.parent / "searched"
    job = ray_job(head, folder, "tune", space, *few, f"output={output}")
    assert attached(head, job)
    assert (output / "tune" / "best.yaml").exists()


def test_the_endpoint_lives_as_long_as_its_job(head: Head, folder: Path, made: Path) -> None:
    port = free_ports(1)[0]
    words = (f"serve.port={port}", "--address", head.url, "--no-wait")
    code, out, err = submit(head, folder, "serve", "config.yaml", *words)
    job = out.strip()
    assert (code, err) == (0, f"submitted {job}\n")
    until(lambda: ended(head, job) or answers(port, "/healthz"), 120)
    assert not ended(head, job), head.client.get_job_logs(job)
    assert answers(port, "/v1/models/model/rows?count=3")
    options = ["--address", head.url]
    code, _, err = run(head, *RAY, "job", "stop", *options, job, cwd=folder)
    assert code == 0, err
    until(lambda: not answers(port, "/healthz"), 60)
    until(lambda: not listening(port), 60)


def ended(head: Head, job: str) -> bool:
    return head.client.get_job_status(job).is_terminal()


def answers(port: int, path: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def submit(head: Head, folder: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "synthray", "submit", *words]
    return run(head, *command, cwd=folder, **environment)


def test_submit_follows_the_log_and_takes_relative_paths_from_here(
    head: Head, folder: Path
) -> None:
    words = ("data.source=../data/pets", "output=submitted", "--address", head.url)
    code, out, err = submit(head, folder, "train", "config.yaml", *words)
    assert code == 0, err
    assert f"submitted {out.strip()}" in err and "training 4/4 steps" in err
    assert (folder / "submitted" / "artifact" / "artifact.json").exists()
    assert attached(head, out.strip())


def test_a_failing_job_is_told_with_its_reason(head: Head, folder: Path) -> None:
    words = ("data.source=nowhere", "--address", head.url)
    code, out, err = submit(head, folder, "train", "config.yaml", *words)
    assert (code, out) == (2, "")
    assert "nowhere does not exist" in err and "ended as FAILED" in err
    assert "Traceback" not in err


def test_a_wrong_token_is_told(head: Head, folder: Path) -> None:
    words = ("train", "config.yaml", "--address", head.url)
    code, out, err = submit(head, folder, *words, RAY_AUTH_TOKEN="0" * 64)
    assert (code, out) == (1, "")
    assert "refuses the token" in err and "Traceback" not in err


def jobs(head: Head, folder: Path, *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "synthray", "jobs", *words, "--address", head.url]
    return run(head, *command, cwd=folder)


MORTAL = {
    "model": "{name: mortal:Mortal, params: {latent_dim: 4, generator_widths: [8], "
    "critic_widths: [8]}}",
    "train": "{steps: 60, batch_size: 16, eval_every: 60, checkpoint_every: 60}",
    "output": "stopped",
    "cluster.runtime": "image",
}


def test_a_stopped_training_leaves_a_checkpoint_and_submitted_again_goes_on(
    head: Head, folder: Path
) -> None:
    """On what the cluster has installed: nothing is uploaded."""
    (head.orders / "nap").write_text("2")
    settings = [f"{key}={value}" for key, value in MORTAL.items()]
    words = ["train", "config.yaml", "--address", head.url, *settings]
    code, out, err = submit(head, folder, *words, "--no-wait")
    assert code == 0, err
    first, second = out.strip(), out.strip()[:-1] + "2"
    assert first.startswith("train-stopped-") and first.endswith("-1")
    until(lambda: ended(head, first) or (head.orders / "starts").exists(), 120)
    code, out, err = jobs(head, folder, "stop", first)
    assert (code, out) == (0, "STOPPED\n"), err
    (saved,) = (folder / "stopped" / "checkpoints").glob("step-*.safetensors")
    step = int(saved.name[5:14])
    assert 0 < step < 60
    assert f"left a checkpoint of step {step}" in err
    (head.orders / "nap").unlink()
    code, out, err = submit(head, folder, *words)
    assert (code, out) == (0, f"{second}\n"), err
    assert f"going on from the checkpoint of step {step}" in err
    told = [head.client.get_job_info(job) for job in (first, second)]
    assert [info.status.value for info in told] == ["STOPPED", "SUCCEEDED"]
    assert all(set(info.runtime_env) == {"env_vars"} for info in told)


def test_a_job_that_there_is_not_is_told(head: Head, folder: Path) -> None:
    code, out, err = jobs(head, folder, "logs", "no-such-job")
    assert (code, out) == (2, "")
    assert "job no-such-job is unknown" in err


def test_what_cannot_be_submitted_is_told(folder: Path) -> None:
    config = configs.load(str(folder / "config.yaml"))
    closed = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(UsageError, match="stage 'fly' is unknown"):
        submit_job("fly", config, f"http://{closed}", wait=False)
    with pytest.raises(ClusterError, match=f"no Ray dashboard answers at http://{closed}"):
        submit_job("train", config, f"http://{closed}", wait=False)
    with (
        pytest.raises(ClusterError, match=rf"cluster\.address: no Ray cluster answers at {closed}"),
        connect(ClusterConfig(address=closed)),
    ):
        pass


def test_a_driver_elsewhere_on_the_machine_joins_by_address_and_token(
    head: Head, folder: Path
) -> None:
    # The node's own address: the head does not listen on the loopback interface.
    nodes = head.log.read_text()
    address = nodes.partition("--address='")[2].partition("'")[0]
    words = ("generate", "config.yaml", "output=joined", "--address")
    code, out, err = run(head, sys.executable, "-m", "synthray", *words, address, cwd=folder)
    assert (code, out) == (1, "")
    assert err.startswith("synthray: no artifact at ")
