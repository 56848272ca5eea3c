"""Column shapes: how alike the distributions of single columns are.

The definitions are those of SDMetrics (docs.sdv.dev/sdmetrics): `KSComplement`, `TVComplement` and
`MissingValueSimilarity`. Missing cells do not count for the first two. SDMetrics gives a category
that only synthetic rows have 10⁻⁶ real rows, we give it none: a difference of 10⁻⁶ over the number
of real rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthray.metrics.tables.columns import MISSING, Frame

DECIMALS = 14
"""Numbers are compared to this many decimals, as in SDMetrics."""


@dataclass(frozen=True)
class ColumnShape:
    """How alike one column is in two tables.

    Attributes:
        name: of the column.
        measure: 'KS complement' of numbers and dates, 'TV complement' of categories.
        score: 1 for equal distributions, 0 for disjoint ones; NaN where all cells are missing.
        missing: shares of missing cells, (real, other).
    """

    name: str
    measure: str
    score: float
    missing: tuple[float, float]

    @property
    def missing_similarity(self) -> float:
        """1 minus the difference of the shares of missing cells."""
        return 1.0 - abs(self.missing[0] - self.missing[1])


def column_shapes(real: Frame, other: Frame) -> list[ColumnShape]:
    """Every column of ``other`` beside that of ``real``."""
    shapes = []
    for column in real.columns:
        x, y = real[column.name], other[column.name]
        missing = tuple(float(frame.missing(column.name).mean()) for frame in (real, other))
        if column.numeric:
            score, measure = ks_complement(x, y), "KS complement"
        else:
            score, measure = tv_complement(x, y, len(column.values)), "TV complement"
        shapes.append(ColumnShape(column.name, measure, score, (missing[0], missing[1])))
    return shapes


def ks_complement(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """1 minus the Kolmogorov-Smirnov statistic of two samples; NaN cells do not count."""
    x, y = (np.sort(_rounded(values[~np.isnan(values)])) for values in (x, y))
    if not len(x) or not len(y):
        return math.nan
    both = np.concatenate([x, y])
    below = [np.searchsorted(s, both, side="right") / len(s) for s in (x, y)]
    return 1.0 - float(np.abs(below[0] - below[1]).max())


def tv_complement(x: NDArray[np.int64], y: NDArray[np.int64], values: int) -> float:
    """1 minus the total variation distance of two samples of codes; `MISSING` does not count."""
    counts = [np.bincount(codes[codes != MISSING], minlength=values) for codes in (x, y)]
    if not all(count.sum() for count in counts):
        return math.nan
    shares = [count / count.sum() for count in counts]
    return 1.0 - 0.5 * float(np.abs(shares[0] - shares[1]).sum())


def mean_score(scores: list[float]) -> float:
    """The mean of those that are numbers; NaN if none is."""
    known = [score for score in scores if not math.isnan(score)]
    return float(np.mean(known)) if known else math.nan


def _rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.round(x, DECIMALS)
    return np.where(np.isfinite(rounded), rounded, x)
