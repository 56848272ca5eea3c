"""Training on a real Ray: what it leaves, and that no kill changes a bit of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mortal
import numpy as np
import pytest
import torch
from PIL import Image
from processes import end_all, marked, until, with_path

from synthray import config as configs
from synthray import rng
from synthray.artifact import Artifact
from synthray.config import Config
from synthray.distributed.cluster import connect
from synthray.distributed.train import train
from synthray.errors import ConfigError, NonFiniteError, OutputTakenError, StorageError
from synthray.rng import BatchRandom, Rows
from synthray.training.loop import Progress

pytestmark = pytest.mark.timeout(360)
STEPS, FAMILY = 24, "mortal:Mortal"
MARK = "SYNTHRAY_TEST_RUN"
DRIVER = """
import sys
from synthray import config
from synthray.distributed.cluster import connect
from synthray.distributed.train import train
settings = config.load(sys.argv[1])
with connect(settings.cluster):
    print("digest", train(settings))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two hundred pictures in two classes: bright left halves, and bright right halves."""
    place = tmp_path_factory.mktemp("source")
    random = np.random.default_rng(0)
    for label, columns in {"left": slice(0, 6), "right": slice(6, 12)}.items():
        (place / label).mkdir()
        for index in range(100):
            pixels = random.integers(0, 80, (12, 12))
            pixels[:, columns] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(place / label / f"{index:03}.png")
    return str(place)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What drivers and workers need to know; gives the folder of orders."""
    orders = tmp_path_factory.mktemp("orders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", with_path(Path(__file__).parent))
        patch.setenv(mortal.FOLDER, str(orders))
        yield orders


@pytest.fixture(scope="module")
def cluster(environment: Path) -> Iterator[None]:
    with connect(configs.ClusterConfig(workers=2)):
        yield


@pytest.fixture
def orders(environment: Path) -> Iterator[Path]:
    """The folder of orders, without any."""
    for order in environment.iterdir():
        order.unlink()
    yield environment
    for order in environment.iterdir():
        order.unlink()


def settings(source: str, output: Path | str, **changes: Any) -> Config:
    params = {"latent_dim": 8, "generator_widths": [16, 24], "critic_widths": [24, 16]}
    tree = {
        "data": {"source": source},
        "model": {"name": FAMILY, "params": params},
        "train": {
            "steps": STEPS,
            "batch_size": 32,
            "eval_every": 8,
            "checkpoint_every": 5,
            "precision": "float32",
        },
        "output": str(output),
    }
    return configs.parse(tree, [f"{key}={value}" for key, value in changes.items()])


def quiet(line: str) -> None:
    """Say nothing."""


def starts(orders: Path) -> int:
    """How many workers have begun to train."""
    found = orders / "starts"
    return len(found.read_text().splitlines()) if found.exists() else 0


def tree_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes of all files, and when they were written."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def samples(output: Path) -> torch.Tensor:
    """Some samples of the artifact, within -1 … 1."""
    model = Artifact.load(str(output / "artifact"), trust=[FAMILY]).model
    random = BatchRandom(rng.stream(0, "test"), Rows.all(64))
    return model.sample(64, random, torch.arange(64)[:, None] % 2)


@pytest.fixture(scope="module")
def undisturbed(
    cluster: None, source: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, list[Progress]]:
    """A run that nothing happens to: its output, its digest, its progress."""
    output = tmp_path_factory.mktemp("undisturbed")
    shown: list[Progress] = []
    return output, train(settings(source, output), shown.append, quiet), shown


def test_training_leaves_an_artifact_checkpoints_and_pictures(
    undisturbed: tuple[Path, str, list[Progress]],
) -> None:
    output, digest, shown = undisturbed
    artifact = Artifact.load(str(output / "artifact"), trust=[FAMILY])
    assert artifact.digest == digest
    assert artifact.card["steps"] == STEPS
    assert artifact.card["rows"] == 200
    assert artifact.codec.spec.shape == (1, 12, 12)
    assert artifact.codec.spec.conditions == (2,)
    assert all(np.isfinite(value) for value in artifact.card["losses"].values())
    assert sorted(path.name for path in (output / "samples").iterdir()) == [
        f"step-{step:09d}.png" for step in (8, 16, 24)
    ]
    with Image.open(output / "samples" / "step-000000024.png") as picture:
        assert picture.width > 10 * 12
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == [
        "healthy.safetensors",
        "step-000000020.safetensors",
        "step-000000024.safetensors",
    ]
    assert shown
    assert {progress.steps for progress in shown} == {STEPS}


