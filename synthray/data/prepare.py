"""From a source to encoded rows: fit the codec on all chunks, then encode them.

Both passes take the function that maps over chunks, so the same code runs in this process or on
a cluster.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import pyarrow as pa

from synthray.config import DataConfig
from synthray.data import arrow_types
from synthray.data.chunks import Mapper
from synthray.data.codec import Codec, Coding, Encoded
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.constraints import check_names
from synthray.data.image_codec import ImageCodec
from synthray.data.inference import (
    infer_image_schema,
    infer_table_schema,
    infer_vector_schema,
    not_numbers,
)
from synthray.data.schema import no_column
from synthray.data.source import LABEL, Chunk, Source, open_source
from synthray.data.table_codec import TableCodec
from synthray.data.vector_codec import VectorCodec
from synthray.errors import SchemaError, SourceError

LEARNS = "this version learns from images and from tables"
REMEDY = "give a folder of images, Parquet with an image column, or a table"


def open_data(
    config: DataConfig,
    coding: Coding = "numbers",
    mapper: Mapper = map,
    opened: Source | None = None,
) -> tuple[Source, Codec]:
    """Look at the source, infer its schema, choose the codec.

    Images go to the image codec. Other rows go to the table codec, within that of constraints if
    there are any, and are read once, to see what they hold; or, for a family that takes numbers,
    to the vector codec, if every column is a number or a condition.

    Args:
        coding: what the family takes.
        mapper: reads the chunks.
        opened: the source, if it has been looked at.

    Raises:
        SourceError, SchemaError, StorageError.
    """
    source = opened or open_source(config.source)
    if config.constraints and (source.image_columns or coding == "numbers"):
        raise SchemaError(
            f"data.constraints: {'images' if source.image_columns else 'rows of plain numbers'} "
            "have no constraints",
            "leave them out, or choose a family for tables, such as nade, for a table",
        )
    if config.modality in ("auto", "image") and source.image_columns:
        return source, _image_codec(source, config)
    if config.modality == "table" or (config.modality == "auto" and not source.image_columns):
        if coding == "numbers":
            return source, _vector_codec(source, config)
        return source, _table_codec(source, config, coding, mapper)
    raise SourceError(
        f"data.source: {config.source} is read as {config.modality!r} with columns "
        f"{source.schema.names}; {LEARNS}",
        REMEDY,
    )


def _image_codec(source: Source, config: DataConfig) -> ImageCodec:
    schema = infer_image_schema(source, config.schema_)
    conditions = config.conditions
    if conditions is None:
        conditions = [LABEL] if LABEL in schema.names else []
    return ImageCodec(
        schema.with_conditions(conditions),
        config.image_side,
        config.image_mode,
        config.max_unreadable,
    )


def _vector_codec(source: Source, config: DataConfig) -> VectorCodec:
    inferred = infer_vector_schema(source, config.schema_)
    schema = inferred.with_conditions(config.conditions or [])
    others = not_numbers(source, schema)
    if others:
        raise SourceError(
            f"data.source: {config.source} has columns that are neither numbers nor conditions: "
            f"{', '.join(others)}, and this family learns from numbers",
            "set model.name: nade, a family for tables; or name text and booleans in "
            "data.conditions, or leave the columns out",
        )
    codec = VectorCodec(schema)
    if not codec.numbers:
        raise SchemaError(
            f"data.conditions: {config.conditions} are all columns of {config.source}",
            "leave at least one column of numbers to learn",
        )
    return codec


def _table_codec(
    source: Source, config: DataConfig, numbers: Literal["modes", "bins"], mapper: Mapper
) -> TableCodec | ConstrainedCodec:
    # Before all rows are looked at.
    for name in config.conditions or []:
        if name not in source.schema.names:
            raise no_column("data.conditions", name, source.schema.names)
    check_names(config.constraints, source.schema.names)
    inferred = infer_table_schema(source, config.schema_, mapper)
    schema = inferred.with_conditions(config.conditions or [])
    make = partial(TableCodec, numbers=numbers, rare=config.rare)
    if config.constraints:
        return ConstrainedCodec(schema, config.constraints, make)
    return make(schema)


def fit_codec(source: Source, codec: Codec, mapper: Mapper, counts: bool = True) -> None:
    """Fit the codec on every chunk of the source.

    Args:
        counts: whether it may keep how often each code of a table occurs.
    """

    def look(chunk: Chunk) -> Any:
        return codec.partial(chunk.read())

    # Merged as they come: the statistics of a large table's chunks do not fit in memory together.
    total = None
    for stats in mapper(look, source.chunks):
        total = stats if total is None else total.merge(stats)
    codec.fit([] if total is None else [total])
    if not counts and isinstance(codec, TableCodec | ConstrainedCodec):
        codec.forget_counts()


def encode_all(source: Source, codec: Codec, mapper: Mapper) -> Encoded:
    """All rows of the source, encoded, in the source's order."""

    def encode(chunk: Chunk) -> Encoded:
        return codec.encode(chunk.read())

    return Encoded.concat(list(mapper(encode, source.chunks)))


def left_out(source: Source, codec: Codec) -> dict[str, str]:
    """The source's columns that a generator does not know, each with what it holds instead of what
    is learned: free text, lists and the like.
    """
    return {
        field.name: _holds(field.type)
        for field in source.schema
        if field.name not in codec.schema.names
    }


def _holds(kind: pa.DataType) -> str:
    plain = arrow_types.value_type(kind)
    return (
        "free text" if arrow_types.is_text(plain) else getattr(plain, "extension_name", str(plain))
    )
