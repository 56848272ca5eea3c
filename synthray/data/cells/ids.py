"""A column of ids: not learned, and made anew, unique, from the number of each row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from synthray import rng
from synthray.data import arrow_types
from synthray.data.cells import storing
from synthray.data.ids import ROUNDS, NumberIds, OutOfIdsError, PatternIds
from synthray.data.schema import Column
from synthray.errors import SchemaError

PATTERN = "[0-9a-f]{16}"
"""Of text without a pattern."""


@dataclass(frozen=True)
class IdStats:
    """The range of ids that are numbers."""

    low: int | None = None
    high: int | None = None

    @classmethod
    def of(cls, column: Column, cells: pa.ChunkedArray) -> IdStats:
        """Raises: SchemaError: a type that holds no ids."""
        kind = arrow_types.value_type(cells.type)
        if arrow_types.is_text(kind):
            return cls()
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise SchemaError(
                f"data.schema.{column.name}.kind: a column of {kind} cannot be id",
                "give ids as text or whole numbers, or correct the column's kind",
            )
        ends = pc.min_max(storing.read(column, cells)).as_py()
        low, high = ends["min"], ends["max"]
        return cls() if low is None else cls(int(low), int(high))

    def merge(self, other: IdStats) -> IdStats:
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return IdStats(min(lows, default=None), max(highs, default=None))


class IdForm(BaseModel):
    """Between which numbers the first ids lie; the schema holds the pattern of others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["ids"] = "ids"
    low: int = 1
    high: int = 1


def fit_ids(stats: IdStats, rare: int) -> IdForm:
    """Numbers lie where the source's do; with ``rare``, only as many digits are kept of those:
    they start at 0, or the least of as many as the least has, and end at the greatest of so many.
    """
    if stats.low is None or stats.high is None:
        return IdForm()
    if not rare:
        return IdForm(low=stats.low, high=stats.high)
    power = 10 ** len(str(abs(stats.low)))
    low = 1 - power if stats.low < 0 else power // 10 if stats.low else 0
    return IdForm(low=low, high=10 ** len(str(max(stats.high, 1))) - 1)


class IdCells:
    """Makes one column.

    Raises:
        SchemaError: a pattern that cannot be read, or whose strings are no distinct numbers though
            the column is one of numbers.
    """

    codes = 1

    def __init__(self, column: Column, form: IdForm) -> None:
        self.column, self.form = column, form
        self.type = arrow_types.parse(column.arrow_type)
        self._plain = arrow_types.value_type(self.type)
        self._ids: PatternIds | NumberIds
        text = arrow_types.is_text(self._plain)
        least, most = (0, 0) if text else _limits(self._plain)
        if column.pattern is not None or text:
            self._ids = PatternIds(column.pattern or PATTERN)
            if not (text or self._ids.are_numbers(most)):
                raise SchemaError(
                    f"data.schema.{column.name}.pattern: {column.pattern!r} does not give distinct "
                    f"numbers of type {self._plain}",
                    f"use digits only, up to {most}; where lengths differ, begin with [1-9]",
                )
        else:
            self._ids = NumberIds(max(form.low, least), form.high, most)

    def made(self, first: int, number: int, seed: int) -> pa.Array:
        """The ids of rows ``first`` … ``first + number`` of the virtual dataset of this seed.

        Raises:
            SchemaError: there are not so many.
        """
        try:
            found = self._ids.take(first, number, _key(seed, self.column.name))
        except OutOfIdsError as error:
            what = f"pattern {self.column.pattern!r}" if self.column.pattern else str(self.type)
            raise SchemaError(
                f"column {self.column.name!r}: {what} has {error.count:,} ids, too few for rows "
                f"{first:,} … {first + number:,}",
                f"give data.schema.{self.column.name}.pattern more places and train again, or "
                "generate fewer rows",
            ) from None
        if isinstance(found, np.ndarray):
            cells = found if pa.types.is_uint64(self._plain) else found.view(np.int64)
            return storing.write(self.column, self.type, cells, None)
        found = found.cast(self._plain)
        dictionary = pa.types.is_dictionary(self.type)
        return found.dictionary_encode().cast(self.type) if dictionary else found


@lru_cache(maxsize=256)
def _key(seed: int, name: str) -> np.ndarray:
    return rng.stream(seed, f"ids of {name}").integers(0, 2**64, ROUNDS, np.uint64)


def _limits(kind: pa.DataType) -> tuple[int, int]:
    """Between which a type holds every whole number."""
    if kind in storing.DIGITS:
        most = 2 ** storing.DIGITS[kind]
        return -most, most
    bounds = np.iinfo(kind.to_pandas_dtype())
    return int(bounds.min), int(bounds.max)
