"""Single images: every format comes in, no damage gets through, nothing else than damage is cut."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tiny import noise, png

from synthray.data import images
from synthray.data.images import UnreadableImageError, is_grey, open_image, to_pixels

GREY, COLOUR = noise(12, 12), noise(12, 12, 3)


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def pixels(data: bytes | np.ndarray, side: int = 12, mode: images.Mode = "rgb") -> np.ndarray:
    return to_pixels(open_image(data), side, mode)


# What comes in.


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF"])
def test_lossless_formats_keep_grey_exactly(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = save(Image.fromarray(GREY), format, **options)
    assert is_grey(open_image(data))
    assert np.array_equal(pixels(data, mode="grey"), GREY[None])


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_keep_colour_exactly(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = save(Image.fromarray(COLOUR), format, **options)
    assert not is_grey(open_image(data))
    assert np.array_equal(pixels(data), COLOUR.transpose(2, 0, 1))


def test_jpeg_keeps_smooth_colour_nearly() -> None:
    smooth = np.dstack([np.add.outer(np.arange(12), np.arange(12)) * 4 + c for c in (0, 40, 90)])
    data = save(Image.fromarray(smooth.astype(np.uint8)), "JPEG", quality=95)
    assert np.abs(pixels(data).astype(int) - smooth.transpose(2, 0, 1)).max() <= 6


def test_sixteen_bit_grey_is_scaled_by_the_range_of_the_type() -> None:
    wide = GREY.astype(np.uint16) * 257
    for format in ("PNG", "TIFF"):
        data = save(Image.fromarray(wide), format)
        assert is_grey(open_image(data))
        assert np.array_equal(pixels(data, mode="grey"), GREY[None])
    pgm = b"P5 12 12 65535\n" + wide.astype(">u2").tobytes()
    assert np.array_equal(pixels(pgm, mode="grey"), GREY[None])


def test_big_endian_sixteen_bit_tiff_is_read() -> None:
    image = Image.frombytes("I;16B", (12, 12), (GREY.astype(">u2") * 257).tobytes())
    data = save(image, "TIFF")
    assert np.array_equal(pixels(data, mode="grey"), GREY[None])


def test_palette_gives_its_colours() -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    assert np.array_equal(
        pixels(save(image, "PNG")), np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    )


def test_a_palette_of_greys_is_grey() -> None:
    image = Image.fromarray(GREY).convert("P")
    assert is_grey(open_image(save(image, "PNG")))


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 16))])
def test_transparency_in_a_palette_is_laid_on_black(transparency: int | bytes) -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    data = save(image, "PNG", transparency=transparency)
    index = np.asarray(image)
    clear = 3 if isinstance(transparency, int) else 0
    assert (pixels(data)[:, index == clear] == 0).all()
    assert pixels(data).any()


def test_alpha_is_laid_on_black() -> None:
    alpha = np.full((12, 12), 255, np.uint8)
    alpha[:6] = 0
    data = png(np.dstack([COLOUR, alpha]))
    assert (pixels(data)[:, :6] == 0).all()
    assert np.array_equal(pixels(data)[:, 6:], COLOUR.transpose(2, 0, 1)[:, 6:])


def test_grey_with_alpha_is_grey_and_hidden_colour_is_no_colour() -> None:
    alpha = np.full((12, 12), 255, np.uint8)
    data = png(np.dstack([GREY, alpha]))
    assert is_grey(open_image(data))
    assert np.array_equal(pixels(data, mode="grey"), GREY[None])
    hidden = np.dstack([COLOUR, np.zeros((12, 12), np.uint8)])
    assert is_grey(open_image(png(hidden)))


def test_cmyk_lab_and_black_and_white_are_read() -> None:
    data = save(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=95)
    assert pixels(data).shape == (3, 12, 12)
    lab = save(Image.frombytes("LAB", (12, 12), COLOUR.tobytes()), "TIFF")
    assert pixels(lab).shape == (3, 12, 12)
    one_bit = save(Image.fromarray(GREY).convert("1"), "PNG")
    assert is_grey(open_image(one_bit))
    assert set(np.unique(pixels(one_bit, mode="grey"))) == {0, 255}


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.fromarray(np.full((12, 12), value, np.uint8)) for value in (200, 10, 90)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = save(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (pixels(data, mode="grey") == 200).all()


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 1), (12, 12, 3), (12, 12, 4)])
def test_tensors_are_images(shape: tuple[int, ...]) -> None:
    tensor = noise(*shape)
    if shape[-1] == 4:
        tensor[..., 3] = 255
    expected = tensor.reshape(12, 12, -1)[..., :3].transpose(2, 0, 1)
    mode: images.Mode = "rgb" if len(expected) == 3 else "grey"
    assert np.array_equal(pixels(tensor, mode=mode), expected)


def test_an_oblong_image_is_cut_to_its_middle_square() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255
    assert (pixels(wide, 10, "grey") == 255).all()
    assert (pixels(wide.T.copy(), 10, "grey") == 255).all()
    assert pixels(wide, 5).shape == (3, 5, 5)
    assert pixels(GREY, 64, "grey").shape == (1, 64, 64)


# What stays out.


def test_nothing_is_unreadable() -> None:
    for cell in (None, b"", np.empty((0, 5), np.uint8)):
        with pytest.raises(UnreadableImageError, match="empty"):
            open_image(cell)


@pytest.mark.parametrize(
    "data", [b"hello", b"\x00" * 100, b"\x89PNG\r\n\x1a\n", b"<svg/>", b"GIF89a"]
)
def test_something_else_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableImageError, match=r"not an image|.+"):
        open_image(data)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_too_small_an_image_is_unreadable(shape: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImageError, match="pixels is too small"):
        open_image(png(noise(*shape)))


def test_a_truncated_image_is_unreadable_at_every_length() -> None:
    data = png(noise(64, 64, 3))
    for length in range(1, len(data) - 20, len(data) // 40):
        with pytest.raises(UnreadableImageError):
            open_image(data[:length])


def _claiming(width: int, height: int) -> bytes:
    """A valid PNG header without the pixels that it claims."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\x00" * 1000)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for chunk in (header, body, b"IEND"):
        parts += [struct.pack(">I", len(chunk) - 4), chunk, struct.pack(">I", zlib.crc32(chunk))]
    return b"".join(parts)


