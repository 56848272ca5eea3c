"""A picture of samples from fixed noise, to see training go on."""

from __future__ import annotations

import numpy as np
import torch

from synthray import rng
from synthray.data.codec import Codec
from synthray.data.image_codec import ImageCodec
from synthray.data.images import contact_sheet
from synthray.rng import BatchRandom, Rows
from synthray.training.engine import Engine

ROWS, COLUMNS = 8, 10


@torch.inference_mode()
def picture(engine: Engine, codec: Codec) -> bytes | None:
    """A PNG sheet of 8 x 10 samples of the averaged model; a column a class, for up to ten.

    None for data that is not images.
    """
    if not isinstance(codec, ImageCodec):
        return None
    count = ROWS * COLUMNS
    random = BatchRandom(rng.stream(engine.seed, "picture"), Rows.all(count), engine.device)
    spec = codec.spec
    cond = None
    if spec.conditions:
        frequent = np.argsort(-np.asarray(spec.counts), kind="stable")[:COLUMNS]
        chosen = np.asarray(spec.combinations)[np.sort(frequent)]
        tiled = np.resize(np.arange(len(chosen)), (ROWS, COLUMNS)).reshape(-1)
        if len(chosen) >= COLUMNS:
            tiled = np.tile(np.arange(COLUMNS), ROWS)
        cond = torch.from_numpy(chosen[tiled]).to(engine.device)
    x = engine.ema.model.sample(count, random, cond)
    scale = max(1, 64 // codec.shape[1])
    return contact_sheet(codec.pixels(x), COLUMNS, scale)
