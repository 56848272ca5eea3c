"""Drawing rows from an autoregressive network, slot after slot (see `nade`).

The slots of many codes come first, several at once: every way in which a row can begin is listed
with its probability, the product of the conditionals, so one draw among them settles them all. The
list depends on the weights alone and is made once. The other slots follow one by one, those of few
codes last: they are what people predict, and they are truest given all others.
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
from torch.nn import functional as F

from synthray.data.layout import Layout

if TYPE_CHECKING:
    from synthray.models.nade import Columns

LOG2_E = 1 / math.log(2)
WAYS = 2**17
"""Values of the first slots together, at most: a megabyte, made in some milliseconds."""
KEPT = 8
"""Lists that are kept, each for other values that are held."""


@dataclass(frozen=True)
class Step:
    """The network of one slot; its output to the base 2, for that is the quicker power.

    output, output_bias: [hidden, columns] and [columns], with columns of probability 0 beyond the
        codes, for products are several times quicker at even widths.
    """

    slot: int
    weight: Tensor
    bias: Tensor
    output: Tensor
    output_bias: Tensor
    embedding: Tensor

    @property
    def codes(self) -> int:
        return len(self.embedding)

    def probabilities(self, seen: Tensor) -> Tensor:
        """Of each code, float64 [n, codes]."""
        h = torch.addmm(self.bias, seen, self.weight).relu_()
        logits = torch.addmm(self.output_bias, h, self.output)[:, : self.codes]
        return (logits.double() / LOG2_E).softmax(dim=1)


@dataclass(frozen=True)
class Beginnings:
    """All values of the first slots together.

    Attributes:
        steps: the slots, in the order of the list; rest: those that follow.
        codes: int64 [ways, slots - 1], of all but the last; seen: what is known then,
            [ways, embedding].
        sums: float64 [ways], of the probabilities up to each way.
        last: [ways, codes], of the last slot's probabilities given the way.
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
        codes = torch.empty((1, 0), dtype=torch.int64, device=seen.device)
        chances = torch.ones(1, dtype=torch.float64, device=seen.device)
        for step in steps[:-1]:
            chances = (chances[:, None] * step.probabilities(seen)).flatten()
            each = torch.arange(step.codes, device=seen.device).repeat(len(codes))
            codes = torch.column_stack([codes.repeat_interleave(step.codes, dim=0), each])
            seen = (seen[:, None] + step.embedding).flatten(0, 1)
        last = steps[-1].probabilities(seen).cumsum(dim=1).float()
        return cls(steps, rest, codes, seen, chances.cumsum(dim=0), last)

    def draw(self, points: Tensor, codes: Tensor) -> Tensor:
        """Fill in ``codes`` [slots, n] of the first slots; what is known then, [n, embedding].

        Args:
            points: [n, slots], in (0, 1], multiples of 2^-24. Two of them make one point, for
                there may be ways that are rarer than that.
        """
        *listed, last = self.steps
        point = points[:, self.steps[0].slot].double()
        if len(listed) > 1:
            point += (points[:, listed[1].slot].double() - 1) * 2.0**-24
        way = torch.searchsorted(self.sums, point * self.sums[-1])
        for step, known in zip(listed, self.codes.index_select(0, way).T, strict=True):
            codes[step.slot] = known
        sums = self.last.index_select(0, way)
        point = points[:, last.slot] * sums[:, -1]
        code = torch.searchsorted(sums, point[:, None])[:, 0]
        codes[last.slot] = code
        return self.seen.index_select(0, way) + last.embedding.index_select(0, code)


class Drawing:
    """What sampling needs of a network, made once from its weights.

    Args:
        net: the weights, which must not change from here on.
    """

    def __init__(self, net: Columns, layout: Layout) -> None:
        steps = []
        for slot, about in enumerate(layout.slots):
            codes = net.codes(slot)
            output = net.output[codes] * LOG2_E
            output_bias = net.output_bias[codes] * LOG2_E
            if about.hidden is not None:
                output_bias[about.hidden] = -torch.inf
            more = _even(len(output)) - len(output)
            steps.append(
                Step(
                    slot,
                    weight=net.weight[slot],
                    bias=net.bias[slot],
                    output=F.pad(output, (0, 0, 0, more)).T.contiguous(),
                    output_bias=F.pad(output_bias, (0, more), value=-torch.inf),
                    embedding=net.embedding[codes],
                )
            )
        self.steps = sorted(steps, key=lambda step: -step.codes)
        self._beginnings: dict[tuple[int, ...], Beginnings | None] = {}

    def draw(
        self,
        given: list[int],
        key: tuple[int, ...] | None,
        seen: Tensor,
        points: Tensor,
        codes: Tensor,
    ) -> None:
        """Fill in ``codes`` [slots, n]: of each slot the first code whose sum of probabilities
        reaches the point.

        Args:
            given: the slots whose codes are there already.
            key: what all rows are given, where it is one thing; None where rows differ.
            seen: what is known of it, [1, embedding] with a key, else [n, embedding].
            points: [n, slots], in (0, 1].
        """
        begun = self._begun(given, key, seen) if key is not None else None
        rest = begun.rest if begun else [step for step in self.steps if step.slot not in given]
        for careful in (False, True):
            known = begun.draw(points, codes) if begun else seen.expand(len(points), -1).clone()
            if _follow(rest, known, points, codes, careful):
                return

    def _begun(self, given: list[int], key: tuple[int, ...], seen: Tensor) -> Beginnings | None:
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


def _even(codes: int) -> int:
    """The width of an output of so many codes: a multiple of 8, at least 16."""
    return max(16, -(-codes // 8) * 8)


def _follow(
    steps: Sequence[Step], seen: Tensor, points: Tensor, codes: Tensor, careful: bool
) -> bool:
    """Nothing is allocated between the steps: that would take as long as the arithmetic.

    Args:
        seen: what is known so far, [n, embedding]; changed.
        careful: shift logits before the power, without which it may overflow.

    Returns:
        Whether it did not.
    """
    if not steps:
        return True
    n, width = len(seen), steps[0].weight.shape[1]
    h, found = seen.new_empty((n, width)), torch.empty_like(seen)
    space = seen.new_empty(n * max(len(step.output_bias) for step in steps))
    scaled = seen.new_empty((len(steps), n))
    for step, point in zip(steps, scaled, strict=True):
        torch.addmm(step.bias, seen, step.weight, out=h).relu_()
        columns = len(step.output_bias)
        sums = space[: n * columns].view(n, columns)
        torch.addmm(step.output_bias, h, step.output, out=sums)
        if careful:
            sums -= sums.amax(dim=1, keepdim=True)
        torch.cumsum(sums.exp2_(), dim=1, out=sums)
        # A point above 0 and up to the last sum is never met by a code of probability 0.
        torch.mul(points[:, step.slot], sums[:, -1], out=point)
        torch.searchsorted(sums, point[:, None], out=codes[step.slot][:, None])
        if step is not steps[-1]:
            seen += torch.index_select(step.embedding, 0, codes[step.slot], out=found)
    low, high = scaled.aminmax()
    return bool(low > 0) and bool(high < torch.inf)  # a NaN is neither
