"""Fixed 64-bit hashes of Arrow cells: the same on every machine, whatever the chunk or the order.

They put cells in a random but settled order, for the sketches. They are no cryptographic hashes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MISSING = np.uint64(0x6D697373696E6721)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(words: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014), a bijection of uint64 [n]."""
    words = words + GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))


def hash_cells(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The hash of each cell, uint64 [rows]; equal cells have equal hashes.

    A dictionary hashes as its values, whole numbers alike in every width, -0.0 as 0.0, and every
    NaN alike.

    Raises:
        TypeError: nested types.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # too much text for one array
        return np.concatenate([hash_cells(chunk) for chunk in array.chunks])
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _taken(array)
    if pa.types.is_nested(kind):
        raise TypeError(f"cells of {kind} have no hash")
    if _is_bytes(kind):
        return _taken(array.dictionary_encode())
    if pa.types.is_null(kind):
        return np.full(len(array), MISSING)
    if pa.types.is_floating(kind):
        values = array.cast(pa.float64()).fill_null(0).to_numpy(zero_copy_only=False) + 0.0
        words = np.where(np.isnan(values), np.nan, values).view(np.uint64)
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        words = whole(array).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    else:
        return _taken(array.cast(pa.string()).dictionary_encode())
    return _without_missing(mix(words), array)


def whole(array: pa.Array) -> pa.Array:
    """Booleans, whole numbers, dates and times as int64, or uint64 where they are unsigned."""
    kind = array.type
    if pa.types.is_uint64(kind):
        return array
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        array = array.cast(pa.int32())
    return array.cast(pa.int64())


def row_keys(rows: pa.Table) -> np.ndarray:
    """A key of each row, uint64 [rows], distinct within the table but for chance.

    It is the hash of the row's cells and of how many equal rows come before it. So the keys of a
    set of rows do not depend on their order, and, where no two whole rows are equal, neither on how
    rows are grouped into chunks. Nested columns are passed over.
    """
    words = np.zeros(len(rows), np.uint64)
    for column in rows.columns:
        if not pa.types.is_nested(column.type):
            words = mix(words + hash_cells(column))
    order = np.argsort(words, kind="stable")
    ordered = words[order]
    at = np.arange(len(rows))
    starts = np.ones(len(rows), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(starts, at, 0))
    keys = np.empty_like(words)
    keys[order] = mix(ordered + GOLDEN * (at - first).astype(np.uint64))
    return keys


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _taken(array: pa.DictionaryArray) -> np.ndarray:
    """The hashes of a dictionary's values, by the row."""
    values = array.dictionary
    words = _hash_bytes(values) if _is_bytes(values.type) else hash_cells(values)
    words = _without_missing(words, values)
    index = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
    if not len(words):
        return np.full(len(array), MISSING)
    return _without_missing(words[index], array)


def _hash_bytes(values: pa.Array) -> np.ndarray:
    """Of text or bytes: the mixed sum, modulo 2^64, of a hash of each byte at its place."""
    large = values.cast(pa.large_binary())
    _, offsets, data = large.buffers()
    if not len(large) or data is None:
        return mix(np.zeros(len(large), np.uint64))
    ends = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
    cells = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].astype(np.uint64)
    lengths = np.diff(ends)
    place = np.arange(len(cells)) - np.repeat(ends[:-1] - ends[0], lengths)
    sums = np.zeros(len(cells) + 1, np.uint64)
    np.cumsum(mix(cells + (place.astype(np.uint64) << np.uint64(8))), out=sums[1:])
    ends = ends - ends[0]
    return mix(sums[ends[1:]] - sums[ends[:-1]] + lengths.astype(np.uint64) * GOLDEN)


def _without_missing(words: np.ndarray, array: pa.Array) -> np.ndarray:
    if array.null_count:
        words = np.where(pc.is_null(array).to_numpy(zero_copy_only=False), MISSING, words)
    return words
