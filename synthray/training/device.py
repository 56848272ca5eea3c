"""Where a training computes, and that it computes the same every time."""

from __future__ import annotations

import os

import torch

from synthray.config import Config
from synthray.errors import ConfigError


def here(config: Config) -> str:
    """The device of a training in this process: a GPU where workers are to have one.

    Raises:
        ConfigError: there is none.
    """
    gpus = config.cluster.gpus_per_worker
    if gpus and not torch.cuda.is_available():
        raise ConfigError(
            f"cluster.gpus_per_worker: {gpus:g}, and torch finds no GPU here",
            "leave it out to train on the processor, or install torch for CUDA and look at "
            "`synthray doctor`",
        )
    return "cuda" if gpus else "cpu"


def deterministic() -> None:
    """Choose kernels that add in one order, for this process; before the first product on a GPU."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
