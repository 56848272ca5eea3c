"""The contact sheet: a few images side by side in one PNG."""

from __future__ import annotations

import io
import math

import pyarrow as pa
from PIL import Image

GAP = 2
"""Pixels between the tiles."""
BACKGROUND = 128


class ContactSheet:
    """A square-ish grid of the first image column, row by row, pixel for pixel."""

    def __init__(self, image_column: str, count: int) -> None:
        self._column = image_column
        self._across = math.ceil(math.sqrt(count))
        self._down = math.ceil(count / self._across)
        self._tile = 0
        self._sheet: Image.Image | None = None

    def begin(self) -> bytes:
        return b""

    def write(self, rows: pa.Table) -> bytes:
        for value in rows.column(self._column).to_pylist():
            with Image.open(io.BytesIO(value["bytes"])) as image:
                self._paste(image)
        return b""

    def end(self) -> bytes:
        if self._sheet is None:
            return b""
        out = io.BytesIO()
        self._sheet.save(out, "PNG")
        return out.getvalue()

    def _paste(self, image: Image.Image) -> None:
        width, height = image.width + GAP, image.height + GAP
        if self._sheet is None:
            mode = "L" if image.mode in ("L", "1") else "RGB"
            size = (self._across * width - GAP, self._down * height - GAP)
            background = BACKGROUND if mode == "L" else (BACKGROUND,) * 3
            self._sheet = Image.new(mode, size, background)
        row, column = divmod(self._tile, self._across)
        self._sheet.paste(image, (column * width, row * height))
        self._tile += 1
