"""JSON Lines: an object of plain values on each line, with or without each of the columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from synthray.data import encoding, pieces
from synthray.data.chunks import Source, changed, no_rows
from synthray.data.dialect import SAMPLE_BYTES, Dialect
from synthray.data.json_values import TYPES, Found, as_text, lines, look, parse
from synthray.data.looks import CellCounts
from synthray.data.text_columns import DATES, TextColumn, decide
from synthray.errors import SourceError

SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


@dataclass(frozen=True)
class JsonlChunk:
    """Whole lines of a JSON Lines file.

    Attributes:
        start, size: where they are, in bytes.
        mixed: columns of which some values are text and others are not; they are read as text.
    """

    uri: str
    start: int
    size: int
    rows: int
    dialect: Dialect
    columns: tuple[TextColumn, ...]
    mixed: frozenset[str] = frozenset()

    def read(self) -> pa.Table:
        """Raises: SourceError: the file is not what it was when it was looked at."""
        data = pieces.read_range(self.uri, self.start, self.size, self.dialect.compressed)
        types = {
            c.name: c.type if c.plain else pa.string()
            for c in self.columns
            if c.name not in self.mixed
        }
        try:
            text = encoding.to_utf8(data, self.dialect.encoding)
            rows = parse(text, types)
            cells = {name: rows[name] for name in types}
            mixed = [c.name for c in self.columns if c.name in self.mixed]
            cells |= as_text([json.loads(line) for _, line in lines(text)], mixed) if mixed else {}
        except (pa.ArrowInvalid, ValueError) as error:
            raise changed(self.uri, str(error)) from error
        if len(rows) != self.rows:
            raise changed(self.uri, f"{len(rows)} rows instead of {self.rows}")
        return pa.table(
            {c.name: cells[c.name] if c.plain else c.convert(cells[c.name]) for c in self.columns}
        )

    def select(self, names: Sequence[str]) -> JsonlChunk:
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))


Span = tuple[str, int, int, int, Dialect]
"""A file, where in it some lines begin, their bytes, their number, and how they are written."""


def open_jsonl(uri: str, files: list[str], where: str) -> Source:
    """Look at JSON Lines files of one table: their lines and the types of their columns.

    Columns of lists or objects are left out, and that is said.

    Raises:
        SourceError: no rows, lines that are no JSON objects, bytes that are no text, or no column
            that can be used.
    """
    found: dict[str, Found] = {}
    spans: list[Span] = []
    for name in files:
        spans += _scan(name, found, where)
    rows = sum(span[3] for span in spans)
    if not rows:
        raise no_rows(uri, where)
    mixed = frozenset(name for name, it in found.items() if it.kind == "mixed")
    if mixed:
        _count_mixed(spans, {name: found[name] for name in mixed})
    columns: list[TextColumn] = []
    names = {encoding.NAMES.get(span[4].encoding, span[4].encoding) for span in spans}
    notes = [f"JSON Lines in {' and '.join(sorted(names))}"]
    for name, it in found.items():
        column, said = _decided(name, it)
        notes += said
        if column:
            columns.append(column)
    if not columns:
        raise SourceError(
            f"{where}: {uri} has no column of plain values; {'; '.join(notes[1:]) or 'no columns'}",
            "flatten its objects: one column for each value",
        )
    chunks = [JsonlChunk(*span, tuple(columns), mixed) for span in spans]
    schema = pa.schema([(column.name, column.type) for column in columns])
    return Source(uri, schema, rows, chunks, tuple(notes))


def _decided(name: str, found: Found) -> tuple[TextColumn | None, list[str]]:
    """How a column is read, None for one that is left out, and what has to be said about it."""
    if found.kind == "nested":
        return None, [f"{name}: holds lists or objects, left out; flatten it to learn from it"]
    if not found.kind:
        return TextColumn(name, pa.string(), plain=True), [f"{name}: all values are missing"]
    if found.kind == "mixed":
        told = f"{name}: mixes {' and '.join(sorted(found.kinds))} values"
        column, notes = decide(name, found.counts)
        return replace(column, plain=False), [told, *notes]
    if found.kind == "text":  # numbers that are written as text stay text
        column, notes = decide(name, found.counts, kinds=DATES)
        return replace(column, plain=False), notes
    return TextColumn(name, TYPES[found.kind], plain=True), []


def _scan(uri: str, found: dict[str, Found], field: str) -> list[Span]:
    """Read a file once: where its rows are, and what its values are, added to ``found``."""
    compressed, where = uri.lower().endswith(".gz"), f"{field}: {uri}"
    with pieces.opened(uri, field, compressed) as stream:
        sample = stream.read(SAMPLE_BYTES)
    name, mark = encoding.find(sample)
    if encoding.narrow(sample[mark:], name).lstrip().startswith(b"["):
        raise SourceError(
            f"{where} is one JSON array, not JSON Lines",
            "write one object on each line, as `jq -c '.[]' FILE` does",
        )
    dialect = Dialect(name, quoted=False, compressed=compressed)
    spans = []
    with pieces.opened(uri, field, compressed) as stream:
        stream.read(mark)
        for piece in pieces.pieces(stream, mark, 1, dialect, where):
            rows = look(piece, pieces.text_of(piece, dialect, where), found, where)
            if rows:
                spans.append((uri, piece.start, len(piece.data), rows, dialect))
    return spans


def _count_mixed(spans: Sequence[Span], mixed: dict[str, Found]) -> None:
    """Read the columns of several kinds again, as text."""
    for it in mixed.values():
        it.counts = CellCounts()
    for uri, start, size, _, dialect in spans:
        data = pieces.read_range(uri, start, size, dialect.compressed)
        text = encoding.to_utf8(data, dialect.encoding)
        rows = [json.loads(line) for _, line in lines(text)]
        for name, cells in as_text(rows, list(mixed)).items():
            mixed[name].counts = mixed[name].counts.merge(CellCounts.of(cells))
