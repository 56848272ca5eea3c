"""Dates and times as text, with a strptime format, to whole numbers and back.

The numbers are seconds since 1970, or microseconds where the format has a fraction, which is only
known as ``%S.%f``. A format with ``%z`` is read with its offset, and written as +0000.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from synthray.data.schema import Column
from synthray.errors import SchemaError, SourceError

FRACTION = "%S.%f"


def read(column: Column, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as int64.

    Raises:
        SourceError: cells that do not fit the format.
    """
    form, unit = _form(column)
    cells = cells.cast(pa.string())
    text = cells
    if unit == "us":
        # Arrow reads no fractions: the seconds' digits are followed by the last point.
        text = pc.replace_substring_regex(cells, r"\.\d{1,6}(\D*)$", r"\1")
    times = pc.strptime(text, format=form, unit="s", error_is_null=True)
    if times.null_count > cells.null_count:
        wrong = cells.filter(pc.and_(pc.is_null(times), pc.is_valid(cells)))
        raise SourceError(
            f"data.source: column {column.name!r} has {len(wrong)} cells that are not of the "
            f"format {column.format!r}, such as {wrong[0].as_py()!r}",
            f"correct data.schema.{column.name}.format, or take the column for categorical",
        )
    # Arrow gives seconds as timestamps; their numbers are not to be scaled.
    whole = pa.chunked_array([chunk.view(pa.int64()) for chunk in times.chunks], pa.int64())
    if unit == "s":
        return whole
    digits = pc.struct_field(pc.extract_regex(cells, r"\.(?P<digits>\d{1,6})\D*$"), "digits")
    micros = pc.utf8_rpad(pc.fill_null(digits, "0"), 6, "0").cast(pa.int64())
    return pc.add(pc.multiply(whole, 1_000_000), micros)


def write(column: Column, whole: pa.Array, kind: pa.DataType) -> pa.Array:
    """int64 as text of an Arrow type."""
    form, unit = _form(column)
    zone = "UTC" if "%z" in form else None
    # With microseconds, %S writes the fraction too.
    return pc.strftime(whole.view(pa.timestamp(unit, zone)), format=form).cast(kind)


def _form(column: Column) -> tuple[str, str]:
    """The format as Arrow takes it, and the unit of the numbers."""
    form = column.format
    if form is None:
        raise SchemaError(
            f"column {column.name!r} holds dates as text, and has no format",
            f"give data.schema.{column.name}.format, such as '%Y-%m-%d'",
        )
    if "%f" in form.replace(FRACTION, "", 1):
        raise SchemaError(
            f"data.schema.{column.name}.format: {form!r} has a fraction that follows no seconds",
            f"write it as {FRACTION}",
        )
    return (form.replace(FRACTION, "%S"), "us") if FRACTION in form else (form, "s")
