"""A slice of a virtual dataset to a file or to standard output."""

from __future__ import annotations

import io
import json
import sys
from typing import IO

import pyarrow as pa

from synthray import storage
from synthray.data import images
from synthray.data.csv_text import csv_text
from synthray.data.plain_rows import plain_rows
from synthray.errors import UsageError
from synthray.sampling.dataset import write_parquet
from synthray.sampling.virtual import VirtualDataset


def write_slice(virtual: VirtualDataset, start: int, count: int, out: str | None) -> None:
    """Write rows start … start + count.

    Args:
        out: a .parquet, .arrow, .csv or .jsonl file, local or s3://; None: JSON Lines on stdout.

    Raises:
        UsageError: another ending, images as .csv, a negative start, or no rows.
    """
    if start < 0:
        raise UsageError(f"--start {start}: there is no such row", "rows count from 0")
    if count < 1:
        raise UsageError(f"--count {count}: these are no rows", "ask for 1 or more")
    if out is None:
        _json_lines(virtual, start, count, sys.stdout)
        return
    storage.write_bytes(out, _encoded(virtual, start, count, out))


def _encoded(virtual: VirtualDataset, start: int, count: int, out: str) -> memoryview | bytes:
    batches = virtual.batches(start, count, dictionaries=out.endswith(".parquet"))
    sink = pa.BufferOutputStream()
    if out.endswith(".parquet"):
        write_parquet(sink, virtual.arrow_schema, batches)
    elif out.endswith(".arrow"):
        with pa.ipc.new_stream(sink, virtual.arrow_schema) as writer:
            for batch in batches:
                writer.write_table(batch)
    elif out.endswith(".csv"):
        _refuse_images(virtual.arrow_schema, out)
        for index, batch in enumerate(batches):
            sink.write(csv_text(batch, header=index == 0))
    elif out.endswith((".jsonl", ".ndjson")):
        text = io.StringIO()
        _json_lines(virtual, start, count, text)
        return text.getvalue().encode()
    else:
        raise UsageError(f"--out {out}: unknown ending", "use .parquet, .arrow, .csv or .jsonl")
    return memoryview(sink.getvalue())


def _refuse_images(schema: pa.Schema, out: str) -> None:
    found = [field.name for field in schema if images.is_image_type(field.type)]
    if found:
        raise UsageError(
            f"--out {out}: column {found[0]!r} is of images, which CSV cannot hold",
            "use .parquet, .arrow or .jsonl",
        )


def _json_lines(virtual: VirtualDataset, start: int, count: int, sink: IO[str]) -> None:
    for batch in virtual.batches(start, count):
        for row in plain_rows(batch):
            sink.write(json.dumps(row) + "\n")
