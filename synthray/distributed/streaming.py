"""Training data larger than memory: chunks are read and encoded anew in every epoch, by Ray Data.

The order of rows then depends on how the cluster behaves: training that resumes goes on from its
checkpoint's weights with a new epoch, and is not bit-exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray
import ray.data

from synthray.config import Config
from synthray.data.codec import Codec, Encoded
from synthray.data.source import Source

SHUFFLE_BATCHES = 16
"""Rows are drawn from a buffer of this many batches."""


def streamed_dataset(source: Source, codec: Codec, config: Config) -> ray.data.Dataset:
    """Encoded rows as a lazy dataset with columns x and cond."""
    chunks = ray.put(list(source.chunks))

    def encode(batch: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        for index in batch["item"]:
            encoded = codec.encode(ray.get(chunks)[int(index)].read())
            if len(encoded):
                yield {"x": encoded.x, "cond": encoded.cond}

    order = np.random.default_rng(config.seed).permutation(len(source.chunks))
    return ray.data.from_items([int(i) for i in order], override_num_blocks=len(order)).map_batches(
        encode, batch_size=1
    )


class StreamBatches:
    """This worker's share of a streamed dataset, epoch after epoch."""

    exact = False

    def __init__(self, config: Config, shard: Any, workers: int) -> None:
        self._shard, self._seed = shard, config.seed
        self._rows = config.train.batch_size // workers

    def start_at(self, step: int) -> Iterator[Encoded]:
        epoch = 0
        while True:
            for batch in self._shard.iter_batches(
                batch_size=self._rows,
                drop_last=True,
                local_shuffle_buffer_size=SHUFFLE_BATCHES * self._rows,
                local_shuffle_seed=self._seed + step + epoch,
            ):
                # A copy: blocks of the object store are read-only.
                yield Encoded(np.array(batch["x"]), np.array(batch["cond"]))
            epoch += 1
