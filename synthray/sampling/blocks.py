"""Blocks: 1,024 consecutive rows of a virtual dataset, the unit of randomness and computation.

Block b draws all its numbers from the stream (seed, "block", b) and is computed whole, in one
batch on one thread, wherever it is needed. So no shard size, batch, worker count or retry can
change a byte of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from synthray import rng
from synthray.config import BLOCK_ROWS
from synthray.models.base import GenerativeModel
from synthray.rng import BatchRandom, Rows
from synthray.sampling.holding import Holding

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
    model: GenerativeModel, holding: Holding, seed: int, block: int, attempt: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute one block.

    Args:
        holding: what its rows must have.
        attempt: of a block whose rows are sorted out: each draws other rows.

    Returns:
        x float32 [1024, *shape] and cond int64 [1024, conditions], on the CPU.
    """
    device = next(model.parameters()).device
    address = ("block", block) if not attempt else ("again", block, attempt)
    random = BatchRandom(rng.stream(seed, *address), Rows.all(BLOCK_ROWS), device)
    cond = holding.conditions(random, BLOCK_ROWS)
    held = holding.held(random, BLOCK_ROWS)
    given = {} if held is None else {"held": held.to(device)}
    with _fixed_arithmetic():
        here = cond.to(device) if holding.spec.conditions else None
        x = model.sample(BLOCK_ROWS, random, here, **given)
    return x.cpu(), cond
