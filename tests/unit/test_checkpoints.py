"""Checkpoints are whole or passed over, belong to one run, and do not pile up."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from synthray.errors import ArtifactError, OutputTakenError
from synthray.training.checkpoint import Checkpoint, CheckpointStore, joined


def tensors(value: float) -> dict[str, Tensor]:
    return {
        "model.weight": torch.full((3, 4), value).t(),
        "half": torch.full((2,), value, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "nothing": torch.empty(0, 3),
    }


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(str(tmp_path / "checkpoints"), "a" * 64, keep=2)


def names(store: CheckpointStore) -> list[str]:
    return sorted(path.name for path in Path(store.uri).iterdir())


def path_of(store: CheckpointStore, step: int) -> Path:
    return Path(store.uri) / f"step-{step:09d}.safetensors"


def test_what_was_saved_comes_back(store: CheckpointStore) -> None:
    assert store.latest() is None
    history = [{"step": 5, "loss": 0.1 + 0.2}]
    store.save(Checkpoint(5, tensors(1.5), history, {}, ((0, 3), (4, 2))))
    found = store.latest()
    assert found is not None
    assert found.step == 5
    assert found.crew == ((0, 3), (4, 2))
    assert found.history == history
    assert found.tensors.keys() == tensors(1.5).keys()
    for name, tensor in tensors(1.5).items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def test_a_crew_tells_where_the_number_of_workers_changed() -> None:
    def after(step: int, *crew: tuple[int, int]) -> Checkpoint:
        return Checkpoint(step, {}, [], {}, crew)

    assert joined(None, 3) == ((0, 3),)
    assert joined(after(7, (0, 3)), 3) == ((0, 3),)
    assert joined(after(7, (0, 3)), 2) == ((0, 3), (7, 2))
    assert joined(after(9, (0, 3), (7, 2)), 3) == ((0, 3), (7, 2), (9, 3))
    # Two workers that came at step 7 took no step: three go on as if they had never been there.
    assert joined(after(7, (0, 3), (7, 2)), 3) == ((0, 3),)


def test_the_newest_are_kept_and_the_others_removed(store: CheckpointStore) -> None:
    for step in (5, 10, 100, 15_000):
        store.save(Checkpoint(step, tensors(step), [], {}))
    assert names(store) == ["step-000000100.safetensors", "step-000015000.safetensors"]
    found = store.latest()
    assert found is not None
    assert found.step == 15_000


def test_a_foreign_checkpoint_is_refused_and_left_alone(store: CheckpointStore) -> None:
    store.save(Checkpoint(5, tensors(1), [], {}))
    before = path_of(store, 5).read_bytes()
    with pytest.raises(OutputTakenError, match="a run with other settings") as caught:
        CheckpointStore(store.uri, "b" * 64).latest()
    assert "choose another output" in caught.value.remedy
    assert path_of(store, 5).read_bytes() == before


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "not one":
        path.write_bytes(b"<html>404</html>" * 40)
    elif how == "a flipped bit":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize("how", ["truncated", "empty", "not one", "a flipped bit"])
def test_a_damaged_newest_is_passed_over_for_the_one_before(
    store: CheckpointStore, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(Checkpoint(5, tensors(5), [], {}))
    store.save(Checkpoint(10, tensors(10), [], {}))
    damage(path_of(store, 10), how)
    with caplog.at_level(logging.WARNING):
        found = store.latest()
    assert found is not None
    assert found.step == 5
    assert torch.equal(found.tensors["model.weight"], tensors(5)["model.weight"])
    assert "step-000000010.safetensors is damaged" in caplog.text


@pytest.mark.parametrize("how", ["truncated", "empty", "not one", "a flipped bit"])
def test_when_all_are_damaged_the_error_says_what_to_do(store: CheckpointStore, how: str) -> None:
    store.save(Checkpoint(5, tensors(5), [], {}))
    store.save(Checkpoint(10, tensors(10), [], {}))
    damage(path_of(store, 5), how)
    damage(path_of(store, 10), how)
    with pytest.raises(ArtifactError, match="step-000000010") as caught:
        store.latest()
    assert "delete it" in caught.value.remedy
    assert len(names(store)) == 2


def test_a_damaged_one_does_not_outlive_those_that_follow_it(store: CheckpointStore) -> None:
    """It is the newest by its name: counted among those to keep, it would push out whole ones."""
    store.save(Checkpoint(5, tensors(5), [], {}))
    store.save(Checkpoint(10, tensors(10), [], {}))
    damage(path_of(store, 10), "truncated")
    store.save(Checkpoint(7, tensors(7), [], {}))
    assert names(store) == ["step-000000005.safetensors", "step-000000007.safetensors"]


def test_other_files_beside_checkpoints_are_left_alone(store: CheckpointStore) -> None:
    place = Path(store.uri)
    (place / "ray").mkdir(parents=True)
    others = [place / "notes.txt", place / "step-1.safetensors", place / "ray" / "state.json"]
    for other in others:
        other.write_text("mine")
    for step in range(1, 6):
        store.save(Checkpoint(step, tensors(step), [], {}))
    assert all(other.read_text() == "mine" for other in others)
