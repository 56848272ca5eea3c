"""Batches of encoded rows: in an order that is a pure function of (seed, step), or in secret."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from synthray import rng
from synthray.config import Config
from synthray.data.codec import Encoded
from synthray.errors import ConfigError
from synthray.rng import Rows


class Batches(Protocol):
    """Where the engine's batches come from."""

    exact: bool
    """Whether training that resumes at a step sees the batches it would have seen."""

    def start_at(self, step: int) -> Iterator[Encoded]:
        """This worker's share of the batches of steps ``step``, ``step + 1``, ... without end."""
        ...


def check_size(rows: int, batch_size: int) -> None:
    """Raises: ConfigError: the source does not fill one batch."""
    if rows < batch_size:
        raise ConfigError(
            f"train.batch_size: {batch_size} exceeds the {rows} rows of the source",
            f"set it to {max(rows // 2, 2)} or less",
        )


class MemoryBatches:
    """Batches of data that fits in memory: every epoch a new permutation of all rows.

    Rows that do not fill a batch wait for another epoch. Any step can be opened directly, so
    training resumes exactly.

    Args:
        data: all rows; every worker holds (a view of) the same.
        batch_size: global rows per step.
        rank, workers, together: which share of each batch this worker takes; see `Rows.share`.
    """

    exact = True

    def __init__(
        self,
        data: Encoded,
        batch_size: int,
        seed: int,
        rank: int = 0,
        workers: int = 1,
        together: int = 1,
    ) -> None:
        check_size(len(data), batch_size)
        self.data, self.seed = data, seed
        self.rows = Rows.share(batch_size, rank, workers, together)
        self.per_epoch = len(data) // batch_size

    def start_at(self, step: int) -> Iterator[Encoded]:
        epoch, within = divmod(step, self.per_epoch)
        while True:
            order = rng.stream(self.seed, "epoch", epoch).permutation(len(self.data))
            for batch in range(within, self.per_epoch):
                first = batch * self.rows.total
                index = order[first + self.rows.start : first + self.rows.stop]
                yield Encoded(self.data.x[index], self.data.cond[index])
            epoch, within = epoch + 1, 0


class PoissonBatches:
    """Batches that differential privacy is accounted for: each row is in a batch with the same
    probability, whatever other rows are, and nobody can tell which were.

    Sizes vary around ``batch_size``; a batch may be empty. Nothing is drawn from the config's seed.

    Args:
        data: all rows; every worker holds (a view of) the same.
        batch_size: global rows of a batch on average.
        rank, workers: this worker draws among every ``workers``-th row.
    """

    exact = False

    def __init__(self, data: Encoded, batch_size: int, rank: int = 0, workers: int = 1) -> None:
        check_size(len(data), batch_size)
        self.rate = batch_size / len(data)
        self.data = Encoded(data.x[rank::workers], data.cond[rank::workers])

    def start_at(self, step: int) -> Iterator[Encoded]:
        while True:
            index = poisson_sample(len(self.data), self.rate)
            yield Encoded(self.data.x[index], self.data.cond[index])


def in_memory(
    config: Config, data: Encoded, rank: int = 0, workers: int = 1, together: int = 1
) -> Batches:
    """A config's batches of data that fits in memory: secret ones where its training is private."""
    size = config.train.batch_size
    if config.train.privacy is not None:
        return PoissonBatches(data, size, rank, workers)
    return MemoryBatches(data, size, config.seed, rank, workers, together)


def poisson_sample(rows: int, rate: float) -> np.ndarray:
    """Indices below ``rows``, ascending, each there with probability ``rate``: int64.

    The gaps between them are geometric, so the cost is that of the sample, not of the rows.
    """
    if rate >= 1:
        return np.arange(rows)
    mean = rows * rate
    count = math.ceil(mean + 6 * math.sqrt(mean) + 10)
    found, last = [], -1
    while last < rows:
        gaps = np.floor(np.log(rng.secret_uniform(count)) / math.log1p(-rate)) + 1
        # A gap beyond the end is as good as any longer one, which may not fit in 64 bits.
        places = last + np.cumsum(np.minimum(gaps, rows + 1).astype(np.int64))
        found.append(places)
        last = int(places[-1])
    index = np.concatenate(found)
    return index[index < rows]
