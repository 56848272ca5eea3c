"""Parquet files: their row groups are the chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from synthray import storage
from synthray.data import arrow_types
from synthray.data.chunks import Chunk, Source, check_names, no_rows
from synthray.errors import SourceError


@dataclass(frozen=True)
class ParquetChunk:
    """Some row groups of a Parquet file."""

    uri: str
    groups: tuple[int, ...]
    columns: tuple[str, ...]

    def read(self) -> pa.Table:
        with storage.open_input(self.uri) as stream, _parquet_errors(self.uri):
            names = list(self.columns)
            # Files of one table may order their columns each in its own way.
            return (
                pq.ParquetFile(stream)
                .read_row_groups(list(self.groups), columns=names)
                .select(names)
            )

    def select(self, names: Sequence[str]) -> ParquetChunk:
        return replace(self, columns=tuple(name for name in self.columns if name in names))


def open_parquet(uri: str, tables: list[str], field: str) -> Source:
    """Raises: SourceError: damage, files of other columns, a name given twice, no rows."""
    schema: pa.Schema | None = None
    chunks: list[Chunk] = []
    rows = 0
    for name in tables:
        file, groups, count = _look_at(name, field)
        check_names(file.names, name, field)
        if schema is None:
            schema = file
        elif _types(file) != _types(schema):
            raise SourceError(
                f"{field}: {name} has the columns {_types(file)}, "
                f"the first file has {_types(schema)}",
                "keep files of one table in a folder of their own, with one type a column",
            )
        chunks += [ParquetChunk(name, (group,), tuple(schema.names)) for group in range(groups)]
        rows += count
    if schema is None or rows == 0:
        raise no_rows(uri, field)
    return Source(uri, schema, rows, chunks)


def _look_at(name: str, field: str) -> tuple[pa.Schema, int, int]:
    """The schema of a Parquet file, its row groups and its rows."""
    with storage.open_input(name) as stream, _parquet_errors(name, field):
        file = pq.ParquetFile(stream)
        schema = file.schema_arrow.remove_metadata()
        return schema, file.num_row_groups, file.metadata.num_rows


@contextmanager
def _parquet_errors(name: str, field: str = "data.source") -> Iterator[None]:
    """Tell a damaged file from a storage that does not answer."""
    with storage.translate_errors(name):
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            # Arrow raises OSError without a number for damage inside a file.
            if isinstance(error, OSError) and (error.errno or "AWS Error" in str(error)):
                raise
            raise SourceError(
                f"{field}: {name} is not a Parquet file, or damaged: {error}",
                "remove or replace it",
            ) from error


def _types(schema: pa.Schema) -> dict[str, str]:
    """The types of columns by name; a dictionary counts as what it holds."""
    return {field.name: str(arrow_types.value_type(field.type)) for field in schema}
