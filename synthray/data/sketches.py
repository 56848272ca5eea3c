"""Small summaries of a column, from chunks that merge: frequencies, distinct values, a sample.

`Class.of(column)` summarises a chunk and ``a.merge(b)`` both parts. Merging in any grouping and any
order gives the same result, for all of it rests on fixed hashes (`synthray.data.hashing`) and on
sums of whole numbers. Missing cells, and NaN, are counted apart from the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data import arrow_types
from synthray.data.hashing import hash_cells, row_keys, whole

LIMIT = 10_000
"""Distinct values that are counted exactly."""
FREQUENT = 1 / 2000
"""The share of a chunk's cells from which a value counts as frequent there."""
MAX_FREQUENT = 65_536
KEPT = 1024
"""Values that `Distinct` keeps: its estimate errs by about 1 / sqrt(KEPT) = 3 %."""
SAMPLE = 16_384


@dataclass(frozen=True)
class Tally:
    """Values, sorted and each once, and how often each occurs: int64 [values]."""

    values: pa.Array = field(default_factory=lambda: pa.nulls(0))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Tally:
        """Of cells that are all there."""
        found = column.value_counts()
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        return cls(found.field(0), found.field(1).to_numpy()).ordered()

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, index: np.ndarray) -> Tally:
        return Tally(self.values.take(pa.array(index)), self.counts[index])

    def ordered(self) -> Tally:
        return self.take(pc.array_sort_indices(self.values).to_numpy())

    def merge(self, other: Tally) -> Tally:
        if not (len(self) and len(other)):
            return self if len(self) else other
        both = pa.concat_arrays([self.values, other.values]).dictionary_encode()
        counts = np.zeros(len(both.dictionary), np.int64)
        np.add.at(counts, both.indices.to_numpy(), np.concatenate([self.counts, other.counts]))
        return Tally(both.dictionary, counts).ordered()

    def as_dict(self) -> dict[object, int]:
        return dict(zip(self.values.to_pylist(), self.counts.tolist(), strict=True))


@dataclass(frozen=True)
class ValueCounts:
    """How often each value occurs: exactly up to ``limit`` distinct ones, the frequent beyond.

    count: cells that are there; missing: the others.
    overflowed: there are more than ``limit`` distinct values. ``tally`` then holds the frequent
        ones, with lower bounds of their counts: a chunk in which a value has less than `FREQUENT`
        of the cells, or one cell, does not count it. So a count is short by at most that share of
        the cells, in chunks of at least 2 / FREQUENT = 4,000.

    Only where the chunks have more than `MAX_FREQUENT` frequent values between them does the
    grouping matter: the rarest are let go.
    """

    limit: int = LIMIT
    count: int = 0
    missing: int = 0
    overflowed: bool = False
    exact: Tally = field(default_factory=Tally)
    frequent: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, column: pa.ChunkedArray, limit: int = LIMIT) -> ValueCounts:
        present = present_cells(column)
        return cls.of_tally(Tally.of(present), len(column) - len(present), limit)

    @classmethod
    def of_tally(cls, tally: Tally, missing: int, limit: int = LIMIT) -> ValueCounts:
        """Of a chunk whose cells have been counted."""
        count = int(tally.counts.sum())
        least = max(2, math.ceil(FREQUENT * count))
        overflowed = len(tally) > limit
        return cls(
            limit=limit,
            count=count,
            missing=missing,
            overflowed=overflowed,
            exact=Tally() if overflowed else tally,
            frequent=tally.take(np.flatnonzero(tally.counts >= least)),
        )

    def merge(self, other: ValueCounts) -> ValueCounts:
        limit = min(self.limit, other.limit)
        overflowed = self.overflowed or other.overflowed
        exact = Tally() if overflowed else self.exact.merge(other.exact)
        overflowed = overflowed or len(exact) > limit
        frequent = self.frequent.merge(other.frequent)
        if len(frequent) > MAX_FREQUENT:
            kept = np.argsort(-frequent.counts, kind="stable")[:MAX_FREQUENT]
            frequent = frequent.take(np.sort(kept))
        return ValueCounts(
            limit=limit,
            count=self.count + other.count,
            missing=self.missing + other.missing,
            overflowed=overflowed,
            exact=Tally() if overflowed else exact,
            frequent=frequent,
        )

    @property
    def tally(self) -> Tally:
        """All values, or the frequent ones of a column that has overflowed."""
        return self.frequent if self.overflowed else self.exact


