"""Categories as Arrow's dictionaries, pandas' and Polars' own: all there may be, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from synthray.data import arrow_types
from synthray.data.schema import Column, Kind, Schema

Known = tuple[bool | int | str, ...]
Dictionaries = Mapping[str, Known]
"""What the dictionaries of columns list, by column."""


def dictionaries_of(rows: pa.Table, columns: Iterable[Column]) -> Dictionaries:
    """Of those columns that are categories of a dictionary type, whether they occur or not."""
    found: dict[str, Known] = {}
    for column in columns:
        if column.kind not in (Kind.categorical, Kind.boolean) and not column.condition:
            continue
        cells = rows[column.name]
        if pa.types.is_dictionary(cells.type):
            chunks = [chunk.dictionary.drop_null().to_pylist() for chunk in cells.chunks]
            found[column.name] = tuple(dict.fromkeys(value for chunk in chunks for value in chunk))
    return found


def merged(a: Dictionaries, b: Dictionaries) -> Dictionaries:
    """In the order of the first."""
    return {name: tuple(dict.fromkeys([*a.get(name, ()), *b.get(name, ())])) for name in {**a, **b}}


def with_dictionaries(schema: Schema, found: Dictionaries, rare: int) -> Schema:
    """The schema of columns whose ``values`` are settled, with their dictionaries.

    Args:
        rare: if not 0, only values that were kept are listed.
    """
    columns = []
    for column in schema:
        values, kind = column.values, arrow_types.parse(column.arrow_type)
        if values is not None and column.name in found:
            known = [v for v in found[column.name] if not rare or v in values]
            # An order that means nothing would tell which row came first.
            known = known if kind.ordered else sorted(known)
            known += [v for v in values if v not in known]
            most = 2 ** (kind.index_type.bit_width - pa.types.is_signed_integer(kind.index_type))
            fitting = tuple(known if len(known) <= most else values)
            column = column.model_copy(update={"dictionary": fitting})
        columns.append(column)
    return Schema(columns=tuple(columns))


def recoded(cells: pa.Array | pa.ChunkedArray, kind: pa.DictionaryType, known: Known) -> pa.Array:
    """Cells, plain or not, by a dictionary that lists their values among others."""
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.combine_chunks()
    listed = pa.array(list(known), kind.value_type)
    if pa.types.is_dictionary(cells.type):
        if cells.type == kind and cells.dictionary.equals(listed):
            return cells
        cells = cells.cast(cells.type.value_type)
    # Arrow looks nothing up among views.
    view = pa.types.is_string_view(kind.value_type)
    plain = pa.string() if view else kind.value_type
    index = pc.index_in(cells.cast(plain), value_set=listed.cast(plain))
    return pa.DictionaryArray.from_arrays(index.cast(kind.index_type), listed, ordered=kind.ordered)
