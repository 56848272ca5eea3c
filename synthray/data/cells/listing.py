"""Codes that stand for several neighbouring values each, all of which are known.

A column of some dozens of distinct values needs no code for each: values that are rarer than a
bin's share are put together with their neighbours. The offset then says which one it is: a code's
interval [-1, 1] is divided among its values in proportion to their rows. So a model that draws
offsets evenly draws each value of a code as often as it occurs, and every value is one that the
source has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST = 2.0**-18
"""The least share of a code's interval that a value gets, so that float32 offsets tell it apart."""
CELLS = 2**14
"""Of the guide to where values end."""


def grouped(rows: Sequence[int], groups: int) -> list[int]:
    """The group of each value, ascending: about ``groups`` of about equal numbers of rows, where a
    value that is frequent enough is one by itself.
    """
    counts = np.asarray(rows, np.float64)
    alone = np.zeros(len(counts), bool)
    while True:
        light = counts[~alone].sum()
        target = light / max(groups - int(alone.sum()), 1)
        frequent = (counts >= target) & ~alone
        if not frequent.any() or alone.sum() + frequent.sum() >= groups:
            break
        alone |= frequent
    found: list[int] = []
    group, reached = -1, 0.0
    for index, count in enumerate(counts):
        begun = index > 0 and not alone[index] and not alone[index - 1]
        if not begun or reached + count / 2 > target:
            group, reached = group + 1, 0.0
        reached += float(count)
        found.append(group)
    return found


class Listing:
    """Between values, by index, and codes with offsets.

    Args:
        owners: the code of each value, ascending; rows: of each value.
    """

    def __init__(self, owners: Sequence[int], rows: Sequence[int]) -> None:
        self._owners = np.asarray(owners, np.int64)
        codes = int(self._owners.max(initial=-1)) + 1
        weights = np.asarray(rows, np.float64)
        whole = np.bincount(self._owners, weights, minlength=codes)
        weights = np.maximum(weights, whole[self._owners] * LEAST)
        self._width = np.bincount(self._owners, weights, minlength=codes)
        self._ends = np.cumsum(weights)
        starts = self._ends - weights
        self._first = np.searchsorted(self._owners, np.arange(codes))
        self._last = np.searchsorted(self._owners, np.arange(codes), side="right") - 1
        self._start = starts[self._first]
        inner = starts + weights / 2 - self._start[self._owners]
        offsets = 2 * inner / self._width[self._owners] - 1
        self._offsets = offsets.astype(np.float32)
        # A guide table (Chen & Asau 1974) tells how many values end before a place's cell, and
        # halving finds the others. A binary search alone would branch where nobody can predict.
        cells = self._cells(self._ends)
        in_each = np.bincount(cells, minlength=CELLS)
        self._guide = np.cumsum(in_each) - in_each
        self._steps = [2**power for power in reversed(range(int(in_each.max()).bit_length()))]
        self._beyond = np.concatenate([self._ends, np.full(2 * len(cells) + 1, np.inf)])

    def encode(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes int64 [rows] and offsets float32 [rows] of values, by index."""
        return self._owners[index], self._offsets[index]

    def decode(self, codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The inverse: indices of values [rows]; any offset in [-1, 1] gives one of the code's."""
        at = self._start[codes] + (offsets.astype(np.float64) + 1) / 2 * self._width[codes]
        index = self._guide[self._cells(at)]
        for step in self._steps:
            index += step * (self._beyond[index + step - 1] <= at)
        return np.clip(index, self._first[codes], self._last[codes])

    def _cells(self, at: np.ndarray) -> np.ndarray:
        """The guide's cells of places, int64: the higher a place, the higher its cell."""
        cells = (at * (CELLS / self._ends[-1])).astype(np.int64)
        return np.minimum(cells, CELLS - 1, out=cells)
