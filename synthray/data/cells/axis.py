"""Where the cells of a column of numbers lie.

Where they lie on an even grid (whole numbers, decimals, dates), positions are steps above the
lowest cell, whole and exact in 64 bits; else they are the numbers themselves in float64.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from synthray.data.cells.statistics import Number


class Axis(BaseModel):
    """Where the cells of a column lie.

    Attributes:
        low, high: of all that is encoded and decoded; on a grid in units of 10^-decimals.
        decimals: None of numbers on no grid.
        step: of the grid, in the same units.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: Number
    high: Number
    decimals: int | None
    step: int = 1

    @property
    def grid(self) -> bool:
        return self.decimals is not None

    @cached_property
    def longest(self) -> Number:
        """The highest position."""
        return (int(self.high) - int(self.low)) // self.step if self.grid else self.high

    def units(self, values: np.ndarray) -> np.ndarray:
        """Cells as int64 or uint64 in the grid's units; off a grid as they are."""
        if self.decimals is None or values.dtype.kind != "f":
            return values
        # What is beyond the range may be beyond int64.
        scaled = np.rint(values * 10.0**self.decimals)
        return np.clip(scaled, self.low - 1, self.high + 1).astype(np.int64)

    def positions(self, units: np.ndarray) -> np.ndarray:
        """uint64 steps above the lowest, or float64; what is beyond the range is drawn into it."""
        if self.grid and not len(units):
            # No cells have no type of their own, and int64 does not hold the ends of all uint64.
            return np.zeros(0, np.uint64)
        units = np.clip(units, self.low, self.high)
        if not self.grid:
            return units
        steps = units.view(np.uint64) - word(self.low)
        return steps if self.step == 1 else steps // np.uint64(self.step)

    def cells(self, positions: np.ndarray, kind: pa.DataType) -> np.ndarray:
        """The inverse of `units` and `positions`, for a source's type."""
        if not self.grid:
            return positions
        words = positions if self.step == 1 else positions * np.uint64(self.step)
        words = words + word(self.low)
        units = words if pa.types.is_uint64(kind) else words.view(np.int64)
        return units / 10.0 ** (self.decimals or 0) if pa.types.is_floating(kind) else units


def word(whole: Number) -> np.uint64:
    return np.uint64(int(whole) % 2**64)


def below(whole: Number) -> float:
    """The largest float64 that is not above a whole number."""
    found = float(whole)
    return float(np.nextafter(found, 0)) if int(found) > whole else found
