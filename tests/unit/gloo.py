"""Several processes joined by torch.distributed, for the tests of what workers agree on."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing


def run_workers(
    function: Callable[..., Any], workers: int, folder: Path, *arguments: Any
) -> list[Any]:
    """What ``function(rank, workers, *arguments)`` gives in each of ``workers`` new processes.

    It must stand in a module, and give tensors, numbers, and lists and dicts of them.
    """
    torch.multiprocessing.spawn(
        _worker, (workers, str(folder), function, arguments), nprocs=workers
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(workers)]


def _worker(
    rank: int, workers: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=workers,
        timeout=timedelta(seconds=60),
    )
    try:
        torch.save(function(rank, workers, *arguments), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
