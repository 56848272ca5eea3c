"""Folders of images: the label of each is the name of its folder."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa

from synthray import storage
from synthray.data import images
from synthray.data.chunks import Source
from synthray.errors import SourceError

FILES_PER_CHUNK = 512
LABEL = "label"


@dataclass(frozen=True)
class FolderChunk:
    """Some image files; the label of each is the name of its folder."""

    files: tuple[tuple[str, str, str], ...]  # (uri, path within the source, label)
    labelled: bool
    pictured: bool = True

    def read(self) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        if self.pictured:
            cells = [{"bytes": storage.read_bytes(u), "path": path} for u, path, _ in self.files]
            columns["image"] = pa.array(cells, images.STRUCT)
        if self.labelled:
            columns[LABEL] = pa.array([label for _, _, label in self.files], pa.string())
        return pa.table(columns)

    def select(self, names: Sequence[str]) -> FolderChunk:
        return FolderChunk(self.files, self.labelled and LABEL in names, "image" in names)


def open_folder(uri: str, pictures: list[str], field: str) -> Source:
    """Raises: SourceError: class folders beside loose images."""
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
