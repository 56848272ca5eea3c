"""Columns of ids, which are not learned: unique, or of a form, because they are made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from synthray.data.constraints.steps import Arrays, Step, cells
from synthray.data.patterns import boxes_of
from synthray.data.schema import Column, Kind
from synthray.errors import SchemaError


@dataclass(eq=False)
class Identified(Step):
    """A column of text that becomes an id of a pattern. The codec makes ids by row number."""

    key: str
    column: Column
    pattern: str

    def __post_init__(self) -> None:
        try:
            boxes_of(self.pattern)
        except SchemaError as error:
            raise SchemaError(f"{self.key}: {error.what}", error.remedy) from None
        changes = {"kind": Kind.id, "pattern": self.pattern}
        self.restores = (self.column,)
        self.makes = (self.column.model_copy(update=changes),)

    def forward(self, rows: pa.Table) -> Arrays:
        return [cells(rows, self.column.name)]

    def backward(self, made: Sequence[pa.Array], restored: Mapping[str, pa.Array]) -> Arrays:
        return [made[0]]
