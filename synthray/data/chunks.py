"""What a source is: its columns, its size, and chunks that any process can read by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import pyarrow as pa

from synthray.data import images
from synthray.errors import SourceError

Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Applies a function to every item, here or on a cluster; results come in the items' order."""

MEMORY_ROWS = 65_536
"""Rows of a chunk of a table in memory."""
SHOWN = 5
"""Names or values that one message lists."""


class Chunk(Protocol):
    """A part of a source that is read at once; small, and sent to the process that reads it."""

    def read(self) -> pa.Table: ...

    def select(self, names: Sequence[str]) -> Self:
        """The same rows, with these columns alone where others can be left unread."""
        ...


@dataclass(frozen=True)
class Source:
    """A source that has been looked at: its columns, its size, its chunks in a fixed order.

    ``notes`` says what was decided about a file that does not say it of itself: its encoding, what
    separates its cells, what stands for a missing one.
    """

    uri: str
    schema: pa.Schema
    rows: int
    chunks: Sequence[Chunk]
    notes: tuple[str, ...] = ()

    @property
    def image_columns(self) -> list[str]:
        return [field.name for field in self.schema if images.is_image_type(field.type)]


@dataclass(frozen=True)
class TableChunk:
    """Some rows of a table in memory."""

    table: pa.Table

    def read(self) -> pa.Table:
        return self.table

    def select(self, names: Sequence[str]) -> TableChunk:
        return TableChunk(self.table.select(list(names)))


def in_memory(name: str, table: pa.Table) -> Source:
    """A table in memory as a source, called ``name`` in errors."""
    schema = table.schema.remove_metadata()
    chunks = [
        TableChunk(table.slice(start, MEMORY_ROWS)) for start in range(0, len(table), MEMORY_ROWS)
    ]
    return Source(name, schema, len(table), chunks)


def check_names(names: Sequence[str], uri: str, field: str) -> None:
    """Raises: SourceError: a column name that occurs twice."""
    twice = {name: at for name in names if len(at := _places(names, name)) > 1}
    if twice:
        told = "; ".join(f"{name!r} (columns {', '.join(at)})" for name, at in twice.items())
        raise SourceError(
            f"{field}: {uri} has several columns of one name: {told}",
            "give every column a name of its own",
        )


def _places(names: Sequence[str], name: str) -> list[str]:
    return [str(at) for at, other in enumerate(names, 1) if other == name]


def no_rows(uri: str, field: str) -> SourceError:
    return SourceError(f"{field}: {uri} holds no rows", "give a source with data")


def changed(uri: str, what: str) -> SourceError:
    return SourceError(
        f"data.source: {uri} has changed since it was looked at: {what}",
        "leave the source alone while it is read, and start again",
    )


def listed(values: Sequence[object], most: int = SHOWN) -> str:
    """Some values, as they are written in Python, and whether there are more."""
    more = f" and {len(values) - most:,} more" if len(values) > most else ""
    return ", ".join(repr(value) for value in values[:most]) + more
