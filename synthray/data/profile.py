"""What the columns of a table hold, from one pass over its chunks, in parts that merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data import arrow_types
from synthray.data.chunks import Chunk, Mapper, Source
from synthray.data.date_formats import formats_of
from synthray.data.hashing import hash_cells
from synthray.data.shapes import Shapes
from synthray.data.sketches import KEPT, Distinct, Tally, ValueCounts, present_cells

EXAMPLES = 3
MAX_WHOLE = 2.0**53
"""Up to this number float64 holds every whole one."""


@dataclass(frozen=True)
class TextProfile:
    """What the strings of a column look like.

    Attributes:
        formats: the date formats that all are in; None before any was seen.
        letters: in all strings together.
        shapes: of a column in which no string has come twice; None otherwise.
    """

    formats: frozenset[str] | None = None
    letters: int = 0
    long: int = 0
    shapes: Shapes | None = field(default_factory=Shapes)

    def merge(self, other: TextProfile) -> TextProfile:
        both = self.formats is not None and other.formats is not None
        formats = self.formats if other.formats is None else other.formats
        unique = self.shapes is not None and other.shapes is not None
        return TextProfile(
            (self.formats or frozenset()) & (other.formats or frozenset()) if both else formats,
            self.letters + other.letters,
            max(self.long, other.long),
            self.shapes.merge(other.shapes)  # type: ignore[union-attr, arg-type]
            if unique
            else None,
        )


@dataclass(frozen=True)
class ColumnProfile:
    """What a column holds.

    Attributes:
        rows: all cells; missing: those that are null or NaN, which count nowhere else.
        infinite: of the others, those that are infinite.
        values: how often each occurs, while they are few.
        distinct: their number, and whether each occurs once, estimated.
        low, high: of finite numbers, as Python has them; of durations, as whole numbers of their
            unit; of dates and times, as text.
        fractions: some number is not whole, or too large to tell.
        examples: the first of the column's values.
    """

    rows: int = 0
    missing: int = 0
    infinite: int = 0
    values: ValueCounts = field(default_factory=ValueCounts)
    distinct: Distinct = field(default_factory=Distinct)
    low: Any = None
    high: Any = None
    fractions: bool = False
    text: TextProfile = field(default_factory=TextProfile)
    examples: tuple[Any, ...] = ()

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> ColumnProfile:
        """Of a plain column: no lists, objects or bytes."""
        kind = arrow_types.value_type(column.type)
        if pa.types.is_null(kind):
            return cls(rows=len(column), missing=len(column))
        present = present_cells(column)
        counts = ValueCounts.of(present, limit=2**62)
        tally = counts.exact
        found = cls(
            rows=len(column),
            missing=len(column) - len(present),
            # Merging with nothing sets the limit.
            values=counts.merge(ValueCounts()),
            distinct=_distinct(tally),
            examples=_first(present),
        )
        if not len(present):
            return found
        if arrow_types.is_text(kind):
            return replace(found, text=_text(tally))
        return replace(found, **_range(tally.values, tally.counts))

    def merge(self, other: ColumnProfile) -> ColumnProfile:
        examples = dict.fromkeys([*self.examples, *other.examples])
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return ColumnProfile(
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            values=self.values.merge(other.values),
            distinct=self.distinct.merge(other.distinct),
            low=min(lows, default=None),
            high=max(highs, default=None),
            fractions=self.fractions or other.fractions,
            text=self.text.merge(other.text),
            examples=tuple(examples)[:EXAMPLES],
        )

    @property
    def count(self) -> int:
        """Cells that are there."""
        return self.rows - self.missing

    @property
    def size(self) -> int:
        """Distinct values: exactly while they are few, else estimated."""
        if self.values.overflowed:
            return max(self.distinct.estimate, self.values.limit + 1)
        return len(self.values.exact)

    @property
    def unique(self) -> bool:
        """Whether no value occurs twice: exactly while they are few, else among a sample of 1,024
        and by the estimated number of values.
        """
        if not self.values.overflowed:
            return self.size == self.count
        return self.distinct.unique and self.size > 0.8 * self.count


TableProfile = dict[str, ColumnProfile]


def profile_table(source: Source, names: Sequence[str], mapper: Mapper = map) -> TableProfile:
    """The profiles of some plain columns, from one pass over the chunks of a source."""

    def partial(chunk: Chunk) -> TableProfile:
        rows = chunk.select(names).read()
        return {name: ColumnProfile.of(rows[name]) for name in names}

    total = {name: ColumnProfile() for name in names}
    if names:
        for found in mapper(partial, source.chunks):
            total = {name: total[name].merge(found[name]) for name in names}
    return total


def is_plain(kind: pa.DataType) -> bool:
    """Whether a type's columns can be profiled: numbers, text, booleans, dates and
    times, durations.
    """
    kind = arrow_types.value_type(kind)
    return bool(
        arrow_types.is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind))
        or pa.types.is_null(kind)
    )


def _distinct(tally: Tally) -> Distinct:
    hashes = hash_cells(tally.values)
    least = np.argpartition(hashes, KEPT)[:KEPT] if len(hashes) > KEPT else np.arange(len(hashes))
    order = least[np.argsort(hashes[least])]
    return Distinct(KEPT, int(tally.counts.sum()), hashes[order], tally.counts[order])


def _first(present: pa.ChunkedArray) -> tuple[Any, ...]:
    values = present.slice(0, 64).unique().slice(0, EXAMPLES)
    shown = values.cast(pa.string()) if pa.types.is_temporal(values.type) else values
    return tuple(shown.to_pylist())


def _text(tally: Tally) -> TextProfile:
    values = tally.values
    lengths = pc.utf8_length(values).to_numpy()
    repeats = bool((tally.counts > 1).any())
    return TextProfile(
        formats_of(values),
        int((lengths * tally.counts).sum()),
        int(lengths.max()),
        None if repeats else Shapes.of(values),
    )


def _range(values: pa.Array, counts: np.ndarray) -> dict[str, Any]:
    """Range, infinities and fractions of distinct values, at least one."""
    kind = values.type
    if not pa.types.is_floating(kind):
        if pa.types.is_duration(kind):
            values = values.view(pa.int64())  # Arrow does not compare durations
        ends = pc.min_max(values)
        if pa.types.is_temporal(values.type):
            ends = {name: ends[name].cast(pa.string()) for name in ("min", "max")}
        return {"low": ends["min"].as_py(), "high": ends["max"].as_py()}
    cells = values.to_numpy().astype(np.float64)
    finite = np.isfinite(cells)
    found: dict[str, Any] = {"infinite": int(counts[~finite].sum())}
    if finite.any():
        cells = cells[finite]
        found |= {"low": float(cells.min()), "high": float(cells.max())}
        found["fractions"] = bool(((cells % 1 != 0) | (np.abs(cells) > MAX_WHOLE)).any())
    return found
