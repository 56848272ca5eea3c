"""AD-GAN's way to its base: a run's config made for adapting, and the base's weights taken over."""

from __future__ import annotations

from typing import Any

from synthray import storage
from synthray.artifact import Artifact
from synthray.artifact_files import load_weights
from synthray.config import Config, ModelConfig, Ramp
from synthray.data.codec import Codec
from synthray.data.image_codec import ImageCodec
from synthray.errors import ConfigError
from synthray.models.adgan import AdGAN, AdGANConfig
from synthray.models.adversarial import PENALTIES, AdversarialModel
from synthray.models.base import GenerativeModel

WHOLE_RATE = 32
"""Rows a step from which on the generator's learning rate is the family's default."""
ENOUGH = 100
"""Rows from which on the critic's is."""


def adapting(config: Config, base: str) -> Config:
    """The config of a run that adapts the artifact at ``base`` to the run's data.

    The model becomes `adgan`; ``model.params`` count where the config names that family already. A
    section ``model`` that is the base's own, in a copy of its config, changes nothing.
    Loss and penalties are the base's, size and colour of images too; small batches lower the
    generator's learning rate.

    Raises:
        NotFoundError, ArtifactError: the base.
        ConfigError: a base of another kind, or settings that contradict it.
    """
    uri = storage.absolute(base)
    artifact = Artifact.load(uri)
    model = artifact.model
    if not isinstance(model, AdversarialModel) or isinstance(model, AdGAN):
        raise ConfigError(
            f"--base {base}: the family {artifact.manifest.model.name!r} cannot be adapted",
            "give an artifact of an adversarial family, not adapted itself",
        )
    load_weights(uri, artifact.digest, "critic.safetensors")
    given: dict[str, Any] = {}
    if config.model.name == "adgan":
        given = config.model.params
    else:
        _check_copied(config.model, artifact.manifest.model)
    reference: dict[str, Any] = {
        "uri": uri,
        "digest": artifact.digest,
        "model": artifact.manifest.model.model_dump(mode="json"),
        "conditions": list(artifact.codec.spec.conditions),
    }
    learnt = {name: _last(getattr(model.config, name)) for name in PENALTIES}
    params = {
        "latent_dim": model.config.latent_dim,
        "loss": model.config.loss,
        "clip": model.config.clip,
        **learnt,
        "generator": {"lr": rate(config.train.batch_size)},
        **given,
        "base": reference,
    }
    data = config.data.model_copy(update=_image_settings(config, artifact.codec))
    changed = {"model": ModelConfig(name="adgan", params=params), "data": data}
    return config.model_copy(update=changed)


def _check_copied(asked: ModelConfig, base: ModelConfig) -> None:
    """Raises: ConfigError: settings that are neither of the adapter nor the base's."""
    same = asked.name == base.name
    odd = [k for k, v in asked.params.items() if not (same and base.params.get(k) == v)]
    if odd:
        raise ConfigError(
            f"model.params: {', '.join(odd)} of {asked.name} would not count, for adapting trains "
            "adgan on the base's networks",
            "leave the section model out, or set model.name: adgan and give its own settings",
        )


def rate(batch_size: int) -> float:
    """The generator's learning rate, by the square root of small batches (2205.10287).

    At 10 rows a step the whole rate lets the generator fall for one row after the other.
    """
    return _slowed("generator", batch_size, WHOLE_RATE)


def critic_rate(rows: int) -> float:
    """The critic's learning rate, by the square root of few rows: it learns them by heart."""
    return _slowed("critic", rows, ENOUGH)


def _slowed(network: str, rows: int, enough: int) -> float:
    """The family's rate, which is for so many rows; of fewer, by their root."""
    whole = AdGANConfig.model_fields[network].default.lr
    return float(whole * min(1.0, (rows / enough) ** 0.5))


def _last(setting: float | Ramp) -> float:
    """Where a burn-in ends is where adapting goes on."""
    return setting.last if isinstance(setting, Ramp) else setting


def _image_settings(config: Config, codec: Codec) -> dict[str, Any]:
    if not isinstance(codec, ImageCodec):
        return {}
    channels, side, _ = codec.shape
    mode = "grey" if channels == 1 else "rgb"
    asked = config.data
    if asked.image_side not in (None, side) or asked.image_mode not in ("auto", mode):
        raise ConfigError(
            f"data: images of {asked.image_side or side} pixels, {asked.image_mode}; the base "
            f"draws {side} pixels, {mode}",
            "leave data.image_side and data.image_mode out",
        )
    return {"image_side": side, "image_mode": mode}


def with_data(config: Config, codec: Codec) -> Config:
    """The config with what depends on the data, once they are known: their condition values matched
    to the base's, and the critic's learning rate unless it is given.

    Configs of other families come back as they are.
    """
    if config.model.name != "adgan":
        return config
    params = config.model.params
    if "base" not in params:
        raise ConfigError(
            "model.name: adgan adapts an artifact, and none is named",
            "synthray adapt CONFIG --base ARTIFACT",
        )
    base = Artifact.load(params["base"]["uri"])
    known = []
    for mine, theirs in zip(codec.schema.conditions, base.schema.conditions, strict=False):
        values = list(theirs.values or ())
        known.append([values.index(v) if v in values else -1 for v in mine.values or ()])
    critic = {"lr": critic_rate(codec.spec.rows)} | params.get("critic", {})
    told = {"base": params["base"] | {"known": known}, "critic": critic}
    model = config.model.model_copy(update={"params": params | told})
    return config.model_copy(update={"model": model})


def adopt_base(model: GenerativeModel) -> None:
    """Give an adapting model its base's weights; others are left alone."""
    if isinstance(model, AdGAN):
        base = model.config.base
        generator = load_weights(base.uri, base.digest, "model.safetensors")
        critic = load_weights(base.uri, base.digest, "critic.safetensors")
        model.adopt(
            {k.removeprefix("generator."): v for k, v in generator.items()},
            {k.removeprefix("critic."): v for k, v in critic.items()},
        )
