"""What the weights of a run depend on, as one short name."""

from __future__ import annotations

import hashlib
import json

from synthray import rng
from synthray.config import Config
from synthray.data.codec import Codec, Encoded
from synthray.data.source import Source

NOT_WEIGHTS = {"eval_every", "checkpoint_every", "keep_checkpoints", "max_failures"}
"""Settings of ``train`` that say when to look and to save, not what to learn."""


def fingerprint(config: Config, codec: Codec, data: Encoded | Source) -> str:
    """SHA-256 over the settings and the data, hex.

    Data in memory counts by its encoded bytes; data that streams, by the listing of its chunks.
    With differential privacy it counts by its codec alone: the name is published.
    """
    train = config.train.model_dump(mode="json", exclude=NOT_WEIGHTS)
    if config.train.privacy is None:
        del train["privacy"]  # so that runs from before there was one keep their names
    settings = {
        "seed": config.seed,
        "codec": codec.to_json(),
        "model": config.model.model_dump(mode="json"),
        "train": train,
        "stream": rng.STREAM,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    if config.train.privacy is not None:
        return digest.hexdigest()
    if isinstance(data, Encoded):
        # Flat, for hashlib takes no other; cond has no columns where there are no conditions.
        digest.update(data.x.reshape(-1).data)
        digest.update(data.cond.reshape(-1).data)
    else:
        digest.update(repr(list(data.chunks)).encode())
    return digest.hexdigest()
