"""Small real things for tests: pictures, sources, an untrained generator as an artifact."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from synthray import artifact as artifacts
from synthray import models
from synthray.config import ModelConfig
from synthray.data.codec import Codec
from synthray.data.image_codec import ImageCodec
from synthray.data.images import STRUCT
from synthray.data.inference import infer_vector_schema
from synthray.data.schema import Column, Kind, Schema
from synthray.data.source import Source
from synthray.data.vector_codec import VectorCodec

SIDE = 8


def png(pixels: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def struct(cells: list[bytes | None], paths: list[str] | None = None) -> pa.Array:
    names = paths or [f"{index}.png" for index in range(len(cells))]
    return pa.array(
        [{"bytes": cell, "path": name} for cell, name in zip(cells, names, strict=True)], STRUCT
    )


def class_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3) -> Path:
    """A folder per class, with grey pictures of 8 x 8."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(each):
            data = png(noise(SIDE, SIDE, seed=100 * number + index))
            (root / name / f"{index}.png").write_bytes(data)
    return root


def condition(name: str, arrow_type: str = "string") -> Column:
    return Column(name=name, kind=Kind.categorical, condition=True, arrow_type=arrow_type)


def codec(
    conditions: dict[str, pa.Array] | None = None, side: int = SIDE, channels: int = 1
) -> ImageCodec:
    """Fitted on noise; by default with ten labels, of which "0" is twice as frequent."""
    if conditions is None:
        conditions = {"label": pa.array([str(i % 11 % 10) for i in range(44)])}
    rows = len(next(iter(conditions.values()))) if conditions else 8
    shape = (side, side) if channels == 1 else (side, side, channels)
    cells: list[bytes | None] = [png(noise(*shape, seed=i)) for i in range(rows)]
    columns = (
        Column(name="image", kind=Kind.image),
        *(condition(name, str(values.type)) for name, values in conditions.items()),
    )
    made = ImageCodec(Schema(columns=columns))
    made.fit([made.partial(pa.table({"image": struct(cells)} | conditions))])
    return made


def table_schema(rows: pa.Table, *conditions: str, **kinds: str) -> Schema:
    """The schema that SynthRay infers for a table, with some kinds corrected."""
    corrections: dict[str, dict[str, object]] = {n: {"kind": k} for n, k in kinds.items()}
    source = Source("memory", rows.schema, len(rows), [])
    return infer_vector_schema(source, corrections).with_conditions(conditions)


def vector_codec(rows: pa.Table, *conditions: str, **kinds: str) -> VectorCodec:
    """Fitted on the rows."""
    made = VectorCodec(table_schema(rows, *conditions, **kinds))
    made.fit([made.partial(rows)])
    return made


def ring(rows: int = 64) -> pa.Table:
    """Eight Gaussians around a circle, with the mode of each row and a whole number."""
    random = np.random.default_rng(0)
    mode = np.arange(rows) % 8
    angle = 2 * np.pi * mode / 8
    return pa.table(
        {
            "x": np.cos(angle) + random.normal(0, 0.02, rows),
            "y": pa.array((np.sin(angle) + random.normal(0, 0.02, rows)).astype(np.float32)),
            "n": pa.array(random.integers(-3, 4, rows).astype(np.int16)),
            "mode": mode,
        }
    )


def save_artifact(
    uri: str,
    fitted: Codec | None = None,
    family: str = "dcgan",
    params: dict[str, Any] | None = None,
) -> str:
    """An untrained generator: its bytes matter, not its pictures. Returns the digest."""
    fitted = fitted or codec()
    settings = {"width": 4, "critic_width": 4, "latent_dim": 8} if params is None else params
    config = ModelConfig(name=family, params=settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build(config, fitted.spec)
    card = {"source": "noise", "rows": 44}
    return artifacts.save(uri, config, model.sampler_state(), fitted, card)
