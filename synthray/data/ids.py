"""Unique ids by row number: the strings of a pattern, or whole numbers, in a shuffled order.

The n-th id is a function of (pattern, key, n) alone, and no two rows have the same one: a keyed
permutation of the numbers of all ids picks the n-th, and counting in mixed radix spells it.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from synthray.data.hashing import mix
from synthray.data.patterns import DIGITS, Box, boxes_of

MAX_IDS = 2**63
"""More strings of one pattern are not counted out: no virtual dataset has more rows."""
ROUNDS = 6


class OutOfIdsError(Exception):
    """There are only ``count`` ids."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count:,} ids")
        self.count = count


def shuffled(numbers: np.ndarray, size: int, key: np.ndarray) -> np.ndarray:
    """A permutation of 0 … size - 1 applied to numbers, uint64 [n].

    A generalized Feistel cipher with cycle walking (Black & Rogaway 2002, "Ciphers with arbitrary
    finite domains").

    Args:
        size: at most 2^63.
        key: uint64 [ROUNDS].
    """
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    found = _encrypted(numbers, a, b, key)
    beyond = np.flatnonzero(found >= size)
    while len(beyond):
        found[beyond] = _encrypted(found[beyond], a, b, key)
        beyond = beyond[found[beyond] >= size]
    return found


def _encrypted(numbers: np.ndarray, a: int, b: int, key: np.ndarray) -> np.ndarray:
    width, height = np.uint64(a), np.uint64(b)
    right, left = np.divmod(numbers, width)
    for number, word in enumerate(key):
        if number % 2:
            right = (right + mix(left ^ word) % height) % height
        else:
            left = (left + mix(right ^ word) % width) % width
    return np.asarray(left + right * width)


class PatternIds:
    """The strings that a pattern matches.

    Args:
        pattern: of the subset of regular expressions that `synthray.data.patterns` reads.

    Raises:
        SchemaError: a pattern that cannot be read.
    """

    def __init__(self, pattern: str) -> None:
        self.boxes: list[Box] = boxes_of(pattern)
        sizes = [math.prod(map(len, box)) for box in self.boxes]
        self.count = sum(sizes)
        """Strings in the language."""
        most = min(self.count, MAX_IDS)
        self._quotas = [size * most // self.count for size in sizes]
        self._ends = np.cumsum(np.array(self._quotas, np.uint64))
        self._lengths = np.array([len(box) for box in self.boxes], np.int64)

    def take(self, first: int, number: int, key: np.ndarray) -> pa.Array:
        """Ids ``first`` … ``first + number``, as text.

        Args:
            key: uint64 [ROUNDS]; another one gives another order.

        Raises:
            OutOfIdsError: there are not so many.
        """
        size = int(self._ends[-1])
        if first + number > size:
            raise OutOfIdsError(self.count)
        index = shuffled(np.arange(first, first + number, dtype=np.uint64), size, key)
        box = np.searchsorted(self._ends, index, side="right")
        starts = np.concatenate([np.zeros(1, np.uint64), self._ends])
        within = index - starts[box]
        cells = np.zeros((number, int(self._lengths.max(initial=0))), np.uint8)
        for which in np.unique(box).tolist():
            rows = np.flatnonzero(box == which)
            cells[rows, : self._lengths[which]] = self._spelled(which, within[rows], key)
        lengths = self._lengths[box]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        data = cells[np.arange(cells.shape[1]) < lengths[:, None]]
        buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(data.tobytes())]
        return pa.Array.from_buffers(pa.large_string(), number, buffers)

    def _spelled(self, which: int, index: np.ndarray, key: np.ndarray) -> np.ndarray:
        """The strings of one box with these numbers, uint8 [n, length]."""
        quota, reached = self._quotas[which], 1
        out = np.empty((len(index), len(self.boxes[which])), np.uint8)
        left = index
        for place, choices in enumerate(self.boxes[which]):
            radix = len(choices)
            if reached < quota:
                left, digit = np.divmod(left, np.uint64(radix))
                if reached * radix > quota:
                    # The last place that counts does not go through all its choices: turn it by
                    # the places before, which keeps strings distinct.
                    digit = (digit + mix(index % np.uint64(reached)) % radix) % np.uint64(radix)
                reached *= radix
            else:  # more strings than numbers: the other places are drawn
                digit = mix(mix(index ^ key[0]) + np.uint64(place)) % np.uint64(radix)
            out[:, place] = np.frombuffer(choices, np.uint8)[digit]
        return out

    def are_numbers(self, limit: int) -> bool:
        """Whether all are digits, and distinct as numbers (007 and 7 are not), up to a limit."""
        if not all(set(choices) <= set(DIGITS) for box in self.boxes for choices in box):
            return False
        ragged = len(set(self._lengths.tolist())) > 1
        zeros = any(len(box) > 1 and b"0" in box[0] for box in self.boxes)
        highest = max(int(bytes(map(max, box)) or b"0") for box in self.boxes)
        return all(self.boxes) and not (ragged and zeros) and highest <= limit


class NumberIds:
    """Whole numbers: those between two ends, then as many above, and twice as many; at last those
    from 0 up to the lower end.

    Args:
        low, high: the ends.
        limit: the highest that the column's type holds.
    """

    def __init__(self, low: int, high: int, limit: int) -> None:
        self._ranges: list[tuple[int, int]] = []  # (first, size)
        start, stop = low, min(max(low, high), limit)
        while start <= limit:
            self._ranges.append((start, min(stop - start + 1, MAX_IDS)))
            start, stop = stop + 1, min(2 * stop - low + 1, limit)
        if low > 0:
            self._ranges.append((0, min(low, MAX_IDS)))
        self.count = sum(size for _, size in self._ranges)

    def take(self, first: int, number: int, key: np.ndarray) -> np.ndarray:
        """Ids ``first`` … ``first + number``: uint64 [number], modulo 2^64.

        Raises:
            OutOfIdsError: there are not so many.
        """
        if first + number > self.count:
            raise OutOfIdsError(self.count)
        parts: list[np.ndarray] = []
        begin = 0
        for start, size in self._ranges:
            a, b = max(first - begin, 0), min(first + number - begin, size)
            if a < b:
                found = shuffled(np.arange(a, b, dtype=np.uint64), size, key)
                parts.append(found + np.uint64(start % 2**64))
            begin += size
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)
