"""A uniform subsample without replacement that is the same whatever the sharding.

Every row number gets a 64-bit hash, and the rows with the smallest hashes are kept: bottom-k
sampling (Cohen and Kaplan 2007, "Summarizing data using bottom-k sketches"). The hash depends on
the salt and the row number alone, so who saw the row, when and in which order does not matter.
The hash is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthray.errors import UsageError
from synthray.metrics.base import Features, same_dim

# Above this many rows, workers no longer work out the cut-off beforehand: hashing every row
# number would take longer (half a second at 2^24) than sending a few rows too many.
PLAN_ROWS = 1 << 24


@dataclass(frozen=True)
class Sample:
    """Some rows of a data set, in ascending order of row number.

    Attributes:
        index: int64 [m], row numbers.
        features: float32 or float64 [m, d].
    """

    index: NDArray[np.int64]
    features: NDArray[Any]

    def __len__(self) -> int:
        return len(self.index)


class Subsample:
    """The `size` rows with the smallest hashes; its state is a `Sample` (None for no rows).

    Args:
        size: rows to keep.
        salt: another salt, another subsample.
        rows: rows of the whole data set, if known. The same rows are kept either way, but a
            worker that knows it keeps only rows that will survive, so states stay small.
    """

    def __init__(self, size: int = 10_000, *, salt: int = 0, rows: int | None = None) -> None:
        if size < 1:
            raise UsageError(f"subsample: {size} rows", "keep at least 1 row")
        self.size = size
        self.salt = salt
        self.rows = rows

    def init(self) -> Sample | None:
        return None

    def update(self, state: Sample | None, features: Features) -> Sample | None:
        if len(features) == 0:
            return state
        index, x = features.index, features.features
        if self.rows is not None and self.size < self.rows <= PLAN_ROWS:
            keep = row_hash(index, self.salt) <= _cutoff(self.rows, self.size, self.salt)
            index, x = index[keep], x[keep]
        return self.merge(state, self._smallest(index, x))

    def merge(self, a: Sample | None, b: Sample | None) -> Sample | None:
        if a is None or b is None:
            return a if b is None else b
        same_dim("subsample", a.features.shape[1], b.features.shape[1])
        return self._smallest(
            np.concatenate([a.index, b.index]), np.concatenate([a.features, b.features])
        )

    def _smallest(self, index: NDArray[np.int64], features: NDArray[Any]) -> Sample:
        if len(index) > self.size:
            # lexsort's last key is the first criterion: by hash, ties by row number.
            kept = np.lexsort((index, row_hash(index, self.salt)))[: self.size]
            index, features = index[kept], features[kept]
        order = np.argsort(index, kind="stable")
        index, features = index[order], features[order]
        if len(index) > 1 and (index[1:] == index[:-1]).any():
            row = int(index[1:][index[1:] == index[:-1]][0])
            raise UsageError(
                f"row {row} was counted twice", "merge every shard once, with its own row numbers"
            )
        return Sample(index, features)


def row_hash(index: NDArray[np.int64], salt: int = 0) -> NDArray[np.uint64]:
    """uint64 [n] from row numbers int64 [n]: different rows, different hashes."""
    start = _mix(np.array([salt % 2**64], dtype=np.uint64))
    hashed: NDArray[np.uint64] = _mix(index.astype(np.uint64) ^ start)
    return hashed


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = z + np.uint64(0x9E3779B97F4A7C15)  # wraps around, as it should
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@lru_cache(maxsize=8)
def _cutoff(rows: int, size: int, salt: int) -> np.uint64:
    """The size-th smallest hash among rows 0 … rows - 1."""
    best = np.empty(0, dtype=np.uint64)
    for start in range(0, rows, 1 << 20):
        index = np.arange(start, min(start + (1 << 20), rows), dtype=np.int64)
        best = np.concatenate([best, row_hash(index, salt)])
        if len(best) > size:
            best = np.partition(best, size - 1)[:size]
    return np.uint64(best.max())
