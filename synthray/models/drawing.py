"""Drawing rows from an autoregressive network, slot after slot (see `nade`).

The slots of many codes come first, several at once: every way in which a row can begin is listed
with its probability, the product of the conditionals, so one draw among them settles them all. The
list depends on the weights alone and is made once. The other slots follow one by one, those of few
codes last: they are what people predict, and they are truest given all others.

Blocks may be drawn together, which costs less than one by one, and comes to the same bits: matrix
products, whose sums are in an order that depends on their size, are made block by block, and all
else is done number by number. Rows are columns here, [codes, rows], for sums over codes are then
sums of whole vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from synthray.data.layout import Layout

if TYPE_CHECKING:
    from synthray.models.nade import Columns

LOG2_E = 1 / math.log(2)
WAYS = 2**17
"""Values of the first slots together, at most: a megabyte, made in some milliseconds."""
KEPT = 8
"""Lists that are kept, each for other values that are held."""
SPACE = 2**21
"""Probabilities of the blocks that are drawn together, at most, for caches hold no more."""


@dataclass(frozen=True)
class Step:
    """The network of one slot; its output to the base 2, for that is the quicker power.

    Attributes:
        at: the column of compact rows that holds the code.
        output: [codes, hidden]; output_bias: [codes], and ``factors`` the powers of it.
    """

    slot: int
    at: int
    weight: Tensor
    bias: Tensor
    output: Tensor
    output_bias: Tensor
    factors: tuple[float, ...]
    embedding: Tensor

    @property
    def codes(self) -> int:
        return len(self.embedding)

    def probabilities(self, seen: Tensor) -> Tensor:
        """Of each code, float64 [n, codes]."""
        h = torch.addmm(self.bias, seen, self.weight).relu_()
        logits = torch.addmm(self.output_bias, h, self.output.T)
        return (logits.double() / LOG2_E).softmax(dim=1)


@dataclass(frozen=True)
class Beginnings:
    """All values of the first slots together.

    Attributes:
        steps: the slots, in the order of the list; rest: those that follow.
        codes: float32 [slots - 1, ways], of all but the last; seen: what is known then,
            [ways, embedding].
        sums: float64 [ways], of the probabilities up to each way.
        last: [ways, codes], of the last slot's probabilities given the way, summed up.
    """

    steps: tuple[Step, ...]
    rest: tuple[Step, ...]
    codes: Tensor
    seen: Tensor
    sums: Tensor
    last: Tensor

    @classmethod
    def of(cls, steps: tuple[Step, ...], rest: tuple[Step, ...], seen: Tensor) -> Beginnings:
        """Args:
        steps: at least one; seen: what is known beforehand, [1, embedding].
        """
        codes = torch.empty((0, 1), device=seen.device)
        chances = torch.ones(1, dtype=torch.float64, device=seen.device)
        for step in steps[:-1]:
            chances = (chances[:, None] * step.probabilities(seen)).flatten()
            each = torch.arange(step.codes, device=seen.device).repeat(codes.shape[1])
            codes = torch.vstack([codes.repeat_interleave(step.codes, dim=1), each])
            seen = (seen[:, None] + step.embedding).flatten(0, 1)
        last = steps[-1].probabilities(seen).cumsum(dim=1).float()
        return cls(steps, rest, codes, seen, chances.cumsum(dim=0), last)

    def draw(self, points: Tensor, x: Tensor, space: Space) -> None:
        """Fill in the codes of the first slots, and what is known then, ``space.seen``.

        Args:
            points: [blocks, slots, rows], in (0, 1], multiples of 2^-24. Two of them make one
                point, for there may be ways that are rarer than that.
            x: compact rows, [width, blocks, rows].
        """
        *listed, last = self.steps
        point = points[:, self.steps[0].slot].flatten().double()
        if len(listed) > 1:
            point += (points[:, listed[1].slot].flatten().double() - 1) * 2.0**-24
        way = torch.searchsorted(self.sums, point.mul_(self.sums[-1]))
        for step, known in zip(listed, self.codes, strict=True):
            torch.index_select(known, 0, way, out=x[step.at].view(-1))
        sums = self.last.index_select(0, way)
        reach = points[:, last.slot].flatten() * sums[:, -1]
        code = torch.searchsorted(sums, reach[:, None])[:, 0]
        x[last.at].view(-1).copy_(code)
        torch.index_select(self.seen, 0, way, out=space.seen.flatten(0, 1))
        space.add(last.embedding, code)


class Space:
    """Memory for some blocks: asked for anew, it would take a tenth of the time.

    Attributes:
        seen: what is known so far, [blocks, rows, embedding].
        hidden: [blocks, rows, hidden]; powers, passed: each as large as the probabilities.
        reach: of each slot, [slots, blocks, rows].
    """

    def __init__(self, weight: Tensor, slots: int, codes: int, blocks: int, rows: int) -> None:
        """Args:
        weight: of any slot; slots: to be drawn one by one; codes: of the largest of these.
        """
        embedding, hidden = weight.shape
        self.seen = weight.new_empty((blocks, rows, embedding))
        self.hidden = weight.new_empty((blocks, rows, hidden))
        self.powers, self.passed = weight.new_empty((2, blocks * codes * rows))
        self.reach = weight.new_empty((slots, blocks, rows))
        self._code = torch.empty(blocks * rows, dtype=torch.int32, device=weight.device)
        self._found = torch.empty_like(self.seen)

    def add(self, embedding: Tensor, codes: Tensor) -> None:
        """To what is known, what a slot's codes tell: [n]."""
        self._code.copy_(codes)
        torch.index_select(embedding, 0, self._code, out=self._found.flatten(0, 1))
        self.seen += self._found