def test_training_is_logged_for_tensorboard_with_every_evaluation(
    undisturbed: tuple[Path, str, list[Progress]],
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(undisturbed[0] / "logs")).Reload()
    assert [event.step for event in found.Scalars("eval/distance")] == [8, 16, 24]
    assert [event.step for event in found.Images("samples")] == [8, 16, 24]
    digest = found.Tensors("digest/text_summary")[0].tensor_proto.string_val
    assert digest == [undisturbed[1].encode()]


def test_the_same_command_again_trains_nothing(
    undisturbed: tuple[Path, str, list[Progress]], source: str, orders: Path
) -> None:
    output, digest, _ = undisturbed
    before = tree_of(output)
    lines: list[str] = []
    assert train(settings(source, output), say=lines.append) == digest
    assert tree_of(output) == before
    assert starts(orders) == 0
    assert any("already trained" in line for line in lines)


def test_an_output_with_another_runs_artifact_is_refused_untouched(
    undisturbed: tuple[Path, str, list[Progress]], source: str, orders: Path
) -> None:
    output, _, _ = undisturbed
    before = tree_of(output)
    for change in ({"seed": 1}, {"train.steps": 30}, {"model.params.latent_dim": 9}):
        with pytest.raises(OutputTakenError, match="other settings or data") as caught:
            train(settings(source, output, **change), say=quiet)
        assert "choose another output" in caught.value.remedy
    assert tree_of(output) == before
    assert starts(orders) == 0


def test_an_output_with_another_runs_checkpoints_is_refused_untouched(
    undisturbed: tuple[Path, str, list[Progress]], source: str, orders: Path, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").mkdir()
    for path in (undisturbed[0] / "checkpoints").iterdir():
        (tmp_path / "checkpoints" / path.name).write_bytes(path.read_bytes())
    before = tree_of(tmp_path)
    with pytest.raises(OutputTakenError, match="a run with other settings"):
        train(settings(source, tmp_path, seed=1), say=quiet)
    assert tree_of(tmp_path) == before
    assert starts(orders) == 0


def test_what_cannot_be_trained_is_refused_before_it_starts(
    cluster: None, source: str, orders: Path, tmp_path: Path
) -> None:
    for change, text in [
        ({"train.batch_size": 512}, "512 exceeds the 200 rows"),
        ({"train.batch_size": 512, "data.stream": "always"}, "512 exceeds the 200 rows"),
        (
            {"cluster.workers": 3, "cluster.min_workers": 2, "data.stream": "always"},
            "32 rows do not divide among 3 workers; .*\n.*use a multiple of 6",
        ),
        ({"model": "{name: vae}"}, "vae does not model conditions"),
        ({"model.params.dropuot": 0.1}, "did you mean 'dropout'"),
    ]:
        with pytest.raises(ConfigError, match=text):
            train(settings(source, tmp_path, **change), say=quiet)
    assert tree_of(tmp_path) == {}
    assert starts(orders) == 0


def test_a_worker_that_is_killed_changes_no_bit_and_two_workers_agree_with_one(
    undisturbed: tuple[Path, str, list[Progress]], source: str, orders: Path, tmp_path: Path
) -> None:
    """One of two workers dies in step 13, three steps after a checkpoint."""
    two = {"cluster.workers": 2}
    digest = train(settings(source, tmp_path / "calm", **two), say=quiet)
    assert starts(orders) == 2
    (orders / "kill").write_text("13")
    assert train(settings(source, tmp_path / "killed", **two), say=quiet) == digest
    assert not (orders / "kill").exists()
    assert starts(orders) == 6
    # Weights are compared in tests/unit/test_workers.py. Here samples are, for Adam moves a bias
    # before a batch norm by the sign of rounding errors, and the norm takes that out again.
    torch.testing.assert_close(
        samples(tmp_path / "killed"), samples(undisturbed[0]), rtol=0, atol=5e-3
    )


def test_streamed_data_trains_and_survives_a_killed_worker(
    cluster: None, source: str, orders: Path, tmp_path: Path
) -> None:
    (orders / "kill").write_text("13")
    lines: list[str] = []
    changes = {"data.stream": "always", "cluster.workers": 2}
    train(settings(source, tmp_path, **changes), say=lines.append)
    assert any("streams through Ray Data" in line for line in lines)
    assert starts(orders) == 4
    artifact = Artifact.load(str(tmp_path / "artifact"), trust=[FAMILY])
    assert artifact.card["steps"] == STEPS


def test_losses_that_are_not_finite_are_told_and_not_tried_again(
    cluster: None, source: str, orders: Path, tmp_path: Path
) -> None:
    changes = {"model.params.generator": "{name: sgd, lr: 1.0e+30}", "train.max_failures": 3}
    config = settings(source, tmp_path, **changes)
    with pytest.raises(NonFiniteError, match=r"phase '\w+', step [12]:") as caught:
        train(config, say=quiet)
    assert type(caught.value) is NonFiniteError
    assert starts(orders) == 1
    assert not (tmp_path / "artifact").exists()


def test_storage_that_fails_is_told_and_not_tried_again(
    cluster: None, source: str, orders: Path, tmp_path: Path
) -> None:
    (tmp_path / "samples").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="samples"):
        train(settings(source, tmp_path, **{"cluster.workers": 2}), say=quiet)
    assert starts(orders) == 2
    # The remedy, and the same command: it goes on from the last checkpoint, with one worker too.
    (tmp_path / "samples").unlink()
    train(settings(source, tmp_path), say=quiet)
    assert Artifact.load(str(tmp_path / "artifact"), trust=[FAMILY]).card["steps"] == STEPS


