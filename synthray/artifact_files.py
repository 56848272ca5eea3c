"""The files of an artifact: what artifact.json says, and reading, copying and writing them checked.

Every file's SHA-256 stands in artifact.json, and the SHA-256 of its own content names the artifact.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthray import rng, storage
from synthray.config import ModelConfig
from synthray.errors import ArtifactError, NotFoundError, OutputTakenError

FORMAT = 1


class Manifest(BaseModel):
    """artifact.json. ``card`` is for readers: source, rows, steps, parameters, last losses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    digest: str = ""
    synthray: str
    torch: str
    stream: str = rng.STREAM
    model: ModelConfig
    card: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)

    def computed_digest(self) -> str:
        tree = self.model_dump(mode="json", exclude={"digest"})
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(uri: str) -> Manifest:
    """Raises: NotFoundError, ArtifactError."""
    try:
        data = storage.read_bytes(storage.join(uri, "artifact.json"))
    except NotFoundError as error:
        raise NotFoundError(
            f"no artifact at {uri}", "give the folder that holds artifact.json"
        ) from error
    return _check_manifest(uri, data)


def _check_manifest(uri: str, data: bytes) -> Manifest:
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ArtifactError(
            f"{uri}/artifact.json is corrupt: it is not JSON ({error})",
            "copy the artifact again, or train again",
        ) from error
    found = tree.get("format") if isinstance(tree, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise ArtifactError(
            f"{uri} has format {found}; this version reads up to {FORMAT}", "upgrade synthray"
        )
    try:
        manifest = Manifest.model_validate(tree)
    except ValidationError as error:
        raise ArtifactError(
            f"{uri}/artifact.json is not an artifact: {error.errors()[0]['msg']}", "train again"
        ) from error
    if manifest.digest != manifest.computed_digest():
        raise ArtifactError(
            f"{uri}/artifact.json is corrupt: its digest is {manifest.computed_digest()[:16]}…, "
            f"it says {manifest.digest[:16]}…",
            "copy the artifact again, or train again",
        )
    if manifest.stream != rng.STREAM:
        raise ArtifactError(
            f"{uri} was made for the random streams {manifest.stream!r}, this version has "
            f"{rng.STREAM!r}",
            f"use synthray {manifest.synthray}",
        )
    return manifest


def read_file(uri: str, name: str, manifest: Manifest) -> bytes:
    """Raises: ArtifactError: it is missing or corrupt."""
    try:
        data = storage.read_bytes(storage.join(uri, name))
    except NotFoundError as error:
        raise ArtifactError(
            f"{uri} is incomplete: {name} is missing", "copy the artifact again, or train again"
        ) from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != manifest.files.get(name):
        raise ArtifactError(
            f"{uri}/{name} is corrupt: SHA-256 {actual[:16]}…, expected "
            f"{manifest.files.get(name, 'none')[:16]}…",
            "copy the artifact again, or train again",
        )
    return data


def files_of(manifest: Manifest, uri: str) -> dict[str, bytes]:
    """The files of an artifact, by name, all but artifact.json.

    Raises:
        ArtifactError: one is missing or corrupt.
    """
    return {name: read_file(uri, name, manifest) for name in manifest.files}


def copy(manifest: Manifest, files: Mapping[str, bytes] | str, uri: str) -> None:
    """Write an artifact to another place.

    Args:
        files: by name, or where they are.

    Raises:
        OutputTakenError: another artifact is there.
        ArtifactError, StorageError.
    """
    files = files_of(manifest, files) if isinstance(files, str) else files
    place = storage.join(uri, "artifact.json")
    if storage.exists(place) and read_manifest(uri).digest != manifest.digest:
        raise OutputTakenError(f"{uri} holds another artifact", "choose another folder")
    write_files(uri, manifest, files)


def write_files(uri: str, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """artifact.json comes last, so a folder with one is complete."""
    for name, data in files.items():
        storage.write_bytes(storage.join(uri, name), data)
    storage.write_json(storage.join(uri, "artifact.json"), manifest.model_dump(mode="json"))


def load_weights(uri: str, digest: str, file: str) -> dict[str, torch.Tensor]:
    """The tensors of one file of the artifact at ``uri``, which must have this digest.

    Raises:
        NotFoundError, ArtifactError: no such artifact, another one, or none with such a file.
    """
    manifest = read_manifest(uri)
    if manifest.digest != digest:
        raise ArtifactError(
            f"{uri} is artifact {manifest.digest[:16]}…, and the adapted one needs {digest[:16]}…",
            "put the base back, or adapt again",
        )
    if file not in manifest.files:
        raise ArtifactError(
            f"{uri} has no {file}: it was not trained by an adversarial family, or before adapting "
            "was possible",
            "train it again",
        )
    found: dict[str, torch.Tensor] = safetensors.torch.load(read_file(uri, file, manifest))
    return found
