"""What callers in Python give: whole numbers, values by column, sections of the config."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
import pyarrow as pa

from synthray.errors import UsageError


def whole(name: str, value: Any) -> int:
    """A whole number, numpy's too.

    Raises:
        UsageError: another value.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(
            f"{name}: {value!r} is no whole number", f"give one, such as {name}=1000"
        ) from None


def held(where: Any) -> dict[str, Any]:
    """Values to hold, by the name of the column. NaN, NaT and pandas' NA are missing cells.

    Raises:
        UsageError: no mapping, or several values of a column.
    """
    return {
        str(column): _single(f"where: {column}", value)
        for column, value in _mapping("where", where, {"income": ">50K"}).items()
    }


def balanced(balance: Any) -> dict[str, Any]:
    """Shares to hit, by the name of the column; each a number, or numbers by value.

    Raises:
        UsageError: no mapping, or several values in the place of one.
    """
    found: dict[str, Any] = {}
    for column, shares in _mapping("balance", balance, {"income": 0.5}).items():
        at = f"balance: {column}"
        if isinstance(shares, Mapping):
            found[str(column)] = {_single(at, k): _single(at, v) for k, v in shares.items()}
        else:
            found[str(column)] = _single(at, shares)
    return found


def section(name: str, value: Any) -> dict[str, Any]:
    """A section of the config; a model may be given by the name of its family alone.

    Raises:
        UsageError: no mapping.
    """
    if name == "model" and isinstance(value, str):
        return {"name": value}
    examples: dict[str, Any] = {"data": {"conditions": ["city"]}, "model": {"name": "ctgan"}}
    return _mapping(name, value, examples.get(name, {"steps": 500}))


def _mapping(name: str, value: Any, example: dict[str, Any]) -> dict[Any, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    column, equals, text = value.partition("=") if isinstance(value, str) else ("", "", "")
    if name == "where" and equals:
        example = {column: text}
    raise UsageError(f"{name}: {value!r} is no dict", f"give one, such as {name}={example}")


def _single(at: str, value: Any) -> Any:
    """One value, without numpy's or Arrow's wrapping; None of a missing one."""
    if isinstance(value, pa.Scalar):
        value = value.as_py()
    if isinstance(value, Sized) and not isinstance(value, str | bytes):
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise UsageError(
            f"{at}: {kind} is no single value",
            "give one value; to have several, give the share of each under balance",
        )
    if _is_missing(value):
        return None
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.generic) and not isinstance(value, np.timedelta64):
        return value.item()
    return value


def _is_missing(value: Any) -> bool:
    try:
        return bool(pa.array([value], from_pandas=True).null_count)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return False  # no value of Arrow's; what it is to the column is told elsewhere
