"""A column of numbers as codes and offsets (see `synthray.data.layout`).

A column lies on an *axis* (`synthray.data.cells.axis`). A code is a place on it:

    position = start + (centre + half * place(offset))

with the part in brackets rounded on a grid. An *atom* is a code of half 0: one number. Offsets
that are drawn evenly give a bin's rows: a quarter of [-1, 1] is where a quarter of them is, and
``place`` is the line through the three points between.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from synthray.data import arrow_types
from synthray.data.cells import storing
from synthray.data.cells.axis import Axis, below, word
from synthray.data.cells.listing import Listing
from synthray.data.cells.statistics import Number
from synthray.data.hashing import mix
from synthray.data.schema import Column
from synthray.data.sketches import numbers
from synthray.errors import ConditionError, SourceError

MAX_WRITTEN = 65_536
"""Days of 179 years."""


Quarters = tuple[float, float, float]
"""Where offsets of -1/2, 0 and 1/2 lie in a bin, from -1 to 1."""
EVEN: Quarters = (-0.5, 0.0, 0.5)


class NumberForm(BaseModel):
    """What is learned of a column of numbers, as the artifact keeps it.

    Attributes:
        starts: of each code, on a grid.
        centres, halves: of each code.
        breaks: ascending positions; from each up to the next, a cell has the code in ``owners``.
        quarters: of each code; none where all are even.
        weights: of the mixture whose components are the first codes; then there are no breaks.
        listed: all positions that there are, ascending, and ``rows`` of each; then ``breaks`` and
            ``owners`` are one for each, and a code stands for neighbours among them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["numbers"] = "numbers"
    axis: Axis
    starts: tuple[int, ...]
    centres: tuple[float, ...]
    halves: tuple[float, ...]
    breaks: tuple[Number, ...] = ()
    owners: tuple[int, ...] = ()
    quarters: tuple[Quarters, ...] = ()
    weights: tuple[float, ...] = ()
    listed: tuple[Number, ...] = ()
    rows: tuple[int, ...] = ()
    missing: int | None = None
    hidden: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        codes = len(self.centres)
        named = [*self.owners, *(c for c in (self.missing, self.hidden) if c is not None)]
        if not (
            codes == len(self.halves) == len(self.starts)
            and len(self.breaks) == len(self.owners)
            and all(0 <= code < codes for code in named)
            and len(self.weights) <= codes
            and len(self.quarters) in (0, codes)
            and all(-1 < a < b < c < 1 for a, b, c in self.quarters)
            and len(self.listed) == len(self.rows) == (len(self.owners) if self.listed else 0)
            and (not self.listed or list(self.owners) == sorted(self.owners))
        ):
            raise ValueError("the codes of a column of numbers do not fit together")
        return self


