"""Codes that stand for several neighbouring values each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthray.data.cells.listing import Listing, grouped
from synthray.data.schema import Column, Kind, Schema
from synthray.data.table_codec import TableCodec

counts = st.lists(st.integers(1, 10**9), min_size=1, max_size=256)


@given(counts, st.integers(1, 64))
def test_groups_are_neighbours_and_about_as_many_as_asked_for(rows: list[int], groups: int) -> None:
    found = grouped(rows, groups)
    assert found[0] == 0 and set(np.diff(found)) <= {0, 1}
    # Values by themselves part the others: each may cost one group more.
    assert max(found) + 1 <= 2 * groups + 1


def test_what_is_frequent_is_a_group_by_itself() -> None:
    rows = [5, 4, 900, 6, 3, 5, 300, 2, 2, 2]
    found = grouped(rows, 5)
    for index in (2, 6):
        assert found.count(found[index]) == 1


@given(counts, st.integers(1, 64))
def test_every_value_comes_back(rows: list[int], groups: int) -> None:
    listing = Listing(grouped(rows, groups), rows)
    index = np.arange(len(rows))
    codes, offsets = listing.encode(index)
    assert offsets.dtype == np.float32 and np.abs(offsets).max() <= 1
    assert np.array_equal(listing.decode(codes, offsets), index)


def test_even_offsets_give_each_value_as_often_as_it_occurs() -> None:
    rows = [10, 30, 60, 25, 75]
    listing = Listing([0, 0, 0, 1, 1], rows)
    for code, shares in ((0, [0.1, 0.3, 0.6, 0, 0]), (1, [0, 0, 0, 0.25, 0.75])):
        offsets = np.linspace(-1, 1, 100_001)
        index = listing.decode(np.full(len(offsets), code), offsets)
        found = np.bincount(index, minlength=5) / len(offsets)
        assert np.allclose(found, shares, atol=1e-4)


def test_the_ends_of_the_interval_stay_within_the_code() -> None:
    listing = Listing([0, 0, 1, 1, 2], [1, 10**9, 5, 5, 7])
    codes = np.repeat(np.arange(3), 2)
    index = listing.decode(codes, np.tile([-1.0, 1.0], 3))
    assert index.tolist() == [0, 1, 2, 3, 4, 4]


def test_a_column_of_dozens_of_values_shares_codes_and_gives_no_other_value() -> None:
    generator = np.random.default_rng(0)
    cells = np.where(generator.random(5000) < 0.5, 40, generator.integers(1, 100, 5000))
    rows = pa.table({"hours": pa.array(cells, pa.int16(), mask=generator.random(5000) < 0.1)})
    codec = TableCodec(
        Schema(columns=(Column(name="hours", kind=Kind.integer, arrow_type="int16"),))
    )
    spec = codec.fit([codec.partial(rows)])
    assert spec.layout is not None
    slot = spec.layout.slots[0]
    assert slot.codes < 45 and sum(slot.counts) == 5000 and slot.counts[slot.missing or 0] < 600
    again = TableCodec.from_json(codec.to_json())
    encoded = again.encode(rows)
    empty = torch.empty((5000, 0), dtype=torch.int64)
    assert again.decode(torch.from_numpy(encoded.x), empty).equals(rows)
    x = torch.from_numpy(encoded.x)
    x[:, 1] = torch.from_numpy(generator.uniform(-1, 1, 5000).astype(np.float32))
    drawn = again.decode(x, empty)["hours"]
    assert drawn.null_count == rows["hours"].null_count
    assert set(drawn.to_pylist()) <= set(rows["hours"].to_pylist())
