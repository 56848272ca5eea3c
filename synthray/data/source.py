"""Real data at a URI, read in chunks that any process can open by itself."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from synthray import storage
from synthray.data import images
from synthray.data.schema import Column, Kind, Schema
from synthray.errors import NotFoundError, SchemaError, SourceError

FILES_PER_CHUNK = 512
LABEL = "label"


class Chunk(Protocol):
    """A part of a source that is read at once; small, and sent to the process that reads it."""

    def read(self) -> pa.Table: ...


@dataclass(frozen=True)
class FolderChunk:
    """Some image files; the label of each is the name of its folder."""

    files: tuple[tuple[str, str, str], ...]  # (uri, path within the source, label)
    labelled: bool

    def read(self) -> pa.Table:
        cells = [{"bytes": storage.read_bytes(u), "path": path} for u, path, _ in self.files]
        columns: dict[str, pa.Array] = {"image": pa.array(cells, images.STRUCT)}
        if self.labelled:
            columns[LABEL] = pa.array([label for _, _, label in self.files], pa.string())
        return pa.table(columns)


@dataclass(frozen=True)
class ParquetChunk:
    """Some row groups of a Parquet file."""

    uri: str
    groups: tuple[int, ...]
    columns: tuple[str, ...]

    def read(self) -> pa.Table:
        with storage.open_input(self.uri) as stream:
            return pq.ParquetFile(stream).read_row_groups(
                list(self.groups), columns=list(self.columns)
            )


@dataclass(frozen=True)
class Source:
    """A source that has been looked at: its columns, its size, its chunks in a fixed order."""

    uri: str
    schema: pa.Schema
    rows: int
    chunks: Sequence[Chunk]

    @property
    def image_columns(self) -> list[str]:
        return [field.name for field in self.schema if images.is_image_type(field.type)]


def open_source(uri: str) -> Source:
    """Look at the real data at ``uri``.

    The order of files and rows is a function of the names alone.

    Raises:
        SourceError: nothing is there, or nothing that can be read.
        StorageError: the storage does not answer, or denies access.
    """
    try:
        files = storage.list_files(uri)
    except NotFoundError as error:
        raise SourceError(
            f"data.source: {uri} does not exist ({error.what})",
            "give a folder of images (one sub-folder per class) or of Parquet files",
        ) from error
    # A generated data set keeps its receipts and its card beside the data.
    tables = [f.uri for f in files if f.uri.endswith(".parquet") and f.size > 0]
    if tables:
        return _parquet(uri, tables)
    pictures = [f.uri for f in files if f.uri.lower().endswith(images.SUFFIXES)]
    if pictures:
        return _folder(uri, pictures)
    found = f"{len(files)} files, none of them an image or Parquet" if files else "no files"
    raise SourceError(
        f"data.source: {uri} holds {found}",
        f"give Parquet files, or images ending in {', '.join(images.SUFFIXES)}",
    )


def _folder(uri: str, pictures: list[str]) -> Source:
    root = uri.rstrip("/") + "/"
    names = [picture.removeprefix(root) for picture in pictures]
    folders = [posixpath.dirname(name) for name in names]
    labelled = all(folders) and len(set(folders)) > 1
    if any(folders) and not all(folders):
        stray = next(name for name, folder in zip(names, folders, strict=True) if not folder)
        raise SourceError(
            f"data.source: {uri} mixes class folders with loose images such as {stray}",
            "put every image into the folder of its class, or all into one folder",
        )
    entries = [(u, n, posixpath.basename(f)) for u, n, f in zip(pictures, names, folders, strict=True)]
    chunks = [
        FolderChunk(tuple(entries[i : i + FILES_PER_CHUNK]), labelled)
        for i in range(0, len(entries), FILES_PER_CHUNK)
    ]
    fields = [pa.field("image", images.STRUCT)]
    if labelled:
        fields.append(pa.field(LABEL, pa.string()))
    return Source(uri, pa.schema(fields), len(entries), chunks)


def _parquet(uri: str, tables: list[str]) -> Source:
    schema: pa.Schema | None = None
    chunks: list[Chunk] = []
    rows = 0
    for name in tables:
        try:
            with storage.open_input(name) as stream:
                file = pq.ParquetFile(stream)
                if schema is None:
                    schema = file.schema_arrow.remove_metadata()
                elif file.schema_arrow.names != schema.names:
                    raise SourceError(
                        f"data.source: {name} has the columns {file.schema_arrow.names}, "
                        f"the first file has {schema.names}",
                        "keep files of one table in a folder of their own",
                    )
                for group in range(file.num_row_groups):
                    chunks.append(ParquetChunk(name, (group,), tuple(schema.names)))
                rows += file.metadata.num_rows
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"data.source: {name} is not a Parquet file: {error}", "remove or replace it"
            ) from error
    if schema is None or rows == 0:
        raise SourceError(f"data.source: {uri} holds no rows", "give a source with data")
    return Source(uri, schema, rows, chunks)


def infer_image_schema(source: Source, corrections: dict[str, dict[str, object]]) -> Schema:
    """The schema of an image source: its image column, and every column that can be a condition.

    A column of strings, integers or booleans is categorical. Other columns are left out: an image
    family does not model them.

    Raises:
        SchemaError: no image column, more than one, or a correction that does not fit.
    """
    found = source.image_columns
    if len(found) != 1:
        what = f"{len(found)} image columns" if found else "no image column"
        raise SchemaError(
            f"data.source: {source.uri} has {what} among {source.schema.names}",
            "give one column of struct<bytes, path>, or of a uint8 tensor [height, width, channels]",
        )
    unknown = set(corrections) - set(source.schema.names)
    if unknown:
        raise SchemaError(
            f"data.schema: no column named {sorted(unknown)[0]!r}",
            f"the columns are: {', '.join(source.schema.names)}",
        )
    columns = []
    for field in source.schema:
        if field.name == found[0]:
            columns.append(Column(name=field.name, kind=Kind.image, arrow_type="image"))
        elif _is_discrete(field.type) or "kind" in corrections.get(field.name, {}):
            given = corrections.get(field.name, {}).get("kind", Kind.categorical)
            if given != Kind.categorical:
                raise SchemaError(
                    f"data.schema.{field.name}.kind: {given!r} beside images",
                    "only categorical columns can accompany images; leave the others out",
                )
            columns.append(
                Column(name=field.name, kind=Kind.categorical, arrow_type=str(field.type))
            )
    return Schema(columns=tuple(columns))


def _is_discrete(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
