"""CSV and TSV files: looked at once from end to end, then read piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.csv

from synthray.data import encoding, pieces
from synthray.data.chunks import Source, changed, check_names, listed, no_rows
from synthray.data.dialect import SAMPLE_BYTES, Dialect, Opening, look_at
from synthray.data.looks import CellCounts
from synthray.data.pieces import Piece
from synthray.data.text_columns import TextColumn, decide
from synthray.errors import SourceError

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True)
class CsvChunk:
    """Whole rows of a CSV file.

    Attributes:
        start, size: where they are, in bytes.
        names: of the columns of the file, in its order.
        columns: those that are read, in the source's order.
    """

    uri: str
    start: int
    size: int
    rows: int
    dialect: Dialect
    names: tuple[str, ...]
    columns: tuple[TextColumn, ...]

    def read(self) -> pa.Table:
        """Raises: SourceError: the file is not what it was when it was looked at."""
        data = pieces.read_range(self.uri, self.start, self.size, self.dialect.compressed)
        types = {c.name: c.type if c.plain else pa.string() for c in self.columns}
        markers = sorted({word for c in self.columns if c.plain for word in c.missing})
        try:
            text = encoding.to_utf8(data, self.dialect.encoding)
            rows = parse(text, self.dialect, self.names, types, markers)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise changed(self.uri, str(error)) from error
        if len(rows) != self.rows:
            raise changed(self.uri, f"{len(rows)} rows instead of {self.rows}")
        return pa.table(
            {c.name: rows[c.name] if c.plain else c.convert(rows[c.name]) for c in self.columns}
        )

    def select(self, names: Sequence[str]) -> CsvChunk:
        return replace(self, columns=tuple(c for c in self.columns if c.name in names))


@dataclass(frozen=True)
class _File:
    """A CSV file that has been looked at."""

    uri: str
    opening: Opening
    names: tuple[str, ...]
    spans: tuple[tuple[int, int, int], ...] = ()  # (start, size, rows)

    @property
    def dialect(self) -> Dialect:
        return self.opening.dialect


def open_csv(uri: str, files: list[str], field: str) -> Source:
    """Look at CSV files of one table: their dialects, their rows, the types of their columns.

    Raises:
        SourceError: no rows, rows of another length, several columns of one name, files of other
            columns, bytes that are no text.
    """
    opened = [found for name in files if (found := _open(name, field)) is not None]
    if not opened:
        raise no_rows(uri, field)
    names = opened[0].names
    for file in opened[1:]:
        _check_same(opened[0], file, field)
    counts: dict[str, CellCounts] = {name: CellCounts() for name in names}
    scanned = []
    for file in opened:
        scanned.append(_scan(file, counts, field))
    rows = sum(count for file in scanned for _, _, count in file.spans)
    if not rows:
        raise no_rows(uri, field)
    strip = any(file.dialect.spaced for file in scanned)
    columns, notes = [], list(_format_notes(scanned))
    for name in names:
        column, said = decide(name, counts[name], strip)
        columns.append(column)
        notes += said
    chunks = [
        CsvChunk(file.uri, start, size, count, file.dialect, file.names, tuple(columns))
        for file in scanned
        for start, size, count in file.spans
    ]
    schema = pa.schema([(column.name, column.type) for column in columns])
    return Source(uri, schema, rows, chunks, tuple(notes))


def _open(uri: str, field: str) -> _File | None:
    """Look at the begin of a file; None for one without a row or a header."""
    compressed = uri.lower().endswith(".gz")
    with pieces.opened(uri, field, compressed) as stream:
        sample = stream.read(SAMPLE_BYTES)
        opening = look_at(sample, len(sample) < SAMPLE_BYTES, f"{field}: {uri}", compressed)
    if not opening.width:
        return None
    if opening.header is None:
        return _File(uri, opening, _numbered(opening.width))
    names = tuple(n or m for n, m in zip(opening.header, _numbered(opening.width), strict=True))
    check_names(names, uri, field)
    return _File(uri, opening, names)


def _numbered(width: int) -> tuple[str, ...]:
    return tuple(f"column_{number}" for number in range(1, width + 1))


def _check_same(first: _File, other: _File, field: str) -> None:
    """Raises: SourceError: files that are not of one table."""
    if (first.opening.header is None) != (other.opening.header is None):
        with_header, without = (other, first) if first.opening.header is None else (first, other)
        raise SourceError(
            f"{field}: {without.uri} does not begin with the header that {with_header.uri} has",
            "give all files of a table one header, or none of them",
        )
    if set(first.names) != set(other.names):
        lacks = [name for name in first.names if name not in other.names]
        more = [name for name in other.names if name not in first.names]
        told = [f"lacks {listed(lacks)}"] if lacks else []
        told += [f"has {listed(more)} besides"] if more else []
        raise SourceError(
            f"{field}: {other.uri} has other columns than {first.uri}: it {' and '.join(told)}",
            "keep files of one table in a folder of their own",
        )


def _scan(file: _File, counts: dict[str, CellCounts], field: str) -> _File:
    """Read a file once: where its rows are, and what its cells look like, added to ``counts``."""
    opening, where = file.opening, f"{field}: {file.uri}"
    dialect = opening.dialect
    spans, ascii_only = [], True
    types = dict.fromkeys(file.names, pa.string())
    with pieces.opened(file.uri, field, dialect.compressed) as stream:
        stream.read(opening.start)
        for piece in pieces.pieces(stream, opening.start, opening.line, dialect, where):
            if ascii_only and dialect.encoding == "utf-8" and not encoding.is_utf8(piece.data):
                # All before is ASCII, which is the same in the other encoding.
                dialect = replace(dialect, encoding=encoding.instead_of_utf8(piece.data))
            ascii_only = ascii_only and piece.data.isascii()
            rows = _piece_rows(piece, dialect, types, where)
            if len(rows):
                spans.append((piece.start, len(piece.data), len(rows)))
            for name in file.names:
                counts[name] = counts[name].merge(CellCounts.of(rows[name]))
    return replace(file, opening=replace(opening, dialect=dialect), spans=tuple(spans))


def _piece_rows(
    piece: Piece, dialect: Dialect, types: Mapping[str, pa.DataType], where: str
) -> pa.Table:
    """The cells of a piece as text.

    Raises:
        SourceError: rows of another length, with the line; and as `pieces.text_of`.
    """
    text = pieces.text_of(piece, dialect, where)
    try:
        return parse(text, dialect, tuple(types), types)
    except pa.ArrowInvalid as error:
        raise _ragged(text.decode(), piece.line, dialect, len(types), where, str(error)) from error


def _ragged(
    text: str, line: int, dialect: Dialect, width: int, where: str, reason: str
) -> SourceError:
    """The first row of another length."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter,
        skipinitialspace=dialect.spaced,
    )
    begin = 0
    try:
        for row in reader:
            if row and len(row) != width:
                separators = _SEPARATORS[dialect.delimiter]
                return SourceError(
                    f"{where}, line {line + begin}: {len(row)} cells, separated by {separators}, "
                    f"where the other rows have {width}: {', '.join(row)[:80]!r}",
                    "mend or remove the line; a cell that holds a separator needs quotes around it",
                )
            begin = reader.line_num
    except csv.Error:
        pass
    return SourceError(f"{where}: {reason}", "mend or remove the line")


