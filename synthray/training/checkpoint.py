"""Checkpoints: one safetensors object each, so that each is there as a whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from synthray import storage
from synthray.errors import ArtifactError, NotFoundError, OutputTakenError

NAME = re.compile(r"step-(\d{9})\.safetensors$")


@dataclass(frozen=True)
class Checkpoint:
    """tensors: the engine's state; step: how many steps led to it; history: what was reported."""

    step: int
    tensors: dict[str, Tensor]
    history: list[dict[str, float]]


class CheckpointStore:
    """The checkpoints of one run, under one URI.

    Args:
        uri: such as OUTPUT/checkpoints.
        fingerprint: names the settings that the weights depend on; a checkpoint with another one
            belongs to another run.
        keep: how many of the newest to keep.
    """

    def __init__(self, uri: str, fingerprint: str, keep: int = 2) -> None:
        self.uri, self.fingerprint, self.keep = uri, fingerprint, keep

    def save(
        self, step: int, tensors: Mapping[str, Tensor], history: list[dict[str, float]]
    ) -> None:
        """Write a checkpoint, then remove those that are too old."""
        metadata = {
            "fingerprint": self.fingerprint,
            "step": str(step),
            "history": json.dumps(history),
        }
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        data = safetensors.torch.save(whole, metadata)
        storage.write_bytes(storage.join(self.uri, f"step-{step:09d}.safetensors"), data)
        for _, uri in self._list()[: -self.keep]:
            storage.delete(uri)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, or None.

        Raises:
            OutputTakenError: it was written with other settings.
            ArtifactError: it cannot be read.
        """
        found = self._list()
        return self._load(found[-1][1]) if found else None

    def _load(self, uri: str) -> Checkpoint:
        data = storage.read_bytes(uri)
        try:
            tensors = safetensors.torch.load(data)
            metadata = _metadata(data)
            step, history = int(metadata["step"]), json.loads(metadata["history"])
        except (SafetensorError, KeyError, ValueError) as error:
            raise ArtifactError(
                f"checkpoint {uri} cannot be read: {error}",
                "delete it; training goes on from the one before",
            ) from error
        if metadata["fingerprint"] != self.fingerprint:
            raise OutputTakenError(
                f"output: {self.uri} holds checkpoints of a run with other settings",
                "choose another output, restore the settings, or delete the checkpoints",
            )
        return Checkpoint(step, tensors, history)

    def _list(self) -> list[tuple[int, str]]:
        try:
            files = storage.list_files(self.uri)
        except NotFoundError:
            return []
        steps = ((NAME.search(file.uri), file.uri) for file in files)
        return sorted((int(match[1]), uri) for match, uri in steps if match)


def _metadata(data: bytes) -> dict[str, Any]:
    """The metadata of safetensors bytes: 8 bytes of length, then a JSON header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(header["__metadata__"])