@dataclass(frozen=True)
class Distinct:
    """The number of distinct values, estimated from the k smallest hashes (Bar-Yossef et al. 2002).

    hashes: the smallest, uint64 [at most ``kept``], ascending; counts: how often the value of each
        occurs, exactly.
    """

    kept: int = KEPT
    count: int = 0
    hashes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, column: pa.ChunkedArray, kept: int = KEPT) -> Distinct:
        words = hash_cells(present_cells(column))
        hashes, counts = np.unique(words, return_counts=True)
        return cls(kept, len(words), hashes[:kept], counts[:kept])

    def merge(self, other: Distinct) -> Distinct:
        kept = min(self.kept, other.kept)
        hashes, counts = _merged(self.hashes, self.counts, other.hashes, other.counts)
        return Distinct(kept, self.count + other.count, hashes[:kept], counts[:kept])

    @property
    def estimate(self) -> int:
        """Distinct values: exact below ``kept``, else with a standard error of 1 / sqrt(kept)."""
        if len(self.hashes) < self.kept:
            return len(self.hashes)
        share = (float(self.hashes[-1]) + 1) / 2**64
        return min(round((self.kept - 1) / share), self.count)

    @property
    def unique(self) -> bool:
        """Whether every value that was kept occurs once: a sample of ``kept`` distinct values."""
        return bool((self.counts == 1).all())


@dataclass(frozen=True)
class Sample:
    """A bottom-k sample of a column's finite numbers, as if drawn without replacement.

    count: all finite cells, of which these are a sample.
    keys: uint64 [at most ``size``], ascending: the smallest `row_keys` of all cells.
    values: the cells: int64 (uint64 of such a column) of whole numbers, dates and times, else
        float64.
    weights: int64; above 1 where equal rows lie in several chunks. A quantile weighs cells so.
    """

    size: int = SAMPLE
    count: int = 0
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(
        cls, column: pa.ChunkedArray, keys: np.ndarray | None = None, size: int = SAMPLE
    ) -> Sample:
        """Of a column of numbers, dates or times.

        Args:
            keys: the `row_keys` of the whole chunk, computed once for all its columns; those of the
                column alone make a good sample only where few of its values occur often.
        """
        keys = row_keys(pa.table({"cells": column})) if keys is None else keys
        values, there = numbers(column)
        if not there.all():
            values, keys = values[there], keys[there]
        count = len(values)
        if count > size:
            index = np.argpartition(keys, size)[:size]
            values, keys = values[index], keys[index]
        order = np.argsort(keys, kind="stable")
        return cls(size, count, keys[order], values[order], np.ones(len(order), np.int64))

    def merge(self, other: Sample) -> Sample:
        if not (self.count and other.count):
            return self if self.count else other
        size = min(self.size, other.size)
        a, b = self, other
        if len(a.keys) >= size:
            b = b._up_to(a.keys[size - 1])
        elif len(b.keys) >= size:
            a = a._up_to(b.keys[size - 1])
        keys, weights = _merged(a.keys, a.weights, b.keys, b.weights)
        keys, weights = keys[:size], weights[:size]
        both = np.concatenate([a.keys, b.keys])
        order = np.argsort(both, kind="stable")
        values = np.concatenate([a.values, b.values])[order]
        values = values[np.searchsorted(both[order], keys)]
        return Sample(size, self.count + other.count, keys, values, weights)

    def _up_to(self, key: np.uint64) -> Sample:
        """Only what can be among the smallest keys, where the largest of them is at most this."""
        end = int(np.searchsorted(self.keys, key, side="right"))
        return replace(
            self, keys=self.keys[:end], values=self.values[:end], weights=self.weights[:end]
        )


def present_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells that are there, NaN counting as missing, without a dictionary."""
    column = plain(column).drop_null()
    if pa.types.is_floating(column.type):
        column = column.filter(pc.invert(pc.is_nan(column)))
        if pa.types.is_float16(column.type):  # which Arrow neither adds nor sorts
            column = column.cast(pa.float32())
        column = pc.add(column, pa.scalar(0.0, column.type))  # -0.0 becomes 0.0
    return column


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without a dictionary or views."""
    column = arrow_types.without_dictionary(column)
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def numbers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Cells [rows] as int64, uint64 or float64, and which of them are there and finite."""
    column = plain(column)
    there = np.ones(len(column), bool)
    if column.null_count:
        there = pc.is_valid(column).to_numpy()
    if pa.types.is_floating(column.type):
        cells = column.cast(pa.float64()).to_numpy() + 0.0
        return cells, there & np.isfinite(cells)
    chunks = [whole(chunk).fill_null(0).to_numpy() for chunk in column.chunks]
    return (np.concatenate(chunks) if chunks else np.zeros(0, np.int64)), there


def _merged(
    a: np.ndarray, a_counts: np.ndarray, b: np.ndarray, b_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of hashes, ascending, and their counts, added where a hash is in both."""
    hashes, index = np.unique(np.concatenate([a, b]), return_inverse=True)
    counts = np.zeros(len(hashes), np.int64)
    np.add.at(counts, index, np.concatenate([a_counts, b_counts]))
    return hashes, counts
