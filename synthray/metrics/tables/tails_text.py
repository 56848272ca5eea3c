"""Spreads of columns as the report writes them: numbers as such, dates as ISO 8601 has them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from synthray.data.schema import Kind
from synthray.metrics.pages import number
from synthray.metrics.tables.columns import Compared
from synthray.metrics.tables.tails import Spread

DAY = 86_400e6
"""Microseconds."""


def spread_json(column: Compared, spread: Spread) -> dict[str, Any]:
    """Plain data; of dates ISO 8601, and the deviation in seconds."""
    found: dict[str, Any] = asdict(spread)
    if column.kind == Kind.datetime:
        found = {name: _moment(column, at) for name, at in found.items()}
        found["deviation"] = spread.deviation / 1e6
    return found


def spread_cells(column: Compared, spread: Spread) -> list[str]:
    """Text for a page, in the order of the spread's fields."""
    found = asdict(spread)
    if column.kind != Kind.datetime:
        return [number(value) for value in found.values()]
    told = {name: _moment(column, at) or number(None) for name, at in found.items()}
    told["deviation"] = _length(spread.deviation)
    return [text.replace("T", " ").removesuffix(" 00:00:00") for text in told.values()]


def _moment(column: Compared, microseconds: float) -> str | None:
    """A date to the second, or a time of the day; None of NaN."""
    if math.isnan(microseconds):
        return None
    at = np.datetime64(round(microseconds / 1e6), "s").item()
    # Beyond the year 9999 Python has no dates, and numpy gives the number.
    if isinstance(at, int):
        return str(np.datetime64(at, "s"))
    return str(at.time().isoformat() if column.clock else at.isoformat())


def _length(microseconds: float) -> str:
    if math.isnan(microseconds):
        return number(None)
    if microseconds < DAY:
        return f"{number(microseconds / 1e6)} s"
    return f"{number(microseconds / DAY)} days"
