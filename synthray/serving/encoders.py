"""Media types of an answer: each encoder turns one block of rows after the other into bytes.

An encoder keeps nothing of a block once it is written, so an answer takes the memory of a block,
whatever its length. The bytes depend on the rows alone (fixed dates, no compression levels left
to chance), for the answers carry strong ETags.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from synthray.data.csv_text import csv_text
from synthray.data.plain_rows import plain_rows
from synthray.serving.sink import Sink

ENCODING = f"1 pyarrow {pa.__version__} pillow {PIL.__version__}"
"""Part of every ETag: other versions may write the same rows as other bytes."""


class Encoder(Protocol):
    """Writes the rows of an answer; each method returns the bytes that are ready."""

    def begin(self) -> bytes: ...
    def write(self, rows: pa.Table) -> bytes: ...
    def end(self) -> bytes: ...


def encode(encoder: Encoder, blocks: Iterable[pa.Table]) -> Iterator[bytes]:
    """The answer, a piece for every block."""
    ready = encoder.begin()
    for rows in blocks:
        yield ready + encoder.write(rows)
        ready = b""
    yield ready + encoder.end()


class ArrowStream:
    """The Arrow IPC stream format, with its end-of-stream mark: without it, it was cut."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = Sink()
        self._schema = schema
        self._writer: Any = None

    def begin(self) -> bytes:
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), self._schema)
        return self._sink.take()

    def write(self, rows: pa.Table) -> bytes:
        self._writer.write_table(rows.combine_chunks())
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


class Parquet:
    """Parquet, a row group for every block; the footer at the end makes it whole."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = Sink()
        self._schema = schema
        self._writer: Any = None

    def begin(self) -> bytes:
        self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), self._schema)
        return self._sink.take()

    def write(self, rows: pa.Table) -> bytes:
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


class JsonLines:
    """One JSON object a line."""

    def begin(self) -> bytes:
        return b""

    def write(self, rows: pa.Table) -> bytes:
        return b"".join(_dumps(row) + b"\n" for row in plain_rows(rows))

    def end(self) -> bytes:
        return b""


class Csv:
    """CSV with a header; see `csv_text`."""

    def __init__(self) -> None:
        self._header = True

    def begin(self) -> bytes:
        return b""

    def write(self, rows: pa.Table) -> bytes:
        text = csv_text(rows, self._header).to_pybytes()
        self._header = False
        return text

    def end(self) -> bytes:
        return b""


class JsonDocument:
    """One JSON object: ``{…heading, "rows": [{…}, …]}``."""

    def __init__(self, heading: dict[str, Any]) -> None:
        self._heading = heading
        self._separator = b""

    def begin(self) -> bytes:
        return _dumps(self._heading)[:-1] + b',"rows":['

    def write(self, rows: pa.Table) -> bytes:
        pieces = []
        for row in plain_rows(rows):
            pieces.append(self._separator + _dumps(row))
            self._separator = b","
        return b"".join(pieces)

    def end(self) -> bytes:
        return b"]}\n"


class ZipOfImages:
    """A zip of PNG files named by row number, and ``labels.csv`` with the other columns.

    The zip's directory grows by about a kilobyte a row until the end: its rows are limited apart.
    """

    def __init__(self, image_columns: Sequence[str], start: int, count: int) -> None:
        self._columns = list(image_columns)
        self._row = start
        self._digits = max(6, len(str(start + count - 1)))
        self._sink = Sink()
        self._archive = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)
        self._labels = io.StringIO()
        self._csv = csv.writer(self._labels, lineterminator="\n")

    def begin(self) -> bytes:
        return b""

    def write(self, rows: pa.Table) -> bytes:
        others = [name for name in rows.column_names if name not in self._columns]
        if not self._labels.tell():
            self._csv.writerow([*self._columns, *others])
        pictures = [rows.column(name).to_pylist() for name in self._columns]
        for row, values in enumerate(plain_rows(rows.select(others))):
            names = []
            for column, images in zip(self._columns, pictures, strict=True):
                names.append(f"{column}/{self._row:0{self._digits}d}.png")
                self._add(names[-1], images[row]["bytes"])
            self._csv.writerow([*names, *values.values()])
            self._row += 1
        return self._sink.take()

    def end(self) -> bytes:
        self._add("labels.csv", self._labels.getvalue().encode())
        self._archive.close()
        return self._sink.take()

    def _add(self, name: str, data: bytes) -> None:
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, data)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
