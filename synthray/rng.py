"""Counter-based random streams: every random number is a pure function of its address.

A stream is addressed by (seed, purpose, counters...). Philox 4x64-10 (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3") takes the address as its key and counter, so a
stream can be opened anywhere, in any order, by any process, without a state to keep or to send.

The purpose (``"block"``, ``"step"`` ...) is hashed into the key, so streams with different
purposes never overlap. ``STREAM`` names the recipe; an artifact records it, and a change of the
recipe must change the name, for it changes every byte of every virtual dataset.

The one exception is what privacy rests on: the ``secret_`` functions draw from the operating
system's entropy, have no address, and cannot be drawn again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

STREAM = "philox4x64-ziggurat-1"
MAX_SEED = 2**63 - 1


def stream(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Open the stream at address (seed, purpose, *counters).

    Args:
        seed: 0 … 2^63 - 1.
        purpose: what the numbers are for; separates streams with equal counters.
        counters: up to three non-negative integers, each below 2^64.

    The address fills the Philox key (128 bits: seed and purpose) and the upper three words of
    the counter; the lowest word counts within the stream, so 2^66 words may be drawn from each.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be within 0 … 2^63 - 1, got {seed}")
    if len(counters) > 3 or any(not 0 <= c < 2**64 for c in counters):
        raise ValueError(
            f"at most three counters, each 0 … 2^64 - 1, address a stream, got {counters}"
        )
    words = [0, *counters] + [0] * (3 - len(counters))
    tag = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    key = np.array([seed, tag], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array(words, dtype=np.uint64)))


@dataclass(frozen=True)
class Rows:
    """The rows that this process holds of a batch that is drawn as a whole.

    ``Rows(256, 128, 256, 2)`` is the second half of a batch of 256, of which another worker holds
    the first.
    """

    total: int
    start: int
    stop: int
    workers: int = 1

    @classmethod
    def all(cls, total: int) -> Rows:
        return cls(total, 0, total)

    @classmethod
    def share(cls, total: int, rank: int, workers: int, together: int = 1) -> Rows:
        """The share of worker ``rank`` of ``workers``; shares are in order of rank, and where they
        cannot be equal, the first ones are larger by ``together``.

        Args:
            together: every share is a multiple of it.
        """
        if total % together or total < workers * together:
            raise ValueError(f"{total} rows make no {workers} shares of multiples of {together}")
        size, rest = divmod(total // together, workers)
        start = rank * size + min(rank, rest)
        stop = start + size + (rank < rest)
        return cls(total, start * together, stop * together, workers)

    @property
    def weight(self) -> float:
        """What a mean over these rows counts in the workers' mean: 1 where shares are equal."""
        return len(self) * self.workers / self.total

    def __len__(self) -> int:
        return self.stop - self.start


class BatchRandom:
    """Random tensors for the rows of one batch.

    Numbers are drawn for the whole batch and cut to ``rows``: the workers of a data-parallel
    group together see exactly what a single worker would.
    """

    blocks = 1

    def __init__(
        self, generator: np.random.Generator, rows: Rows, device: torch.device | str = "cpu"
    ) -> None:
        self._generator = generator
        self.rows = rows
        self.device = torch.device(device)

    def _cut(self, whole: np.ndarray) -> torch.Tensor:
        part = torch.from_numpy(whole[self.rows.start : self.rows.stop])
        return part.to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal float32, [rows, *shape]."""
        size = (self.rows.total, *shape)
        return self._cut(self._generator.standard_normal(size, dtype=np.float32))

    def shared_normal(self, *shape: int) -> torch.Tensor:
        """Standard normal float32, [*shape]: the same for all workers."""
        drawn = self._generator.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform float32 in [0, 1), [rows, *shape]."""
        size = (self.rows.total, *shape)
        return self._cut(self._generator.random(size, dtype=np.float32))

    def choice(self, weights: Sequence[float] | np.ndarray) -> torch.Tensor:
        """Indices drawn with probability proportional to ``weights``, int64 [rows]."""
        cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
        point = self._generator.random(self.rows.total) * cumulative[-1]
        # side="right" never lands on a zero-weight entry.
        index = np.searchsorted(cumulative, point, side="right")
        return self._cut(np.minimum(index, len(cumulative) - 1).astype(np.int64))


class BlocksRandom(BatchRandom):
    """Random tensors for several batches of equal size, each drawn as if it were alone.

    Args:
        parts: of the batches, at least one, in order.
    """

    def __init__(self, parts: Sequence[BatchRandom]) -> None:
        first = parts[0]
        super().__init__(first._generator, first.rows, first.device)
        self._parts, self.blocks = parts, len(parts)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.cat([part.normal(*shape) for part in self._parts])

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.cat([part.uniform(*shape) for part in self._parts])

    def choice(self, weights: Sequence[float] | np.ndarray) -> torch.Tensor:
        return torch.cat([part.choice(weights) for part in self._parts])


def secret_stream() -> np.random.Generator:
    """A stream that nobody can open again: its key comes from the operating system."""
    return np.random.Generator(np.random.Philox(key=_secret_words(2)))


def secret_uniform(count: int) -> np.ndarray:
    """Uniform float64 in (0, 1], of the operating system's cryptographic generator: [count]."""
    return ((_secret_words(count) >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53


def secret_normal(count: int) -> np.ndarray:
    """Standard normal float64 of the same, by Box and Muller's transform: [count]."""
    half = -(-count // 2)
    radius = np.sqrt(-2 * np.log(secret_uniform(half)))
    angle = 2 * np.pi * secret_uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def _secret_words(count: int) -> np.ndarray:
    return np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
