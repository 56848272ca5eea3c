"""Rows of Arrow tables as values that JSON has."""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Rows of values that JSON has: images as base64, NaN as null, times as ISO 8601,
    durations as whole numbers of their unit."""
    if not table.num_columns:
        return iter([{}] * table.num_rows)
    columns = [_plain_column(table.column(name)) for name in table.column_names]
    return (
        dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)
    )


def _plain_column(column: pa.ChunkedArray) -> Sequence[Any]:
    kind = column.type
    if isinstance(column.type, pa.FixedShapeTensorType):
        whole = column.combine_chunks()
        pieces = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
        return [image for piece in pieces for image in piece.to_numpy_ndarray().tolist()]
    if pa.types.is_duration(kind):
        return _plain_column(column.cast(pa.int64()))
    if getattr(kind, "unit", None) == "ns":
        # Python's own times end at microseconds.
        column = pc.replace_substring_regex(column.cast(pa.string()), r"\.0{9}", "")
        if pa.types.is_timestamp(kind):
            column = pc.replace_substring(column, " ", "T")
    plain = _plainer(column.type)
    values: list[Any] = column.to_pylist()
    return values if plain is None else [None if v is None else plain(v) for v in values]


def _plainer(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """How a value of this Arrow type becomes one of JSON; none: it already is."""
    types = pa.types
    if types.is_dictionary(kind):
        return _plainer(kind.value_type)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_string(kind):
        return None
    return _plain


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
