"""Real data at a URI, read in chunks that any process can open by itself."""

from __future__ import annotations

from synthray import storage
from synthray.data import csv_source, images, jsonl_source
from synthray.data.chunks import Chunk, Source
from synthray.data.csv_source import open_csv
from synthray.data.folder_source import LABEL, open_folder
from synthray.data.jsonl_source import open_jsonl
from synthray.data.parquet_source import open_parquet
from synthray.errors import NotFoundError, SourceError

LOOSE = (".txt", ".data", ".dat", ".test")
"""Endings of text files that are taken for CSV where such a file alone is named."""

__all__ = ["LABEL", "Chunk", "Source", "open_source"]


def open_source(uri: str, field: str = "data.source") -> Source:
    """Look at the data at ``uri``.

    Of a folder the Parquet files count, where there are none the images, and where there are none
    of them the CSV or JSON Lines files. These say little of themselves, so they are read once, from
    end to end: ``notes`` tells what was decided. The order of files and rows is a function of the
    names alone.

    Args:
        field: of the config or the command line, that named it; for errors.

    Raises:
        SourceError: nothing is there, or nothing that can be read.
        StorageError: the storage does not answer, or denies access.
    """
    # Chunks are read by other processes, with other working directories.
    uri = storage.absolute(uri)
    try:
        files = [file.uri for file in storage.list_files(uri)]
    except NotFoundError as error:
        raise SourceError(
            f"{field}: {error.what}",
            "give a folder of images (one sub-folder per class), or Parquet, CSV or JSON Lines",
        ) from error

    def ending(suffixes: tuple[str, ...]) -> list[str]:
        return [name for name in files if name.lower().endswith(suffixes)]

    # A generated data set keeps its receipts and its card beside the data.
    if tables := ending((".parquet",)):
        return open_parquet(uri, tables, field)
    if pictures := ending(images.SUFFIXES):
        return open_folder(uri, pictures, field)
    one = len(files) == 1 and files[0] == uri  # named itself, so its ending matters less
    rows = ending(csv_source.SUFFIXES + LOOSE * one)
    objects = ending(jsonl_source.SUFFIXES + (".json",) * one)
    if rows and objects:
        raise SourceError(
            f"{field}: {uri} holds CSV files such as {rows[0]}, and JSON Lines such as "
            f"{objects[0]}",
            "keep the files of one table in a folder of their own",
        )
    if rows:
        return open_csv(uri, rows, field)
    if objects:
        return open_jsonl(uri, objects, field)
    found = f"{len(files)} files, none of them an image or a table" if files else "no files"
    raise SourceError(
        f"{field}: {uri} holds {found}",
        "give Parquet (.parquet), CSV (.csv, .tsv), JSON Lines (.jsonl, .ndjson), or images ending "
        f"in {', '.join(images.SUFFIXES)}",
    )