@pytest.mark.parametrize("side", [8_001, 9_600, 40_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    """Below, between and above Pillow's own two limits; no memory is taken for the pixels."""
    with pytest.raises(UnreadableImageError, match=r"too large|exceeds limit|decompression bomb"):
        open_image(_claiming(side, side))


@pytest.mark.filterwarnings("ignore")  # Pillow tells what it mends
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damage_never_raises_anything_else(format: str) -> None:
    whole = save(Image.fromarray(noise(24, 24, 3)), format)
    random = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(0, 256)
        try:
            image = open_image(bytes(data))
        except UnreadableImageError as error:
            assert str(error)
        else:
            assert image.mode in ("L", "RGB")
            assert to_pixels(image, 8, "grey").shape == (1, 8, 8)


# Columns.


def test_image_types_are_told_from_others() -> None:
    tensor = pa.fixed_shape_tensor
    assert images.is_image_type(images.STRUCT)
    assert images.is_image_type(pa.struct([("bytes", pa.large_binary())]))
    for shape in [(8, 9), (8, 9, 1), (8, 9, 3), (8, 9, 4)]:
        assert images.is_image_type(tensor(pa.uint8(), shape))
    for kind in (
        tensor(pa.float32(), (8, 8)),
        tensor(pa.uint8(), (3, 8, 8)),  # channels first
        tensor(pa.uint8(), (8,)),
        tensor(pa.uint8(), (3, 8, 9), permutation=[1, 2, 0]),
        pa.struct([("path", pa.string())]),
        pa.struct([("bytes", pa.string())]),
        pa.binary(),
    ):
        assert not images.is_image_type(kind)


def test_missing_cells_of_both_kinds_are_empty() -> None:
    kind = pa.fixed_shape_tensor(pa.uint8(), (2, 2, 1))
    stored = pa.array([[1, 2, 3, 4], None], kind.storage_type)
    tensors = pa.chunked_array([pa.ExtensionArray.from_storage(kind, stored)])
    (first, _), (second, _) = images.cells(tensors)
    assert np.array_equal(first, np.array([[[1], [2]], [[3], [4]]], np.uint8)) and second is None
    structs = pa.chunked_array([pa.array([{"bytes": b"x", "path": "p"}, None, {}], images.STRUCT)])
    assert list(images.cells(structs)) == [(b"x", "p"), (None, ""), (None, "")]


def test_a_contact_sheet_shows_every_image_in_its_place() -> None:
    tiles = noise(5, 4, 4, 3)
    sheet = np.asarray(Image.open(io.BytesIO(images.contact_sheet(tiles, columns=3))))
    assert sheet.shape == (14, 20, 3)
    assert np.array_equal(sheet[2:6, 2:6], tiles[0])
    assert np.array_equal(sheet[8:12, 8:12], tiles[4])
    assert (sheet[8:12, 14:18] == 255).all()
