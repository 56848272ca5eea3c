"""A column that constants or other columns bound: learned as its distance from them.

Of ``start <= end`` the model learns *start* and *end - start*, which is never negative; so *end*
comes back right whatever the model gives. Where *start* is missing nothing bounds *end*: it is
learned in a column of its own, and the distance is 0. So the distance is missing exactly where
*end* is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data.constraints import decimals
from synthray.data.constraints.bounds import at_least, at_most
from synthray.data.constraints.lines import INT64, Line, Value
from synthray.data.constraints.steps import Arrays, Step, cells
from synthray.data.schema import Column, Kind
from synthray.errors import SourceError


@dataclass(frozen=True)
class Neighbour:
    """A column on one side of another; ``strict``: never equal to it."""

    column: Column
    strict: bool


@dataclass(frozen=True)
class Surroundings:
    """What bounds a column: columns and constants, the constants as cells of the column."""

    below: tuple[Neighbour, ...] = ()
    above: tuple[Neighbour, ...] = ()
    floor: Value | None = None
    ceiling: Value | None = None


@dataclass(frozen=True)
class _Range:
    """The ends of some finite cells; None of no cells."""

    low: Value | None = None
    high: Value | None = None

    @classmethod
    def of(cls, values: np.ndarray) -> _Range:
        return cls(values.min().item(), values.max().item()) if len(values) else cls()

    def merge(self, other: _Range) -> _Range:
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return _Range(min(lows, default=None), max(highs, default=None))


@dataclass(eq=False)
class Bounded(Step):
    """One bounded column.

    Args:
        line: that it shares with its neighbours.
        upward: whether it is learned as the distance above the columns below it, or as that below
            the columns above it.

    Attributes:
        low, high: of the source; a distance may lead beyond.
        middle: of the range of the cells that nothing bounds.
    """

    key: str
    line: Line
    column: Column
    around: Surroundings
    upward: bool = True
    low: Value | None = field(default=None, init=False)
    high: Value | None = field(default=None, init=False)
    middle: Value | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.restores = (self.column,)
        beside = (*self.around.below, *self.around.above)
        self.needs = tuple(neighbour.column.name for neighbour in beside)
        self.bases = self.around.below if self.upward else self.around.above
        self.makes = (self.column,)
        if self.bases:
            self.rename(f"{self.column.name} alone")

    def rename(self, alone: str) -> None:
        """Give the column for rows without any base a name."""
        self.makes = (self._gap_column(), self.column.model_copy(update={"name": alone}))

    def _gap_column(self) -> Column:
        members = [self.column, *(base.column for base in self.bases)]
        integer = self.line.whole or all(member.kind == Kind.integer for member in members)
        return Column(
            name=self.column.name,
            kind=Kind.integer if integer else Kind.continuous,
            arrow_type="int64" if self.line.whole else "double",
        )

    # --- from the source -----------------------------------------------------------------

    def forward(self, rows: pa.Table) -> Arrays:
        own = cells(rows, self.column.name)
        if not self.bases:
            return [own]
        found = {base.column.name: cells(rows, base.column.name) for base in self.bases}
        base, bits, based = self._base(found)
        values, there = self.line.read(self.column, own)
        values = np.where(there & based, values, base)
        gap = self._gap(values, base, bits) if self.upward else self._gap(base, values, bits)
        alone = pc.if_else(pa.array(based), pa.scalar(None, own.type), own)
        return [pa.array(gap, mask=~there), alone]

    def _base(self, found: Mapping[str, pa.Array]) -> tuple[np.ndarray, int, np.ndarray]:
        """The nearest of the bases in each row, the bits of its floats, and where there is one."""
        columns = [base.column for base in self.bases]
        read = [self.line.read(column, found[column.name]) for column in columns]
        values, there = read[0]
        if not self.line.whole:
            there = there & np.isfinite(values)
        for more, present in read[1:]:
            if not self.line.whole:
                present = present & np.isfinite(more)
            nearer = (more > values) if self.upward else (more < values)
            values = np.where(present & (nearer | ~there), more, values)
            there = there | present
        bits = 53 if self.line.whole else min(self.line.bits(column) for column in columns)
        return values, bits, there

    def _gap(self, above: np.ndarray, below: np.ndarray, bits: int) -> np.ndarray:
        if not self.line.whole:
            sizes = (self.line.bits(self.column), bits)
            return decimals.difference(above, below, *(sizes if self.upward else sizes[::-1]))
        gap = above - below
        if ((above >= below) & (gap < 0)).any():
            raise SourceError(
                f"{self.key}: the distance of {self.column.name!r} is beyond int64 in some row",
                "correct those rows, or store the columns in a coarser unit",
            )
        return gap

    def partial(self, rows: pa.Table) -> tuple[_Range, _Range] | None:
        """The ranges of all cells, and of those that nothing bounds."""
        if not self.bases:
            return None
        values, there = self.line.read(self.column, cells(rows, self.column.name))
        found = {base.column.name: cells(rows, base.column.name) for base in self.bases}
        there = there & np.isfinite(values)
        return _Range.of(values[there]), _Range.of(values[there & ~self._base(found)[2]])

    def merge(self, a: Any, b: Any) -> Any:
        return None if a is None else (a[0].merge(b[0]), a[1].merge(b[1]))

    def fit(self, stats: tuple[_Range, _Range] | None) -> None:
        if stats is not None:
            every, alone = stats
            self.low, self.high, self.middle = every.low, every.high, None
            if alone.low is not None and alone.high is not None:
                distance = alone.high - alone.low
                self.middle = alone.low + (distance // 2 if self.line.whole else distance / 2)

    def known(self, values: Mapping[str, Sequence[Any] | None], rare: int) -> None:
        """These are of single rows: with a privacy threshold they are not kept."""
        if rare:
            self.low = self.high = self.middle = None

    def state(self) -> Any:
        if not self.bases:
            return None
        return {"low": self.low, "high": self.high, "middle": self.middle}

    def load(self, state: Any) -> None:
        if self.bases:
            self.low, self.high, self.middle = (state[n] for n in ("low", "high", "middle"))

    # --- from the model ------------------------------------------------------------------

    def backward(self, made: Sequence[pa.Array], restored: Mapping[str, pa.Array]) -> Arrays:
        if self.bases:
            values, there = self._from_gap(made, restored)
        else:
            values, there = self.line.read(self.column, made[0])
        low, high, possible = self._limits(restored, len(values))
        settled = np.minimum(np.maximum(values, low), high)
        if self.bases:
            return [self.line.write(self.column, settled, there & possible)]
        # Cells that are within the bounds stay as they are, to the last bit.
        written = self.line.write(self.column, settled, there & possible)
        moved = there & ((settled != values) | ~possible)
        return [pc.if_else(pa.array(moved), written, made[0]) if moved.any() else made[0]]

    def _from_gap(
        self, made: Sequence[pa.Array], restored: Mapping[str, pa.Array]
    ) -> tuple[np.ndarray, np.ndarray]:
        base, bits, based = self._base(restored)
        gap, there = _plain(made[0])
        gap = np.maximum(gap, 0)
        low, high = self.line.limits(self.column)
        if self.line.whole:
            values = _moved(base, gap, self.upward, int(low), int(high))
        else:
            values = decimals.total([base, gap if self.upward else -gap], [bits, 53])
        if self.low is not None and self.high is not None:
            values = np.clip(values, self.low, self.high)
        alone, lonely = self.line.read(self.makes[1], made[1])
        if self.middle is not None:
            # The model gave no value though there is one; rare, if it has learned when there is.
            alone, lonely = np.where(lonely, alone, self.middle), np.ones_like(lonely)
        return np.where(based, values, alone), there & (based | lonely)

    def _limits(
        self, restored: Mapping[str, pa.Array], rows: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The smallest and the largest cell that each row can have, and where there is any."""
        first, last = self.line.limits(self.column)
        floor = first if self.around.floor is None else self.around.floor
        ceiling = last if self.around.ceiling is None else self.around.ceiling
        kind = np.int64 if self.line.whole else np.float64
        low, high = np.full(rows, floor, kind), np.full(rows, ceiling, kind)
        possible = np.ones(rows, bool)
        for neighbour in self.around.below:
            values, there = self.line.read(neighbour.column, restored[neighbour.column.name])
            bound, some = at_least(self.line, self.column, values, neighbour.strict)
            low = np.where(there, np.maximum(low, bound), low)
            possible &= some | ~there
        for neighbour in self.around.above:
            values, there = self.line.read(neighbour.column, restored[neighbour.column.name])
            bound, some = at_most(self.line, self.column, values, neighbour.strict)
            high = np.where(there, np.minimum(high, bound), high)
            possible &= some | ~there
        possible &= low <= high
        return low, high, possible


def _plain(gaps: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Distances, int64 or float64 [rows], and which of them are there."""
    there = pc.is_valid(gaps).to_numpy(zero_copy_only=False)
    values = pc.fill_null(gaps, 0).to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        there = there & ~np.isnan(values)
        values = np.where(there, values, 0)
    return values, there


def _moved(base: np.ndarray, gap: np.ndarray, upward: bool, low: int, high: int) -> np.ndarray:
    """base + gap or base - gap, int64 [rows], within limits; gaps are not negative."""
    unsigned = base.view(np.uint64) if base.flags.c_contiguous else base.astype(np.uint64)
    if upward:
        room = np.where(base <= high, np.uint64(high % 2**64) - unsigned, np.uint64(0))
        moved = unsigned + np.minimum(gap.astype(np.uint64), room)
    else:
        room = np.where(base >= low, unsigned - np.uint64(low % 2**64), np.uint64(0))
        moved = unsigned - np.minimum(gap.astype(np.uint64), room)
    return np.clip(moved.view(np.int64), max(low, int(INT64.min)), min(high, int(INT64.max)))