class NumberCells:
    """Encodes and decodes one column.

    A number that the fit did not see gets the code and the offset nearest to it from below. One
    beyond the range is drawn into it, or hidden where rare numbers are.

    On a grid every cell comes back exactly from an atom, and from a bin of at most 2^25 steps, for
    an offset is a float32. Elsewhere it comes back within 2^-23 of the width of its bin, and the
    rounding of float64. Modes cut off what is more than four deviations from the mean.
    """

    def __init__(self, column: Column, form: NumberForm) -> None:
        self.column, self.form, self.codes = column, form, len(form.centres)
        self.type = arrow_types.parse(column.arrow_type)
        axis = form.axis
        self._starts = np.array([word(start) for start in form.starts], np.uint64)
        self._centres, self._halves = np.array(form.centres), np.array(form.halves)
        inner = np.array(form.quarters or [EVEN] * self.codes).reshape(-1, 3)
        self._places = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, 1)))
        self._even = all(quarter == EVEN for quarter in form.quarters)
        self._breaks = np.array(form.breaks, np.uint64 if axis.grid else np.float64)
        self._owners = np.array(form.owners, np.int64)
        self._null = [c for c in (form.missing, form.hidden) if c is not None]
        if not axis.grid:
            self._ends: tuple[float, float] = float(axis.low), float(axis.high)
        else:
            self._ends = 0.0, below(axis.longest)
        # Dates are slow to write as text: where there are few, all of them are written beforehand.
        self._written: pa.Array | None = None
        if arrow_types.is_text(arrow_types.value_type(self.type)) and axis.longest < MAX_WRITTEN:
            every = axis.cells(np.arange(int(axis.longest) + 1, dtype=np.uint64), self.type)
            self._written = storing.write(column, self.type, every, None)
        # Where all values are known, decoding is looking up.
        self._values: pa.Array | None = None
        self._listing = Listing(form.owners, form.rows) if form.listed else None
        if form.listed:
            at = np.array(form.listed, np.uint64 if axis.grid else np.float64)
            plain = arrow_types.value_type(self.type)
            known = storing.write(column, self.type, axis.cells(at, plain), None)
            self._values = pa.concat_arrays([known, pa.nulls(1, known.type)])
        elif not self._halves.any():
            codes = np.arange(self.codes)
            self._values = self._decoded(codes, np.zeros(self.codes))

    @property
    def number(self) -> bool:
        return True

    def encode(self, cells: pa.ChunkedArray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes int64 [rows] and offsets float32 [rows] of finite cells that `storing.read` gave.

        Args:
            keys: uint64 [rows], by which the modes of cells are drawn.

        Raises:
            SourceError: missing cells, and the fit saw none.
        """
        form, axis = self.form, self.form.axis
        values, there = numbers(cells)
        if values.dtype.kind == "f":
            values = np.where(there, values, 0.0)
        units = axis.units(values)
        at = axis.positions(units)
        if form.weights:
            codes = self._drawn(at.astype(np.float64), keys)
        elif self._listing is not None:
            index = np.maximum(np.searchsorted(self._breaks, at, side="right") - 1, 0)
            codes, offsets = self._listing.encode(index)
            if not there.all():
                codes[~there] = self._missing(int((~there).sum()))
                offsets[~there] = 0
            return codes, offsets
        elif len(self._breaks):
            index = np.searchsorted(self._breaks, at, side="right") - 1
            codes = self._owners[np.maximum(index, 0)]
        else:
            codes = np.zeros(len(at), np.int64)
        if form.hidden is not None:
            codes[(units < axis.low) | (units > axis.high)] = form.hidden
        if not there.all():
            codes[~there] = self._missing(int((~there).sum()))
        inner = self._inner(at, codes)
        halves = self._halves[codes]
        offsets = np.zeros(len(at))
        np.divide(inner - self._centres[codes], halves, out=offsets, where=halves > 0)
        return codes, self._offsets(codes, np.clip(offsets, -1, 1)).astype(np.float32)

    def _offsets(self, codes: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Offsets of places in bins, both -1 … 1."""
        if self._even:
            return places
        known = self._places[codes]
        quarter = (places[:, None] >= known[:, 1:4]).sum(axis=1)
        low = np.take_along_axis(known, quarter[:, None], axis=1)[:, 0]
        high = np.take_along_axis(known, quarter[:, None] + 1, axis=1)[:, 0]
        return np.asarray((quarter + (places - low) / (high - low)) / 2 - 1)

    def _placed(self, codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The inverse."""
        if self._even:
            return offsets
        fourth = 2 * (offsets.astype(np.float64) + 1)
        quarter = np.minimum(fourth.astype(np.int64), 3)
        at = 5 * codes + quarter
        low, high = self._places.ravel()[at], self._places.ravel()[at + 1]
        return np.asarray(low + (high - low) * (fourth - quarter))

    def _missing(self, cells: int) -> int:
        if self.form.missing is None:
            raise SourceError(
                f"data.source: column {self.column.name!r} has {cells} missing cells, and had none "
                "when the codec was fitted",
                "fill or remove those rows, or train on data that has such",
            )
        return self.form.missing

    def _inner(self, at: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Positions above the starts of codes, float64."""
        if not self.form.axis.grid:
            return at
        starts = self._starts[codes]
        inner: np.ndarray = (np.maximum(at, starts) - starts).astype(np.float64)
        return inner

    def _drawn(self, at: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """A component of the mixture for each cell, drawn from its posterior (1907.00503, 4.2).

        The draw is a fixed function of the row's key and the column's name, so it does not depend
        on how rows are grouped into chunks.
        """
        number = len(self.form.weights)
        deviations = self._halves[:number] / 4
        z = (at[:, None] - self._centres[:number]) / deviations
        logs = np.log(self.form.weights) - np.log(deviations) - np.square(z) / 2
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        cumulative = np.cumsum(shares, axis=1)
        name = np.frombuffer(self.column.name.encode(), np.uint8).astype(np.uint64)
        salt = mix(name + (np.arange(len(name), dtype=np.uint64) << np.uint64(8))).sum()
        points = (mix(keys ^ salt) >> np.uint64(11)) * 2.0**-53
        passed = (cumulative <= (points * cumulative[:, -1])[:, None]).sum(axis=1)
        return np.asarray(np.minimum(passed, number - 1))

    def cell(self, value: bool | int | float | str) -> tuple[int, float, pa.Scalar]:
        """The code, the offset and the cell of a number; text that reads as one is taken as it.

        Raises:
            ConditionError: no number of the column's type, or one that it does not come to.
        """
        name = self.column.name
        wanted = arrow_types.value_of(name, value, self.type)
        try:
            read = storing.read(self.column, pa.chunked_array([wanted]))
        except SourceError:  # text that is no date
            read = pa.chunked_array([pa.nulls(1, pa.int64())])
        if not numbers(read)[1].all():
            raise ConditionError(
                f"where: {name} = {value!r} is not among what the column holds",
                f"give a date of the format {self.column.format}"
                if self.column.format
                else "give a number",
            )
        codes, offsets = self.encode(read, np.zeros(1, np.uint64))
        near = self.decode(codes, offsets)
        if pa.types.is_dictionary(self.type):
            near = near.dictionary_decode()
        axis, units = self.form.axis, self.form.axis.units(numbers(read)[0])
        inside = bool(axis.low <= units[0] <= axis.high)
        # Off a grid, and from a mode, the nearest comes back within a rounding of the offset.
        exact = axis.grid and not self.form.weights
        if not inside or (exact and not near.equals(wanted)):
            raise ConditionError(
                f"where: {name} = {value!r} is not among what the column holds; near is "
                f"{near[0].as_py()}",
                "give a value within its range, with no more decimals than the source has",
            )
        return int(codes[0]), float(offsets[0]), wanted[0]

    def decode(self, codes: np.ndarray, offsets: np.ndarray | None) -> pa.Array:
        """Cells in the source's type; missing and hidden ones are null.

        Args:
            codes: int64 [rows]; offsets: in [-1, 1].
        """
        offsets = np.zeros(len(codes)) if offsets is None else offsets
        if self._listing is not None and self._values is not None:
            if self.form.missing is None:
                return self._values.take(pa.array(self._listing.decode(codes, offsets)))
            missing = codes == self.form.missing
            index = self._listing.decode(np.where(missing, 0, codes), offsets)
            index[missing] = len(self._values) - 1
            return self._values.take(pa.array(index))
        if self._values is not None:
            return self._values.take(pa.array(codes))
        return self._decoded(codes, offsets)

    def _decoded(self, codes: np.ndarray, offsets: np.ndarray) -> pa.Array:
        axis = self.form.axis
        inner = np.clip(
            self._centres[codes] + self._halves[codes] * self._placed(codes, offsets), *self._ends
        )
        at = self._starts[codes] + np.rint(inner).astype(np.uint64) if axis.grid else inner
        null = None
        if self._null:
            null = codes == self._null[0]
            for code in self._null[1:]:
                null |= codes == code
        if self._written is not None:
            return self._written.take(pa.array(at.view(np.int64), mask=null))
        plain = arrow_types.value_type(self.type)
        return storing.write(self.column, self.type, axis.cells(at, plain), null)


def number_slot(form: NumberForm, mean: float, deviation: float) -> dict[str, Any]:
    """``centres`` and ``spreads`` of a slot, in units of a column's deviation from its mean."""
    starts = np.array(form.starts, np.float64) if form.axis.grid else 0.0
    # Divided first: numbers near the end of float64 have no difference.
    centres = (starts + np.array(form.centres)) / deviation - mean / deviation
    spreads = np.array(form.halves) / deviation
    if form.missing is not None:
        centres[form.missing] = 0.0
    return {"centres": tuple(centres.tolist()), "spreads": tuple(spreads.tolist())}
