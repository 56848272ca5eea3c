"""Gradients with differential privacy (Abadi et al. 2016, 1607.00133, algorithm 1).

A row's gradient is taken of that row alone, so no family can mix rows in it, and clipped; the sum
of a Poisson sample gets Gaussian noise. Opacus' hooks know layers; here a family's loss is mapped
over the rows by `torch.func`, and may use its parameters as it likes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from synthray import rng
from synthray.errors import ConfigError
from synthray.models.base import Batch, GenerativeModel, Phase
from synthray.rng import BatchRandom, Rows
from synthray.training.accounting import Account
from synthray.training.averaging import average

NUMBERS = 2**23
"""Numbers of row gradients that are in memory at a time."""


class Mechanism:
    """The Gaussian mechanism on the gradients of a training's phases.

    The noise is the operating system's; all else that a phase of real rows draws is secret too.
    Were it known which numbers fall to which row of a batch, then a row more would move those of
    the rows after it, and the bound would not hold.

    Args:
        rows: this worker's share of an average batch.
    """

    def __init__(self, account: Account, rows: Rows) -> None:
        self.account, self.rows = account, rows
        self._stream = rng.secret_stream()

    def gradients(
        self,
        model: GenerativeModel,
        phase: Phase,
        parameters: dict[str, nn.Parameter],
        batch: Batch,
    ) -> list[Tensor]:
        """The noised mean over the average size of a batch; the same for all workers.

        Args:
            parameters: those that move, by their names in the model.
            batch: this worker's rows, of any number.
        """
        bound = self.account.max_grad_norm
        sums = clipped_sums(model, phase.name, parameters, batch, bound, self._stream)
        if self.rows.start == 0:
            sums = [total + self._noise(total) for total in sums]
        return [total * (self.rows.workers / self.rows.total) for total in average(sums)]

    def _noise(self, like: Tensor) -> Tensor:
        deviation = self.account.noise_multiplier * self.account.max_grad_norm
        noise = torch.from_numpy(deviation * rng.secret_normal(like.numel()))
        return noise.to(like.device, like.dtype).view(like.shape)


def public_batch(batch: Batch, size: int) -> Batch:
    """Rows of zeros in the form of ``batch``, for a phase that needs no real ones."""
    x, cond = (part.new_zeros((size, *part.shape[1:])) for part in (batch.x, batch.cond))
    return Batch(x, cond)


def clipped_sums(
    model: GenerativeModel,
    phase: str,
    parameters: dict[str, nn.Parameter],
    batch: Batch,
    bound: float,
    generator: np.random.Generator,
) -> list[Tensor]:
    """The sum over rows of each one's gradient, cut to the norm ``bound`` over all parameters.

    A gradient that is not finite counts as zero. Without noise: of this nothing may be told.
    """
    sums = [torch.zeros_like(p, requires_grad=False) for p in parameters.values()]
    size = max(1, NUMBERS // max(1, sum(p.numel() for p in parameters.values())))
    for start in range(0, len(batch), size):
        part = Batch(batch.x[start : start + size], batch.cond[start : start + size])
        random = BatchRandom(generator, Rows.all(len(part)), batch.x.device)
        gradients = row_gradients(model, phase, parameters, part, random)
        flat = (g.reshape(len(g), math.prod(g.shape[1:])) for g in gradients)
        parts = [torch.linalg.vector_norm(g, dim=1) for g in flat]
        norms = torch.linalg.vector_norm(torch.stack(parts), dim=0)
        sound = norms.isfinite()
        weights = torch.where(sound, bound / norms.clamp(min=bound), torch.zeros_like(norms))
        for total, gradient in zip(sums, gradients, strict=True):
            if not sound.all():
                gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
            total += torch.tensordot(weights, gradient, dims=1)
    return sums


def row_gradients(
    model: GenerativeModel,
    phase: str,
    parameters: dict[str, nn.Parameter],
    batch: Batch,
    random: BatchRandom,
) -> list[Tensor]:
    """The gradient of each row's loss, [n, *shape] for each of the parameters.

    Row i takes the i-th of the numbers that ``random`` draws for the batch.
    """
    module = _RowLoss(model, phase, random)
    values = {f"model.{name}": p.detach() for name, p in parameters.items()}

    def loss(values: dict[str, Tensor], x: Tensor, cond: Tensor, row: Tensor) -> Tensor:
        total: Tensor = functional_call(module, values, (x, cond, row))
        return total

    each = vmap(grad(loss), in_dims=(None, 0, 0, 0))
    rows = torch.arange(len(batch), device=batch.x.device)
    with torch.no_grad():  # `grad` sees to its own graph
        found = each(values, batch.x, batch.cond, rows)
    return [found[name] for name in values]


def check_rows(model: GenerativeModel, phase: Phase, parameters: dict[str, nn.Parameter]) -> None:
    """Try a phase on two rows of zeros.

    Raises:
        ConfigError: the family's loss is not to be had row by row.
    """
    like = next(iter(parameters.values()))
    x = torch.zeros((2, *model.spec.shape), device=like.device)
    cond = torch.zeros((2, len(model.spec.conditions)), dtype=torch.int64, device=like.device)
    random = BatchRandom(rng.secret_stream(), Rows.all(2), like.device)
    was = model.training
    try:
        row_gradients(model.train(), phase.name, parameters, Batch(x, cond), random)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, ConfigError) as error:
        told = str(error).splitlines()[0][:100]
        raise ConfigError(
            f"train.privacy: the loss of {type(model).__name__}, phase {phase.name!r}, cannot be "
            f"taken of one row alone ({told})",
            "choose nade, tvae, or rptgan without penalties; see docs/privacy.md",
        ) from error
    finally:
        model.train(was)


class _RowLoss(nn.Module):
    """A phase's loss of one row, as a function of the model's parameters."""

    def __init__(self, model: GenerativeModel, phase: str, random: BatchRandom) -> None:
        super().__init__()
        self.model, self.phase, self.random = model, phase, random

    def forward(self, x: Tensor, cond: Tensor, row: Tensor) -> Any:
        batch = Batch(x.unsqueeze(0), cond.unsqueeze(0))
        return self.model.loss(self.phase, batch, _RowRandom(self.random, row)).total


class _RowRandom(BatchRandom):
    """One row's part of what is drawn for a batch."""

    def __init__(self, whole: BatchRandom, row: Tensor) -> None:
        super().__init__(whole._generator, whole.rows, whole.device)
        self._row = row.unsqueeze(0)

    def _cut(self, whole: np.ndarray) -> Tensor:
        return super()._cut(whole).index_select(0, self._row)
