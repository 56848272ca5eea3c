"""What training leaves: a folder that any process can load without executing code from it.

    artifact.json       what it is: versions, family, settings, schema, card, digests of the files
    model.safetensors   the averaged weights that sampling needs
    critic.safetensors  of adversarial families: the critic, for adapting the artifact to new data
    codec.json          how tensors become rows

The **digest** is the SHA-256 of artifact.json's content, which holds the SHA-256 of the other
files: it names the artifact. Nothing in it depends on when or where training ran.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import safetensors.torch
import torch
from safetensors import SafetensorError

from synthray import models
from synthray.artifact_files import (
    Manifest,
    load_weights,
    read_file,
    read_manifest,
    write_files,
)
from synthray.config import Config, ModelConfig
from synthray.data.codec import Codec
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.image_codec import ImageCodec
from synthray.data.schema import Schema
from synthray.data.table_codec import TableCodec
from synthray.data.vector_codec import VectorCodec
from synthray.errors import ArtifactError, ConfigError, NotFoundError
from synthray.models.adgan import AdGAN
from synthray.models.base import GenerativeModel
from synthray.training.engine import Engine
from synthray.training.loop import Outcome
from synthray.version import __version__

CODECS: dict[str, type[Codec]] = {
    "constrained": ConstrainedCodec,
    "image": ImageCodec,
    "table": TableCodec,
    "vector": VectorCodec,
}


@dataclass(frozen=True)
class Artifact:
    """A trained generator, ready to sample from. See also `synthray.sampling.virtual`."""

    manifest: Manifest
    model: GenerativeModel
    codec: Codec

    @property
    def digest(self) -> str:
        """Hex SHA-256; the artifact's name."""
        return self.manifest.digest

    @property
    def schema(self) -> Schema:
        return self.codec.schema

    @property
    def card(self) -> dict[str, Any]:
        return {"family": self.manifest.model.name, **self.manifest.card}

    @classmethod
    def load(cls, uri: str, trust: Collection[str] = ()) -> Self:
        """Read an artifact and check every byte of it against its digest.

        Args:
            trust: families that the artifact may name though they are neither built in nor entry
                points of installed packages, as module:Class. Such a module is imported, and so
                its code runs: that is for the caller to allow, never for the artifact.

        Raises:
            NotFoundError: no artifact at ``uri``.
            ArtifactError: corrupt, written by a newer version, of a family not trusted, or adapted
                from a base that is not there.
        """
        manifest = read_manifest(uri)
        _check_family(uri, manifest.model.name, trust)
        if manifest.model.name == "adgan":
            _check_family(uri, _base_family(uri, manifest), trust)
        weights = read_file(uri, "model.safetensors", manifest)
        codec = _load_codec(uri, read_file(uri, "codec.json", manifest))
        try:
            model = models.build(manifest.model, codec.spec)
        except ConfigError as error:
            raise ArtifactError(
                f"{uri}: its family {manifest.model.name!r} cannot be built: {error.what}",
                f"it was trained with synthray {manifest.synthray}; use that version of the family",
            ) from error
        if isinstance(model, AdGAN):
            _load_adapter(uri, model, weights)
        else:
            _load_weights(uri, model, weights)
        model = model.eval().requires_grad_(False)
        return cls(manifest, model.to(memory_format=torch.channels_last), codec)  # type: ignore[call-overload]


