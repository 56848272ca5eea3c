"""Sketches: they merge in any grouping, and tell of the whole column what they say they do."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from decimal import Decimal
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from synthray.data.hashing import hash_cells, row_keys
from synthray.data.sketches import Distinct, Sample, Tally, ValueCounts

RANDOM = np.random.default_rng(0)


def column(cells: Any, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells, kind)])


def plain(sketch: Any) -> Any:
    """All of a sketch, comparable."""
    tree = {}
    for item in dataclasses.fields(sketch):
        value = getattr(sketch, item.name)
        if isinstance(value, Tally):
            value = value.as_dict()
        tree[item.name] = value.tolist() if isinstance(value, np.ndarray) else value
    return tree


def cut(rows: pa.Table, parts: int) -> list[pa.Table]:
    ends = np.sort(RANDOM.integers(0, len(rows), parts - 1)).tolist()
    return [rows.slice(a, b - a) for a, b in zip([0, *ends], [*ends, len(rows)], strict=True)]


def folded(parts: list[Any]) -> Any:
    """Merged pair by pair in a random tree and order."""
    parts = list(parts)
    while len(parts) > 1:
        a, b = RANDOM.permutation(len(parts))[:2]
        merged = parts[a].merge(parts[b])
        parts = [part for i, part in enumerate(parts) if i not in (a, b)] + [merged]
    return parts[0]


ROWS = pa.table(
    {
        "few": RANDOM.integers(0, 50, 20_000),
        "many": RANDOM.normal(0, 1, 20_000),
        "spiked": np.where(RANDOM.random(20_000) < 0.5, 0, RANDOM.integers(0, 2**40, 20_000)),
        "text": [f"{i:x}" if i % 3 else None for i in RANDOM.integers(0, 15_000, 20_000)],
    }
)


@pytest.mark.parametrize("name", ["few", "many", "spiked", "text"])
@pytest.mark.parametrize("sketch", [ValueCounts, Distinct])
def test_they_merge_in_any_grouping(sketch: Any, name: str) -> None:
    parts = [sketch.of(part[name]) for part in cut(ROWS, 9)]
    expected = plain(reduce(lambda a, b: a.merge(b), parts))
    for _ in range(3):
        assert plain(folded(parts)) == expected
    assert plain(folded([*parts, sketch()])) == expected


@pytest.mark.parametrize("name", ["few", "many", "spiked"])
def test_samples_do_not_depend_on_chunks_or_order(name: str) -> None:
    whole = plain(Sample.of(ROWS[name], row_keys(ROWS), 1000))
    for _ in range(3):
        mixed = ROWS.take(pa.array(RANDOM.permutation(len(ROWS))))
        parts = [Sample.of(part[name], row_keys(part), 1000) for part in cut(mixed, 7)]
        assert plain(folded([*parts, Sample()])) == whole


def test_counts_are_exact_up_to_the_limit() -> None:
    cells = RANDOM.integers(0, 100, 5000).tolist()
    found = folded([ValueCounts.of(column(cells[i::3]), 100) for i in range(3)])
    assert found.tally.as_dict() == Counter(cells) and not found.overflowed
    assert (found.count, found.missing) == (5000, 0)
    parts = [ValueCounts.of(column(range(i, i + 60)), 100) for i in (0, 60)]
    assert parts[0].merge(parts[1]).overflowed and not parts[0].overflowed


def test_frequent_values_survive_the_overflow() -> None:
    cells = np.where(RANDOM.random(100_000) < 0.01, 7, RANDOM.integers(10, 2**50, 100_000))
    parts = [ValueCounts.of(column(cells[i::10])) for i in range(10)]
    found = folded(parts)
    assert found.overflowed
    assert found.tally.as_dict() == {7: int((cells == 7).sum())}


def test_missing_cells_and_nan_are_counted_apart() -> None:
    found = ValueCounts.of(column([1.0, None, float("nan"), -0.0, 0.0]))
    assert (found.count, found.missing) == (3, 2)
    assert found.tally.as_dict() == {0.0: 2, 1.0: 1}
    empty = ValueCounts.of(column([None, None], pa.string()))
    assert (empty.count, empty.missing, len(empty.tally)) == (0, 2, 0)
    assert Distinct.of(column([None], pa.int8())).estimate == 0
    assert Sample.of(column([None, np.inf, 2.0], pa.float64())).values.tolist() == [2.0]


@pytest.mark.parametrize(
    "cells",
    [
        ["a", "ä", "", "ab", "ba"],
        [b"\x00", b"\x00\x00", b""],
        [True, False],
        [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)],
        [datetime.datetime(1970, 1, 1), datetime.datetime(2026, 1, 1)],
        [datetime.time(0), datetime.time(23, 59)],
        [Decimal("1.10"), Decimal("1.11")],
        [-1, 2**40],
    ],
)
def test_values_of_every_kind_are_counted(cells: list[Any]) -> None:
    twice = column([*cells, None, *cells])
    assert ValueCounts.of(twice).tally.as_dict() == dict.fromkeys(sorted(cells), 2)
    found = Distinct.of(twice)
    assert found.estimate == len(cells) and found.counts.tolist() == [2] * len(cells)
    encoded = twice.combine_chunks().dictionary_encode()
    assert hash_cells(encoded).tolist() == hash_cells(twice).tolist()
    assert ValueCounts.of(pa.chunked_array([encoded])).tally.as_dict() == dict.fromkeys(cells, 2)


def test_distinct_values_are_estimated() -> None:
    # Four standard errors of 1 / sqrt(1024).
    for number in (2000, 30_000, 300_000):
        found = Distinct.of(column(np.arange(number) * 3))
        assert abs(found.estimate / number - 1) < 4 / 32
        assert found.unique
        text = Distinct.of(column(np.arange(number)).cast(pa.string()))
        assert abs(text.estimate / number - 1) < 4 / 32
    half = Distinct.of(column(np.arange(10_000) // 2))
    assert not half.unique


def test_a_sample_is_like_the_column() -> None:
    keys = row_keys(ROWS)
    found = Sample.of(ROWS["spiked"], keys, 2000)
    assert found.count == len(ROWS) and len(found.values) == 2000
    assert found.values.dtype == np.int64
    # Of 2,000 cells, half are 0: four standard errors are 4 * sqrt(0.25 / 2000).
    share = np.average(found.values == 0, weights=found.weights)
    assert abs(share - 0.5) < 0.045
    normal = Sample.of(ROWS["many"], keys, 2000).values
    assert abs(normal.mean()) < 4 / 2000**0.5 and abs(normal.std() - 1) < 0.07


def test_a_sample_of_equal_rows_keeps_their_weight() -> None:
    chunk = pa.table({"x": [0] * 900 + list(range(1, 101))})
    parts = [Sample.of(chunk["x"], row_keys(chunk), 500) for _ in range(4)]
    found = folded(parts)
    assert found.count == 4000 and set(found.weights.tolist()) == {4}
    share = np.average(found.values == 0, weights=found.weights)
    assert abs(share - 0.9) < 4 * (0.09 / 500) ** 0.5


def test_large_whole_numbers_are_sampled_exactly() -> None:
    cells = [2**63 - 1, -(2**63), 2**53 + 1]
    assert sorted(Sample.of(column(cells)).values.tolist()) == sorted(cells)
    assert Sample.of(column([2**64 - 1], pa.uint64())).values.tolist() == [2**64 - 1]


def test_nested_cells_have_no_hash() -> None:
    with pytest.raises(TypeError, match="list"):
        hash_cells(column([[1]]))


def test_rows_of_many_kinds_have_keys() -> None:
    rows = pa.table({"a": [1, 1, 2], "b": ["x", "x", None], "c": pa.array([[1], [2], [3]])})
    keys = row_keys(rows)
    assert len(set(keys.tolist())) == 3
    assert sorted(row_keys(rows.take([2, 1, 0])).tolist()) == sorted(keys.tolist())
    assert set(row_keys(rows.slice(1)).tolist()) < set(keys.tolist())
