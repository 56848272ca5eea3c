"""Arrow types from their names, as ``str(type)`` writes them and artifacts keep them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.errors import ConditionError

_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=(\w+), ordered=(.)>")
_TIMESTAMP = re.compile(r"timestamp\[(\w+), tz=(.+)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d+), (-?\d+)\)")

_MOMENT = datetime(2020, 3, 1, 8)
"""That errors show as an example."""


def parse(name: str) -> pa.DataType:
    """The type of a plain column.

    Raises:
        ValueError: no type, or a nested one.
    """
    if found := _DICTIONARY.fullmatch(name):
        values, indices, ordered = found.groups()
        return pa.dictionary(parse(indices), parse(values), ordered == "1")
    if found := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(*found.groups())
    if found := _DECIMAL.fullmatch(name):
        bits, precision, scale = found.groups()
        return getattr(pa, f"decimal{bits}")(int(precision), int(scale))
    return pa.type_for_alias(name)


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type itself, or that of a dictionary's values."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def without_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column's plain values: one file may have a dictionary, and another not."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether cells are numbers, or times, which are stored as such."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_temporal)
    return any(test(kind) for test in tests)


def from_text(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    """The inverse of a cast to text, also of times and durations, which Arrow reads from no text.

    Raises:
        ValueError, NotImplementedError: text that is no such value; a type that has no text.
    """
    if pa.types.is_time(kind):
        moments = pc.binary_join_element_wise("1970-01-01", cells, "T")
        return moments.cast(pa.timestamp(kind.unit)).cast(kind)
    if pa.types.is_duration(kind):
        return cells.cast(pa.int64()).cast(kind)
    return cells.cast(kind)


def value_of(name: str, value: bool | int | float | str, kind: pa.DataType) -> pa.Array:
    """An array [1] of what a value, or its text, is as a column's type.

    Args:
        name: of the column, for errors.
        value: a duration is a whole number of the column's unit, or a timedelta.

    Raises:
        ConditionError: the type has no such value.
    """
    plain = value_type(kind)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 37.0 is a whole number too
    try:
        if isinstance(value, timedelta | np.timedelta64):
            return pa.array([value]).cast(plain)
        return from_text(pa.array([str(value)]), plain)
    # Text that is no such value or no UTF-8; another type that Arrow reads from no text.
    except (ValueError, NotImplementedError):
        raise ConditionError(
            f"where: {name} = {value!r} is no value of type {plain}",
            f"give one value as the column has it{_example(str(value), plain)}; a condition takes "
            "no comparison and no list",
        ) from None


def _example(text: str, kind: pa.DataType) -> str:
    """How a column of this type has a date or time, the one of the text where it names one."""
    if pa.types.is_duration(kind):
        return f", a whole number of {kind.unit}"
    if not pa.types.is_temporal(kind):
        return ""
    local = pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind
    try:
        moment = pa.array([text]).cast(pa.timestamp("s")).cast(local)
    except ValueError:  # no date, or none that the type can hold
        moment = pa.array([_MOMENT], pa.timestamp("s")).cast(local)
    if pa.types.is_timestamp(kind) and kind.tz:
        moment = pc.assume_timezone(moment, kind.tz, ambiguous="earliest", nonexistent="earliest")
    return f", such as {moment.cast(pa.string())[0]}"
