"""Columns of which each value goes with one value of the other, as a name with its abbreviation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from synthray.data.chunks import Chunk, Mapper, Source
from synthray.data.sketches import LIMIT, plain


def matching_columns(source: Source, names: Sequence[str], mapper: Mapper = map) -> list[list[str]]:
    """Groups of at least two columns whose values go one to one with each other, in all rows.

    Where the first chunk has no such group, no other chunk is read.

    Args:
        names: of columns of few values: numbers, text, booleans, dates. A missing cell is a value.
    """
    if len(names) < 2 or not source.chunks:
        return []
    groups = _alike(source.chunks[0].select(names).read())

    def kept(group: list[str]) -> list[list[str]]:
        """What is left of a group when all chunks have been looked at."""

        def distinct(chunk: Chunk) -> pa.Table:
            return _distinct(chunk.select(group).read())

        found = pa.table({name: pa.nulls(0, source.schema.field(name).type) for name in group})
        found = _distinct(found)
        for rows in mapper(distinct, source.chunks):
            found = _distinct(pa.concat_tables([found, rows]))
            if len(found) > LIMIT:
                return []
        return _alike(found)

    return [left for group in groups for left in kept(group)]


def _alike(rows: pa.Table) -> list[list[str]]:
    """The groups of columns that are equal where they are equal: in these rows."""
    found = defaultdict(list)
    for name in rows.column_names:
        # Numbered in the order in which they come, so the numbers are the same.
        cells = plain(rows[name]).combine_chunks().dictionary_encode(null_encoding="encode")
        found[cells.indices.to_numpy(zero_copy_only=False).tobytes()].append(name)
    return [group for group in found.values() if len(group) > 1]


def _distinct(rows: pa.Table) -> pa.Table:
    names = rows.column_names
    rows = pa.table({name: plain(rows[name]) for name in names})
    return rows.group_by(names, use_threads=False).aggregate([]).select(names)
