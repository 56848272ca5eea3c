"""Conditions, the same for every codec: columns of few values, coded by the index of the value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from synthray.data import arrow_types
from synthray.data.codec import DataSpec, Value
from synthray.data.schema import Column, Kind, Schema, near
from synthray.data.sketches import plain
from synthray.errors import ConditionError, SourceError

MAX_COMBINATIONS = 65_536

Label = tuple[Any, ...]
"""The values of a row's conditions, in the order of the columns."""


def count_labels(
    schema: Schema, rows: pa.Table, keep: Sequence[int] | None = None
) -> Counter[Label]:
    """How often each label occurs; the empty one where there are no conditions.

    Args:
        keep: the rows that count; all when not given.
    """
    columns = _columns(schema, rows, keep)
    if not columns:
        number = len(rows if keep is None else keep)
        return Counter({(): number} if number else {})
    names = [str(position) for position in range(len(columns))]
    table = pa.table(columns, names).group_by(names, use_threads=False)
    found = table.aggregate([([], "count_all")])
    labels = zip(*(found[name].to_pylist() for name in names), strict=True)
    return Counter(dict(zip(labels, found["count_all"].to_pylist(), strict=True)))


def _columns(schema: Schema, rows: pa.Table, keep: Sequence[int] | None) -> list[pa.ChunkedArray]:
    """The condition columns of the rows to keep, without dictionaries."""
    columns = [plain(rows[column.name]) for column in schema.conditions]
    if keep is None:
        return columns
    return [column.take(pa.array(keep, pa.int64())) for column in columns]


def with_values(schema: Schema, combinations: Counter[Label]) -> Schema:
    """The schema with the values that each condition has in the source, sorted.

    Args:
        combinations: how often each label occurs.

    Raises:
        SourceError: missing values, or more combinations than can be listed.
    """
    if len(combinations) > MAX_COMBINATIONS:
        raise SourceError(
            f"data.conditions: {len(combinations)} distinct combinations of values",
            f"condition on columns with at most {MAX_COMBINATIONS} combinations",
        )
    columns: list[Column] = []
    position = 0
    for column in schema:
        if column.condition:
            seen = {label[position] for label in combinations}
            if None in seen:
                raise SourceError(
                    f"data.conditions: column {column.name!r} has missing values",
                    "fill or remove those rows, or do not condition on the column",
                )
            column = column.model_copy(update={"values": tuple(sorted(seen))})
            position += 1
        columns.append(column)
    return Schema(columns=tuple(columns))


def data_spec(
    schema: Schema, shape: tuple[int, ...], rows: int, combinations: Counter[Label]
) -> DataSpec:
    """What a model needs to know, for a schema that `with_values` gave."""
    tables = _indices(schema)
    coded = {
        tuple(table[value] for table, value in zip(tables, label, strict=True)): count
        for label, count in combinations.items()
    }
    ordered = sorted(coded)
    return DataSpec(
        shape=shape,
        rows=rows,
        conditions=tuple(len(table) for table in tables),
        combinations=tuple(ordered),
        counts=tuple(coded[combination] for combination in ordered),
    )


def encode_labels(schema: Schema, rows: pa.Table, keep: Sequence[int] | None = None) -> np.ndarray:
    """Value indices, int64 [rows, conditions].

    Args:
        keep: the rows to encode; all when not given.

    Raises:
        ConditionError: a value that the fit did not see.
    """
    columns = _columns(schema, rows, keep)
    number = len(rows if keep is None else keep)
    indices = np.empty((number, len(columns)), np.int64)
    for position, (column, cells) in enumerate(zip(schema.conditions, columns, strict=True)):
        values = pa.array(list(column.values or ()), cells.type)
        found = pc.index_in(cells, value_set=values)
        if found.null_count:
            unknown = cells.filter(pc.is_null(found))[0].as_py()
            raise ConditionError(
                f"{column.name} = {unknown!r} is not in the training data",
                f"known values: {', '.join(map(str, column.values or ()))}",
            )
        indices[:, position] = found.to_numpy()
    return indices


def decode_label(column: Column, indices: torch.Tensor) -> pa.Array:
    """Values of one condition from their indices [rows], in the source's type."""
    values = pa.array(list(column.values or ()), plain_type(column))
    return values.take(pa.array(indices.numpy()))


def plain_type(column: Column) -> pa.DataType:
    """The source's Arrow type; a dictionary column comes back as its plain values."""
    return arrow_types.value_type(arrow_types.parse(column.arrow_type))


def _indices(schema: Schema) -> list[dict[Any, int]]:
    """For each condition, the index of each value."""
    return [{value: i for i, value in enumerate(c.values or ())} for c in schema.conditions]


def not_learned(schema: Schema, name: str, asked: str = "where") -> ConditionError:
    """That a table has no column of the name, or none that is learned.

    Args:
        schema: the source's columns; asked: what names the column.
    """
    known = [c.name for c in schema if c.kind not in (Kind.id, Kind.text)]
    told = f"column {name!r} is not learned"
    if name not in schema.names:
        told = f"no column named {name!r} is learned"
    elif schema[name].kind == Kind.id:
        told = f"column {name!r} is an id, and ids are made anew"
    hint = near(name, known) if name not in schema.names else ""
    return ConditionError(f"{asked}: {told}", f"{hint}its columns: {', '.join(known)}")


def not_known(schema: Schema, name: str) -> ConditionError:
    """That a column cannot be held."""
    known = ", ".join(column.name for column in schema.conditions) or "none"
    return ConditionError(
        f"where: {name!r} is not a condition of this model", f"its conditions: {known}"
    )


def value_index(column: Column, value: Value) -> int:
    """The index of a value; text that reads as the column's own type is taken as it.

    Raises:
        ConditionError: the column has no such value.
    """
    values = column.values or ()
    for index, known in enumerate(values):
        if known == value and isinstance(known, bool) == isinstance(value, bool):
            return index
    text = str(value).lower()
    if column.kind is Kind.boolean:
        text = {"0": "false", "1": "true"}.get(text, text)
    for index, known in enumerate(values):
        if value is not None and str(known).lower() == text:
            return index
    shown = ", ".join(map(str, values[:20])) + (" …" if len(values) > 20 else "")
    raise ConditionError(
        f"where: {column.name} = {value!r} is not in the training data", f"known values: {shown}"
    )


def common_labels(schema: Schema, labels: Counter[Label], rare: int) -> Counter[Label]:
    """The labels that at least ``rare`` rows have.

    Raises:
        SourceError: a value of a condition that is rare.
    """
    common = Counter({k: n for k, n in labels.items() if n >= rare})
    for position, column in enumerate(schema.conditions):
        seen = {label[position] for label in common}
        few = [value for value in column.values or () if value not in seen]
        if few:
            raise SourceError(
                f"data.conditions: column {column.name!r} has {len(few)} values in fewer than "
                f"data.rare = {rare} rows with the same other conditions",
                "condition on fewer columns, or on others, or lower data.rare",
            )
    return common
