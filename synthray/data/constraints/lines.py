"""A number line that columns share: numbers of several types, or dates and times of several units.

On a *whole* line cells are int64, in the finest unit of its columns: whole numbers, decimals, dates
and times. On the other they are float64. A cell is *there* unless it is missing or NaN.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data import arrow_types
from synthray.data.cells import datetimes, storing
from synthray.data.schema import Column, Kind
from synthray.errors import SchemaError, SourceError

INT64 = np.iinfo(np.int64)
EXACT = 2**53
"""Whole numbers up to this one are exact in float64."""
UNITS = {
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
EPOCH = datetime.datetime(1970, 1, 1)
YEARS = -62_135_596_800, 253_402_300_799
"""Seconds since 1970 of the first and the last second that a date of four digits can name."""

Value = int | float


@dataclass(frozen=True)
class Measure:
    """What a column measures: what its cells are, and in which unit.

    family: number, time, time with zone, time of day, duration; only cells of one compare.
    unit: of a stored number; in seconds, where it is of time.
    bits: of a float's mantissa; None of whole numbers.
    """

    family: str
    unit: Fraction = Fraction(1)
    bits: int | None = None

    @classmethod
    def of(cls, column: Column) -> Measure | None:
        """None of columns that do not measure, such as text."""
        kind = arrow_types.parse(column.arrow_type)
        if column.kind in (Kind.id, Kind.image, Kind.text) or pa.types.is_boolean(kind):
            return None
        if pa.types.is_integer(kind):
            return cls("number")
        if pa.types.is_floating(kind):
            return cls("number", bits=storing.DIGITS[kind])
        if pa.types.is_decimal(kind):
            return cls("number", Fraction(1, 10**kind.scale))
        if pa.types.is_date32(kind):
            return cls("time", Fraction(86_400))
        if pa.types.is_date64(kind):
            return cls("time", UNITS["ms"])
        if pa.types.is_timestamp(kind):
            return cls("time with zone" if kind.tz else "time", UNITS[kind.unit])
        if pa.types.is_time(kind):
            return cls("time of day", UNITS[kind.unit])
        if pa.types.is_duration(kind):
            return cls("duration", UNITS[kind.unit])
        if arrow_types.is_text(kind) and column.kind == Kind.datetime and column.format:
            family = "time with zone" if "%z" in column.format else "time"
            return cls(family, UNITS["us" if datetimes.FRACTION in column.format else "s"])
        return None


@dataclass(frozen=True)
class Line:
    """The line of some columns.

    unit: of a whole line's numbers, that of its finest column; None of a line of floats.
    """

    family: str
    unit: Fraction | None

    @classmethod
    def of(cls, key: str, columns: Sequence[Column]) -> Line:
        """The line that all ``columns`` lie on.

        Raises:
            SchemaError: a column that does not measure, or several that do not compare.
        """
        found = [(column, measure_of(key, column)) for column in columns]
        first = found[0][1]
        for column, measure in found:
            if measure.family != first.family:
                raise SchemaError(
                    f"{key}: {columns[0].name!r} is a {first.family}, {column.name!r} is a "
                    f"{measure.family}",
                    "compare columns of one sort; give both or neither a time zone",
                )
        if all(measure.bits is None for _, measure in found):
            return cls(first.family, min(measure.unit for _, measure in found))
        for column, measure in found:
            if measure.unit != 1:
                raise SchemaError(
                    f"{key}: {column.name!r} is {column.arrow_type}, and others are floats",
                    "store all of them as decimals, or all as floats",
                )
        return cls(first.family, None)

    @property
    def whole(self) -> bool:
        return self.unit is not None

    def bits(self, column: Column) -> int:
        """Of the mantissa of a column on a line of floats; whole numbers are taken as float64."""
        return measure_of("", column).bits or 53

    def step(self, column: Column) -> int | None:
        """Every how many numbers of the line a cell of the column can lie; None of floats."""
        if self.unit is not None:
            return int(measure_of("", column).unit / self.unit)
        return None if measure_of("", column).bits and column.kind != Kind.integer else 1

    def limits(self, column: Column) -> tuple[Value, Value]:
        """The smallest and the largest number of the line that the column's type holds."""
        kind = arrow_types.parse(column.arrow_type)
        if pa.types.is_floating(kind):
            most = float(np.finfo(kind.to_pandas_dtype()).max)
            return -most, most
        low, high = (int(INT64.min), int(INT64.max)) if self.whole else (-EXACT, EXACT)
        if pa.types.is_integer(kind):
            ends = np.iinfo(kind.to_pandas_dtype())
            low, high = max(low, int(ends.min)), min(high, int(ends.max))
        elif pa.types.is_date32(kind):
            low, high = -(2**31), 2**31 - 1
        elif pa.types.is_decimal(kind):
            high = min(high, 10**kind.precision - 1)
            low = -high
        elif arrow_types.is_text(kind):
            low, high = (int(end / measure_of("", column).unit) for end in YEARS)
        if self.unit is None:
            return low, high
        step = int(measure_of("", column).unit / self.unit)
        return max(low, -(-int(INT64.min) // step)) * step, min(high, INT64.max // step) * step

    def read(self, column: Column, cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Cells [rows] as int64 or float64, and which of them are there.

        Raises:
            SourceError: numbers beyond int64.
        """
        stored = storing.read(column, pa.chunked_array([cells])).combine_chunks()
        there = pc.is_valid(stored).to_numpy(zero_copy_only=False)
        values = pc.fill_null(stored, 0).to_numpy(zero_copy_only=False)
        step = int(measure_of("", column).unit / self.unit) if self.unit else 1
        low, high = -(-int(INT64.min) // step), int(INT64.max) // step
        if not self.unit:
            low, high = -EXACT, EXACT
        if values.dtype.kind != "f" and not _within(values, low, high):
            raise SourceError(
                f"data.constraints: column {column.name!r} has values beyond {high:,}, which "
                "cannot be compared exactly with those of the other columns",
                "remove those rows, or store the columns in one type",
            )
        return values.astype(np.int64 if self.unit else np.float64) * step, there

    def write(self, column: Column, values: np.ndarray, there: np.ndarray) -> pa.Array:
        """The inverse of `read`, in the column's type."""
        kind = arrow_types.parse(column.arrow_type)
        if self.unit is not None:
            values = values // int(measure_of("", column).unit / self.unit)
        missing = None if there.all() else ~there
        values = np.where(there, values, 0) if missing is not None else values
        if pa.types.is_uint64(kind):
            values = values.astype(np.uint64)
        return storing.write(column, kind, values, missing)

    def constant(self, key: str, value: int | float | str) -> Fraction | float:
        """A number or a date of the config on the line.

        Raises:
            SchemaError: a date among numbers, a number among dates, or text that is neither.
        """
        if self.family == "number" and not isinstance(value, str):
            return float(value) if self.unit is None else Fraction(value) / self.unit
        if self.family in ("time", "time with zone") and isinstance(value, str):
            try:
                moment = datetime.datetime.fromisoformat(value)
            except ValueError:
                raise SchemaError(
                    f"{key}: {value!r} is neither a column nor a date",
                    "write dates as 2024-12-31 or 2024-12-31T08:00, columns by their names",
                ) from None
            if moment.tzinfo is not None:
                moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
            micros = (moment - EPOCH) // datetime.timedelta(microseconds=1)
            return micros * UNITS["us"] / (self.unit or 1)
        if isinstance(value, str):
            raise SchemaError(
                f"{key}: {value!r} is neither a column nor a number", "name a column of the source"
            )
        raise SchemaError(
            f"{key}: the number {value!r} among columns of the sort {self.family}",
            "write a date, such as 2024-12-31" if "time" in self.family else "name a column",
        )


def _within(values: np.ndarray, low: int, high: int) -> bool:
    return not len(values) or (low <= int(values.min()) and int(values.max()) <= high)


def measure_of(key: str, column: Column) -> Measure:
    """Raises: SchemaError: a column that does not measure."""
    found = Measure.of(column)
    if found is None:
        raise SchemaError(
            f"{key}: column {column.name!r} is {column.kind.value} of {column.arrow_type}, "
            "which has no order",
            "name columns of numbers, dates or times; of dates as text, give the format under "
            "data.schema",
        )
    return found
