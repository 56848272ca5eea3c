"""Generation on a real Ray: the same bytes whatever happens, and clear errors where it must end.

Every run is compared with a reference that was written without Ray, file by file.
"""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from processes import marked, own_processes, until
from tiny import codec, save_artifact
from written import files, write_dataset

from cluster.local.s3 import S3Server
from synthray.artifact import Artifact
from synthray.config import Config, GenerateConfig, parse
from synthray.distributed import generate as generation
from synthray.distributed.generate import generate
from synthray.distributed.serve import direct_opener
from synthray.errors import (
    AccessDeniedError,
    ArtifactError,
    ClusterError,
    NotFoundError,
    OutputTakenError,
    StorageError,
    StorageFullError,
    SynthRayError,
)
from synthray.sampling import dataset
from synthray.sampling.dataset import Plan, Receipt

pytestmark = pytest.mark.timeout(300)
SETTINGS = GenerateConfig(rows=7500, shard_rows=1024, seed=11)
SMALL = GenerateConfig(rows=2000, shard_rows=1024)


@pytest.fixture(scope="module")
def cluster(s3_server: S3Server) -> Iterator[None]:
    """A private Ray whose workers know the S3 server."""
    place = tempfile.mkdtemp(prefix="sr-")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in {**s3_server.env(), "RAY_AUTH_MODE": "disabled"}.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=3,
            object_store_memory=200 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=place,
        )
        yield
        ray.shutdown()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def artifact_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("artifact"))
    save_artifact(place, codec(side=16))
    return place