def parse(
    text: bytes,
    dialect: Dialect,
    names: Sequence[str],
    types: Mapping[str, pa.DataType],
    markers: Iterable[str] = (),
) -> pa.Table:
    """Rows of CSV in UTF-8, without a header.

    Args:
        names: of all columns; types: of those to read.
        markers: cells that are missing in columns other than text.

    Raises:
        ArrowInvalid: rows of another length, or a cell that is not of its type.
    """
    quotes = dialect.quoted and b'"' in text
    if quotes and dialect.spaced:
        text = _without_spaces(text, dialect)
    return pa.csv.read_csv(
        pa.BufferReader(text),
        read_options=pa.csv.ReadOptions(
            column_names=list(names), block_size=max(len(text) + 1, 1024), use_threads=False
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=dialect.delimiter, quote_char='"' if quotes else False
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict(types),
            include_columns=list(types),
            null_values=list(markers),
            strings_can_be_null=False,
        ),
    )


def _without_spaces(text: bytes, dialect: Dialect) -> bytes:
    """Without spaces behind delimiters, so that quotes behind them open a cell."""
    spans = pieces.quoted_spans(text, dialect)
    cells = np.frombuffer(text, np.uint8)
    marks = np.zeros(len(cells) + 1, np.int8)
    marks[spans[:, 0]] += 1
    marks[np.minimum(spans[:, 1], len(cells))] -= 1
    outside = np.cumsum(marks[:-1], dtype=np.int8) == 0
    gone = np.zeros(len(cells), bool)
    begins = (cells == ord(dialect.delimiter)) & outside
    while begins.any():
        # The next byte, where it is a space.
        begins = np.append(False, begins[:-1]) & (cells == ord(" "))
        gone |= begins
    return cells[~gone].tobytes()


def _format_notes(files: Sequence[_File]) -> Iterator[str]:
    """How the files are read, once for all that are read alike."""
    alike: dict[str, list[_File]] = {}
    for file in files:
        alike.setdefault(_described(file), []).append(file)
    for told, group in alike.items():
        name = group[0].uri.rsplit("/", 1)[-1]
        yield f"{name if len(group) == 1 else f'{len(group)} files such as {name}'}: {told}"
    if any(file.dialect.compressed and len(file.spans) > 4 for file in files):
        yield "compressed: reaching a chunk decompresses all before it; decompress it for speed"


def _described(file: _File) -> str:
    opening, dialect = file.opening, file.dialect
    parts = [encoding.NAMES.get(dialect.encoding, dialect.encoding)]
    if opening.width > 1:
        space = " and spaces" if dialect.spaced else ""
        parts.append(f"separated by {_SEPARATORS[dialect.delimiter]}{space}")
    if opening.passed:
        lines = f"{opening.passed} lines" if opening.passed > 1 else "1 line"
        parts.append(f"{lines} above the table passed over")
    if opening.header is None:
        parts.append("no header, so the columns are named column_1, column_2 ...")
    else:
        parts.append(f"a header in line {opening.line - 1}")
        unnamed = [at for at, name in enumerate(opening.header, 1) if not name]
        if unnamed:
            parts.append(f"columns without a name are called {listed(_numbered_at(unnamed))}")
    return ", ".join(parts)


def _numbered_at(places: Sequence[int]) -> list[str]:
    return [f"column_{at}" for at in places]
