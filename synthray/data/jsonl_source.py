"""JSON Lines: an object of plain values on each line, with or without each of the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.json

from synthray.data import encoding, pieces
from synthray.data.chunks import Source, changed, no_rows
from synthray.data.dialect import SAMPLE_BYTES, Dialect
from synthray.data.looks import CellCounts
from synthray.data.pieces import Piece
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
            cells |= (
                _as_text([json.loads(line) for _, line in _lines(text)], mixed) if mixed else {}
            )
        except (pa.ArrowInvalid, ValueError) as error:
            raise changed(self.uri, str(error)) from error
        if len(rows) != self.rows:
            raise changed(self.uri, f"{len(rows)} rows instead of {self.rows}")
        return pa.table(
            {c.name: cells[c.name] if c.plain else c.convert(cells[c.name]) for c in self.columns}
        )

    def select(self, names: Sequence[str]) -> JsonlChunk:
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))


@dataclass
class _Found:
    """What the values of one column are: the kinds of JSON values, and the looks of text."""

    kinds: set[str] = field(default_factory=set)
    counts: CellCounts = field(default_factory=CellCounts)

    @property
    def kind(self) -> str:
        """The one kind that all values are of; empty where all are missing."""
        if "nested" in self.kinds:
            return "nested"
        if len(self.kinds) > 1:
            return "number" if self.kinds == {"integer", "number"} else "mixed"
        return next(iter(self.kinds), "")


_TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
}
Span = tuple[str, int, int, int, Dialect]
"""A file, where in it some lines begin, their bytes, their number, and how they are written."""


def open_jsonl(uri: str, files: list[str], where: str) -> Source:
    """Look at JSON Lines files of one table: their lines and the types of their columns.

    Columns of lists or objects are left out, and that is said.

    Raises:
        SourceError: no rows, lines that are no JSON objects, bytes that are no text, or no column
            that can be used.
    """
    found: dict[str, _Found] = {}
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


def _decided(name: str, found: _Found) -> tuple[TextColumn | None, list[str]]:
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
    return TextColumn(name, _TYPES[found.kind], plain=True), []


def _scan(uri: str, found: dict[str, _Found], field: str) -> list[Span]:
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
            rows = _look(piece, pieces.text_of(piece, dialect, where), found, where)
            if rows:
                spans.append((uri, piece.start, len(piece.data), rows, dialect))
    return spans


def _look(piece: Piece, text: bytes, found: dict[str, _Found], where: str) -> int:
    """Add what the values of a piece are to ``found``; its number of rows."""
    try:
        rows = parse(text)
    except pa.ArrowInvalid as error:
        return _look_slowly(piece, text, found, where, str(error))
    # Arrow also takes an object that goes over several lines, which pieces would cut.
    if len(rows) != text.count(b"\n") and len(rows) != sum(1 for _ in _lines(text)):
        return _look_slowly(piece, text, found, where, "several objects on a line")
    # Arrow takes some text for times, but not all that is written as ISO 8601 has it.
    times = [f.name for f in rows.schema if pa.types.is_timestamp(f.type)]
    again = parse(text, dict.fromkeys(times, pa.string())) if times else rows
    for name in rows.column_names:
        it = found.setdefault(name, _Found())
        column = again[name] if name in times else rows[name]
        kind = _kind(column.type)
        if kind:
            it.kinds.add(kind)
        if kind == "text":
            it.counts = it.counts.merge(CellCounts.of(column))
    return len(rows)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_nested(kind):
        return "nested"
    if pa.types.is_null(kind):
        return ""
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else "text"


def _look_slowly(
    piece: Piece, text: bytes, found: dict[str, _Found], where: str, reason: str
) -> int:
    """The same, line by line: where a column mixes kinds of values, or a line is broken.

    Raises:
        SourceError: a line that is no JSON object, or has one name twice.
    """
    rows: list[dict[str, Any]] = []
    for number, line in _lines(text):
        at = f"{where}, line {piece.line + number}"
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except ValueError as error:
            shown = line[:80].decode(errors="replace")
            raise SourceError(
                f"{at}: not JSON: {error}: {shown}",
                "mend or remove the line; each must hold one whole object",
            ) from error
        if not isinstance(row, dict):
            raise SourceError(
                f"{at}: {line[:80].decode()} is no object", 'write {"column": value, ...}'
            )
        rows.append(row)
    here: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            here.setdefault(name, set()).add(_kind_of(value))
    for name, kinds in here.items():
        found.setdefault(name, _Found()).kinds.update(kinds - {""})
    texts = [name for name, kinds in here.items() if "text" in kinds]
    for name, cells in _as_text(rows, texts).items():
        found[name].counts = found[name].counts.merge(CellCounts.of(cells))
    alike = {name: _Found(kinds - {""}).kind for name, kinds in here.items()}
    try:
        parse(text, {name: _TYPES[kind] for name, kind in alike.items() if kind in _TYPES})
    except pa.ArrowInvalid:
        raise SourceError(f"{where}: {reason}", "mend or remove the line") from None
    return len(rows)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice")
    return made


def _kind_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) and abs(value) < 2**63 else "number"
    return "nested"


def _count_mixed(spans: Sequence[Span], mixed: dict[str, _Found]) -> None:
    """Read the columns of several kinds again, as text."""
    for it in mixed.values():
        it.counts = CellCounts()
    for uri, start, size, _, dialect in spans:
        data = pieces.read_range(uri, start, size, dialect.compressed)
        text = encoding.to_utf8(data, dialect.encoding)
        rows = [json.loads(line) for _, line in _lines(text)]
        for name, cells in _as_text(rows, list(mixed)).items():
            mixed[name].counts = mixed[name].counts.merge(CellCounts.of(cells))


def _as_text(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Values as the text that JSON writes for them; text itself as it is."""
    made = {}
    for name in names:
        values = (row.get(name) for row in rows)
        cells = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        made[name] = pa.chunked_array([pa.array(cells, pa.string())])
    return made


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 0."""
    for number, line in enumerate(text.split(b"\n" if b"\n" in text else b"\r")):
        if line.strip():
            yield number, line


def parse(text: bytes, types: dict[str, pa.DataType] | None = None) -> pa.Table:
    """Lines in UTF-8; with ``types``, these columns alone.

    Raises:
        ArrowInvalid: no JSON, or values that are not of their column's type.
    """
    given = pa.schema(types.items()) if types is not None else None
    return pa.json.read_json(
        pa.BufferReader(text),
        read_options=pa.json.ReadOptions(block_size=max(len(text) + 1, 1024), use_threads=False),
        parse_options=pa.json.ParseOptions(
            explicit_schema=given, unexpected_field_behavior="infer" if given is None else "ignore"
        ),
    )
