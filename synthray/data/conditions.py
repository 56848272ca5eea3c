"""Conditions, the same for every codec: columns of few values, coded by the index of the value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from synthray.data.codec import DataSpec
from synthray.data.schema import Column, Schema
from synthray.errors import ConditionError, SourceError

MAX_COMBINATIONS = 65_536

Label = tuple[Any, ...]
"""The values of a row's conditions, in the order of the columns."""


def labels_of(schema: Schema, rows: pa.Table) -> list[Label]:
    """The label of every row; the empty one where there are no conditions."""
    columns = [rows[column.name].to_pylist() for column in schema.conditions]
    return list(zip(*columns, strict=True)) if columns else [()] * len(rows)


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


def encode_labels(schema: Schema, labels: Sequence[Label]) -> np.ndarray:
    """Value indices, int64 [rows, conditions].

    Raises:
        ConditionError: a value that the fit did not see.
    """
    columns, tables = schema.conditions, _indices(schema)
    indices = np.empty((len(labels), len(columns)), np.int64)
    for row, label in enumerate(labels):
        for position, value in enumerate(label):
            if value not in tables[position]:
                column = columns[position]
                raise ConditionError(
                    f"{column.name} = {value!r} is not in the training data",
                    f"known values: {', '.join(map(str, column.values or ()))}",
                )
            indices[row, position] = tables[position][value]
    return indices


def decode_label(column: Column, indices: torch.Tensor) -> pa.Array:
    """Values of one condition from their indices [rows], in the source's type."""
    values = pa.array(list(column.values or ()), plain_type(column))
    return values.take(pa.array(indices.numpy()))


def plain_type(column: Column) -> pa.DataType:
    """The source's Arrow type; a dictionary column comes back as its plain values."""
    name = column.arrow_type
    if name.startswith("dictionary<values="):
        name = name.removeprefix("dictionary<values=").split(",")[0]
    return pa.type_for_alias(name)


def _indices(schema: Schema) -> list[dict[Any, int]]:
    """For each condition, the index of each value."""
    return [{value: i for i, value in enumerate(c.values or ())} for c in schema.conditions]