def save_trained(
    config: Config,
    engine: Engine,
    codec: Codec,
    outcome: Outcome,
    fingerprint: str,
    left_out: Iterable[str] = (),
    frame: str | None = None,
) -> str:
    """Write the artifact of a finished training under the config's output; returns the digest.

    Args:
        left_out: the source's columns that were not learned, for the card.
        frame: the kind of table in memory that the rows came as, if other than Arrow's.
    """
    weights = engine.sampler_state()
    card = {
        "source": config.data.source,
        "rows": codec.spec.rows,
        "steps": engine.step,
        "batch_size": config.train.batch_size,
        "seed": config.seed,
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "losses": dict(outcome.history[-1]) if outcome.history else {},
        "guard": outcome.guard,
        "fingerprint": fingerprint,
        "left_out": list(left_out),
    }
    if frame is not None:
        card["frame"] = frame
    if len(outcome.crew) > 1:
        card["workers"] = {
            "from_step": {str(step): workers for step, workers in outcome.crew},
            "exact": False,
        }
    if outcome.privacy is not None:
        card["privacy"] = outcome.privacy
    if isinstance(engine.model, AdGAN):
        card["adapted"] = {
            "base": engine.model.config.base.digest,
            "share": engine.model.generator.share,
        }
    critic = {} if isinstance(engine.model, AdGAN) else engine.critic_state()
    return save(config.place("artifact"), config.model, weights, codec, card, critic)


def _base_family(uri: str, manifest: Manifest) -> str:
    try:
        return str(manifest.model.params["base"]["model"]["name"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{uri} does not say what it is adapted from", "adapt again") from error


def _check_family(uri: str, name: str, trust: Collection[str]) -> None:
    if not (models.installed(name) or name in trust):
        raise ArtifactError(
            f"{uri} names the family {name!r}, which is not installed as one; loading it would "
            "run that module's code",
            "install the package that offers it as an entry point of the group synthray.models, "
            "or, if you trust it, name it as model.name in the config, as --trust, or as trust= in "
            "Python",
        )


def _load_codec(uri: str, data: bytes) -> Codec:
    tree = json.loads(data)
    kind = tree.get("kind") if isinstance(tree, dict) else None
    if kind not in CODECS:
        raise ArtifactError(f"{uri}/codec.json has the unknown kind {kind!r}", "upgrade synthray")
    return CODECS[kind].from_json(tree)


def _tensors(weights: Mapping[str, torch.Tensor]) -> bytes:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    data: bytes = safetensors.torch.save(whole)
    return data


def _load_adapter(uri: str, model: AdGAN, data: bytes) -> None:
    base = model.config.base
    try:
        weights = load_weights(base.uri, base.digest, "model.safetensors")
    except NotFoundError as error:
        raise ArtifactError(
            f"{uri} is adapted from {base.uri}, which is not there", "put the base back"
        ) from error
    model.adopt(_section(weights, "generator."), None)
    model.load_adapter(safetensors.torch.load(data))


def _section(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _load_weights(uri: str, model: GenerativeModel, data: bytes) -> None:
    try:
        tensors = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ArtifactError(f"{uri}/model.safetensors cannot be read: {error}", "") from error
    for name, module in model.sampler_modules():
        part = _section(tensors, name + ".")
        try:
            module.load_state_dict(part)
        except RuntimeError as error:
            raise ArtifactError(
                f"{uri}/model.safetensors does not fit the family's module {name!r}: {error}",
                "load it with the version of the family that trained it",
            ) from error


def save(
    uri: str,
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    codec: Codec,
    card: Mapping[str, Any],
    critic: Mapping[str, torch.Tensor] | None = None,
) -> str:
    """Write an artifact.

    Returns:
        the digest.
    """
    files = {
        "model.safetensors": _tensors(weights),
        "codec.json": (json.dumps(codec.to_json(), indent=2, sort_keys=True) + "\n").encode(),
    }
    if critic:
        files["critic.safetensors"] = _tensors(critic)
    # All settings, not those alone that were given: defaults may change, and the weights do not.
    params = models.check_params(config).model_dump(mode="json")
    manifest = Manifest(
        synthray=__version__,
        torch=torch.__version__,
        model=config.model_copy(update={"params": params}),
        card=dict(card),
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )
    manifest = manifest.model_copy(update={"digest": manifest.computed_digest()})
    write_files(uri, manifest, files)
    return manifest.digest
