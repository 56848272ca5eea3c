"""Averages of gradients over the workers of a data-parallel group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


def agree(value: int, device: torch.device) -> bool:
    """Whether all workers gave the same value."""
    largest, smallest = most([value, -value], device)
    return largest == -smallest


def most(values: Sequence[int], device: torch.device) -> list[int]:
    """The largest of what the workers gave, each value by itself; on all workers."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return list(values)
    largest = torch.tensor(list(values), device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return [int(value) for value in largest]


def broadcast(values: Sequence[float], device: torch.device) -> list[float]:
    """What rank 0 gave, on all workers."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return list(values)
    shared = torch.tensor(list(values), dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return [float(value) for value in shared]


def average(tensors: Sequence[Tensor], weight: float = 1.0) -> list[Tensor]:
    """The mean of each tensor over all workers, by one all-reduce of them all.

    Args:
        weight: what this worker's tensors count, where they are means over unequal shares; the
            mean of all workers' weights is 1.

    DistributedDataParallel is not used: its reducer hooks break with two networks that take turns
    and with double backward.
    """
    alone = not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1
    if alone or not tensors:
        return list(tensors)
    flat = torch.cat([t.reshape(-1) for t in tensors])
    if weight != 1:
        flat *= weight
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]
