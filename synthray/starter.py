"""`synthray init`: from a look at a source to a commented config."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import replace

from synthray import storage
from synthray.config import DataConfig
from synthray.data.images import is_image_type
from synthray.data.prepare import open_data
from synthray.data.source import LABEL, Chunk, FolderChunk, ParquetChunk, Source

SAMPLE_CHUNKS = 4
SHOWN_VALUES = 100


def starter_config(source: str, say: Callable[[str], None] = print) -> str:
    """A config for the images at ``source``.

    Size and colour are those of a sample of the images; the values of labels are read of all rows.

    Raises:
        SourceError, SchemaError, StorageError.
    """
    opened, codec = open_data(DataConfig(source=source, max_unreadable=1.0))
    chunks = opened.chunks[:: max(len(opened.chunks) // SAMPLE_CHUNKS, 1)]
    codec.fit([codec.partial(chunk.read()) for chunk in chunks])
    channels, side, _ = codec.spec.shape
    cleaning = codec.cleaning
    seen = cleaning.rows if cleaning else 0
    mode = "grey" if channels == 1 else "rgb"
    conditions = [column.name for column in codec.schema.conditions]
    say(f"{opened.rows:,} rows; of {seen:,} looked at: {side} x {side} {mode}")
    if cleaning and cleaning.unreadable:
        say(f"  {cleaning.unreadable} cannot be read, such as {cleaning.examples[0][0]}")
    columns = []
    for field in opened.schema:
        if field.name in conditions:
            values = _values(opened, field.name)
            say(f"  condition {_shown(field.name)}: {values}")
            columns.append(f"{_shown(field.name)}: categorical, condition; {values}")
        elif is_image_type(field.type):
            columns.append(f"{_shown(field.name)}: image")
        else:
            columns.append(f"{_shown(field.name)}: {field.type}; not modelled")
    return _text(source, columns, side, mode, conditions, opened.rows)


def _values(source: Source, column: str) -> str:
    """All values of a column, as text."""
    found = {value for chunk in source.chunks for value in _values_of(chunk, column)}
    listed = sorted(
        (value for value in found if value is not None), key=lambda v: (str(type(v)), v)
    )
    shown = ", ".join(_shown(str(value)) for value in listed[:SHOWN_VALUES])
    more = " …" if len(listed) > SHOWN_VALUES else ""
    return f"{len(listed)} values: {shown}{more}"


def _values_of(chunk: Chunk, column: str) -> Iterator[object]:
    """Without reading images, where that can be."""
    if isinstance(chunk, FolderChunk) and column == LABEL:
        yield from (label for _, _, label in chunk.files)
        return
    if isinstance(chunk, ParquetChunk):
        chunk = replace(chunk, columns=(column,))
    yield from chunk.read()[column].unique().to_pylist()


def _shown(name: str) -> str:
    """On one line, whatever it holds."""
    return name if name.isprintable() else json.dumps(name)


def _text(
    source: str, columns: list[str], side: int, mode: str, conditions: list[str], rows: int
) -> str:
    # JSON's strings are YAML's too, and need no thought about what YAML would read into them.
    name = posixpath.basename(storage.absolute(source).rstrip("/")) or "data"
    listed = "".join(f"#   {column}\n" for column in columns)
    quoted = ", ".join(json.dumps(condition, ensure_ascii=False) for condition in conditions)
    features = "domain" if conditions else "efficientnet-lite0"
    batch = min(128, max(2, rows // 4 * 2))
    return f"""\
# Written by `synthray init`. Every key can be overridden: synthray train FILE train.steps=100
# Columns found:
{listed}\
seed: 0
data:
  source: {json.dumps(source, ensure_ascii=False)}
  conditions: [{quoted}]   # columns to condition on; [] for none
  image_side: {side}          # pixels; images are cut square and resized to this
  image_mode: {mode}         # grey or rgb
  max_unreadable: 0.01    # skip up to this share of unreadable files
model:
  name: dcgan             # gan, dcgan, vae{", cvae" if conditions else ""}: see `synthray models`
  params: {{}}              # the family's own settings
train:
  steps: 5000
  batch_size: {batch}         # global rows per step
  eval_every: 500         # steps between pictures under samples/
  checkpoint_every: 500
cluster:
  workers: 1              # processes, of training and of generation
  cpus_per_worker: 1
generate:
  rows: 10000
  seed: 0
  shard_rows: 8192        # rows per Parquet file, a multiple of 1,024
  license: unspecified    # goes into the dataset card
evaluate:
  features: {features}        # domain, efficientnet-lite0, inception
  # holdout: folder with real images that training does not see
  gates: {{}}               # such as {{tstr: {{min: 0.9}}}}; a miss makes the exit code 3
output: {json.dumps(f"out/{name}", ensure_ascii=False)}
"""
