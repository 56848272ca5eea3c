"""Tables on a real S3 server: CSV and JSON Lines are looked at and read as local files are."""

from __future__ import annotations

import gzip
import pickle

import pyarrow as pa
import pytest

from synthray import storage
from synthray.data import pieces
from synthray.data.source import open_source

ROWS = {"n": list(range(300)), "text": [f'said "{n}",\nthen left' for n in range(300)]}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl"])
def test_a_table_on_s3_is_read_in_chunks(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 2048)
    if name == "t.jsonl":
        lines = [f'{{"n": {n}, "text": "said \\"{n}\\",\\nthen left"}}' for n in ROWS["n"]]
    else:
        lines = ["n,text", *(f'{n},"said ""{n}"",\nthen left"' for n in ROWS["n"])]
    data = "\n".join(lines).encode()
    uri = storage.join(s3_bucket, "tables", name)
    storage.write_bytes(uri, gzip.compress(data) if name.endswith("gz") else data)
    for place in (uri, storage.join(s3_bucket, "tables")):
        source = open_source(place)
        assert (source.rows, source.schema.names) == (300, ["n", "text"])
        assert len(source.chunks) > 3
        chunks = [pickle.loads(pickle.dumps(chunk)) for chunk in source.chunks]
        assert pa.concat_tables(chunk.read() for chunk in chunks).to_pydict() == ROWS
