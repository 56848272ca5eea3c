"""A column that is the sum of others: the model learns the parts, and the sum follows.

Of whole numbers and decimals the sum is exact. Of floats it is the parts added from the first to
the last in float64; where a few decimals write all parts exactly, it is the float nearest to their
exact sum, as 0.3 is that of 0.1 and 0.2 (see `decimals`). It is then stored in the total's type.

A row that lacks a part has no sum: its total, if there is one, is learned as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data.constraints import decimals
from synthray.data.constraints.lines import Line, measure_of
from synthray.data.constraints.steps import Arrays, Step, cells
from synthray.data.schema import Column
from synthray.errors import SchemaError

ROUNDING = 8
"""Units in the last place by which a sum of floats may be off in the source."""


@dataclass(eq=False)
class Total(Step):
    """A total that is derived. Before the model it is 0 where it follows from the parts.

    Attributes:
        alone: whether the source has totals where a part is missing.
        absent: whether it lacks totals where none is missing.
    """

    key: str
    total: Column
    parts: tuple[Column, ...]
    alone: bool = field(default=True, init=False)
    absent: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.line = Line.of(self.key, [self.total, *self.parts])
        if self.line.family not in ("number", "duration"):
            raise SchemaError(f"{self.key}: a {self.line.family} is no sum", "name numbers")
        if self.line.whole and self.line.step(self.total) != 1:
            raise SchemaError(
                f"{self.key}: {self.total.name!r} is {self.total.arrow_type}, too coarse for the "
                "sum of its parts",
                "store it as finely as the finest of its parts",
            )
        if not self.line.whole and measure_of(self.key, self.total).bits is None:
            raise SchemaError(
                f"{self.key}: {self.total.name!r} is {self.total.arrow_type}, and not all of its "
                "parts are whole",
                "store it as a float",
            )
        self.restores = self.makes = (self.total,)
        self.needs = tuple(part.name for part in self.parts)

    def forward(self, rows: pa.Table) -> Arrays:
        own, there, complete = self._there(rows)
        zeros = self.line.write(self.total, np.zeros(len(own), self._kind), there)
        return [pc.if_else(pa.array(complete & there), zeros, own)]

    def _there(self, rows: pa.Table) -> tuple[pa.Array, np.ndarray, np.ndarray]:
        """The totals, where they are there, and where all parts are."""
        own = cells(rows, self.total.name)
        found = {part.name: cells(rows, part.name) for part in self.parts}
        there = self.line.read(self.total, own)[1]
        return own, there, self._sum(found)[1]

    def partial(self, rows: pa.Table) -> tuple[bool, bool]:
        _, there, complete = self._there(rows)
        return bool((there & ~complete).any()), bool((complete & ~there).any())

    def merge(self, a: tuple[bool, bool], b: tuple[bool, bool]) -> tuple[bool, bool]:
        return a[0] or b[0], a[1] or b[1]

    def fit(self, stats: tuple[bool, bool]) -> None:
        self.alone, self.absent = stats

    def state(self) -> Any:
        return {"alone": self.alone, "absent": self.absent}

    def load(self, state: Any) -> None:
        self.alone, self.absent = state["alone"], state["absent"]

    @property
    def _kind(self) -> type[np.int64] | type[np.float64]:
        return np.int64 if self.line.whole else np.float64

    def backward(self, made: Sequence[pa.Array], restored: Mapping[str, pa.Array]) -> Arrays:
        values, complete, fits = self._sum(restored)
        there = pc.is_valid(made[0]).to_numpy(zero_copy_only=False) if self.absent else True
        # A sum that its type cannot hold is missing.
        sums = self.line.write(self.total, values, complete & there & fits)
        others = made[0] if self.alone else pa.scalar(None, made[0].type)
        return [pc.if_else(pa.array(complete), sums, others)]

    def _sum(self, found: Mapping[str, pa.Array]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The sum on the line, where all parts are there, and where the total's type holds it."""
        read = [self.line.read(part, found[part.name]) for part in self.parts]
        complete = np.logical_and.reduce([there for _, there in read])
        columns = [values for values, _ in read]
        low, high = self.line.limits(self.total)
        if self.line.whole:
            values = columns[0]
            fits = np.ones(len(values), bool)
            for more in columns[1:]:
                added = values + more
                fits &= ((values ^ added) & (more ^ added)) >= 0  # else it wrapped around
                values = added
            return values, complete, fits & (values >= low) & (values <= high)
        bits = [self.line.bits(part) for part in self.parts]
        values = decimals.total(columns, bits)
        largest = np.finfo(decimals.FLOATS[self._bits]).max
        return values, complete, np.abs(values) <= float(largest)

    @property
    def _bits(self) -> int:
        return self.line.bits(self.total)

    def violated(self, rows: pa.Table) -> np.ndarray:
        """Rows [rows] whose total is there and is not the sum, but for the rounding of floats."""
        found = {part.name: cells(rows, part.name) for part in self.parts}
        values, complete, fits = self._sum(found)
        own, there = self.line.read(self.total, cells(rows, self.total.name))
        if self.line.whole:
            equal = (own == values) & fits
        else:
            size = sum(np.abs(self.line.read(part, found[part.name])[0]) for part in self.parts)
            slack = ROUNDING * 2.0**-self._bits * size
            with np.errstate(invalid="ignore"):
                equal = (own == values) | (np.abs(own - values) <= slack)
        return complete & there & ~equal
