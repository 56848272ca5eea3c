"""The default for tables: an autoregressive network that learns every order of the columns.

Uria, Murray & Larochelle 2014, "A deep and tractable density estimator" (1310.1757): p(x) is the
product of p(column | the columns before it), and the order is drawn anew for every row, so one set
of weights gives the distribution of any column given any others. A condition on any columns is
thus met by putting them first: nothing is rejected. As in NADE (1605.02226) the columns before are
summed up, one embedding each, and every column has a small network of its own on that sum.

Maximum likelihood instead of a game: there is no mode to drop and no critic to balance.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.config import Strict
from synthray.data.codec import DataSpec
from synthray.data.layout import Layout
from synthray.models.base import (
    Batch,
    GenerativeModel,
    Loss,
    OptimizerConfig,
    Phase,
    one_hot,
    table_layout,
)
from synthray.rng import BatchRandom

LOG2_E = 1 / math.log(2)


class NADEConfig(Strict):
    embedding: int = Field(64, ge=1, description="numbers that stand for the columns seen so far")
    hidden: int = Field(48, ge=1, description="units of each column's own network")
    optimizer: OptimizerConfig = OptimizerConfig(
        lr=3e-3, beta1=0.9, beta2=0.99, weight_decay=5e-4, schedule="cosine", final=0.01
    )


class Columns(nn.Module):
    """The weights: an embedding of every code, and a network for every slot.

    Embeddings and output layers of all slots lie one after another, ``total`` codes in all.
    """

    first: Tensor

    def __init__(self, config: NADEConfig, spec: DataSpec, layout: Layout) -> None:
        super().__init__()
        sizes = [slot.codes for slot in layout.slots]
        self.sizes, slots, total = sizes, len(sizes), sum(sizes)
        self.embedding = nn.Parameter(torch.randn(total, config.embedding) / 2)
        hot = sum(spec.conditions)
        self.condition = nn.Linear(hot, config.embedding, bias=False) if hot else None
        # He's deviation for the weights, halved for the sums of several embeddings.
        weight = torch.randn(slots, config.embedding, config.hidden)
        self.weight = nn.Parameter(weight * (0.5 / config.embedding) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(slots, config.hidden))
        self.output = nn.Parameter(torch.randn(total, config.hidden) / 100)
        self.output_bias = nn.Parameter(torch.cat([_log_share(s.counts) for s in layout.slots]))
        self.starts = [0, *accumulate(sizes[:-1])]
        self.register_buffer("first", torch.tensor(self.starts), persistent=False)

    def head(self, slot: int) -> tuple[Tensor, Tensor]:
        """The output layer of a slot: weights [codes, hidden] and biases [codes]."""
        part = slice(self.starts[slot], self.starts[slot] + self.sizes[slot])
        return self.output[part], self.output_bias[part]


class NADE(GenerativeModel):
    Config: ClassVar[type[Strict]] = NADEConfig
    config: NADEConfig
    sampler = ("columns",)
    coding = "bins"
    holds = True

    def __init__(self, config: NADEConfig, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.layout = table_layout(spec, "nade")
        self.columns = Columns(config, spec, self.layout)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("columns", ("columns",), self.config.optimizer),)

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        """-log p(row) of a random order, nats per row (1310.1757, equation 6): each column given
        those that come before it in the row's order.
        """
        net, codes = self.columns, self.layout.codes(batch.x)
        place = rng.uniform(codes.shape[1]).argsort(dim=1)
        before = (place[:, None, :] < place[:, :, None]).to(net.embedding.dtype)
        embedded = net.embedding[codes + net.first]
        seen = torch.einsum("njk,nkd->jnd", before, embedded) + self._of_conditions(batch.cond)
        h = torch.baddbmm(net.bias[:, None], seen, net.weight).relu()
        # One split: each slice would have a gradient as large as the whole.
        heads = zip(h, net.output.split(net.sizes), net.output_bias.split(net.sizes), strict=True)
        nats = [
            F.cross_entropy(F.linear(units, weight, bias), codes[:, slot])
            for slot, (units, weight, bias) in enumerate(heads)
        ]
        total = torch.stack(nats).sum()
        return Loss(total, {"loss": total})

    def sample(
        self, n: int, rng: BatchRandom, cond: Tensor | None = None, held: Tensor | None = None
    ) -> Tensor:
        """Compact rows [n, width], column after column, those that are held first.

        Args:
            held: compact rows, NaN where a column is free; the same columns in every row.
        """
        net, layout = self.columns, self.layout
        slots = len(layout.slots)
        points = (1 - rng.uniform(slots)).T.contiguous()  # [slots, n], in (0, 1]
        offsets = 2 * rng.uniform(len(layout.offset_columns)) - 1
        codes = torch.zeros((slots, n), dtype=torch.int64, device=points.device)
        seen = torch.zeros((n, self.config.embedding), device=points.device)
        seen += self._of_conditions(cond)
        free = list(range(slots))
        if held is not None:
            fixed = [s for s, at in enumerate(layout.code_columns) if not held[0, at].isnan()]
            free = [slot for slot in free if slot not in fixed]
            for slot in fixed:
                codes[slot] = held[:, layout.code_columns[slot]].long()
                seen += net.embedding.index_select(0, codes[slot] + net.starts[slot])
            given = layout.offsets(held)
            offsets = torch.where(given.isnan(), offsets, given)
        if not self._draw(seen.clone(), free, points, codes):
            self._draw(seen, free, points, codes, careful=True)
        return layout.pack(codes.T, offsets)

    def _draw(
        self, seen: Tensor, free: list[int], points: Tensor, codes: Tensor, careful: bool = False
    ) -> bool:
        """Fill in the free slots of ``codes`` [slots, n], one after another.

        Of each, the first code whose sum of probabilities reaches the point, in (0, 1]. Nothing is
        allocated in between: that would take as long as the arithmetic.

        Args:
            seen: what is known so far, [n, embedding]; changed.
            careful: shift logits before the power, without which it may overflow.

        Returns:
            Whether it did not.
        """
        net, (slots, n) = self.columns, codes.shape
        h, last = seen.new_empty((n, self.config.hidden)), seen.new_ones((slots, n))
        found, at = torch.empty_like(seen), torch.empty_like(codes[0])
        space = seen.new_empty(n * max(net.sizes))
        for slot in free:
            torch.addmm(net.bias[slot], seen, net.weight[slot], out=h).relu_()
            weight, bias = net.head(slot)
            sums = space[: n * len(bias)].view(n, len(bias))
            # To the base 2, for that is the quicker power.
            torch.addmm(bias * LOG2_E, h, weight.T, alpha=LOG2_E, out=sums)
            hidden = self.layout.slots[slot].hidden
            if hidden is not None:
                sums[:, hidden] = -torch.inf
            if careful:
                sums -= sums.amax(dim=1, keepdim=True)
            torch.cumsum(sums.exp2_(), dim=1, out=sums)
            last[slot] = sums[:, -1]
            # A point above 0 and up to the last sum is never met by a code of probability 0.
            point = (points[slot] * last[slot])[:, None]
            torch.searchsorted(sums, point, out=codes[slot][:, None])
            torch.add(codes[slot], net.starts[slot], out=at)
            seen += torch.index_select(net.embedding, 0, at, out=found)
        return bool(((last > 0) & (last < torch.inf)).all())

    def _of_conditions(self, cond: Tensor | None) -> Tensor | float:
        """What is known before the first column: [n, embedding]."""
        hot = one_hot(cond, self.spec)
        condition = self.columns.condition
        return 0.0 if hot is None or condition is None else condition(hot)


def _log_share(counts: tuple[int, ...]) -> Tensor:
    """Where an output starts: the log of each code's share of the rows."""
    share = torch.tensor(counts, dtype=torch.float32) + 0.5
    return (share / share.sum()).log()
