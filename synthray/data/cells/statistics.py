"""Statistics of a column of numbers from chunks: what its bins, modes and precision are fit from.

All of it merges in any grouping to the same result: nothing is a sum of floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from synthray.data.sketches import Sample, Tally, ValueCounts, numbers, present_cells

MAX_DECIMALS = 12
ENDS = 256
"""Distinct values kept at each end of a column: more than can be frequent (see `bins`)."""
Number = int | float


@dataclass(frozen=True)
class Grid:
    """The evenly spaced numbers on which all cells lie: (anchor + i step) / 10^decimals.

    A step of 0 says that there is only the anchor; no anchor, that there are no cells. ``decimals``
    is None of cells that lie on no decimal grid, as measured ones do.
    """

    decimals: int | None = 0
    anchor: int | None = None
    step: int = 0

    @classmethod
    def of(cls, values: np.ndarray, bits: int) -> Grid:
        """Of distinct finite values, ascending.

        Args:
            bits: of a float's mantissa; whole numbers beyond 2^bits are on no grid.
        """
        if not len(values):
            return cls()
        if values.dtype.kind == "f":
            decimals = _decimals(values, bits)
            if decimals is None:
                return cls(None)
            values = np.rint(values * 10.0**decimals).astype(np.int64)
        else:
            decimals = 0
        differences = values.view(np.uint64) - values.view(np.uint64)[0]
        return cls(decimals, int(values[0]), int(np.gcd.reduce(differences)))

    def merge(self, other: Grid) -> Grid:
        if self.decimals is None or other.decimals is None:
            return Grid(None)
        if self.anchor is None or other.anchor is None:
            return other if self.anchor is None else self
        decimals = max(self.decimals, other.decimals)
        here, there = 10 ** (decimals - self.decimals), 10 ** (decimals - other.decimals)
        a, b = self.anchor * here, other.anchor * there
        return Grid(decimals, min(a, b), math.gcd(self.step * here, other.step * there, a - b))


def _decimals(values: np.ndarray, bits: int) -> int | None:
    """The fewest decimals that write every value exactly."""
    largest = float(np.abs(values).max())
    kind = {11: np.float16, 24: np.float32}.get(bits, np.float64)
    left = values
    for decimals in range(MAX_DECIMALS + 1):
        power = 10.0**decimals
        if largest * power >= 2.0**bits:
            return None
        exact = (np.rint(left * power) / power).astype(kind) == left
        left = left[~exact]
        if not len(left):
            return decimals
        if decimals == 0 and len(left) > 100 and _decimals(left[:100], bits) is None:
            return None  # so measured numbers are known soon
    return None


@dataclass(frozen=True)
class NumberStats:
    """Of the cells as `storing.read` gives them.

    infinite: cells counted apart from all others.
    lows, highs: the smallest and the largest distinct values and how often they occur.
    """

    ends: int = ENDS
    counts: ValueCounts = field(default_factory=ValueCounts)
    sample: Sample = field(default_factory=Sample)
    grid: Grid = field(default_factory=Grid)
    lows: Tally = field(default_factory=Tally)
    highs: Tally = field(default_factory=Tally)
    infinite: int = 0

    @classmethod
    def of(
        cls, cells: pa.ChunkedArray, keys: np.ndarray, bits: int = 53, ends: int = ENDS
    ) -> NumberStats:
        """Args:
        keys: the `row_keys` of the chunk.
        bits: of the mantissa of the source's floats.
        """
        present = present_cells(cells)
        infinite = 0
        if pa.types.is_floating(cells.type):
            finite = np.isfinite(present.to_numpy())
            infinite = int((~finite).sum())
            present = present.filter(pa.array(finite)) if infinite else present
        tally = Tally.of(present)
        return cls(
            ends=ends,
            counts=ValueCounts.of_tally(tally, len(cells) - len(present) - infinite),
            sample=Sample.of(cells, keys),
            grid=Grid.of(numbers(pa.chunked_array([tally.values]))[0], bits),
            lows=tally.take(np.arange(len(tally))[:ends]),
            highs=tally.take(np.arange(len(tally))[-ends:]),
            infinite=infinite,
        )

    def merge(self, other: NumberStats) -> NumberStats:
        ends = max(self.ends, other.ends)
        lows, highs = self.lows.merge(other.lows), self.highs.merge(other.highs)
        return NumberStats(
            ends=ends,
            counts=self.counts.merge(other.counts),
            sample=self.sample.merge(other.sample),
            grid=self.grid.merge(other.grid),
            lows=lows.take(np.arange(len(lows))[:ends]),
            highs=highs.take(np.arange(len(highs))[-ends:]),
            infinite=self.infinite + other.infinite,
        )
