"""The virtual dataset: any slice, anywhere, by anyone, is the same."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tiny import codec, ring, save_artifact, vector_codec

from synthray import rng
from synthray.artifact import Artifact
from synthray.data.schema import Column, Kind, Schema
from synthray.data.table_codec import TableCodec
from synthray.errors import ConditionError, SchemaError, UsageError
from synthray.rng import BatchRandom
from synthray.sampling import virtual as virtual_module
from synthray.sampling.virtual import VirtualDataset


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place: Path = tmp_path_factory.mktemp("artifact")
    conditions = {
        "digit": pa.array([0, 1, 2, 0, 1, 2, 0, 3]),
        "bold": pa.array([True, True, False, False, False, True, True, True]),
        "name": pa.array(["1", "true", "A", "a", "1", "true", "A", "a"]),
    }
    save_artifact(str(place), codec(conditions))
    return Artifact.load(str(place))


@pytest.fixture(scope="module")
def first(artifact: Artifact) -> pa.Table:
    """Rows 0 … 3072."""
    return VirtualDataset(artifact, seed=3).rows(0, 3072)


# Slices.


@pytest.mark.parametrize(
    ("start", "count"),
    [
        (0, 1),
        (1, 1),
        (1023, 1),
        (1023, 2),
        (1024, 1024),
        (1000, 1100),
        (5, 3000),
        (2047, 1),
        (7, 0),
    ],
)
def test_any_range_is_the_same_slice(
    artifact: Artifact, first: pa.Table, start: int, count: int
) -> None:
    rows = VirtualDataset(artifact, seed=3).rows(start, count)
    assert rows.equals(first.slice(start, count))
    assert rows.schema.equals(first.schema)


@pytest.mark.parametrize(("most", "lengths"), [(1, [24, 1024, 52]), (2, [1048, 52]), (8, [1100])])
def test_blocks_are_decoded_together_as_far_as_they_fit(
    most: int,
    lengths: list[int],
    artifact: Artifact,
    first: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = 4 * 1024 * math.prod(artifact.codec.spec.shape)
    monkeypatch.setattr(virtual_module, "MOST_BYTES", most * block)
    batches = list(VirtualDataset(artifact, seed=3).batches(1000, 1100))
    assert [len(batch) for batch in batches] == lengths
    assert pa.concat_tables(batches).equals(first.slice(1000, 1100))


def test_batches_are_computed_only_when_they_are_taken(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual = VirtualDataset(artifact)
    made: list[range] = []
    sample = virtual_module.sample_blocks

    def spied(*args: Any) -> Any:
        made.append(args[3])
        return sample(*args)

    monkeypatch.setattr(virtual_module, "sample_blocks", spied)
    next(virtual.batches(2000, 10**12))
    assert made == [range(1, virtual._together)]


def test_blocks_are_independent_of_their_order(artifact: Artifact, first: pa.Table) -> None:
    virtual = VirtualDataset(artifact, seed=3)
    for index in (2, 0, 1, 2):
        assert virtual.block(index).equals(first.slice(index * 1024, 1024))


def test_several_threads_at_once_get_the_same(artifact: Artifact, first: pa.Table) -> None:
    virtual = VirtualDataset(artifact, seed=3)
    threads = torch.get_num_threads()
    starts = [0, 1024, 2048, 500, 1500, 100]
    with ThreadPoolExecutor(3) as pool:
        for start, rows in zip(
            starts, pool.map(lambda s: virtual.rows(s, 700), starts), strict=True
        ):
            assert rows.equals(first.slice(start, 700))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("start", [2**40, 2**62 - 3, 2**63 - 1030])
def test_rows_far_away_are_rows_like_any_other(artifact: Artifact, start: int) -> None:
    virtual = VirtualDataset(artifact, seed=rng.MAX_SEED)
    rows = virtual.rows(start, 6)
    assert rows.num_rows == 6
    assert rows.slice(2, 2).equals(virtual.rows(start + 2, 2))
    assert not rows.equals(virtual.rows(0, 6))


def test_other_seeds_give_other_rows(artifact: Artifact, first: pa.Table) -> None:
    assert not VirtualDataset(artifact, seed=4).rows(0, 10).equals(first.slice(0, 10))


def test_the_form_of_the_images_changes_nothing_else(artifact: Artifact, first: pa.Table) -> None:
    tensors = VirtualDataset(artifact, seed=3, images="tensor").rows(0, 50)
    assert tensors.drop_columns("image").equals(first.slice(0, 50).drop_columns("image"))


def test_rows_of_numbers_are_a_virtual_dataset_too(tmp_path: Path) -> None:
    made = vector_codec(ring(), "mode")
    save_artifact(str(tmp_path), made, "gan", {"generator_widths": [16], "latent_dim": 8})
    loaded = Artifact.load(str(tmp_path))
    virtual = VirtualDataset(loaded, seed=3, where={"mode": 5})
    whole = virtual.rows(0, 2100)
    assert whole.schema.equals(ring().schema)
    assert set(whole["mode"].to_pylist()) == {5}
    assert virtual.rows(1000, 300).equals(whole.slice(1000, 300))
    assert not VirtualDataset(loaded, seed=4).rows(0, 9).equals(whole.slice(0, 9))
    lowest, highest = min(whole["n"].to_pylist()), max(whole["n"].to_pylist())
    assert -3 <= lowest < highest <= 3


# Conditions.


def test_held_conditions_hold_in_every_row(artifact: Artifact) -> None:
    rows = VirtualDataset(artifact, where={"digit": 2, "bold": True}).rows(1000, 100)
    assert set(rows["digit"].to_pylist()) == {2} and set(rows["bold"].to_pylist()) == {True}


def test_what_was_never_seen_together_is_never_drawn(artifact: Artifact, first: pa.Table) -> None:
    columns = [first[name].to_pylist() for name in ("digit", "bold", "name")]
    seen = {(0, True, "1"), (1, True, "true"), (2, False, "A"), (0, False, "a"), (1, False, "1")}
    seen |= {(2, True, "true"), (0, True, "A"), (3, True, "a")}
    assert set(zip(*columns, strict=True)) == seen


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"digit": "2"}, 2),
        ({"bold": "true"}, True),
        ({"bold": "False"}, False),
        ({"name": 1}, "1"),
        ({"name": "true"}, "true"),
        ({"name": "a"}, "a"),
        ({"name": "A"}, "A"),
    ],
)
def test_a_value_is_found_by_its_text(
    artifact: Artifact, where: dict[str, Any], expected: Any
) -> None:
    rows = VirtualDataset(artifact, where=where).rows(0, 5)
    (name,) = where
    assert rows[name].to_pylist() == [expected] * 5


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (
            {"dgit": 1},
            "where: 'dgit' is not a condition of this model\n  → its conditions: digit, ",
        ),
        ({"image": "x"}, "where: 'image' is not a condition of this model"),
        (
            {"digit": 7},
            "where: digit = 7 is not in the training data\n  → known values: 0, 1, 2, 3",
        ),
        ({"digit": True}, "where: digit = True is not in the training data"),
        ({"bold": 1}, "where: bold = 1 is not in the training data"),
        ({"name": "B"}, "where: name = 'B' is not in the training data"),
    ],
)
def test_unknown_conditions_and_values_are_named(
    artifact: Artifact, where: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        VirtualDataset(artifact, where=where)
    assert words in str(caught.value)


def test_a_model_without_conditions_says_so(tmp_path: Path) -> None:
    save_artifact(str(tmp_path), codec({}))
    with pytest.raises(ConditionError, match="its conditions: none"):
        VirtualDataset(Artifact.load(str(tmp_path)), where={"label": 1})


@pytest.mark.parametrize(
    ("start", "count", "told"),
    [
        (-1, 5, "start: -1 is negative"),
        (0, -1, "count: -1 is negative"),
        (2**63, 1, rf"rows {2**63} … \+1 are out of range"),
        (0, 2**63 + 1, rf"rows 0 … \+{2**63 + 1} are out of range"),
    ],
)
def test_ranges_that_do_not_exist_are_refused(
    artifact: Artifact, start: int, count: int, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        VirtualDataset(artifact).rows(start, count)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(artifact: Artifact, seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed: {seed} is out of range"):
        VirtualDataset(artifact, seed=seed)


def test_the_ends_of_the_ranges_work(artifact: Artifact) -> None:
    starts_seeds = itertools.product([0, 2**63 - 1], [0, rng.MAX_SEED])
    for start, seed in starts_seeds:
        assert VirtualDataset(artifact, seed=seed).rows(start, 1).num_rows == 1


class Coin(torch.nn.Module):
    """Compact rows of one column of two codes."""

    holds, joins = False, False

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def sample(self, n: int, random: BatchRandom, cond: torch.Tensor | None) -> torch.Tensor:
        return (random.uniform(1) < 0.5).float()


def test_ids_are_unique_in_the_whole_dataset_and_differ_by_seed(artifact: Artifact) -> None:
    columns = (
        Column(name="id", kind=Kind.id, pattern=r"[A-Z]\d{2}"),
        Column(name="side", kind=Kind.categorical),
    )
    made = TableCodec(Schema(columns=columns))
    made.fit([made.partial(pa.table({"id": ["A00", "B11"], "side": ["heads", "tails"]}))])
    coins = Artifact(artifact.manifest, Coin(), made)  # type: ignore[arg-type]
    virtual = VirtualDataset(coins, seed=3)
    whole = virtual.rows(0, 2600)
    assert len(whole["id"].unique()) == 2600
    assert virtual.rows(1000, 100).equals(whole.slice(1000, 100))
    assert virtual.block(1).equals(whole.slice(1024, 1024))
    assert VirtualDataset(coins, seed=4).rows(0, 2600)["id"] != whole["id"]
    # The pattern has 2,600 ids: the block they end in is made as far as it goes.
    with pytest.raises(SchemaError, match="2,600 ids"):
        virtual.rows(2500, 101)
