"""AD-GAN: a trained generator, frozen, and a small adapter that leads it to new data.

Low-rank deltas on the generator's layers and plain ones on its affine parts, zero at first, so that
step 0 is the base; the light affine domain of StyleDomain (Alanov et al. 2022, 2212.10229). The
critic goes on from the base's, its lower layers frozen (Mo et al. 2020, FreezeD, 2002.10964).
"""

from __future__ import annotations

import re
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from synthray.config import ModelConfig, Strict
from synthray.data.codec import DataSpec
from synthray.errors import ArtifactError, ConfigError
from synthray.models.adversarial import AdversarialConfig, AdversarialModel
from synthray.models.base import OptimizerConfig, one_hot
from synthray.rng import BatchRandom

DELTA = re.compile(r"parametrizations\.\w+\.\d+\.[abd]$")
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


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
    rank: int = Field(2, ge=1, description="of the deltas of a layer's weights")
    budget: float = Field(
        0.03, gt=0, le=1, description="largest share of the generator's parameters to train"
    )
    freeze: float = Field(
        0.5, ge=0, le=1, description="share of the critic's layers that is frozen"
    )
    generator: OptimizerConfig = OptimizerConfig(lr=5e-2, beta1=0.0, beta2=0.99)
    critic: OptimizerConfig = OptimizerConfig(lr=6e-4, beta1=0.0, beta2=0.99)


class LowRank(nn.Module):
    """W + size(W) b a, in units of the weight's root mean square: one learning rate fits all."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.a = nn.Parameter(torch.randn(rank, columns) / rank**0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.square().mean().sqrt() * (self.b @ self.a).view_as(weight)


class Shift(nn.Module):
    """v + d, of biases and of the gains and offsets of batch norm."""

    def __init__(self, vector: Tensor) -> None:
        super().__init__()
        self.d = nn.Parameter(torch.zeros_like(vector))

    def forward(self, vector: Tensor) -> Tensor:
        return vector + 0.1 * self.d


class Conditions(nn.Module):
    """Condition indices of the new data to what the base takes for one-hot vectors.

    A value that the base knows is the base's own at first; a new one begins as their mean.
    """

    def __init__(self, spec: DataSpec, base: BaseConfig) -> None:
        super().__init__()
        self.spec = spec
        blocks = []
        for size, known in zip(base.conditions, base.known, strict=True):
            block = torch.full((len(known), size), 1 / size)
            for value, index in enumerate(known):
                if index >= 0:
                    block[value] = torch.eye(size)[index]
            blocks.append(block)
        self.map = nn.Parameter(torch.block_diag(*blocks))

    def forward(self, cond: Tensor) -> Tensor:
        hot = one_hot(cond, self.spec)
        if hot is None:
            raise ArtifactError("the base's conditions have no values", "adapt it again")
        return hot @ self.map


class AdaptedGenerator(nn.Module):
    """The base's generator, frozen, batch norm and all, with deltas on top."""

    def __init__(self, base: nn.Module, config: AdGANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        total = sum(p.numel() for p in base.parameters())
        self.conditions = Conditions(spec, config.base) if config.base.conditions else None
        allowed = int(config.budget * total) - self.trained
        for module, name, delta in sorted(_deltas(base, config.rank), key=lambda d: _size(d[2])):
            if _size(delta) > allowed:
                break
            allowed -= _size(delta)
            parametrize.register_parametrization(module, name, delta)
        self.share = self.trained / total
        if not 0 < self.trained <= config.budget * total:
            raise ConfigError(
                f"model.params.budget: {config.budget:g} of {total:,} parameters leaves no room "
                f"for deltas of rank {config.rank}",
                "raise the budget, or lower the rank",
            )

    @property
    def trained(self) -> int:
        """How many parameters are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def train(self, mode: bool = True) -> Self:
        """Always in evaluation: the running statistics are the base's."""
        return super().train(False)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        if self.conditions is not None and cond is not None:
            cond = self.conditions(cond)
        return self.base(z, cond)


class AdaptedCritic(nn.Module):
    def __init__(self, base: nn.Module, config: AdGANConfig, spec: DataSpec) -> None:
        super().__init__()
        self.base = base
        self.conditions = Conditions(spec, config.base) if config.base.conditions else None
        layers = [m for m in base.modules() if isinstance(m, LAYERS)]
        for layer in layers[: min(int(config.freeze * len(layers)), len(layers) - 1)]:
            layer.requires_grad_(False)

    def forward(self, x: Tensor, cond: Tensor | None, rng: BatchRandom) -> Tensor:
        if self.conditions is not None and cond is not None:
            cond = self.conditions(cond)
        return self.base(x, cond, rng)


class AdGAN(AdversarialModel):
    Config = AdGANConfig
    config: AdGANConfig

    def __init__(self, config: AdGANConfig, spec: DataSpec) -> None:
        base = config.base
        if bool(base.conditions) != bool(spec.conditions) or len(base.known) != len(
            spec.conditions
        ):
            raise ConfigError(
                f"data.conditions: the base has {len(base.conditions)} conditions, the data "
                f"{len(spec.conditions)}",
                "name as many columns under data.conditions as the base was trained with",
            )
        super().__init__(config, spec)

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
            if key.startswith("conditions.") or DELTA.search(key)
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


def _deltas(base: nn.Module, rank: int) -> list[tuple[nn.Module, str, nn.Module]]:
    """(module, parameter, delta) of everything that can be adapted."""
    found: list[tuple[nn.Module, str, nn.Module]] = []
    for module in base.modules():
        for name in ("weight", "bias"):
            value = getattr(module, name, None)
            if not isinstance(value, Tensor) or isinstance(module, parametrize.ParametrizationList):
                continue
            delta = LowRank(value, rank) if value.dim() > 1 else Shift(value)
            found.append((module, name, delta))
    return found


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


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
