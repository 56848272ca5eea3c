"""The rows of an evaluation: real, synthetic and held out, all encoded by one codec."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from synthray.config import Config
from synthray.data.codec import Codec, Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.prepare import Mapper, encode_all, fit_codec, open_data
from synthray.data.source import open_source
from synthray.errors import SchemaError


@dataclass(frozen=True)
class Subjects:
    """The rows to judge. All encoded by one codec; holdout None takes a fifth of the real rows."""

    real: Encoded
    synthetic: Encoded
    holdout: Encoded | None = None


def read_subjects(
    config: Config, synthetic: str | pa.Table, mapper: Mapper = map
) -> tuple[ImageCodec, Subjects]:
    """Fit a codec on the config's source, and encode what is to be compared with it.

    Args:
        synthetic: a URI, or a table such as a virtual dataset gives.

    Raises:
        SourceError, SchemaError, ConditionError, StorageError: data that cannot be compared.
    """
    source, opened = open_data(config.data)
    codec = images_only(opened)
    fit_codec(source, codec, mapper)

    def read(uri: str, field: str) -> Encoded:
        other = open_source(uri, field)
        _check_columns(uri, other.schema.names, codec)
        return encode_all(other, codec, mapper)

    real = encode_all(source, codec, mapper)
    holdout = config.evaluate.holdout
    held = None if holdout is None else read(holdout, "evaluate.holdout")
    if isinstance(synthetic, pa.Table):
        _check_columns("the synthetic table", synthetic.column_names, codec)
        return codec, Subjects(real, codec.encode(synthetic), held)
    return codec, Subjects(real, read(synthetic, "synthetic"), held)


def images_only(codec: Codec) -> ImageCodec:
    """Raises: SchemaError: the rows are no images."""
    if not isinstance(codec, ImageCodec):
        raise SchemaError(
            f"data.source: rows without images, of {', '.join(codec.schema.names)}",
            "judge them as a table: data.modality: table",
        )
    return codec


def _check_columns(what: str, names: Collection[str], codec: ImageCodec) -> None:
    """Raises `SchemaError` unless rows with the columns ``names`` can be compared."""
    missing = sorted(set(codec.schema.names) - set(names))
    if missing:
        raise SchemaError(
            f"{what} has no column {missing[0]!r}; it has {', '.join(names)}",
            "compare data with the same columns",
        )
