"""CTGAN: the conditional table GAN (Xu et al. 2019, 1907.00503).

Mode-specific normalisation is the codec's; here are the conditional vector, training by sampling,
packs of rows for the critic, and the gradient penalty. One departure, so that rows may stream: the
codes to train on are drawn, with the paper's weights, among those of the batch (with several
workers: of each one's share), and not among those of the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.config import Scheduled
from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models.base import Batch, Loss, OptimizerConfig, Phase, join_condition
from synthray.models.losses import ADVERSARIAL, LossName
from synthray.models.rptgan import TableGAN, TableGANConfig
from synthray.models.table_networks import PackedCritic, ResidualPerceptron
from synthray.rng import BatchRandom

ADAM = OptimizerConfig(lr=2e-4, beta1=0.5, beta2=0.9)


class CTGANConfig(TableGANConfig):
    loss: LossName = "wasserstein"
    gradient_penalty: Scheduled = 10.0
    dropout: float = Field(0.5, ge=0, lt=1, description="in the critic")
    pack: int = Field(10, ge=1, description="rows that the critic sees at once (PacGAN)")
    generator: OptimizerConfig = ADAM.model_copy(update={"weight_decay": 1e-6})
    critic: OptimizerConfig = ADAM

    @model_validator(mode="after")
    def _single_rows(self) -> Self:
        if ADVERSARIAL[self.loss].paired:
            raise ValueError(f"loss: {self.loss} pairs rows, and here packs are scored; use rptgan")
        return self


@dataclass(frozen=True)
class Conditioned(Batch):
    """Real rows, chosen for what each of them is conditioned on.

    vector: one-hot over the codes of all categories, [n, width]; slot: the position of the category
    among them, [n]; code: which of its codes, [n].
    """

    vector: Tensor
    slot: Tensor
    code: Tensor


class CTGAN(TableGAN):
    Config = CTGANConfig
    config: CTGANConfig

    def __init__(self, config: CTGANConfig, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.categories = [i for i, slot in enumerate(self.layout.slots) if not slot.number]
        self.spans = [self.layout.spans[i] for i in self.categories]

    @classmethod
    def together(cls, config: CTGANConfig) -> int:
        return config.pack

    @property
    def vector_width(self) -> int:
        """Length of the conditional vector."""
        return sum(slot.codes for slot in self.layout.slots if not slot.number)

    def build_generator(self) -> nn.Module:
        config = self.config
        inputs = config.latent_dim + self.vector_width + sum(self.spec.conditions)
        outputs = self.layout.expanded_width
        return ResidualPerceptron(inputs, config.generator_widths, outputs, norm=True)

    def build_critic(self) -> nn.Module:
        config = self.config
        width = self.layout.expanded_width + self.vector_width + sum(self.spec.conditions)
        return PackedCritic(config.pack * width, config.critic_widths, config.dropout)

    # --- training ------------------------------------------------------------------------

    def phases(self) -> tuple[Phase, ...]:
        critic, generator = super().phases()
        return critic, replace(generator, real=True)  # it is conditioned on codes of the batch

    def not_private(self) -> tuple[str, str] | None:
        return (
            "model.name: ctgan trains by sampling, rare codes more often, and on packs of rows: no "
            "row's part in a step has a bound that could be accounted for",
            "choose nade, tvae or rptgan",
        )

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        """The game's loss; the generator's with the cross-entropy between what it was conditioned
        on and what it gave (section 4.3).
        """
        chosen = self.choose(batch, rng)
        if phase == "critic":
            return self._critic_loss(chosen, rng)
        output = self.generator(self._input(rng, chosen.cond, chosen.vector))
        score = self.critic(self._packed(self.soft(output, rng), chosen), rng)
        game = ADVERSARIAL[self.config.loss].generator(score, score)
        wrong = self._wrong(output, chosen)
        return Loss(game + wrong, {"loss_generator": game, "condition": wrong})

    def choose(self, batch: Batch, rng: BatchRandom) -> Conditioned:
        """Training by sampling (section 4.3): a category at random, one of its codes by the log of
        how often it occurs, and a real row that has it.
        """
        n, device = len(batch), batch.x.device
        rows = torch.arange(n, device=device)
        slot, code = torch.zeros_like(rows), torch.zeros_like(rows)
        which, value, among = rng.uniform(3).unbind(dim=1)
        codes = self.layout.codes(batch.x)
        slot = (which * len(self.categories)).long()
        for position, index in enumerate(self.categories):
            mine = slot == position
            counts = torch.tensor(self.layout.slots[index].counts, device=device)
            here = torch.bincount(codes[:, index], minlength=len(counts))
            sums = ((counts + 1).log() * (here > 0)).cumsum(0)
            drawn = torch.searchsorted(sums, (1 - value[mine]) * sums[-1])
            code[mine] = drawn
            order = codes[:, index].argsort(stable=True)
            first = here.cumsum(0) - here
            rows[mine] = order[first[drawn] + (among[mine] * here[drawn]).long()]
        return Conditioned(batch.x[rows], batch.cond[rows], self._one_hot(slot, code), slot, code)

    def real(self, batch: Batch) -> Tensor:
        return self._packed(self.layout.expand(batch.x), _conditioned(batch))

    def drawn(self, phase: str, batch: Batch, rng: BatchRandom) -> Tensor:
        chosen = _conditioned(batch)
        output = self.generator(self._input(rng, chosen.cond, chosen.vector))
        return self._packed(self.soft(output, rng), chosen)

    def diagnose(self, batch: Batch, rng: BatchRandom) -> dict[str, Tensor]:
        return super().diagnose(self.choose(batch, rng), rng)

    def _plain_scores(self, x: Tensor, batch: Batch, rng: BatchRandom) -> Tensor:
        return self.critic(x, rng)

    def _packed(self, expanded: Tensor, chosen: Conditioned) -> Tensor:
        """Rows with their conditions, several to a pack: [packs, inputs of the critic].

        Raises:
            ConfigError: the rows do not make whole packs.
        """
        pack = self.config.pack
        if len(expanded) % pack:
            raise ConfigError(
                f"train.batch_size: a worker's {len(expanded)} rows make no whole packs of {pack}",
                "make it a multiple of model.params.pack times the workers, or change pack",
            )
        joined = torch.cat([expanded, chosen.vector], dim=1)
        return join_condition(joined, chosen.cond, self.spec).reshape(len(expanded) // pack, -1)

    def _wrong(self, output: Tensor, chosen: Conditioned) -> Tensor:
        """The cross-entropy of the codes that the generator was conditioned on, nats a row."""
        total = output.new_zeros(())
        for position, span in enumerate(self.spans):
            mine = chosen.slot == position
            if mine.any():
                scores, codes = output[mine, span], chosen.code[mine]
                total = total + F.cross_entropy(scores, codes, reduction="sum")
        return total / len(output)

    # --- sampling ------------------------------------------------------------------------

    def sample(
        self, n: int, rng: BatchRandom, cond: Tensor | None = None, held: Tensor | None = None
    ) -> Tensor:
        """Compact rows [n, width], each conditioned on a code as often as it occurs.

        Args:
            held: compact rows, NaN where a column is free. The first category that is held is
                what all rows are conditioned on; that it is met is for the caller to see to.
        """
        which, value = rng.uniform(2).unbind(dim=1)
        slot = (which * len(self.categories)).long()
        code = torch.zeros_like(slot)
        fixed = self._first_held(held)
        if held is not None and fixed is not None:
            slot = torch.full_like(slot, fixed)
            code = held[:, self.layout.code_columns[self.categories[fixed]]].long()
        else:
            for position, index in enumerate(self.categories):
                mine, known = slot == position, self.layout.slots[index]
                counts = torch.tensor(known.counts, dtype=torch.float64, device=slot.device)
                if known.hidden is not None:
                    counts[known.hidden] = 0
                sums = counts.cumsum(0)
                code[mine] = torch.searchsorted(sums, (1 - value[mine].double()) * sums[-1])
        output = self.generator(self._input(rng, cond, self._one_hot(slot, code)))
        return self.layout.harden(self.soft(output, rng))

    def _first_held(self, held: Tensor | None) -> int | None:
        if held is None:
            return None
        at = [self.layout.code_columns[index] for index in self.categories]
        return next((p for p, column in enumerate(at) if not held[0, column].isnan()), None)

    def _input(self, rng: BatchRandom, cond: Tensor | None, vector: Tensor) -> Tensor:
        return torch.cat([self._latent(rng, cond), vector], dim=1)

    def _one_hot(self, slot: Tensor, code: Tensor) -> Tensor:
        """The conditional vector, [n, vector_width]."""
        sizes = [self.layout.slots[index].codes for index in self.categories]
        vector = torch.zeros((len(slot), sum(sizes)), device=slot.device)
        if sizes:
            first = torch.tensor([0, *sizes[:-1]], device=slot.device).cumsum(0)
            vector[torch.arange(len(slot), device=slot.device), first[slot] + code] = 1
        return vector


def _conditioned(batch: Batch) -> Conditioned:
    if not isinstance(batch, Conditioned):
        raise TypeError("give a batch that CTGAN.choose gave")
    return batch
