"""Blocks: 1,024 consecutive rows of a virtual dataset, the unit of randomness and computation.

Block b draws all its numbers from the stream (seed, "block", b) and is computed whole, in one
batch on one thread, wherever it is needed. So no shard size, batch, worker count or retry can
change a byte of it; nor can its neighbours, where a family computes several at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from synthray import rng
from synthray.config import BLOCK_ROWS
from synthray.models.base import GenerativeModel
from synthray.rng import BatchRandom, BlocksRandom, Rows
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


def sample_blocks(
    model: GenerativeModel, holding: Holding, seed: int, blocks: range, attempt: int = 0
) -> tuple[Tensor, Tensor]:
    """Compute some blocks, together where the family can.

    Args:
        holding: what their rows must have.
        blocks: at least one.
        attempt: of a block whose rows are sorted out: each draws other rows.

    Returns:
        x float32 [1024 for each, *shape] and cond int64 [the same, conditions], on the CPU.
    """
    device = next(model.parameters()).device
    if not model.joins and len(blocks) > 1:
        each = [sample_blocks(model, holding, seed, range(b, b + 1), attempt) for b in blocks]
        return torch.cat([x for x, _ in each]), torch.cat([cond for _, cond in each])
    purpose, more = ("again", (attempt,)) if attempt else ("block", ())
    streams = [rng.stream(seed, purpose, block, *more) for block in blocks]
    random = BlocksRandom([BatchRandom(s, Rows.all(BLOCK_ROWS), device) for s in streams])
    rows = BLOCK_ROWS * len(blocks)
    cond = holding.conditions(random, rows)
    held = holding.held(random, rows)
    given = {} if held is None else {"held": held.to(device)}
    with _fixed_arithmetic():
        here = cond.to(device) if holding.spec.conditions else None
        x = model.sample(rows, random, here, **given)
    return x.cpu(), cond
