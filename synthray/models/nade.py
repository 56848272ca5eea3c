"""The default for tables: an autoregressive network that learns every order of the columns.

Uria, Murray & Larochelle 2014, "A deep and tractable density estimator" (1310.1757): p(x) is the
product of p(column | the columns before it), and the order is drawn anew for every row, so one set
of weights gives the distribution of any column given any others. A condition on any columns is
thus met by putting them first: nothing is rejected. As in NADE (1605.02226) the columns before are
summed up, one embedding each, and every column has a small network of its own on that sum.

Maximum likelihood instead of a game: there is no mode to drop and no critic to balance.
"""

from __future__ import annotations

from itertools import accumulate, groupby
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
from synthray.models.drawing import Drawing
from synthray.models.waves import Waves
from synthray.rng import BatchRandom


class NADEConfig(Strict):
    embedding: int = Field(64, ge=1, description="numbers that stand for the columns seen so far")
    hidden: int = Field(16, ge=1, description="units of each column's own network")
    optimizer: OptimizerConfig = OptimizerConfig(
        lr=3e-3, beta1=0.9, beta2=0.99, weight_decay=5e-4, schedule="cosine", final=0.01
    )


class Columns(nn.Module):
    """The weights: an embedding of every code, and a network for every slot.

    Embeddings and output layers of all slots lie one after another, ``total`` codes in all; those
    of numbers share what they learn with their neighbours (see `waves`).
    """

    first: Tensor
    shares: Tensor

    def __init__(self, config: NADEConfig, spec: DataSpec, layout: Layout) -> None:
        super().__init__()
        sizes = [slot.codes for slot in layout.slots]
        self.sizes, slots, total = sizes, len(sizes), sum(sizes)
        # Waves of about the deviation of the codes' own.
        self.embedding = Waves(layout, torch.randn(total, config.embedding) / 2, wave=0.25)
        hot = sum(spec.conditions)
        self.condition = nn.Linear(hot, config.embedding, bias=False) if hot else None
        # He's deviation for the weights, halved for the sums of several embeddings.
        weight = torch.randn(slots, config.embedding, config.hidden)
        self.weight = nn.Parameter(weight * (0.5 / config.embedding) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(slots, config.hidden))
        self.output = Waves(layout, torch.randn(total, config.hidden) / 100, wave=0.0)
        # What is learned is how a code differs from its share: were its logarithm learned, weight
        # decay would make rare codes more frequent.
        shares = torch.cat([_log_share(s.counts) for s in layout.slots])
        self.register_buffer("shares", shares, persistent=False)
        self.difference = nn.Parameter(torch.zeros(total))
        self.starts = [0, *accumulate(sizes[:-1])]
        self.register_buffer("first", torch.tensor(self.starts), persistent=False)

    @property
    def output_bias(self) -> Tensor:
        return self.shares + self.difference

    def codes(self, slot: int) -> slice:
        """Where the codes of a slot lie among all."""
        return slice(self.starts[slot], self.starts[slot] + self.sizes[slot])


class NADE(GenerativeModel):
    Config: ClassVar[type[Strict]] = NADEConfig
    config: NADEConfig
    sampler = ("columns",)
    coding = "bins"
    holds = True
    joins = True

    def __init__(self, config: NADEConfig, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.layout = table_layout(spec, "nade")
        self.columns = Columns(config, spec, self.layout)
        self._made: tuple[list[tuple[int, int]], Drawing] | None = None

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("columns", ("columns",), self.config.optimizer),)

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        """-log p(row) of a random order, nats per row (1310.1757, equation 6): each column given
        those that come before it in the row's order.
        """
        net, codes = self.columns, self.layout.codes(batch.x)
        embedding, output = net.embedding(), net.output()
        place = rng.uniform(codes.shape[1]).argsort(dim=1)
        before = (place[:, None, :] < place[:, :, None]).to(embedding.dtype)
        embedded = embedding[codes + net.first]
        seen = torch.einsum("njk,nkd->jnd", before, embedded) + self._of_conditions(batch.cond)
        h = torch.baddbmm(net.bias[:, None], seen, net.weight).relu()
        # One split: each slice would have a gradient as large as the whole.
        heads = zip(h, output.split(net.sizes), net.output_bias.split(net.sizes), strict=True)
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
        layout, blocks = self.layout, rng.blocks
        slots, numbers, rows = len(layout.slots), len(layout.offset_columns), n // blocks
        # In a block's numbers columns follow one another: they are read so.
        points = 1 - rng.uniform(slots).view(blocks, slots, rows)  # in (0, 1]
        x = points.new_empty((layout.width, blocks, rows))
        offsets = rng.uniform(numbers).view(blocks, numbers, rows)
        x[layout.offset_columns] = 2 * offsets.transpose(0, 1) - 1
        fixed, asked = [], points.new_empty((blocks, rows, 0))
        if held is not None:
            given = held.view(blocks, rows, -1)
            columns = layout.code_columns
            fixed = [slot for slot, at in enumerate(columns) if not held[0, at].isnan()]
            asked = given[..., [columns[slot] for slot in fixed]]
            given = given.permute(2, 0, 1)
            x = torch.where(given.isnan(), x, given)
        if cond is not None:
            cond = cond.view(blocks, rows, -1)
            asked = torch.cat([asked, cond], dim=2)
        # Told from a block's own rows: what else is drawn must change nothing.
        alike = (asked == asked[:, :1]).all(dim=2).all(dim=1)
        pairs = zip(alike.tolist(), asked[:, 0].tolist(), strict=True)
        keys = [(*fixed, *given) if same else None for same, given in pairs]
        drawing = self._drawing()
        for key, group in groupby(range(blocks), keys.__getitem__):
            start, *more = group
            here = slice(start, start + 1 + len(more))
            # Where all rows are given the same, one of them tells it.
            told = (here, slice(None)) if key is None else (slice(start, start + 1), slice(1))
            seen = self._given(drawing, x[:, *told], fixed, None if cond is None else cond[told])
            drawing.draw(fixed, key, seen, points[here], x[:, here])
        return x.flatten(1).T

    def _given(self, drawing: Drawing, x: Tensor, slots: list[int], cond: Tensor | None) -> Tensor:
        """What is known before the first draw, [blocks, rows, embedding].

        Args:
            x: compact rows [width, blocks, rows], of which the codes of ``slots`` are given.
        """
        seen = x.new_zeros((*x.shape[1:], self.config.embedding))
        if cond is not None:
            for block, given in zip(seen, cond, strict=True):
                block += self._of_conditions(given)
        for slot in slots:
            seen += drawing.embeddings[slot][x[self.layout.code_columns[slot]].long()]
        return seen

    def _drawing(self) -> Drawing:
        """Made anew when the weights have changed, or moved: that alone leaves versions alike."""
        state = [(p.data_ptr(), p._version) for p in self.columns.parameters()]
        if self._made is None or self._made[0] != state:
            self._made = state, Drawing(self.columns, self.layout)
        return self._made[1]

    def _of_conditions(self, cond: Tensor | None) -> Tensor | float:
        """What is known before the first column: [n, embedding]."""
        hot = one_hot(cond, self.spec)
        condition = self.columns.condition
        return 0.0 if hot is None or condition is None else condition(hot)


def _log_share(counts: tuple[int, ...]) -> Tensor:
    """Where an output starts: the log of each code's share of the rows."""
    share = torch.tensor(counts, dtype=torch.float32) + 0.5
    return (share / share.sum()).log()
