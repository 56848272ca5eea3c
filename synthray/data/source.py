"""Real data at a URI, read in chunks that any process can open by itself."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from synthray import storage
from synthray.data import images
from synthray.errors import NotFoundError, SourceError

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
        with storage.open_input(self.uri) as stream, _parquet_errors(self.uri):
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


def open_source(uri: str, field: str = "data.source") -> Source:
    """Look at the data at ``uri``.

    The order of files and rows is a function of the names alone.

    Args:
        field: of the config or the command line, that named it; for errors.

    Raises:
        SourceError: nothing is there, or nothing that can be read.
        StorageError: the storage does not answer, or denies access.
    """
    # Chunks are read by other processes, with other working directories.
    uri = storage.absolute(uri)
    try:
        files = storage.list_files(uri)
    except NotFoundError as error:
        raise SourceError(
            f"{field}: {error.what}",
            "give a folder of images (one sub-folder per class) or of Parquet files",
        ) from error
    # A generated data set keeps its receipts and its card beside the data.
    tables = [f.uri for f in files if f.uri.lower().endswith(".parquet")]
    if tables:
        return _parquet(uri, tables, field)
    pictures = [f.uri for f in files if f.uri.lower().endswith(images.SUFFIXES)]
    if pictures:
        return _folder(uri, pictures, field)
    found = f"{len(files)} files, none of them an image or Parquet" if files else "no files"
    raise SourceError(
        f"{field}: {uri} holds {found}",
        f"give Parquet files, or images ending in {', '.join(images.SUFFIXES)}",
    )


def _folder(uri: str, pictures: list[str], field: str) -> Source:
    entries = sorted(_entry(uri, picture) for picture in pictures)
    depths = {name.count("/") > 0 for name, _, _ in entries}
    if len(depths) > 1:
        stray = next(name for name, _, _ in entries if "/" not in name)
        raise SourceError(
            f"{field}: {uri} mixes class folders with loose images such as {stray}",
            "put every image into the folder of its class, or all into one folder",
        )
    labelled = len({label for _, label, _ in entries}) > 1
    files = [(picture, name, label) for name, label, picture in entries]
    chunks = [
        FolderChunk(tuple(files[i : i + FILES_PER_CHUNK]), labelled)
        for i in range(0, len(files), FILES_PER_CHUNK)
    ]
    fields = [pa.field("image", images.STRUCT)]
    if labelled:
        fields.append(pa.field(LABEL, pa.string()))
    return Source(uri, pa.schema(fields), len(entries), chunks)


def _entry(uri: str, picture: str) -> tuple[str, str, str]:
    """(path within the source, label, uri) of an image; the label is its folder's name."""
    name = picture.removeprefix(uri.rstrip("/") + "/")
    if picture.lower().startswith("file://"):
        name = unquote(name)
    return name, posixpath.basename(posixpath.dirname(name)), picture


def _parquet(uri: str, tables: list[str], field: str) -> Source:
    schema: pa.Schema | None = None
    chunks: list[Chunk] = []
    rows = 0
    for name in tables:
        file, groups, count = _look_at(name, field)
        if schema is None:
            schema = file
        elif _types(file) != _types(schema):
            raise SourceError(
                f"{field}: {name} has the columns {_types(file)}, "
                f"the first file has {_types(schema)}",
                "keep files of one table in a folder of their own, with one type a column",
            )
        chunks += [ParquetChunk(name, (group,), tuple(schema.names)) for group in range(groups)]
        rows += count
    if schema is None or rows == 0:
        raise SourceError(f"{field}: {uri} holds no rows", "give a source with data")
    return Source(uri, schema, rows, chunks)


def _look_at(name: str, field: str) -> tuple[pa.Schema, int, int]:
    """The schema of a Parquet file, its row groups and its rows."""
    with storage.open_input(name) as stream, _parquet_errors(name, field):
        file = pq.ParquetFile(stream)
        schema = file.schema_arrow.remove_metadata()
        return schema, file.num_row_groups, file.metadata.num_rows


@contextmanager
def _parquet_errors(name: str, field: str = "data.source") -> Iterator[None]:
    """Tell a damaged file from a storage that does not answer."""
    with storage.translate_errors(name):
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            # Arrow raises OSError without a number for damage inside a file.
            if isinstance(error, OSError) and (error.errno or "AWS Error" in str(error)):
                raise
            raise SourceError(
                f"{field}: {name} is not a Parquet file, or damaged: {error}",
                "remove or replace it",
            ) from error


def _types(schema: pa.Schema) -> dict[str, str]:
    """The types of columns by name; a dictionary counts as what it holds."""
    plain = ((f.name, f.type.value_type if _is_dictionary(f.type) else f.type) for f in schema)
    return {name: str(kind) for name, kind in plain}


def _is_dictionary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind))
