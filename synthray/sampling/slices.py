"""A slice of a virtual dataset to a file or to standard output."""

from __future__ import annotations

import io
import json
import sys
from typing import IO

import pyarrow as pa

from synthray import storage
from synthray.data.plain_rows import plain_rows
from synthray.errors import UsageError
from synthray.sampling.dataset import write_parquet
from synthray.sampling.virtual import VirtualDataset


def write_slice(virtual: VirtualDataset, start: int, count: int, out: str | None) -> None:
    """Write rows start … start + count.

    Args:
        out: a .parquet, .arrow or .jsonl file, local or s3://; None: JSON Lines on stdout.

    Raises:
        UsageError: another ending, or a negative start or count.
    """
    if start < 0 or count < 1:
        raise UsageError(
            f"rows {start} … +{count}: there are none", "--start counts from 0, --count from 1"
        )
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
    elif out.endswith((".jsonl", ".ndjson")):
        text = io.StringIO()
        _json_lines(virtual, start, count, text)
        return text.getvalue().encode()
    else:
        raise UsageError(f"--out {out}: unknown ending", "use .parquet, .arrow or .jsonl")
    return memoryview(sink.getvalue())


def _json_lines(virtual: VirtualDataset, start: int, count: int, sink: IO[str]) -> None:
    for batch in virtual.batches(start, count):
        for row in plain_rows(batch):
            sink.write(json.dumps(row) + "\n")
