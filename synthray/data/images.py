"""Decoding, cleaning and encoding of single images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 64_000_000
"""Larger images are taken for damage (or an attack), not for data."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The image column of Hugging Face ``datasets``."""

Mode = Literal["grey", "rgb"]


class UnreadableImageError(Exception):
    """One image cannot be used; the message says why. Counted and skipped by the caller."""


def is_image_type(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds images: the bytes struct, or a [h, w(, c)] uint8 tensor."""
    if isinstance(kind, pa.FixedShapeTensorType):
        # Permuted axes are left out: pyarrow 26 writes and reads them in different senses.
        plain = kind.permutation in (None, list(range(len(kind.shape))))
        pixels = len(kind.shape) == 2 or (len(kind.shape) == 3 and kind.shape[2] in (1, 2, 3, 4))
        return bool(kind.value_type == pa.uint8() and plain and pixels)
    return pa.types.is_struct(kind) and any(
        field.name == "bytes"
        and (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))
        for field in kind
    )


def cells(column: pa.ChunkedArray) -> Iterator[tuple[bytes | np.ndarray | None, str]]:
    """Each image of a column, undecoded, with its path (or an empty name)."""
    for chunk in column.chunks:
        if isinstance(chunk.type, pa.FixedShapeTensorType):
            # Not the whole chunk at once: that refuses missing values.
            for cell in chunk:
                yield (cell.to_numpy() if cell.is_valid else None), ""
        else:
            for cell in chunk:
                value = cell.as_py() or {}
                yield value.get("bytes"), value.get("path") or ""


def open_image(cell: bytes | np.ndarray | None) -> Image.Image:
    """Decode one cell fully, to an image of mode L or RGB.

    Of an animation the first frame is taken; transparency is laid on black; 16-bit grey is scaled
    to 8 bits by the range of the type.

    Raises:
        UnreadableImageError: empty, damaged, of an unknown format, or of impossible size.
    """
    if cell is None or len(cell) == 0:
        raise UnreadableImageError("empty")
    try:
        if isinstance(cell, np.ndarray):
            image = Image.fromarray(cell.squeeze(-1) if cell.shape[-1:] == (1,) else cell)
        else:
            image = Image.open(io.BytesIO(cell))
        _check_size(image)
        image.load()
        return _flat(image)
    except (UnreadableImageError, MemoryError):
        raise
    # Whatever a decoder raises on damaged bytes: struct.error, KeyError, OverflowError ...
    except Exception as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImageError(reason or type(error).__name__) from error


def _check_size(image: Image.Image) -> None:
    """From the header alone, before memory is taken for the pixels."""
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels is too large")
    if min(image.size) < 2:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels is too small")


def _flat(image: Image.Image) -> Image.Image:
    """L or RGB."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray((wide / 257.0).clip(0, 255).round().astype(np.uint8))
    grey = image.mode in ("1", "L", "LA", "La", "F")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("L" if grey else "RGB")


def is_grey(image: Image.Image) -> bool:
    """Whether an image of `open_image` carries no colour."""
    if image.mode == "L":
        return True
    pixels = np.asarray(image)
    return bool((pixels == pixels[..., :1]).all())


def to_pixels(image: Image.Image, side: int, mode: Mode) -> np.ndarray:
    """Square pixels of an image of `open_image`, uint8 [c, side, side].

    The image is cut to its central square and resized (Lanczos).
    """
    image = image.convert("L" if mode == "grey" else "RGB")
    short = min(image.size)
    if image.size != (short, short):
        left, top = (image.width - short) // 2, (image.height - short) // 2
        image = image.crop((left, top, left + short, top + short))
    if short != side:
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def png(pixels: np.ndarray) -> bytes:
    """One image as PNG; ``pixels`` uint8 [h, w, c] with c = 1 or 3."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def contact_sheet(pixels: np.ndarray, columns: int, scale: int = 1, gap: int = 2) -> bytes:
    """A PNG grid of images, row by row; ``pixels`` uint8 [n, h, w, c]."""
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8
    )
    for index, tile in enumerate(pixels):
        top = gap + index // columns * (height + gap)
        left = gap + index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return png(sheet.repeat(scale, axis=0).repeat(scale, axis=1))