@pytest.fixture(scope="module")
def reference(artifact_uri: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = str(tmp_path_factory.mktemp("reference"))
    write_dataset(Artifact.load(artifact_uri), out, SETTINGS)
    return files(out)


@pytest.fixture
def written(reference: dict[str, bytes], tmp_path: Path) -> Path:
    """A complete dataset, as a run leaves it."""
    for name, data in reference.items():
        place = tmp_path / name.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return tmp_path


def config(workers: int) -> Config:
    tree = {"data": {"source": "real/"}, "output": "out", "train": {"batch_size": 60}}
    return parse(tree, [f"cluster.workers={workers}"])


def run(artifact_uri: str, out: str, workers: int = 2, **options: Any) -> list[str]:
    """Generate; returns what was said."""
    said: list[str] = []
    settings = options.pop("settings", SETTINGS)
    generate(artifact_uri, settings, out, config(workers), say=said.append, **options)
    return said


def once(action: Callable[[], object], after_rows: int = 1) -> Callable[[int, int], None]:
    """Do something when some rows are done."""
    waiting = [action]

    def show(done: int, total: int) -> None:
        if waiting and after_rows <= done < total:
            waiting.pop()()

    show.done = lambda: not waiting  # type: ignore[attr-defined]
    return show


# The same bytes.


@pytest.mark.parametrize("workers", [1, 5])
def test_any_number_of_workers_writes_the_same_bytes(
    cluster: None, artifact_uri: str, reference: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    """Five are more than the cluster has room for: it goes on with those that there are."""
    shown: list[tuple[int, int]] = []
    run(artifact_uri, str(tmp_path), workers, show=lambda *now: shown.append(now))
    assert files(str(tmp_path)) == reference
    assert shown[-1] == (7500, 7500) and sorted(shown) == shown


def test_metrics_of_a_run_appear_at_the_nodes_metrics_port(
    cluster: None, artifact_uri: str, tmp_path: Path
) -> None:
    """As Prometheus finds them, under the run's name."""
    run(artifact_uri, str(tmp_path / "measured" / "synthetic"), settings=SMALL)
    port = ray.nodes()[0]["MetricsExportPort"]

    def told() -> dict[str, float]:
        with direct_opener().open(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        mine = [line for line in lines if 'run="measured"' in line and "_bucket" not in line]
        return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in mine}

    def whole() -> bool:
        """From the driver and from workers, each in its own time, and shard by shard."""
        found = told()
        rows = found.get("ray_synthray_generate_rows_total", 0)
        return rows >= SMALL.rows and "ray_synthray_generate_shard_seconds_count" in found

    until(whole, 60, "no metrics there, or not of all rows")
    found = told()
    assert found["ray_synthray_generate_rows_total"] == SMALL.rows
    assert found["ray_synthray_generate_shards_total"] == 2
    assert found["ray_synthray_generate_bytes_total"] == sum(
        path.stat().st_size for path in tmp_path.rglob("*.parquet")
    )


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_worker_killed_in_the_middle_changes_nothing(
    cluster: None,
    artifact_uri: str,
    reference: dict[str, bytes],
    tmp_path: Path,
    s3_bucket: str,
    place: str,
) -> None:
    out = str(tmp_path) if place == "local" else f"{s3_bucket}/out"
    killed: list[int] = []

    def kill() -> None:
        killed.append(own_processes("ray::MapWorker")[0])
        os.kill(killed[0], signal.SIGKILL)

    run(artifact_uri, out, show=once(kill))
    assert killed and killed[0] not in own_processes("ray::MapWorker")
    assert files(out) == reference


def test_an_s3_server_killed_and_started_again_changes_nothing(
    cluster: None,
    artifact_uri: str,
    reference: dict[str, bytes],
    s3_server: S3Server,
    s3_bucket: str,
) -> None:
    def restart() -> None:
        s3_server.kill()
        time.sleep(5)  # in which the workers find it gone
        s3_server.start()

    show = once(restart)
    run(artifact_uri, f"{s3_bucket}/out", show=show)
    assert show.done()  # type: ignore[attr-defined]
    assert files(f"{s3_bucket}/out") == reference


DRIVER = """
import sys
from synthray.config import ClusterConfig, GenerateConfig, parse
from synthray.distributed.cluster import connect
from synthray.distributed.generate import generate

if __name__ == "__main__":
    artifact, out, settings = sys.argv[1:]
    tree = {"data": {"source": "real/"}, "output": "out", "cluster": {"workers": 2}}
    with connect(ClusterConfig(workers=2)):
        generate(artifact, GenerateConfig.model_validate_json(settings), out, parse(tree))
"""


def test_a_driver_killed_in_the_middle_is_taken_up_by_the_same_command(
    artifact_uri: str, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    mark = uuid.uuid4().hex
    command = [sys.executable, str(script), artifact_uri, out, SETTINGS.model_dump_json()]
    # What the killed one leaves behind goes with this folder; it is short for Ray's sockets.
    left = tempfile.mkdtemp(prefix="sr-")
    environment = os.environ | {"SYNTHRAY_TEST_MARK": mark, "TMPDIR": left}
    environment["RAY_AUTH_MODE"] = "disabled"
    receipts = Path(out, "_synthray", "receipts")
    with subprocess.Popen(command, env=environment) as first:
        until(lambda: receipts.exists() and any(receipts.glob("0*.json")))
        first.send_signal(signal.SIGKILL)
    assert not dataset.read_manifest(out)
    until(lambda: not marked(mark))  # its cluster ends with it
    before = {path: path.stat().st_mtime_ns for path in receipts.glob("0*.json")}
    assert before
    again = subprocess.run(
        command, env=environment, timeout=240, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {n: d for n, d in files(out).items() if ".tmp" not in n} == reference
    until(lambda: not marked(mark))
    shutil.rmtree(left, ignore_errors=True)


# Doing it again.


def test_a_second_run_returns_at_once_and_touches_nothing(
    cluster: None,
    artifact_uri: str,
    written: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = written
    # As evaluation does: the card is not written again.
    (out / "README.md").write_text("with scores")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    monkeypatch.setattr(generation, "_write_missing", None)
    assert run(artifact_uri, str(out)) == [f"{out} is already complete: 7,500 rows"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == before
    with pytest.raises(OutputTakenError, match="seed = 11 there, 12 here"):
        run(artifact_uri, str(out), settings=SETTINGS.model_copy(update={"seed": 12}))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == before


def test_only_what_is_missing_is_generated_again(
    cluster: None, artifact_uri: str, reference: dict[str, bytes], written: Path
) -> None:
    out = str(written)
    damaged = {Path(dataset.shard_uri(out, shard)) for shard in (1, 4, 6)}
    Path(dataset.manifest_uri(out)).unlink()
    Path(dataset.shard_uri(out, 1)).unlink()
    Path(dataset.shard_uri(out, 4)).write_bytes(b"PAR1")
    Path(dataset.receipt_uri(out, 6)).unlink()
    before = {path: path.stat().st_mtime_ns for path in written.glob("data/*.parquet")}
    run(artifact_uri, out, workers=1)
    assert files(out) == reference
    after = {path: path.stat().st_mtime_ns for path in written.glob("data/*.parquet")}
    assert {path for path in after if before.get(path) != after[path]} == damaged


# Where it must end.


def refused(error: type[SynthRayError], artifact_uri: str, out: str, **options: Any) -> str:
    with pytest.raises(error) as caught:
        run(artifact_uri, out, **options)
    assert type(caught.value) is error
    assert dataset.read_manifest(out) is None
    return str(caught.value)


def test_an_artifact_that_cannot_be_used_is_told_before_anything_is_written(
    cluster: None, artifact_uri: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    assert "no artifact at" in refused(NotFoundError, str(tmp_path / "none"), out)
    broken = shutil.copytree(artifact_uri, tmp_path / "broken")
    weights = bytearray((broken / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "model.safetensors").write_bytes(weights)
    assert "model.safetensors is corrupt" in refused(ArtifactError, str(broken), out)
    assert not Path(out).exists()


def test_an_artifact_replaced_during_the_run_ends_it(
    cluster: None, artifact_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(shutil.copytree(artifact_uri, tmp_path / "own"))
    claim = dataset.claim

    def claim_and_replace(out: str, plan: Plan) -> None:
        claim(out, plan)
        save_artifact(own, codec(side=8))

    monkeypatch.setattr(dataset, "claim", claim_and_replace)
    message = refused(ArtifactError, own, str(tmp_path / "out"), workers=1)
    assert "the plan says" in message and "do not replace an artifact" in message
    assert list(files(str(tmp_path / "out"))) == ["/_synthray/plan.json"]


def test_a_bucket_that_is_missing_or_denied_is_told_and_left_empty(
    cluster: None,
    artifact_uri: str,
    s3_server: S3Server,
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = refused(NotFoundError, artifact_uri, "s3://not-there/out")
    assert "bucket not-there does not exist" in message
    for name, value in s3_server.env(s3_server.reader).items():
        monkeypatch.setenv(name, value)
    refused(AccessDeniedError, artifact_uri, f"{s3_bucket}/out")
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    assert files(f"{s3_bucket}/out") == {}


def test_a_server_that_does_not_answer_is_told(
    cluster: None, artifact_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:9 does not answer"):
        run(artifact_uri, "s3://bucket/out")


def test_a_file_in_the_way_is_told(cluster: None, artifact_uri: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="a file stands where a folder is needed"):
        run(artifact_uri, str(tmp_path / "out"))


def test_a_full_disk_ends_the_run_with_whole_files_only(
    cluster: None, artifact_uri: str, reference: dict[str, bytes], tmp_path: Path
) -> None:
    """The limit is one of the processes that write: they get the error that a full disk gives."""

    def fill() -> None:
        for pid in own_processes("ray::MapWorker"):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (2000, hard))

    show = once(fill)
    message = refused(StorageFullError, artifact_uri, str(tmp_path), show=show)
    assert "part-" in message and "free some space" in message
    found = files(str(tmp_path))
    assert found.items() <= reference.items()
    # With space again, the same command goes on.
    run(artifact_uri, str(tmp_path), workers=1)
    assert files(str(tmp_path)) == reference


def test_a_shard_that_ends_its_workers_is_not_tried_for_ever(
    cluster: None, artifact_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(generation.ShardWriter):
        """Dies in the middle of every shard, as of exhausted memory."""

        def _verified_or_written(self, shard: int) -> Receipt:
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("not reached")

    monkeypatch.setattr(generation, "MAX_ATTEMPTS", 2)
    monkeypatch.setattr(generation, "ShardWriter", Deadly)
    settings = SETTINGS.model_copy(update={"rows": 1000})
    message = refused(ClusterError, artifact_uri, str(tmp_path), settings=settings)
    assert "every worker that began it died" in message and "generate.shard_rows" in message
