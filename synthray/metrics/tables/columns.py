"""Columns in one form, whatever type they are stored in: numbers, or codes of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from synthray.data import arrow_types
from synthray.data.cells import datetimes
from synthray.data.schema import Column, Kind, Schema
from synthray.errors import SchemaError, SourceError

NUMBERS = (Kind.continuous, Kind.integer, Kind.datetime)
CATEGORIES = (Kind.categorical, Kind.boolean)
MISSING = -1
"""The code of a missing category."""


@dataclass(frozen=True)
class Compared:
    """A column that is compared.

    Attributes:
        name, kind: as in the schema.
        values: of a column of categories: its values in any of the tables, the most frequent of
            the real rows first; code i stands for values[i].
        clock: it holds times of the day, without a date.
    """

    name: str
    kind: Kind
    values: tuple[Any, ...] = ()
    clock: bool = False

    @property
    def numeric(self) -> bool:
        return self.kind in NUMBERS


@dataclass(frozen=True)
class Frame:
    """Rows of a table in comparable form.

    Attributes:
        columns: what is compared; the same in all frames of one evaluation.
        data: by column, [rows]: float64 with NaN where missing, or int64 codes with `MISSING`.
            Dates are microseconds.
    """

    columns: tuple[Compared, ...]
    data: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.data.values())))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.data[name]

    def rows(self, start: int, stop: int) -> Frame:
        """Rows start … stop - 1."""
        return Frame(self.columns, {name: x[start:stop] for name, x in self.data.items()})

    def head(self, count: int) -> Frame:
        return self.rows(0, count)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Which cells of a column are missing, [rows]."""
        x = self.data[name]
        gone: NDArray[np.bool_] = np.isnan(x) if x.dtype == np.float64 else x == MISSING
        return gone


def compared_columns(schema: Schema) -> tuple[list[Column], list[Column]]:
    """The columns that are compared, and those that are left out: ids, text and images.

    Conditions are labels, and so categories, even if they are whole numbers.

    Raises:
        SchemaError: none is left.
    """
    labelled = {Kind.integer: Kind.categorical}
    kept = [
        c.model_copy(update={"kind": labelled.get(c.kind, c.kind) if c.condition else c.kind})
        for c in schema
        if c.kind in NUMBERS + CATEGORIES
    ]
    left = [c for c in schema if c.kind not in NUMBERS + CATEGORIES]
    if not kept:
        kinds = ", ".join(f"{c.name} ({c.kind.value})" for c in left)
        raise SchemaError(
            f"evaluate: no column can be compared; there are: {kinds or 'none'}",
            "correct their kinds under data.schema",
        )
    return kept, left


def check_columns(what: str, table: pa.Schema, real: pa.Schema, columns: Sequence[Column]) -> None:
    """Refuse a table that cannot be compared with the real one.

    Integers and floats compare, and so do dates and times of different precision.

    Raises:
        SchemaError: a column that is missing, there twice, or holds something else.
    """
    for column in columns:
        count = table.names.count(column.name)
        if count != 1:
            raise SchemaError(
                f"{what}: {'no column' if count == 0 else f'{count} columns'} {column.name!r}; "
                f"it has {', '.join(table.names)}",
                "compare data with the same columns",
            )
        ours, theirs = (s.field(column.name).type for s in (real, table))
        null = pa.types.is_null(arrow_types.value_type(theirs))
        if _family(ours) != _family(theirs) and not null:
            raise SchemaError(
                f"{what}: column {column.name!r} is {theirs}, in the real data {ours}",
                "give it the type that it has in the real data",
            )


def canonical(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """The compared columns, each int64, float64, bool or large_string, NaN as null.

    Raises:
        SchemaError: text that is no number, though the column's kind says so; infinite numbers.
    """
    return pa.table({c.name: _canonical(table[c.name].combine_chunks(), c) for c in columns})


def frames(tables: Sequence[pa.Table], columns: Sequence[Column]) -> list[Frame]:
    """Canonical tables in comparable form; the first is the real one, which orders the values."""
    compared = []
    data: list[dict[str, NDArray[Any]]] = [{} for _ in tables]
    for column in columns:
        cells = [table[column.name] for table in tables]
        if column.kind in NUMBERS:
            clock = pa.types.is_time(arrow_types.value_type(arrow_types.parse(column.arrow_type)))
            compared.append(Compared(column.name, column.kind, clock=clock))
            for found, cell in zip(data, cells, strict=True):
                found[column.name] = pc.cast(cell, pa.float64(), safe=False).to_numpy()
            continue
        values = _values(cells)
        compared.append(Compared(column.name, column.kind, tuple(values.to_pylist())))
        for found, cell in zip(data, cells, strict=True):
            codes = pc.index_in(cell, value_set=values)
            found[column.name] = pc.fill_null(codes, MISSING).to_numpy().astype(np.int64)
    return [Frame(tuple(compared), found) for found in data]


def _values(cells: Sequence[pa.ChunkedArray]) -> pa.Array:
    """The distinct values: by falling frequency in the first, then by value; then all others."""
    every = pc.unique(pa.chunked_array([chunk for cell in cells for chunk in cell.chunks]))
    every = every.drop_null()
    counted = pc.value_counts(cells[0].drop_null())
    seen = pc.index_in(every, value_set=counted.field("values"))
    count = pc.fill_null(counted.field("counts").take(seen), 0)
    table = pa.table({"value": every, "count": count})
    return table.sort_by([("count", "descending"), ("value", "ascending")])[
        "value"
    ].combine_chunks()


def _canonical(cells: pa.Array, column: Column) -> pa.Array:
    kind = arrow_types.value_type(cells.type)
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    number = column.kind in NUMBERS
    if pa.types.is_null(kind):
        return cells.cast(pa.float64() if number else pa.large_string())
    if pa.types.is_temporal(kind):
        return _microseconds(cells, kind)
    if number and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _parsed(cells, column)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or kind == pa.uint64():
        cells = cells.cast(pa.float64(), safe=False)
        if pc.any(pc.is_inf(cells)).as_py():
            raise SchemaError(
                f"column {column.name!r} holds infinite numbers",
                "replace them, by missing values say",
            )
        return pc.if_else(pc.is_nan(cells), pa.scalar(None, pa.float64()), cells)
    if pa.types.is_integer(kind):
        return cells.cast(pa.int64())
    if pa.types.is_boolean(kind):
        return cells.cast(pa.int64()) if number else cells
    return cells.cast(pa.large_string())


def _microseconds(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_time(kind):
        return cells.cast(pa.time64("us"), safe=False).cast(pa.int64())
    if pa.types.is_duration(kind):
        return cells.cast(pa.duration("us"), safe=False).cast(pa.int64())
    zone = getattr(kind, "tz", None)
    return cells.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())


def _parsed(cells: pa.Array, column: Column) -> pa.Array:
    """Text as numbers, or as microseconds."""
    if column.kind == Kind.datetime:
        try:
            times = datetimes.read(column, pa.chunked_array([cells])).combine_chunks()
        except SourceError as error:  # it may be any of the tables
            raise SchemaError(error.what.removeprefix("data.source: "), error.remedy) from error
        fraction = column.format is not None and datetimes.FRACTION in column.format
        return times if fraction else pc.multiply(times, 1_000_000)
    try:
        return cells.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise SchemaError(
            f"column {column.name!r} is {column.kind.value} by the schema, but: {error}",
            f"correct data.schema.{column.name}",
        ) from error


def _family(kind: pa.DataType) -> str:
    kind = arrow_types.value_type(kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "date"
    return str(kind.id)
