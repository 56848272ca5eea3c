"""Where the bins of a column of numbers begin and end, and how rows lie within."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from synthray.data.cells.numbers import EVEN, Quarters
from synthray.data.cells.statistics import Number

TAIL = 4
"""Rows of a bin, at least, at either end of a column: towards the ends, bins are halved and halved
again, for a bin is drawn from evenly, and tails are not even.
"""
NARROW = 0.02
"""The least part of a bin, whose width is 2, that a quarter of its rows has."""


@dataclass(frozen=True)
class Support:
    """The cells of a column, or a sample of them: positions, with their weights.

    mean, deviation: of the positions.
    """

    at: np.ndarray
    weights: np.ndarray
    mean: float
    deviation: float

    @classmethod
    def of(cls, at: np.ndarray, weights: np.ndarray) -> Support:
        order = np.argsort(at, kind="stable")
        at, weights = at[order], weights[order]
        cells = at.astype(np.float64)
        largest = float(np.abs(cells).max(initial=0)) or 1.0
        scaled = cells / largest  # squares of numbers near the end of float64 would overflow
        total = max(int(weights.sum()), 1)
        mean = float((scaled * weights).sum()) / total
        deviation = float(np.sqrt((np.square(scaled - mean) * weights).sum() / total))
        return cls(at, weights, mean * largest, (deviation or 1.0) * largest)


def levels(bins: int, rows: int, least: int) -> np.ndarray:
    """Shares of the rows that lie below the inner edges of bins, ascending.

    Bins hold equal shares, but those at the ends are halved towards it, again and again, while
    ``least`` rows are left in a half.
    """
    halvings = max(int(np.log2(max(rows / max(bins, 1) / least, 1))), 0)
    tail = 0.5 ** np.arange(halvings, 0, -1) / max(bins, 1)
    even = np.arange(1, bins) / max(bins, 1)
    return np.concatenate([tail, even, 1 - tail[::-1]])


def quantiles(others: Support, shares: np.ndarray, low: Number, high: Number) -> list[Number]:
    """The edges of bins: cells' own positions, ascending; low and high among them.

    There are at least two, which may be equal.

    Args:
        shares: of the cells that lie below each inner edge, at most.
    """
    reached = np.cumsum(others.weights)
    inner = np.empty(0, others.at.dtype)
    if len(reached):
        inner = others.at[np.searchsorted(reached, shares * reached[-1])]
    inner = np.unique(inner)
    between = inner[(inner > low) & (inner < high)].tolist()
    return [low, *between, high]


def quarters(others: Support, edges: list[Number], grid: bool, least: int) -> tuple[Quarters, ...]:
    """Where in each bin, -1 … 1, a quarter, a half, and three quarters of its rows are.

    Args:
        least: rows of a bin, fewer of which are taken to lie evenly. So are those of bins so wide
            that a float32 could not tell their steps apart, and of such as are mostly one value.
    """
    reached = np.concatenate([[0], np.cumsum(others.weights)])
    bounds = np.searchsorted(others.at, np.array(edges, others.at.dtype))
    bounds[-1] = len(others.at)
    found = []
    for (low, high), first, last in zip(
        itertools.pairwise(edges), bounds[:-1], bounds[1:], strict=True
    ):
        rows = reached[last] - reached[first]
        if rows < least or not high > low or (grid and high - low > 2**22):
            found.append(EVEN)
            continue
        wanted = reached[first] + np.array([0.25, 0.5, 0.75]) * rows
        at = others.at[np.searchsorted(reached[1:], wanted)]
        places = [
            round(2 * (float(p) - float(low)) / (float(high) - float(low)) - 1, 4) for p in at
        ]
        even = min(b - a for a, b in itertools.pairwise([-1.0, *places, 1.0])) >= NARROW
        found.append((places[0], places[1], places[2]) if even else EVEN)
    return tuple(found)
