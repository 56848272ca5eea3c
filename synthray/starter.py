"""`synthray init`: from a look at a source to a commented config."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from synthray.config import DataConfig
from synthray.data.image_codec import ImageCodec
from synthray.data.prepare import open_data
from synthray.data.schema import Kind

SAMPLE_CHUNKS = 4


def starter_config(source: str, say: Callable[[str], None] = print) -> str:
    """A config for the images at ``source``; it looks at the first few thousand of them.

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
    for column in codec.schema.conditions:
        values = ", ".join(map(str, (column.values or ())[:12]))
        say(f"  condition {column.name}: {len(column.values or ())} values: {values}")
    return _text(source, codec, side, mode, conditions, opened.rows)


def _text(
    source: str, codec: ImageCodec, side: int, mode: str, conditions: list[str], rows: int
) -> str:
    name = posixpath.basename(source.rstrip("/")) or "data"
    listed = "".join(
        f"#   {column.name}: {column.kind.value}{'  (condition)' if column.condition else ''}\n"
        for column in codec.schema
        if column.kind in (Kind.image, Kind.categorical)
    )
    batch = min(128, max(2, rows // 4 * 2))
    return f"""\
# Written by `synthray init`. Every key can be overridden: synthray train FILE train.steps=100
# Columns found:
{listed}\
seed: 0
data:
  source: {source}
  conditions: [{", ".join(conditions)}]   # columns to condition on; [] for none
  image_side: {side}          # pixels; images are cut square and resized to this
  image_mode: {mode}         # grey or rgb
  max_unreadable: 0.01    # skip up to this share of unreadable files
model:
  name: dcgan             # gan, dcgan, {"cvae" if conditions else "vae"}: see `synthray models`
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
  features: {"domain" if conditions else "efficientnet-lite0"}        # domain, efficientnet-lite0, inception
  # holdout: folder with real images that training does not see
  gates: {{}}               # such as {{tstr: {{min: 0.9}}}}; a miss makes the exit code 3
output: out/{name}
"""
