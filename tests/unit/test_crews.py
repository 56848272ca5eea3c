"""Training that is asked to save or to stop, and goes on with another number of workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from gloo import run_workers
from test_engine import BATCH, STEPS, assert_identical, config_of, run, setup
from test_workers import GENTLE
from torch import Tensor

from synthray.config import Config
from synthray.training import asking
from synthray.training.asking import Asking, Wish
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.loop import Hooks, Outcome, train

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = {name: config_of(name, GENTLE) for name in ("gan", "dcgan", "cvae")}
WORKERS = 3


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world is asked after every step, as if each took a second."""
    monkeypatch.setattr(asking, "SECONDS", 0.0)


def asked(
    config: Config,
    place: Path,
    wishes: dict[int, Wish],
    rank: int = 0,
    workers: int = 1,
    events: list[str] | None = None,
) -> tuple[Engine, Outcome]:
    """Train on from what is at ``place``; ``wishes`` by the number of steps taken before."""
    engine, codec, batches = setup(config, rank, workers)
    store = CheckpointStore(str(place), "f" * 64, config.train.keep_checkpoints)
    hooks = Hooks(
        ask=lambda: wishes.get(engine.step, Wish.NOTHING),
        on_event=lambda line: None if events is None else events.append(line),
    )
    return engine, train(engine, codec, batches, store, hooks, rank=rank)


def saved(place: Path) -> list[int]:
    return sorted(int(path.name[5:14]) for path in place.glob("step-*.safetensors"))


@pytest.mark.parametrize("name", list(CASES))
def test_training_that_is_asked_to_stop_goes_on_bit_identically(name: str, tmp_path: Path) -> None:
    """After step 3: in the middle of an epoch, where nothing else would be evaluated or saved."""
    config = CASES[name]
    whole, history = run(config, tmp_path / "whole")
    engine, outcome = asked(config, tmp_path / "parts", {3: Wish.STOP})
    assert outcome.interrupted
    assert engine.step == 3
    assert saved(tmp_path / "parts") == [3]
    engine, outcome = asked(config, tmp_path / "parts", {})
    assert not outcome.interrupted
    assert_identical(whole.state(), engine.state())
    assert outcome.history == history


def test_a_checkpoint_that_is_asked_for_changes_nothing_and_can_be_gone_on_from(
    tmp_path: Path,
) -> None:
    config = CASES["dcgan"]
    whole, _ = run(config, tmp_path / "whole")
    engine, outcome = asked(config, tmp_path / "saved", {3: Wish.SAVE, 5: Wish.SAVE})
    assert not outcome.interrupted
    assert_identical(whole.state(), engine.state())
    assert saved(tmp_path / "saved") == [5, STEPS]
    (tmp_path / "saved" / f"step-{STEPS:09d}.safetensors").unlink()
    assert_identical(whole.state(), run(config, tmp_path / "saved")[0].state())


def test_a_stop_after_the_last_step_or_the_hooks_own_is_the_end_anyway(tmp_path: Path) -> None:
    engine, outcome = asked(CASES["gan"], tmp_path, {STEPS: Wish.STOP})
    assert not outcome.interrupted
    assert engine.step == STEPS
    assert outcome.guard


def test_the_world_is_asked_about_every_second_whatever_the_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "SECONDS", 1.0)
    now, heard = 0.0, []

    def ask() -> Wish:
        heard.append(now)
        return Wish.NOTHING

    listening = Asking(ask, torch.device("cpu"), clock=lambda: now)
    for pace in (0.001, 0.3, 5.0):
        for _ in range(int(20 / pace)):
            now += pace
            assert listening.after_step() is Wish.NOTHING
        # Once at the old pace, and then no step is more than a second and its own length late.
        gaps = [b - a for a, b in zip(heard[-4:], heard[-3:], strict=False)]
        assert all(gap <= 1 + pace for gap in gaps)
        assert all(gap > 0.5 for gap in gaps)
    assert len(heard) < 60


def worker(rank: int, workers: int, folder: str) -> dict[str, Any]:
    asking.SECONDS = 0.0
    found: dict[str, Any] = {}
    for name, config in CASES.items():
        found[name] = run(config, f"{folder}/{name}", rank=rank, workers=workers)[0].state()
    # The last worker alone is told to stop.
    wishes = {3: Wish.STOP} if rank == workers - 1 else {}
    place = Path(folder) / "crew"
    engine, outcome = asked(CASES["dcgan"], place, wishes, rank, workers)
    found["stopped"] = [outcome.interrupted, engine.step]
    dist.barrier()  # rank 0 writes the checkpoint
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Three workers on a batch of 16: shares of 6, 5 and 5."""
    folder = tmp_path_factory.mktemp("gloo")
    return folder, run_workers(worker, WORKERS, folder, str(folder))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("one")
    return {name: run(config, folder / name)[0].state() for name, config in CASES.items()}


@pytest.mark.parametrize("name", list(CASES))
def test_unequal_shares_are_one_training_within_float_tolerance(
    three: tuple[Path, list[dict[str, Any]]], one: dict[str, dict[str, Tensor]], name: str
) -> None:
    """The tolerance is that of equal shares, see `test_workers`; were every worker to count the
    same, whatever its share, weights would be a hundred times as far apart."""
    assert BATCH % WORKERS
    for found in three[1]:
        assert_identical(found[name], three[1][0][name])
    for key, tensor in one[name].items():
        torch.testing.assert_close(three[1][0][name][key], tensor, rtol=1e-4, atol=1e-5)


def test_one_worker_is_heard_by_all(three: tuple[Path, list[dict[str, Any]]]) -> None:
    assert [found["stopped"] for found in three[1]] == [[True, 3]] * WORKERS


def test_fewer_workers_go_on_from_the_same_checkpoint_and_say_so(
    three: tuple[Path, list[dict[str, Any]]], one: dict[str, dict[str, Tensor]]
) -> None:
    events: list[str] = []
    engine, outcome = asked(CASES["dcgan"], three[0] / "crew", {}, events=events)
    assert outcome.crew == ((0, WORKERS), (3, 1))
    assert any("1 from step 3 on, 3 before" in line for line in events)
    for key, tensor in one["dcgan"].items():
        torch.testing.assert_close(engine.state()[key], tensor, rtol=1e-4, atol=1e-5)
