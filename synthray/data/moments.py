"""Mean, variance and range of a column of numbers, from parts that merge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthray.data import arrow_types

Number = int | float


@dataclass(frozen=True)
class Moments:
    """Statistics of some cells of a column.

    Those that are missing or not finite are counted apart from the ``count`` others. ``squares`` is
    the sum of squared differences from the mean. The range keeps integers exactly.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: Number = math.inf
    high: Number = -math.inf
    missing: int = 0
    infinite: int = 0

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Moments:
        """The statistics of a column of integers or floats."""
        column = arrow_types.without_dictionary(column)
        present = column.drop_null()
        values = present.to_numpy()
        if pa.types.is_floating(column.type):
            values = values[np.isfinite(values)]
        missing, infinite = column.null_count, len(present) - len(values)
        if not len(values):
            return cls(missing=missing, infinite=infinite)
        low, high = values.min().item(), values.max().item()
        cells = values.astype(np.float64)
        # Cells near the end of float64 make infinite moments, which the codec refuses.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(cells.mean())
            squares = float(np.square(cells - mean).sum())
        return cls(len(cells), mean, squares, low, high, missing, infinite)

    def merge(self, other: Moments) -> Moments:
        """The statistics of both parts (Chan, Golub & LeVeque 1979, equation 2.1)."""
        count = self.count + other.count
        distance = other.mean - self.mean
        # Where one part is empty the other's mean stays as it is, to the last bit.
        share = other.count / count if count else 0.0
        mean = other.mean if not self.count else self.mean + distance * share
        return Moments(
            count=count,
            mean=mean,
            squares=self.squares + other.squares + distance * share * distance * self.count,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
        )

    @property
    def deviation(self) -> float:
        """The standard deviation of the cells, with ``count`` as the divisor."""
        return float(np.sqrt(self.squares / max(self.count, 1)))


def to_float64(column: pa.ChunkedArray) -> np.ndarray:
    """Cells as float64 [rows]; the column must have no missing ones."""
    cells: np.ndarray = arrow_types.without_dictionary(column).to_numpy().astype(np.float64)
    return cells