class Drawing:
    """What sampling needs of a network, made once from its weights.

    Args:
        net: the weights, which must not change from here on.
    """

    def __init__(self, net: Columns, layout: Layout) -> None:
        steps = []
        embedding, output = net.embedding(), net.output()
        for slot, (about, at) in enumerate(zip(layout.slots, layout.code_columns, strict=True)):
            codes = net.codes(slot)
            output_bias = net.output_bias[codes] * LOG2_E
            if about.hidden is not None:
                output_bias[about.hidden] = -torch.inf
            steps.append(
                Step(
                    slot,
                    at,
                    weight=net.weight[slot],
                    bias=net.bias[slot],
                    output=output[codes] * LOG2_E,
                    output_bias=output_bias,
                    factors=tuple(output_bias.exp2().tolist()),
                    embedding=embedding[codes],
                )
            )
        self.steps = sorted(steps, key=lambda step: -step.codes)
        self.embeddings = {step.slot: step.embedding for step in steps}
        self._beginnings: dict[tuple[float, ...], Beginnings | None] = {}
        self._space: tuple[tuple[int, ...], Space] | None = None

    def draw(
        self,
        given: list[int],
        key: tuple[float, ...] | None,
        seen: Tensor,
        points: Tensor,
        x: Tensor,
    ) -> None:
        """Fill in the codes of compact rows: of each slot the first code whose sum of
        probabilities reaches the point.

        Args:
            given: the slots whose codes are there already.
            key: what all rows are given, where it is one thing; None where rows differ.
            seen: what is known of it, [1, 1, embedding] with a key, else [blocks, rows, embedding].
            points: [blocks, slots, rows], in (0, 1].
            x: [width, blocks, rows].
        """
        begun = self._begun(given, key, seen[0]) if key is not None else None
        rest = begun.rest if begun else [step for step in self.steps if step.slot not in given]
        blocks, _, rows = points.shape
        seen = seen.expand(blocks, rows, -1)
        most = max((step.codes for step in rest), default=1)
        together = min(blocks, max(SPACE // (rows * most), 1))
        for start in range(0, blocks, together):
            here = slice(start, start + together)
            space = self._room(len(rest), most, len(points[here]), rows)
            for careful in (False, True):
                if begun:
                    begun.draw(points[here], x[:, here], space)
                else:
                    space.seen.copy_(seen[here])
                if _follow(rest, space, points[here], x[:, here], careful):
                    break

    def _room(self, *size: int) -> Space:
        """That of the last draw, if it is of the size: see `Space`."""
        if self._space is None or self._space[0] != size:
            self._space = size, Space(self.steps[0].weight, *size)
        return self._space[1]

    def _begun(self, given: list[int], key: tuple[float, ...], seen: Tensor) -> Beginnings | None:
        """The list of what rows can begin with; None where even the first slot is too long."""
        if key not in self._beginnings:
            if len(self._beginnings) >= KEPT:
                self._beginnings.clear()
            free = tuple(step for step in self.steps if step.slot not in given)
            first = self._first(free)
            parts = free[:first], free[first:]
            self._beginnings[key] = Beginnings.of(*parts, seen) if first else None
        return self._beginnings[key]

    @staticmethod
    def _first(free: Sequence[Step]) -> int:
        """How many slots are drawn at once."""
        ways = accumulate((step.codes for step in free), mul)
        return sum(1 for number in ways if number <= WAYS)


def _follow(steps: Sequence[Step], space: Space, points: Tensor, x: Tensor, careful: bool) -> bool:
    """Draw slot after slot from what ``space.seen`` tells; it is changed.

    Args:
        careful: shift logits before the power, without which it may overflow.

    Returns:
        Whether it did not.
    """
    if not steps:
        return True
    blocks, _, rows = points.shape
    seen, hidden, reach = space.seen, space.hidden, space.reach
    for step, point in zip(steps, reach, strict=True):
        shape = blocks, step.codes, rows
        powers = space.powers[: math.prod(shape)].view(shape)
        for before, units in zip(seen, hidden, strict=True):
            torch.addmm(step.bias, before, step.weight, out=units)
        hidden.relu_()
        for units, logits in zip(hidden, powers, strict=True):
            torch.mm(step.output, units.T, out=logits)
        factors = step.factors
        if careful:
            powers += step.output_bias[:, None]
            powers -= powers.amax(dim=1, keepdim=True)
            factors = (1.0,) * step.codes
        sums = powers.exp2_().unbind(1)
        sums[0].mul_(factors[0])
        for last, power, factor in zip(sums, sums[1:], factors[1:], strict=False):
            torch.add(last, power, alpha=factor, out=power)
        # A point above 0 and up to the last sum is never met by a code of probability 0.
        torch.mul(points[:, step.slot], sums[-1], out=point)
        # Counted, not searched: a search takes branches that nobody can predict.
        passed = space.passed[: math.prod(shape)].view(shape)
        torch.sum(torch.lt(powers, point[:, None], out=passed), dim=1, out=x[step.at])
        if step is not steps[-1]:
            space.add(step.embedding, x[step.at].view(-1))
    low, high = reach.aminmax()
    return bool(low > 0) and bool(high < torch.inf)  # a NaN is neither
