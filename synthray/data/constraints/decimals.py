"""Sums and differences of floats as people write them: 0.1 + 0.2 is 0.3, row by row.

A float that a few decimals write exactly is taken for that decimal number; so differences have no
noise in their last bits, and ``a + (b - a)`` is b again. Other floats are added as they are. What
a row gives depends on no other row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_DECIMALS = 9
RAW = -1
"""The number of decimals of a float that is no short decimal number."""
FLOATS: dict[int, type[Any]] = {11: np.float16, 24: np.float32, 53: np.float64}
"""Floats by the bits of their mantissa."""


def shortest(values: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The decimal numbers that floats stand for.

    Args:
        values: float64 [rows].
        bits: of the mantissa of the floats that the values are.

    Returns:
        the numbers as float64 [rows], raw floats as they are; and their decimals, int8 [rows].
    """
    numbers, decimals = values.copy(), np.full(len(values), RAW, np.int8)
    left = np.flatnonzero(np.isfinite(values))
    for count in range(MAX_DECIMALS + 1):
        if not len(left):
            break
        cells = values[left]
        power = 10.0**count
        small = np.abs(cells) < 2.0**bits / power
        left, cells = left[small], cells[small]
        rounded = np.rint(cells * power) / power
        found = rounded.astype(FLOATS[bits]) == cells
        numbers[left[found]] = rounded[found]
        decimals[left[found]] = count
        left = left[~found]
    return numbers, decimals


def total(parts: Sequence[np.ndarray], bits: Sequence[int]) -> np.ndarray:
    """The sum of columns, float64 [rows], added from the first to the last.

    Where all parts are short decimal numbers the sum is the float nearest to their exact sum.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        raw = sum(parts[1:], start=parts[0])
        known = [shortest(part, size) for part, size in zip(parts, bits, strict=True)]
        numbers = sum((number for number, _ in known[1:]), start=known[0][0])
        counts = np.stack([count for _, count in known])
        power = 10.0 ** counts.max(axis=0)
        scaled = numbers * power
    exact = (counts != RAW).all(axis=0) & (np.abs(scaled) < 2.0**53)
    rounded = np.rint(scaled, where=exact, out=np.zeros_like(scaled)) / power
    return np.where(exact, rounded, raw)


def difference(a: np.ndarray, b: np.ndarray, a_bits: int, b_bits: int) -> np.ndarray:
    """a - b, float64 [rows]."""
    return total([a, -b], [a_bits, b_bits])
