"""The nearest cells of a column above and below given numbers, exactly.

A column's type, its unit or its being whole leaves some numbers of its line out; see `Line.step`.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from synthray.data.constraints.decimals import FLOATS
from synthray.data.constraints.lines import Line, Value
from synthray.data.schema import Column


def at_least(
    line: Line, column: Column, bound: np.ndarray, strict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The smallest cells of the column that are at least ``bound`` [rows], or above it.

    Returns:
        the cells, and where there are any.
    """
    low, high = line.limits(column)
    if line.whole:
        step = line.step(column) or 1
        quotient = bound // step
        more = (quotient * step != bound) | strict
        possible = quotient <= int(high) // step - more
        quotient = np.where(possible, quotient, int(high) // step - 1) + more
        return np.maximum(quotient * step, int(low)), possible
    cells = _next(line, column, bound, strict, 1)
    return np.maximum(cells, low), (cells <= high) & ((cells > bound) if strict else True)


def at_most(
    line: Line, column: Column, bound: np.ndarray, strict: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The largest cells of the column that are at most ``bound`` [rows], or below it."""
    low, high = line.limits(column)
    if line.whole:
        step = line.step(column) or 1
        quotient = bound // step
        less = (quotient * step == bound) & strict
        possible = quotient >= int(low) // step + less
        quotient = np.where(possible, quotient, int(low) // step + 1) - less
        return np.minimum(quotient * step, int(high)), possible
    cells = _next(line, column, bound, strict, -1)
    return np.minimum(cells, high), (cells >= low) & ((cells < bound) if strict else True)


def constant_at_least(
    line: Line, column: Column, bound: Fraction | float, strict: bool
) -> Value | None:
    """The smallest cell of the column that is at least a constant, or above it; None: none is."""
    if isinstance(bound, Fraction):
        low, high = map(int, line.limits(column))
        step = line.step(column) or 1
        times = math.floor(bound / step) + 1 if strict else math.ceil(bound / step)
        return max(times * step, low) if times * step <= high else None
    cells, possible = at_least(line, column, np.array([bound]), strict)
    return float(cells[0]) if possible.all() else None


def constant_at_most(
    line: Line, column: Column, bound: Fraction | float, strict: bool
) -> Value | None:
    """The largest cell of the column that is at most a constant, or below it; None: none is."""
    if isinstance(bound, Fraction):
        low, high = map(int, line.limits(column))
        step = line.step(column) or 1
        times = math.ceil(bound / step) - 1 if strict else math.floor(bound / step)
        return min(times * step, high) if times * step >= low else None
    cells, possible = at_most(line, column, np.array([bound]), strict)
    return float(cells[0]) if possible.all() else None


def _next(line: Line, column: Column, bound: np.ndarray, strict: bool, way: int) -> np.ndarray:
    """The nearest floats that the column can hold at or beyond ``bound``, upwards or downwards."""
    cells = bound
    if line.step(column):
        cells = np.ceil(way * bound) * way
        if strict:
            cells = np.where(cells == bound, bound + way, cells)
    target = FLOATS[line.bits(column)]
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = cells.astype(target)
        short = way * (narrow.astype(np.float64) - bound)
        wanting = (short <= 0) if strict else (short < 0)
        beyond = np.nextafter(narrow, target(way * math.inf))
    # Of two infinities the difference is no number, and the bound itself is the cell.
    return np.where(wanting, beyond, narrow).astype(np.float64)
