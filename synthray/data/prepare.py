"""From a source to encoded rows: fit the codec on all chunks, then encode them.

Both passes take the function that maps over chunks, so the same code runs in this process or on
a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from synthray.config import DataConfig
from synthray.data.codec import Codec, Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.source import LABEL, Chunk, Source, infer_image_schema, open_source
from synthray.errors import SourceError

Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Applies a function to every item, here or on a cluster; results come in the items' order."""


def open_data(config: DataConfig) -> tuple[Source, Codec]:
    """Look at the source, infer its schema, choose the codec; nothing is read in full yet.

    Raises:
        SourceError, SchemaError, StorageError.
    """
    source = open_source(config.source)
    if config.modality not in ("auto", "image") or not source.image_columns:
        raise SourceError(
            f"data.source: {config.source} is read as {config.modality!r} with columns "
            f"{source.schema.names}; this version learns from images",
            "give a folder of images, or Parquet with an image column",
        )
    schema = infer_image_schema(source, config.schema_)
    conditions = config.conditions
    if conditions is None:
        conditions = [LABEL] if LABEL in schema.names else []
    codec = ImageCodec(
        schema.with_conditions(conditions),
        config.image_side,
        config.image_mode,
        config.max_unreadable,
    )
    return source, codec


def fit_codec(source: Source, codec: Codec, mapper: Mapper) -> None:
    """Fit the codec on every chunk of the source."""

    def partial(chunk: Chunk) -> Any:
        return codec.partial(chunk.read())

    codec.fit(list(mapper(partial, source.chunks)))


def encode_all(source: Source, codec: Codec, mapper: Mapper) -> Encoded:
    """All rows of the source, encoded, in the source's order."""

    def encode(chunk: Chunk) -> Encoded:
        return codec.encode(chunk.read())

    return Encoded.concat(list(mapper(encode, source.chunks)))
