"""The interface of generative models: what a family must offer to be trained and sampled."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from synthray.config import ScheduledShare, Strict, value_at
from synthray.data.codec import Coding, DataSpec
from synthray.data.layout import Layout
from synthray.errors import ConfigError
from synthray.rng import BatchRandom


class OptimizerConfig(Strict):
    """How one phase moves its parameters. All but ``name`` may change while training goes on."""

    name: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = Field(2e-4, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1, description="of Adam")
    beta2: ScheduledShare = Field(0.999, description="of Adam")
    momentum: float = Field(0.0, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: from lr to lr x final over the whole training"
    )
    final: float = Field(0.0, ge=0, le=1, description="the last learning rate, as a share of lr")

    def rate(self, progress: float) -> float:
        """The learning rate after a share of the training, 0 … 1."""
        if self.schedule == "constant":
            return self.lr
        share = (1 + math.cos(math.pi * progress)) / 2
        return self.lr * (self.final + (1 - self.final) * share)

    def betas(self, progress: float) -> tuple[float, float]:
        """Adam's betas after a share of the training; it takes no integers."""
        return float(self.beta1), float(value_at(self.beta2, progress))

    def apply(self, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Set what moves while training goes on."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(progress)
            group["weight_decay"] = self.weight_decay
            if self.name == "adam":
                group["betas"] = self.betas(progress)
            elif self.name == "sgd":
                group["momentum"] = self.momentum

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if self.name == "adam":
            return torch.optim.Adam(
                parameters, lr=self.lr, betas=self.betas(0.0), weight_decay=self.weight_decay
            )
        if self.name == "rmsprop":
            return torch.optim.RMSprop(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )


@dataclass(frozen=True)
class Phase:
    """One part of a training step: some modules move, all others stand still.

    ``modules`` are attribute names of the model. ``real``: whether the loss reads real rows.
    ``since``, ``until``: the shares of the training, 0 … 1, between which it is taken.
    """

    name: str
    modules: tuple[str, ...]
    optimizer: OptimizerConfig
    repeats: int = 1
    real: bool = True
    since: float = 0.0
    until: float = 1.0


@dataclass(frozen=True)
class Loss:
    """What a phase minimises, and the terms to show."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Real rows. x: float32 [n, *shape]; cond: int64 [n, conditions]."""

    x: Tensor
    cond: Tensor

    def __len__(self) -> int:
        return len(self.x)


class GenerativeModel(nn.Module, ABC):
    """A family. Subclasses are built as ``Family(config, spec)`` and say in ``sampler`` which of
    their modules are needed to sample: those are averaged (EMA) and make up the artifact.
    """

    Config: ClassVar[type[Strict]]
    sampler: ClassVar[tuple[str, ...]]
    conditional: ClassVar[bool] = True
    coding: ClassVar[Coding] = "numbers"
    """What it takes of a table: standardised numbers, or compact rows with modes or bins."""
    holds: ClassVar[bool] = False
    """Whether `sample` honours any column that is held; else rows are drawn and sorted out."""
    joins: ClassVar[bool] = False
    """Whether `sample` draws several blocks at once (`BlocksRandom`), each as if it were alone."""
    live: ClassVar[tuple[str, ...]] = ()
    """Settings read at every step, beside those of optimizers: a schedule may change them."""
    critics: ClassVar[tuple[str, ...]] = ()
    """Modules that sampling does not need and adapting does: the artifact keeps them apart."""
    forgetting: ClassVar[int] = 10
    """Of early steps by the average: it reaches back over a share of 1 / (forgetting - 1)."""
    config: Any
    """Its own settings, a ``Config``; frozen, and replaced as a whole by `Engine.change`."""
    spec: DataSpec
    progress: float = 0.0
    """The share of the training that is done, 0 … 1; the engine moves it."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The phases of a step, in order."""

    @abstractmethod
    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        """The loss of a phase on this process's rows; a mean over them."""

    @abstractmethod
    def sample(self, n: int, rng: BatchRandom, cond: Tensor | None = None) -> Tensor:
        """New rows, [n, *shape]. cond: int64 [n, conditions], or None without conditions.

        Families of tables take ``held`` besides: compact rows, NaN where a column is free.
        """

    def after_phase(self, phase: str, terms: dict[str, Tensor], rows: int) -> None:
        """What follows a phase's update, such as clipping of weights.

        Args:
            terms: of the phase's loss, averaged over all workers.
            rows: of the batch, over all workers.
        """
        return None

    def diagnose(self, batch: Batch, rng: BatchRandom) -> dict[str, Tensor]:
        """What the guard wants to know besides the losses, on this process's rows; scalars."""
        return {}

    def not_private(self) -> tuple[str, str] | None:
        """What of the settings in force keeps its training from differential privacy: (what,
        remedy); None if nothing does.
        """
        return None

    @classmethod
    def together(cls, config: Any) -> int:
        """How many rows only count together: a worker's share of a batch is a multiple.

        Args:
            config: the family's own settings.
        """
        return 1

    def sampler_modules(self) -> Iterator[tuple[str, nn.Module]]:
        for name in self.sampler:
            yield name, getattr(self, name)

    def sampler_state(self) -> dict[str, Tensor]:
        """The weights that sampling needs, by name."""
        return {
            f"{name}.{key}": value
            for name, module in self.sampler_modules()
            for key, value in module.state_dict().items()
        }


def one_hot(cond: Tensor | None, spec: DataSpec) -> Tensor | None:
    """Condition indices [n, conditions] as concatenated one-hot vectors [n, sum of sizes].

    Vectors of that size, float, are taken as they are.
    """
    if not spec.conditions or cond is None:
        return None
    if cond.is_floating_point():
        return cond
    parts = [
        nn.functional.one_hot(cond[:, i], size).float() for i, size in enumerate(spec.conditions)
    ]
    return torch.cat(parts, dim=1)


def join_condition(x: Tensor, cond: Tensor | None, spec: DataSpec) -> Tensor:
    """[n, d] and the conditions to [n, d + sum of sizes]."""
    hot = one_hot(cond, spec)
    return x if hot is None else torch.cat([x, hot.to(x.dtype)], dim=1)


def table_layout(spec: DataSpec, family: str) -> Layout:
    """The layout of a table's rows. Raises: ConfigError: the rows are no table's."""
    if spec.layout is None:
        raise ConfigError(
            f"model.name: {family} models tables, and the rows have shape {spec.shape}",
            "choose a family of images or of plain numbers: see `synthray models`",
        )
    return spec.layout
