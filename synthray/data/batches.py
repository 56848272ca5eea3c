"""Batches of encoded rows, in an order that is a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from synthray import rng
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
        rank, workers: which share of each batch this worker takes.
    """

    exact = True

    def __init__(
        self, data: Encoded, batch_size: int, seed: int, rank: int = 0, workers: int = 1
    ) -> None:
        check_size(len(data), batch_size)
        self.data, self.seed = data, seed
        self.rows = Rows.share(batch_size, rank, workers)
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
