"""Between which cells of its type a fitted column of numbers or dates lies."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from synthray.data import arrow_types
from synthray.data.cells import storing
from synthray.data.cells.numbers import NumberCells

Range = tuple[pa.Scalar, pa.Scalar]
"""The least and the greatest cell."""


def range_of(cells: NumberCells) -> Range | None:
    """The ends that the artifact keeps: those of the source, but of rare numbers that are hidden.

    None: no cell has a value.
    """
    form = cells.form
    if len(form.centres) == sum(code is not None for code in (form.missing, form.hidden)):
        return None
    axis, plain = form.axis, arrow_types.value_type(cells.type)
    at = np.array([0, axis.longest] if axis.grid else [axis.low, axis.high])
    ends = axis.cells(at.astype(np.uint64) if axis.grid else at, plain)
    low, high = storing.write(cells.column, plain, ends, None)
    return low, high
