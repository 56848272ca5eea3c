"""Copies: rows that equal a training row in all compared columns, or in all but one.

All training rows are looked at, chunk by chunk: only counts travel, and they add up in any order.
Rows are compared by 64-bit hashes of their cells; two different rows have the same one with a
probability of 2⁻⁶⁴.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from synthray.data.prepare import Mapper
from synthray.data.schema import Column
from synthray.data.source import Chunk
from synthray.metrics.sample import row_hash
from synthray.metrics.tables.columns import canonical
from synthray.metrics.utility import wilson

ABSENT = -2
GONE = -1


@dataclass(frozen=True)
class Share:
    """A share of rows.

    Attributes:
        count: rows that it is about.
        rows: rows in all.
    """

    count: int
    rows: int

    @property
    def value(self) -> float:
        return self.count / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.count, self.rows)


@dataclass(frozen=True)
class Copies:
    """Copies of training rows among some rows.

    Attributes:
        exact: rows that equal a training row.
        unique: rows that equal a training row of which there is only one.
        near: rows that equal a training row in all columns but one at least, or in all.
        distinct: different training rows that are copied.
    """

    exact: Share
    unique: Share
    near: Share
    distinct: int


def find_copies(
    training: Sequence[Chunk],
    tables: Sequence[pa.Table],
    columns: Sequence[Column],
    near_rows: int,
    mapper: Mapper,
) -> list[Copies]:
    """Copies of training rows in each of some canonical tables.

    Args:
        training: chunks of the training rows.
        near_rows: rows of each table that near copies are looked for among, the first ones.
    """
    names = [column.name for column in columns]
    values = {name: _distinct(tables, name) for name in names}
    rows = np.concatenate([_hashes(table, values).sum(axis=0) for table in tables])
    known, place = np.unique(rows, return_inverse=True)
    heads = [_hashes(table.slice(0, near_rows), values) for table in tables]
    cells = np.concatenate(heads, axis=1)
    # Without column j a row's hash is the sum of all others.
    rests = cells.sum(axis=0) - cells
    sorted_rests = [np.unique(rest) for rest in rests] if len(names) > 1 else []

    def matches(chunk: Chunk) -> tuple[NDArray[np.int64], list[NDArray[np.bool_]]]:
        part = _hashes(canonical(chunk.select(names).read(), columns), values)
        whole = part.sum(axis=0)
        counts = np.bincount(_find(known, whole), minlength=len(known) + 1)[:-1]
        seen = []
        for rest, cell in zip(sorted_rests, part, strict=False):
            hit = np.zeros(len(rest) + 1, dtype=bool)
            hit[_find(rest, whole - cell)] = True
            seen.append(hit[:-1])
        return counts, seen

    counts, seen = _added(mapper(matches, training))
    copied = counts[place]
    exact = np.split(copied, np.cumsum([len(table) for table in tables])[:-1])
    near = np.zeros(cells.shape[1], dtype=bool)
    for rest, values_of, hit in zip(rests, sorted_rests, seen, strict=False):
        near |= hit[np.searchsorted(values_of, rest)]
    nears = np.split(near, np.cumsum([head.shape[1] for head in heads])[:-1])
    places = np.split(place, np.cumsum([len(table) for table in tables])[:-1])
    return [
        Copies(
            exact=_share(found > 0),
            unique=_share(found == 1),
            # A row that equals a training row does so without any column, too.
            near=_share(close | (found[: len(close)] > 0)),
            distinct=len(np.unique(where[found > 0])),
        )
        for found, close, where in zip(exact, nears, places, strict=True)
    ]


def _added(
    parts: Iterable[tuple[NDArray[np.int64], list[NDArray[np.bool_]]]],
) -> tuple[NDArray[np.int64], list[NDArray[np.bool_]]]:
    counts: Any = 0
    seen: list[NDArray[np.bool_]] = []
    for more, hits in parts:
        counts = counts + more
        seen = hits if not seen else [a | b for a, b in zip(seen, hits, strict=True)]
    return counts, seen


def _find(known: NDArray[np.uint64], values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where the values are in an ascending array; its length for those that are not there."""
    where = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[where] == values, where, len(known))


def _hashes(table: pa.Table, values: dict[str, pa.Array]) -> NDArray[np.uint64]:
    """A hash of every cell, uint64 [columns, rows]; equal cells of a column have equal ones."""
    hashed = []
    for salt, (name, known) in enumerate(values.items(), start=1):
        cells = table[name].cast(known.type, safe=False)
        code = pc.fill_null(pc.index_in(cells, value_set=known), ABSENT).to_numpy()
        code = np.where(pc.is_null(cells).to_numpy(), GONE, code).astype(np.int64)
        hashed.append(row_hash(code, salt))
    return np.stack(hashed)


def _distinct(tables: Sequence[pa.Table], name: str) -> pa.Array:
    cells = pa.concat_tables([t.select([name]) for t in tables], promote_options="permissive")
    return pc.unique(cells[name]).drop_null()


def _share(found: NDArray[np.bool_]) -> Share:
    return Share(int(np.count_nonzero(found)), len(found))
