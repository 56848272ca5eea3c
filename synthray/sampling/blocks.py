"""Blocks: 1,024 consecutive rows of a virtual dataset, the unit of randomness and computation.

Block b draws all its numbers from the stream (seed, "block", b) and is computed whole, in one
batch on one thread, wherever it is needed. So no shard size, batch, worker count or retry can
change a byte of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from synthray import rng
from synthray.config import BLOCK_ROWS
from synthray.data.codec import DataSpec
from synthray.models.base import GenerativeModel
from synthray.rng import BatchRandom, Rows

# The number of threads is a setting of the whole process.
_one_at_a_time = threading.Lock()


@contextmanager
def _fixed_arithmetic() -> Iterator[None]:
    """One thread and deterministic kernels: sums are made in one order."""
    with _one_at_a_time:
        threads = torch.get_num_threads()
        if threads != 1:
            torch.set_num_threads(1)
        try:
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False),
            ):
                yield
        finally:
            if threads != 1:
                torch.set_num_threads(threads)


def sample_block(
    model: GenerativeModel, spec: DataSpec, seed: int, block: int, fixed: dict[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute one block.

    Args:
        fixed: value indices of conditions that are held, by position.

    Returns:
        x float32 [1024, *shape] and cond int64 [1024, conditions], on the CPU.
    """
    device = next(model.parameters()).device
    random = BatchRandom(rng.stream(seed, "block", block), Rows.all(BLOCK_ROWS), device)
    cond = draw_conditions(spec, random, fixed)
    with _fixed_arithmetic():
        x = model.sample(BLOCK_ROWS, random, cond.to(device) if spec.conditions else None)
    return x.cpu(), cond


def draw_conditions(spec: DataSpec, random: BatchRandom, fixed: dict[int, int]) -> torch.Tensor:
    """Conditions as they occur together in the source, given those that are held.

    Held values that never occur together leave the others to their own frequencies.
    """
    if not spec.conditions:
        return torch.empty((BLOCK_ROWS, 0), dtype=torch.int64)
    combinations = np.asarray(spec.combinations, dtype=np.int64)
    counts = np.asarray(spec.counts, dtype=np.float64)
    match = np.all([combinations[:, p] == v for p, v in fixed.items()], axis=0)
    weights = counts * match if fixed and (counts * match).sum() > 0 else counts
    cond = torch.from_numpy(combinations)[random.choice(weights).cpu()]
    for position, value in fixed.items():
        cond[:, position] = value
    return cond
