"""What all extractors do with what they are given: images and weights files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from synthray.errors import NotFoundError, UsageError


def check_images(images: Tensor) -> None:
    """Raises `UsageError` unless images are uint8 [n >= 1, 1 or 3, h, w]."""
    shape = list(images.shape)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UsageError(
            f"images are {str(images.dtype).removeprefix('torch.')} {shape}",
            "give uint8 images [n, channels, height, width] with 1 or 3 channels",
        )
    if 0 in shape:
        raise UsageError(f"images have shape {shape}", "give at least one image")


def to_rgb(images: Tensor) -> Tensor:
    """[n, 3, h, w]: grey repeated, colour as it is."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def read_weights(weights: bytes | str | Path) -> bytes:
    """The bytes of a weights file, or `NotFoundError`."""
    if isinstance(weights, bytes):
        return weights
    try:
        return Path(weights).read_bytes()
    except OSError as error:
        raise NotFoundError(
            f"weights file {str(weights)!r}: {error.strerror}", "check the path"
        ) from error


def digest_of(weights: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(weights).hexdigest()
