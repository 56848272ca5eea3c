"""Samples of tables, and counts over all their rows, chunk by chunk: memory is bounded.

A sample holds the rows of the smallest hashes of their row numbers (see `synthray.metrics.sample`)
in the order of the hashes, which is a random one: its first n rows are the sample of size n. So a
sample depends neither on the chunks nor on who read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synthray import storage
from synthray.config import Config
from synthray.config.constraints import Constraint
from synthray.data.chunks import Chunk, Source, in_memory
from synthray.data.csv_source import CsvChunk
from synthray.data.inference import infer_table_schema
from synthray.data.jsonl_source import JsonlChunk
from synthray.data.parquet_source import ParquetChunk
from synthray.data.prepare import Mapper
from synthray.data.schema import Column, Schema
from synthray.data.source import open_source
from synthray.errors import UsageError
from synthray.metrics.sample import row_hash
from synthray.metrics.tables.columns import canonical, check_columns, compared_columns

LEAST = 20
"""Rows that each table needs at least."""


@dataclass(frozen=True)
class TableSubjects:
    """The tables to judge; without a holdout a fifth of the real rows stands in for it.

    Attributes:
        schema: of the real table.
        compared, left_out: its columns.
        ignored: columns of the synthetic table that the real one does not have.
        constraints: that all rows are held against.
    """

    schema: Schema
    compared: tuple[Column, ...]
    left_out: tuple[Column, ...]
    real: Source
    synthetic: Source
    holdout: Source | None = None
    ignored: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True)
class Sampled:
    """Rows of a table.

    Attributes:
        total: rows of the whole table.
        rows: canonical, in random order.
    """

    total: int
    rows: pa.Table


def open_tables(
    config: Config,
    synthetic: str | pa.Table,
    real: pa.Table | None = None,
    holdout: pa.Table | None = None,
    mapper: Mapper = map,
) -> TableSubjects:
    """Look at what is to be compared; the real rows are read once, for the kinds of columns.

    Args:
        synthetic: a URI, or a table such as a virtual dataset gives.
        real, holdout: tables in the place of the config's source and of evaluate.holdout.
        mapper: reads the chunks.

    Raises:
        SourceError, SchemaError, StorageError: data that cannot be compared.
    """
    source = _opened("data.source", config.data.source if real is None else real)
    schema = infer_table_schema(source, config.data.schema_, mapper)
    schema = schema.with_conditions(config.data.conditions or [])
    compared, left_out = compared_columns(schema)
    check_columns("real data", source.schema, source.schema, compared)
    other = _opened("synthetic", synthetic)
    check_columns(f"synthetic data ({other.uri})", other.schema, source.schema, compared)
    held = None
    given = config.evaluate.holdout if holdout is None else holdout
    if given is not None:
        held = _opened("evaluate.holdout", given)
        check_columns(f"evaluate.holdout ({held.uri})", held.schema, source.schema, compared)
    known = set(source.schema.names)
    ignored = tuple(name for name in other.schema.names if name not in known)
    return TableSubjects(
        schema,
        tuple(compared),
        tuple(left_out),
        source,
        other,
        held,
        ignored,
        config.data.constraints,
    )


def count_rows(name: str, source: Source, mapper: Mapper) -> list[int]:
    """Rows of each chunk.

    Raises:
        UsageError: fewer than 20 in all.
    """
    counts = [int(count) for count in mapper(_count, source.chunks)]
    check_enough(name, sum(counts))
    return counts


def check_enough(name: str, rows: int, why: str = "") -> None:
    """Raises `UsageError` if there are fewer than 20 rows; ``why`` says which rows they are."""
    if rows < LEAST:
        reason = f" ({why})" if why else ""
        raise UsageError(
            f"{name} data: {rows} rows are too few to judge by{reason}", f"give at least {LEAST}"
        )


def sample_rows(
    source: Source,
    counts: Sequence[int],
    columns: Sequence[Column],
    size: int,
    salt: int,
    mapper: Mapper,
) -> Sampled:
    """A sample of at most ``size`` rows.

    Args:
        counts: of `count_rows`.
        salt: another salt, another sample.
    """
    starts = np.cumsum([0, *counts[:-1]])
    names = [column.name for column in columns]

    def smallest(item: tuple[Chunk, int]) -> tuple[NDArray[np.uint64], pa.Table]:
        chunk, start = item
        rows = chunk.select(names).read()
        hashes = row_hash(np.arange(start, start + len(rows), dtype=np.int64), salt)
        kept = np.argsort(hashes, kind="stable")[:size]
        return hashes[kept], canonical(rows.take(pa.array(kept)), columns)

    items = list(zip(source.chunks, map(int, starts), strict=True))
    parts: list[tuple[NDArray[np.uint64], pa.Table]] = []
    for part in mapper(smallest, items):
        parts.append(part)
        if sum(len(hashes) for hashes, _ in parts) > 2 * size:
            parts = [_smallest(parts, size)]
    return Sampled(sum(counts), _smallest(parts, size)[1])


def _smallest(
    parts: Sequence[tuple[NDArray[np.uint64], pa.Table]], size: int
) -> tuple[NDArray[np.uint64], pa.Table]:
    hashes = np.concatenate([hashes for hashes, _ in parts])
    # Permissive, for a column that is all missing in one chunk has a type of its own there.
    table = pa.concat_tables([table for _, table in parts], promote_options="permissive")
    kept = np.argsort(hashes, kind="stable")[:size]
    return hashes[kept], table.take(pa.array(kept)).combine_chunks()


def _count(chunk: Chunk) -> int:
    if isinstance(chunk, CsvChunk | JsonlChunk):  # counted when it was looked at
        return chunk.rows
    if isinstance(chunk, ParquetChunk):  # its footer says so
        with storage.open_input(chunk.uri) as stream:
            found = pq.ParquetFile(stream).metadata
            return sum(found.row_group(group).num_rows for group in chunk.groups)
    return len(chunk.read())


def _opened(field: str, data: str | pa.Table) -> Source:
    return open_source(data, field) if isinstance(data, str) else in_memory(field, data)
