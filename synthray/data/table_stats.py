"""Statistics of the columns of a table, from chunks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from synthray.data import arrow_types
from synthray.data.cells import storing
from synthray.data.cells.categories import check_type
from synthray.data.cells.ids import IdStats
from synthray.data.cells.statistics import ENDS, NumberStats
from synthray.data.conditions import Label
from synthray.data.dictionaries import Dictionaries, merged
from synthray.data.schema import Column, Kind
from synthray.data.sketches import ValueCounts

NUMBERS = (Kind.continuous, Kind.integer, Kind.datetime)
CATEGORIES = (Kind.categorical, Kind.boolean)

Stats = NumberStats | ValueCounts | IdStats


@dataclass(frozen=True)
class TableStats:
    """Statistics of some rows of a table: by column, and of the conditions.

    dictionaries: what those of dictionary types list.
    """

    rows: int = 0
    columns: dict[str, Stats] = field(default_factory=dict)
    combinations: Counter[Label] = field(default_factory=Counter)
    dictionaries: Dictionaries = field(default_factory=dict)

    def merge(self, other: TableStats) -> TableStats:
        columns = dict(self.columns)
        for name, found in other.columns.items():
            mine: Any = columns.get(name)
            columns[name] = found if mine is None else mine.merge(found)
        return TableStats(
            self.rows + other.rows,
            columns,
            self.combinations + other.combinations,
            merged(self.dictionaries, other.dictionaries),
        )


def stats_of(column: Column, cells: pa.ChunkedArray, keys: np.ndarray, rare: int) -> Stats:
    """The statistics of a column's cells.

    Args:
        keys: the `row_keys` of the chunk.
        rare: see `TableCodec`.

    Raises:
        SourceError, SchemaError: text that is no date, a column whose kind does not fit its type.
    """
    if column.kind in NUMBERS:
        plain = storing.read(column, cells)
        return NumberStats.of(plain, keys, bits_of(column), ENDS + rare)
    if column.kind == Kind.id:
        return IdStats.of(column, cells)
    check_type(column)
    return ValueCounts.of(cells)


def bits_of(column: Column) -> int:
    """The bits of the mantissa of a column of floats."""
    kind = arrow_types.value_type(arrow_types.parse(column.arrow_type))
    return storing.DIGITS.get(kind, storing.DIGITS[pa.float64()])
