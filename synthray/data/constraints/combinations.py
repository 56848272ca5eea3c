"""Columns whose values come only in the combinations of the source: learned as one column.

The model learns a categorical column of *keys*: the values of a row as text, joined. The table of
the combinations, in the source's types, brings the columns back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data import arrow_types
from synthray.data.constraints.steps import Arrays, Step, cells, in_types
from synthray.data.schema import Column, Kind
from synthray.data.sketches import LIMIT
from synthray.errors import ArtifactError, SchemaError, SourceError

BETWEEN = "\x1f"  # ASCII's unit separator
MISSING = "\\0"


def joined(columns: Sequence[pa.Array]) -> pa.Array:
    """The cells of each row as one text, string [rows]; equal for rows that are equal alone."""
    return pc.binary_join_element_wise(*map(_escaped, columns), BETWEEN)


def _escaped(column: pa.Array) -> pa.Array:
    """Cells as text without a separator, missing ones too; a backslash is always doubled."""
    text = column.cast(pa.string())
    if arrow_types.is_text(column.type):
        text = pc.replace_substring(text, "\\", "\\\\")
        text = pc.replace_substring(text, BETWEEN, "\\s")
    return pc.fill_null(text, MISSING)


@dataclass(eq=False)
class Joint(Step):
    """Columns as one of keys.

    Args:
        columns: at least two, of text, whole numbers, booleans, floats, dates or times.
        types: of the source's columns, dictionaries among them.
    """

    key: str
    columns: tuple[Column, ...]
    types: pa.Schema
    table: pa.Table | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for column in self.columns:
            kind = arrow_types.parse(column.arrow_type)
            plain = pa.types.is_primitive(kind) or arrow_types.is_text(kind)
            if not plain or pa.types.is_float16(kind) or column.kind in (Kind.id, Kind.image):
                raise SchemaError(
                    f"{self.key}: column {column.name!r} is {column.kind.value} of "
                    f"{column.arrow_type}, which cannot be part of a combination",
                    "name columns of text, numbers, booleans, dates or times that are no ids",
                )
        self.restores = self.columns
        self.rename(" & ".join(column.name for column in self.columns))

    def rename(self, name: str) -> None:
        """Give the column of keys a name."""
        self.name = name
        self.makes = (Column(name=name, kind=Kind.categorical),)

    def keys(self, rows: pa.Table) -> pa.Array:
        return joined([cells(rows, column.name) for column in self.columns])

    def forward(self, rows: pa.Table) -> Arrays:
        return [self.keys(rows)]

    def backward(self, made: Sequence[pa.Array], restored: Mapping[str, pa.Array]) -> Arrays:
        """Raises: ArtifactError: a key that is none of the source's."""
        table = self.fitted
        index = pc.index_in(made[0], value_set=cells(table, self.name))
        if index.null_count:
            unknown = made[0].filter(pc.is_null(index))[0].as_py()
            raise ArtifactError(
                f"{self.key}: the model gives a combination {unknown!r} that the source lacks",
                "train again",
            )
        # Dictionaries hold all values, so that they are the same for any rows.
        return [table[column.name].combine_chunks().take(index) for column in self.columns]

    def seen(self, rows: pa.Table) -> np.ndarray:
        """Which rows [rows] have a combination of the source."""
        found = pc.is_in(self.keys(rows), value_set=cells(self.fitted, self.name))
        return np.asarray(found.to_numpy(zero_copy_only=False))

    @property
    def fitted(self) -> pa.Table:
        if self.table is None:
            raise RuntimeError("the combinations are known after the fit")
        return self.table

    # --- the table of combinations -------------------------------------------------------

    def partial(self, rows: pa.Table) -> pa.Table:
        """Each combination of the rows once, with its key."""
        table = {column.name: cells(rows, column.name) for column in self.columns}
        return _each_once(pa.table({self.name: self.keys(rows)} | table), self.name)

    def merge(self, a: pa.Table, b: pa.Table) -> pa.Table:
        return _each_once(pa.concat_tables([a, b]), self.name)

    def fit(self, stats: pa.Table) -> None:
        """Raises: SourceError: more combinations than can be learned."""
        if len(stats) > LIMIT:
            raise SourceError(
                f"{self.key}: {len(stats):,} combinations",
                f"name columns with at most {LIMIT:,}",
            )
        # The order of keys depends on no order of chunks.
        self._take(stats.sort_by(self.name))

    def _take(self, table: pa.Table) -> None:
        fields = [self.types.field(column.name) for column in self.columns]
        schema = pa.schema([(self.name, pa.string()), *fields])
        self.table = in_types(table.select(schema.names), schema)

    def known(self, values: Mapping[str, Sequence[Any] | None], rare: int) -> None:
        """Rare combinations are forgotten."""
        kept = values.get(self.name)
        if kept is not None:
            keys = self.fitted[self.name]
            self.table = self.fitted.filter(pc.is_in(keys, value_set=pa.array(kept, pa.string())))

    def values(self, name: str) -> tuple[Any, ...]:
        """The distinct values of a column, ascending."""
        return tuple(sorted(cells(self.fitted, name).unique().drop_null().to_pylist()))

    def state(self) -> Any:
        """The columns as text."""
        return {
            column.name: cells(self.fitted, column.name).cast(pa.string()).to_pylist()
            for column in self.columns
        }

    def load(self, state: Any) -> None:
        columns = {}
        for column in self.columns:
            text = pa.array(state[column.name], pa.string())
            columns[column.name] = arrow_types.from_text(text, arrow_types.parse(column.arrow_type))
        self._take(pa.table({self.name: joined(list(columns.values()))} | columns))


def _each_once(table: pa.Table, key: str) -> pa.Table:
    codes = cells(table, key).dictionary_encode().indices.to_numpy()
    return table.take(pa.array(np.unique(codes, return_index=True)[1]))
