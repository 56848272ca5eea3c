"""How columns of numbers, dates and times are stored: as int64, uint64 or float64, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data import arrow_types
from synthray.data.cells import datetimes
from synthray.data.hashing import whole
from synthray.data.schema import Column, Kind
from synthray.errors import SchemaError, SourceError

DIGITS = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}
"""Bits of a float's mantissa: whole numbers up to 2^bits are exact."""


def read(column: Column, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column of numbers, dates or times as int64, uint64 or float64; NaN becomes null.

    Decimals come as whole numbers, in units of their last digit.

    Raises:
        SourceError: text that is no date, or decimals beyond int64.
        SchemaError: a type that holds no numbers.
    """
    kind = arrow_types.value_type(cells.type)
    cells = arrow_types.without_dictionary(cells)
    if pa.types.is_floating(kind):
        cells = cells.cast(pa.float64())
        if column.kind == Kind.integer:
            cells = pc.round(cells)
        return pc.if_else(pc.is_nan(cells), pa.scalar(None, pa.float64()), cells)
    if arrow_types.is_text(kind) and column.kind == Kind.datetime:
        return datetimes.read(column, cells)
    if pa.types.is_decimal(kind):
        chunks = [_unscaled(column, chunk) for chunk in cells.chunks]
        return pa.chunked_array(chunks, pa.int64())
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        target = pa.uint64() if pa.types.is_uint64(kind) else pa.int64()
        return pa.chunked_array([whole(chunk) for chunk in cells.chunks], target)
    raise SchemaError(
        f"column {column.name!r} of {kind} cannot be {column.kind.value}",
        f"correct data.schema.{column.name}.kind",
    )


def write(
    column: Column, kind: pa.DataType, values: np.ndarray, missing: np.ndarray | None
) -> pa.Array:
    """The inverse of `read`: values [rows] in the Arrow type, null where ``missing``."""
    plain = arrow_types.value_type(kind)
    if pa.types.is_integer(plain) or pa.types.is_floating(plain):
        made = pa.array(values.astype(plain.to_pandas_dtype(), copy=False), plain, mask=missing)
    elif pa.types.is_temporal(plain):
        narrow = pa.types.is_date32(plain) or pa.types.is_time32(plain)
        cells = values.astype(np.int32) if narrow else values
        made = pa.array(cells, mask=missing).view(plain)
    elif pa.types.is_decimal(plain):
        made = _scaled(plain, values, missing)
    else:
        made = datetimes.write(column, pa.array(values, mask=missing), plain)
    return made.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else made


def _unscaled(column: Column, chunk: pa.Array) -> pa.Array:
    """Decimals without their point, as int64."""
    wide = chunk.cast(pa.decimal128(38, chunk.type.scale))
    words = np.frombuffer(wide.buffers()[1], np.int64)
    words = words.reshape(-1, 2)[wide.offset : wide.offset + len(wide)]
    there = pc.is_valid(wide).to_numpy(zero_copy_only=False)
    if (words[there, 1] != words[there, 0] >> 63).any():
        raise SourceError(
            f"data.source: column {column.name!r} has decimals of more than 18 digits",
            "give it fewer digits, or store it as float64",
        )
    return pa.array(np.where(there, words[:, 0], 0), mask=~there)


def _scaled(kind: pa.DataType, values: np.ndarray, missing: np.ndarray | None) -> pa.Array:
    words = np.stack([values, values >> 63], axis=1)
    valid = None
    if missing is not None and missing.any():
        valid = pa.py_buffer(np.packbits(~missing, bitorder="little").tobytes())
    wide = pa.decimal128(38, kind.scale)
    made = pa.Array.from_buffers(wide, len(values), [valid, pa.py_buffer(words.tobytes())])
    return made.cast(kind)
