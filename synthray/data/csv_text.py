"""Rows of Arrow tables as CSV."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from synthray.data import arrow_types


def csv_text(table: pa.Table, header: bool) -> pa.Buffer:
    """UTF-8 with commas; text in quotes, missing cells and NaN empty, times as ISO 8601.

    Args:
        table: columns of plain types, without images.
        header: whether the names come first.
    """
    sink = pa.BufferOutputStream()
    columns = [_writable(column) for column in table.columns]
    plain = pa.table(columns, names=table.column_names)
    csv.write_csv(plain, sink, csv.WriteOptions(include_header=header))
    return sink.getvalue()


def _writable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in a type that Arrow writes, which has no NaN and no views."""
    column = arrow_types.without_dictionary(column)
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column