# --- the driver -------------------------------------------------------------------------------


@dataclass
class Driver:
    """A process of its own that trains slowly, with its cluster's files in a folder of its own."""

    output: Path
    config: str
    mark: str
    temporary: Path

    def start(self, *command: str, **streams: Any) -> subprocess.Popen[str]:
        environment = os.environ | {MARK: self.mark, "TMPDIR": str(self.temporary)}
        environment.pop("RAY_ADDRESS", None)
        words = [sys.executable, *command, self.config]
        return subprocess.Popen(words, env=environment, text=True, **streams)

    def wait_for_step(self, step: int) -> None:
        saved = self.output / "checkpoints" / f"step-{step:09d}.safetensors"
        until(saved.exists, 120, "no checkpoint was written")

    def assert_nothing_left(self) -> None:
        until(lambda: not marked(self.mark), 60, "processes are left")
        assert not list(self.temporary.glob("sr-*")), "files are left"


@pytest.fixture
def driver(source: str, orders: Path, tmp_path: Path) -> Iterator[Driver]:
    output, config = tmp_path / "output", tmp_path / "config.yaml"
    config.write_text(configs.dump(settings(source, output)))
    (orders / "nap").write_text("0.5")
    # Short, for the length of socket names is limited.
    own = Driver(output, str(config), uuid.uuid4().hex, Path(tempfile.mkdtemp(prefix="sr")))
    try:
        yield own
    finally:
        end_all(own.mark)
        shutil.rmtree(own.temporary, ignore_errors=True)


def test_a_driver_that_is_killed_goes_on_by_the_same_command(
    undisturbed: tuple[Path, str, list[Progress]], driver: Driver, orders: Path
) -> None:
    """And at the end no process is left."""
    with driver.start("-c", DRIVER, stdout=subprocess.PIPE) as process:
        driver.wait_for_step(10)
        assert len(marked(driver.mark)) > 3
        process.kill()
    with contextlib.suppress(AssertionError):  # Ray notices; whatever does not is killed.
        until(lambda: not marked(driver.mark), 20)
    end_all(driver.mark)
    until(lambda: not marked(driver.mark), 60)
    assert not (driver.output / "artifact").exists()
    (orders / "nap").unlink()
    with driver.start("-c", DRIVER, stdout=subprocess.PIPE) as process:
        told, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    assert f"digest {undisturbed[1]}" in told
    assert starts(orders) == 2
    driver.assert_nothing_left()  # Nor what the killed one left: the next one sweeps.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_asked_to_end_goes_in_order(
    driver: Driver, number: signal.Signals
) -> None:
    process = driver.start("-m", "synthray", "train", stderr=subprocess.PIPE)
    driver.wait_for_step(5)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    saved = re.search(r"left a checkpoint of step (\d+)", told)
    assert saved, told
    assert (driver.output / "checkpoints" / f"step-{int(saved[1]):09d}.safetensors").exists()
    assert "interrupted; the same command goes on" in told
    assert "Traceback" not in told
    driver.assert_nothing_left()
