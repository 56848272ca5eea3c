"""Checkpoints: one safetensors object each, so that each is there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from synthray import storage
from synthray.errors import ArtifactError, NotFoundError, OutputTakenError

log = logging.getLogger(__name__)
NAME = re.compile(r"step-(\d{9})\.safetensors$")
HEALTHY = "healthy.safetensors"
Crew = tuple[tuple[int, int], ...]
"""Pairs (step, workers): how many workers took the steps from that one on."""


@dataclass(frozen=True)
class Checkpoint:
    """tensors: the engine's state; step: how many steps led to it; history: what was reported;
    guard: the state of the guard, as JSON; crew: which numbers of workers took the steps.
    """

    step: int
    tensors: dict[str, Tensor]
    history: list[dict[str, float]]
    guard: dict[str, Any]
    crew: Crew = ()


def joined(checkpoint: Checkpoint | None, workers: int) -> Crew:
    """The crew of a training that ``workers`` go on with."""
    step, crew = (0, ()) if checkpoint is None else (checkpoint.step, checkpoint.crew)
    before = tuple(part for part in crew if part[0] < step)
    return before if before and before[-1][1] == workers else (*before, (step, workers))


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

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove those that are too old, and the newer ones: damaged, or
        of a course that training has left.
        """
        step = checkpoint.step
        self._write(f"step-{step:09d}.safetensors", checkpoint)
        found = self._list()
        kept = [uri for at, uri in found if at <= step][-self.keep :]
        for _, uri in found:
            if uri not in kept:
                storage.delete(uri)

    def save_healthy(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint that training returns to after a collapse, over the one before."""
        self._write(HEALTHY, checkpoint)

    def healthy(self) -> Checkpoint:
        """Raises: NotFoundError, ArtifactError: none was saved, or it is damaged."""
        return self._load(storage.join(self.uri, HEALTHY))

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        whole = {k: tensor.detach().cpu().contiguous() for k, tensor in checkpoint.tensors.items()}
        metadata = {
            "fingerprint": self.fingerprint,
            "step": str(checkpoint.step),
            "history": json.dumps(checkpoint.history),
            "guard": json.dumps(checkpoint.guard),
            "crew": json.dumps(checkpoint.crew),
            "sha256": _digest(whole),
        }
        data = safetensors.torch.save(whole, metadata)
        storage.write_bytes(storage.join(self.uri, name), data)

    def newest_step(self) -> int | None:
        """The step of the newest checkpoint, whole or not."""
        found = self._list()
        return found[-1][0] if found else None

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None if there are no checkpoints.

        Raises:
            OutputTakenError: it was written with other settings.
            ArtifactError: there are some, and all are damaged.
        """
        damage: ArtifactError | None = None
        for _, uri in reversed(self._list()):
            try:
                return self._load(uri)
            except ArtifactError as error:
                log.warning("%s; looking at the one before", error.what)
                damage = damage or error
        if damage is not None:
            raise damage
        return None

    def _load(self, uri: str) -> Checkpoint:
        data = storage.read_bytes(uri)
        try:
            tensors = safetensors.torch.load(data)
            metadata = _metadata(data)
            fingerprint, digest = metadata["fingerprint"], metadata["sha256"]
            step, history = int(metadata["step"]), json.loads(metadata["history"])
            guard, crew = json.loads(metadata["guard"]), json.loads(metadata.get("crew", "[]"))
        except (SafetensorError, KeyError, ValueError) as error:
            raise _damaged(uri, str(error)) from error
        if digest != _digest(tensors):
            raise _damaged(uri, "its tensors are not those that were saved")
        if fingerprint != self.fingerprint:
            raise OutputTakenError(
                f"output: {self.uri} holds checkpoints of a run with other settings",
                "choose another output, restore the settings, or delete the checkpoints",
            )
        return Checkpoint(step, tensors, history, guard, tuple((at, size) for at, size in crew))

    def _list(self) -> list[tuple[int, str]]:
        try:
            files = storage.list_files(self.uri)
        except NotFoundError:
            return []
        steps = ((NAME.search(file.uri), file.uri) for file in files)
        return sorted((int(match[1]), uri) for match, uri in steps if match)


def _damaged(uri: str, reason: str) -> ArtifactError:
    return ArtifactError(
        f"checkpoint {uri} is damaged: {reason}",
        "restore it from a copy, or delete it: without checkpoints, training starts anew",
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes, hex: safetensors has no checksum of its own."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _metadata(data: bytes) -> dict[str, Any]:
    """The metadata of safetensors bytes: 8 bytes of length, then a JSON header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(header["__metadata__"])
