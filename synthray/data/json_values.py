"""The values on lines of JSON: which kinds each column has, and the columns as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.json

from synthray.data.looks import CellCounts
from synthray.data.pieces import Piece
from synthray.errors import SourceError


@dataclass
class Found:
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


TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
}


def look(piece: Piece, text: bytes, found: dict[str, Found], where: str) -> int:
    """Add what the values of a piece are to ``found``; its number of rows."""
    try:
        rows = parse(text)
    except pa.ArrowInvalid as error:
        return _look_slowly(piece, text, found, where, str(error))
    # Arrow also takes an object that goes over several lines, which pieces would cut.
    if len(rows) != text.count(b"\n") and len(rows) != sum(1 for _ in lines(text)):
        return _look_slowly(piece, text, found, where, "several objects on a line")
    # Arrow takes some text for times, but not all that is written as ISO 8601 has it.
    times = [f.name for f in rows.schema if pa.types.is_timestamp(f.type)]
    again = parse(text, dict.fromkeys(times, pa.string())) if times else rows
    for name in rows.column_names:
        it = found.setdefault(name, Found())
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
    piece: Piece, text: bytes, found: dict[str, Found], where: str, reason: str
) -> int:
    """The same, line by line: where a column mixes kinds of values, or a line is broken.

    Raises:
        SourceError: a line that is no JSON object, or has one name twice.
    """
    rows: list[dict[str, Any]] = []
    for number, line in lines(text):
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
                f"{at}: {line[:80].decode(errors='replace')} is no object",
                'write {"column": value, ...}',
            )
        rows.append(row)
    here: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            here.setdefault(name, set()).add(_kind_of(value))
    for name, kinds in here.items():
        found.setdefault(name, Found()).kinds.update(kinds - {""})
    texts = [name for name, kinds in here.items() if "text" in kinds]
    for name, cells in as_text(rows, texts).items():
        found[name].counts = found[name].counts.merge(CellCounts.of(cells))
    alike = {name: Found(kinds - {""}).kind for name, kinds in here.items()}
    try:
        parse(text, {name: TYPES[kind] for name, kind in alike.items() if kind in TYPES})
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


def as_text(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Values as the text that JSON writes for them; text itself as it is."""
    made = {}
    for name in names:
        values = (row.get(name) for row in rows)
        cells = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        made[name] = pa.chunked_array([pa.array(cells, pa.string())])
    return made


def lines(text: bytes) -> Iterator[tuple[int, bytes]]:
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
