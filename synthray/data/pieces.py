"""A text file cut at row ends, so that each piece can be read by itself.

A line end within quotes ends no row. Which quotes open a cell and which close one is told from
their number alone where all stand as they should: at the borders of cells, or in pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from synthray import storage
from synthray.data.dialect import Dialect
from synthray.data.encoding import NAMES, narrow, to_utf8, unit_size
from synthray.errors import SourceError

PIECE_BYTES = 16 << 20
MAX_ROW_BYTES = 256 << 20
QUOTE = ord('"')


@dataclass(frozen=True)
class Piece:
    """Whole rows: the bytes from ``start`` on, and the number of their first line, from 1."""

    start: int
    line: int
    data: bytes


@contextmanager
def opened(uri: str, field: str, compressed: bool) -> Iterator[Any]:
    """The bytes of a file, decompressed.

    Raises:
        SourceError: damaged compression. StorageError: the storage does not answer.
    """
    with storage.translate_errors(uri):
        stream = storage.open_input(uri)
        if not compressed:
            with stream:
                yield stream
            return
        try:
            with pa.CompressedInputStream(stream, "gzip") as inflated:
                yield inflated
        except OSError as error:
            if error.errno or "AWS Error" in str(error):
                raise
            raise SourceError(
                f"{field}: {uri} is not gzip, or damaged: {error}", "remove or replace it"
            ) from error


def read_range(uri: str, start: int, size: int, compressed: bool) -> bytes:
    """Some bytes of a file; of a compressed one, all before are decompressed first."""
    with opened(uri, "data.source", compressed) as stream:
        if compressed:
            while start > 0 and (skipped := len(stream.read(min(start, PIECE_BYTES)))):
                start -= skipped
        else:
            stream.seek(start)
        data: bytes = stream.read(size)
        return data


def pieces(stream: Any, start: int, line: int, dialect: Dialect, where: str) -> Iterator[Piece]:
    """Cut the rest of a file.

    Args:
        stream: it stands at ``start``, the begin of line ``line``.
        where: the field and the file, for errors.

    Raises:
        SourceError: a row that does not end.
    """
    encoding = dialect.encoding
    unit = unit_size(encoding)
    rest = b""
    while True:
        block = stream.read(PIECE_BYTES)
        data = rest + block
        if not data:
            return
        plain = narrow(data, encoding)
        spans = quoted_spans(plain, dialect)
        if block:
            end = unit * last_row_end(plain, spans)
            if not end and len(data) < MAX_ROW_BYTES:
                rest = data
                continue
        else:
            end = len(data)
        if not end or (not block and len(spans) and spans[-1, 1] >= len(plain)):
            opening = int(spans[-1, 0]) if len(spans) else 0
            raise SourceError(
                f"{where}, line {line + line_ends(plain[:opening])}: "
                + ("a quote opens that is never closed" if len(spans) else "a row does not end"),
                "close the quote, or double it and quote the whole cell if it is part of the text",
            )
        yield Piece(start, line, data[:end])
        line += line_ends(plain[: end // unit])
        start += end
        rest = data[end:]


def text_of(piece: Piece, dialect: Dialect, where: str) -> bytes:
    """The piece in UTF-8.

    Raises:
        SourceError: bytes that are no text, with the line.
    """
    try:
        return to_utf8(piece.data, dialect.encoding)
    except UnicodeDecodeError as error:
        line = piece.line + line_ends(narrow(piece.data[: error.start], dialect.encoding))
        name = NAMES.get(dialect.encoding, dialect.encoding)
        raise SourceError(
            f"{where}, line {line}: the byte 0x{piece.data[error.start]:02x} is not {name}, "
            "as which the other lines are read",
            "save the file in one encoding, best UTF-8",
        ) from error


def line_ends(plain: bytes) -> int:
    """How many lines end; a line ends in LF, CR LF, or CR alone where there is no LF."""
    return plain.count(b"\n") or plain.count(b"\r")


def last_row_end(plain: bytes, spans: np.ndarray) -> int:
    """Where the last row that ends begins its successor; 0 where none ends.

    Args:
        spans: those of `quoted_spans`.
    """
    mark = b"\n" if b"\n" in plain else b"\r"
    if not len(spans):
        # A CR at the very end may be half of a line end.
        return plain.rfind(mark, 0, len(plain) - (mark == b"\r")) + 1
    ends = np.flatnonzero(np.frombuffer(plain, np.uint8) == mark[0])
    before = np.searchsorted(spans[:, 0], ends) - 1
    inside = (before >= 0) & (ends <= spans[before, 1])
    outside = ends[~inside]
    return int(outside[-1]) + 1 if len(outside) else 0


def quoted_spans(plain: bytes, dialect: Dialect) -> np.ndarray:
    """The first and last place of each stretch within quotes, int64 [stretches, 2].

    An open one ends behind the last byte. ``plain`` begins with a row.
    """
    if not dialect.quoted or b'"' not in plain:
        return np.zeros((0, 2), np.int64)
    cells = np.frombuffer(plain, np.uint8)
    quotes = np.flatnonzero(cells == QUOTE)
    if len(quotes) % 2:
        quotes = np.append(quotes, len(cells))
    spans = quotes.reshape(-1, 2)
    opens, closes = spans[:, 0], spans[:, 1]
    border = np.zeros(256, bool)
    border[list(f"{dialect.delimiter}\r\n{' ' * dialect.spaced}".encode())] = True
    twin = np.zeros(len(spans), bool)
    twin[1:] = opens[1:] == closes[:-1] + 1
    before_fits = (opens == 0) | border[cells[np.maximum(opens - 1, 0)]] | twin
    behind = np.minimum(closes + 1, len(cells) - 1)
    after_fits = (closes + 1 >= len(cells)) | border[cells[behind]] | np.append(twin[1:], False)
    if before_fits.all() and after_fits.all():
        return spans
    return _parsed_spans(plain, dialect)


def _parsed_spans(plain: bytes, dialect: Dialect) -> np.ndarray:
    """The same where quotes stand within cells too: those at the begin of a cell open one."""
    before = rb"(?:\A|(?<=[\r\n" + re.escape(dialect.delimiter.encode()) + rb"]))"
    space = rb" *" if dialect.spaced else b""
    pattern = re.compile(before + space + rb'"[^"]*+(?:""[^"]*+)*+("|\Z)')
    found = [
        (plain.index(b'"', match.start()), match.start(1)) for match in pattern.finditer(plain)
    ]
    return np.array(found, np.int64).reshape(-1, 2)
