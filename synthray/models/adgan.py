"""AD-GAN: a trained generator, frozen, and a small adapter that leads it to new data.

Deltas on the generator's affine parts, its middle block and its output layer (`deltas`), zero at
first, so that step 0 is the base; the light affine domain of StyleDomain (Alanov et al. 2022,
2212.10229). The critic goes on from the base's, its lower layers frozen (Mo et al. 2020, FreezeD,
2002.10964). Learning rates stay what they are to the end: falling ones do not get as far
(docs/experiments.md). Where there are but FEW rows, the critic waits for half of the training, and
the generator seeks each of them (`seeking`): with a critic from the start it falls for one row
after the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from synthray.config import ModelConfig, Strict
from synthray.data.codec import DataSpec
from synthray.errors import ArtifactError, ConfigError
from synthray.models.adversarial import AdversarialConfig, AdversarialModel
from synthray.models.base import Batch, Loss, OptimizerConfig, Phase, one_hot
from synthray.models.deltas import LAYERS, adapt
from synthray.models.seeking import seeking_loss
from synthray.rng import BatchRandom

FEW = 32
"""Rows up to which the training begins by seeking each of them."""


class BaseConfig(Strict):
    """The generator that is adapted; written by `synthray adapt`."""

    uri: str
    digest: str
    model: ModelConfig
    conditions: tuple[int, ...] = Field((), description="values of each condition of the base")
    known: list[list[int]] = Field(
        [], description="for each condition and value of the new data its index there, or -1"
    )


class AdGANConfig(AdversarialConfig):
    base: BaseConfig
    rank: int = Field(
        8, ge=1, description="largest rank of the delta on the map that z passes through"
    )
    budget: float = Field(
        0.03, gt=0, le=1, description="largest share of the generator's parameters to train"
    )
    freeze: float = Field(
        0.5, ge=0, le=1, description="share of the critic's layers that is frozen"
    )
    seek: float = Field(
        0.5, ge=0, lt=1, description=f"share of the training that seeks each row, of {FEW} or fewer"
    )
    seeker: OptimizerConfig = Field(
        OptimizerConfig(lr=3e-2, beta1=0.0, beta2=0.99), description="of the generator, seeking"
    )
    generator: OptimizerConfig = OptimizerConfig(lr=2e-2, beta1=0.0, beta2=0.99)
    critic: OptimizerConfig = OptimizerConfig(lr=1e-3, beta1=0.0, beta2=0.99)


class Conditions(nn.Module):
    """Condition indices of the new data to what the base takes for one-hot vectors.

    A value that the base knows is the base's own at first; a new one begins as their mean, and so
    do all rows where the new data have no conditions.
    """

    def __init__(self, spec: DataSpec, base: BaseConfig) -> None:
        super().__init__()
        self.spec = spec
        if not spec.conditions:
            means = [torch.full((1, size), 1 / size) for size in base.conditions]
            self.map = nn.Parameter(torch.cat(means, dim=1))
            return
        blocks = []
        for size, known in zip(base.conditions, base.known, strict=True):
            block = torch.full((len(known), size), 1 / size)
            for value, index in enumerate(known):
                if index >= 0:
                    block[value] = torch.eye(size)[index]
            blocks.append(block)
        self.map = nn.Parameter(torch.block_diag(*blocks))

    def forward(self, cond: Tensor | None, rows: int) -> Tensor:
        """[rows, sum of the base's sizes]."""
        hot = one_hot(cond, self.spec)
        return self.map.expand(rows, -1) if hot is None else hot @ self.map


class AdaptedGenerator(nn.Module):
    """The base's generator, frozen, batch norm and all, with deltas on top."""

    def __init__(self, base: nn.Module, config: AdGANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        total = sum(p.numel() for p in base.parameters())
        self.conditions = Conditions(spec, config.base) if config.base.conditions else None
        allowed = int(config.budget * total) - self.trained
        self.latent, self.deltas = adapt(base, config.latent_dim, config.rank, allowed)
        self.share = self.trained / total
        if not 0 < self.trained <= config.budget * total:
            raise ConfigError(
                f"model.params.budget: {config.budget:g} of {total:,} parameters leaves no room "
                "for deltas",
                "raise the budget",
            )

    @property
    def trained(self) -> int:
        """How many parameters are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> Self:
        """Always in evaluation: the running statistics are the base's."""
        return super().train(False)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        if self.conditions is not None:
            cond = self.conditions(cond, len(z))
        return self.base(z if self.latent is None else self.latent(z), cond)


class AdaptedCritic(nn.Module):
    def __init__(self, base: nn.Module, config: AdGANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.base = base
        self.conditions = Conditions(spec, config.base) if config.base.conditions else None
        layers = [m for m in base.modules() if isinstance(m, LAYERS)]
        for layer in layers[: min(int(config.freeze * len(layers)), len(layers) - 1)]:
            layer.requires_grad_(False)

    def forward(self, x: Tensor, cond: Tensor | None, rng: BatchRandom) -> Tensor:
        if self.conditions is not None:
            cond = self.conditions(cond, len(x))
        return self.base(x, cond, rng)


class AdGAN(AdversarialModel):
    Config = AdGANConfig
    forgetting = 7  # few rows make steps wander
    config: AdGANConfig

    def __init__(self, config: AdGANConfig, spec: DataSpec) -> None:
        base = config.base
        asked, there = len(spec.conditions), len(base.conditions)
        if asked and asked != there:
            count = "1 condition" if there == 1 else f"{there or 'no'} conditions"
            name = "" if there == 0 else "name as many columns there, or none: "
            raise ConfigError(
                f"data.conditions: the base has {count}, the data {asked}",
                f"{name}data.conditions: []",
            )
        super().__init__(config, spec)
        self._kept: Tensor | None = None

    def not_private(self) -> tuple[str, str] | None:
        return (
            "model.name: adgan goes on from a base, generator and critic, whose own training no "
            "budget of this run accounts for",
            "train nade, tvae or rptgan on the new data instead",
        )

    def _base_model(self) -> AdversarialModel:
        from synthray.models import build

        base = self.config.base
        spec = self.spec.model_copy(update={"conditions": base.conditions})
        model = build(base.model, spec)
        if not isinstance(model, AdversarialModel) or isinstance(model, AdGAN):
            raise ConfigError(
                f"the base is of the family {base.model.name!r}, which cannot be adapted",
                "give an artifact of an adversarial family, not adapted itself",
            )
        return model

    def build_generator(self) -> nn.Module:
        return AdaptedGenerator(self._base_model().generator, self.config, self.spec)

    def build_critic(self) -> nn.Module:
        return AdaptedCritic(self._base_model().critic, self.config, self.spec)

    def phases(self) -> tuple[Phase, ...]:
        config = self.config
        if config.seek == 0 or self.spec.rows > FEW:
            return super().phases()
        game = [replace(phase, since=config.seek) for phase in super().phases()]
        return (Phase("seek", ("generator",), config.seeker, until=config.seek), *game)

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        if phase != "seek":
            return super().loss(phase, batch, rng)
        config = self.config
        total = seeking_loss(self.generator, config.latent_dim, self.real(batch), batch.cond, rng)
        return Loss(total, {"loss_seeking": total})

    def drawn(self, phase: str, batch: Batch, rng: BatchRandom) -> Tensor:
        """One draw a step serves both networks: with a frozen base, drawing is most of a step."""
        if phase == "generator" and self._kept is not None:
            fake, self._kept = self._kept, None
            return fake
        # The critic's phase comes first and wants no gradients; the generator's goes on from here.
        with torch.enable_grad():
            fake = super().drawn(phase, batch, rng)
        if phase == "critic":
            self._kept = fake
            return fake.detach()
        return fake

    def adopt(self, generator: dict[str, Tensor], critic: dict[str, Tensor] | None) -> None:
        """Take over the base's weights; without ``critic`` for sampling only.

        Raises:
            ArtifactError: they are of other networks.
        """
        parts: list[tuple[nn.Module, dict[str, Tensor] | None]] = [
            (self.generator.base, generator),  # type: ignore[list-item]
            (self.critic.base, critic),  # type: ignore[list-item]
        ]
        for module, weights in parts:
            if weights is not None:
                _adopt(module, weights)

    def sampler_state(self) -> dict[str, Tensor]:
        """The adapter alone: the base's weights stay where they are."""
        return {
            f"generator.{key}": value
            for key, value in self.generator.named_parameters()
            if not key.startswith("base.") or key.endswith(".d")
        }

    def load_adapter(self, weights: dict[str, Tensor]) -> None:
        """Raises: ArtifactError: they are of another adapter."""
        mine = self.sampler_state()
        if mine.keys() != weights.keys():
            odd = sorted(mine.keys() ^ weights.keys())[0]
            raise ArtifactError(f"the adapter does not fit its base: {odd}", "adapt the base again")
        with torch.no_grad():
            for key, value in mine.items():
                value.copy_(weights[key])


@torch.no_grad()
def _adopt(module: nn.Module, weights: dict[str, Tensor]) -> None:
    mine = module.state_dict()
    for key, value in weights.items():
        head, _, last = key.rpartition(".")
        original = f"{head}.parametrizations.{last}.original".lstrip(".")
        target: Any = mine.get(key, mine.get(original))
        if target is None or target.shape != value.shape:
            raise ArtifactError(
                f"the base's weight {key} does not fit its family", "train it again"
            )
        target.copy_(value)
