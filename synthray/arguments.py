"""What callers in Python give: whole numbers, values by column, sections of the config."""

from __future__ import annotations

import operator
from collections.abc import Mapping
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
        UsageError: no mapping.
    """
    return {
        str(column): _plain(value)
        for column, value in _mapping("where", where, {"income": ">50K"}).items()
    }


def balanced(balance: Any) -> dict[str, Any]:
    """Shares to hit, by the name of the column; each a number, or numbers by value.

    Raises:
        UsageError: no mapping.
    """
    found: dict[str, Any] = {}
    for column, shares in _mapping("balance", balance, {"income": 0.5}).items():
        several = isinstance(shares, Mapping)
        found[str(column)] = (
            {_plain(k): _plain(v) for k, v in shares.items()} if several else _plain(shares)
        )
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


def _plain(value: Any) -> Any:
    """A value without numpy's or Arrow's wrapping; None of a missing one."""
    if isinstance(value, pa.Scalar):
        value = value.as_py()
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
