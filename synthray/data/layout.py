"""How the columns of a table lie in an encoded row, and the views that models take of it.

A *slot* is one modelled column. Its cell is a **code**, one of a fixed number; a slot of numbers
adds an **offset** in [-1, 1], which says where in the code's range the number lies:

    number = centre[code] + spread[code] * offset        in units of the column's deviation

So categories, missing values, numbers that occur often, and the modes or bins of all other numbers
are one thing to a model. The *compact* row holds the codes and offsets as float32, slot by slot;
the *expanded* row, which adversarial networks see, holds one-hot codes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional as F

MAX_CODES = 2**24
"""Codes are kept as float32, which holds whole numbers up to this one exactly."""


class Slot(BaseModel):
    """One modelled column.

    Attributes:
        counts: rows of the source with each code; their number is the number of codes.
        centres, spreads: of each code of a column of numbers, in units of its standard deviation
            from its mean; empty for other columns. A code of spread 0 stands for one number.
        missing: the code of a missing cell.
        hidden: a code that no generated row may have, such as that of suppressed rare values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    counts: tuple[int, ...] = Field(min_length=1, max_length=MAX_CODES)
    centres: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    missing: int | None = None
    hidden: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.centres and not len(self.centres) == len(self.spreads) == self.codes:
            raise ValueError(f"slot {self.name!r}: one centre and one spread for each code")
        for code in (self.missing, self.hidden):
            if code is not None and not 0 <= code < self.codes:
                raise ValueError(f"slot {self.name!r}: code {code} is out of range")
        return self

    @property
    def codes(self) -> int:
        return len(self.counts)

    @property
    def number(self) -> bool:
        """Whether an offset follows the code."""
        return bool(self.centres)


class Layout(BaseModel):
    """The slots of a row, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: tuple[Slot, ...]

    @cached_property
    def code_columns(self) -> list[int]:
        """Where in a compact row the code of each slot lies."""
        at, found = 0, []
        for slot in self.slots:
            found.append(at)
            at += 1 + slot.number
        return found

    @cached_property
    def offset_columns(self) -> list[int]:
        """Where in a compact row the offset of each slot of numbers lies."""
        return [
            at + 1 for at, slot in zip(self.code_columns, self.slots, strict=True) if slot.number
        ]

    @property
    def width(self) -> int:
        """Numbers in a compact row."""
        return len(self.code_columns) + len(self.offset_columns)

    @property
    def expanded_width(self) -> int:
        """Numbers in an expanded row."""
        return sum(slot.codes + slot.number for slot in self.slots)

    @cached_property
    def spans(self) -> list[slice]:
        """Where in an expanded row each slot's one-hot code lies; its offset lies just before."""
        spans, start = [], 0
        for slot in self.slots:
            start += slot.number
            spans.append(slice(start, start + slot.codes))
            start += slot.codes
        return spans

    def codes(self, x: Tensor) -> Tensor:
        """The codes of compact rows: int64 [n, slots]."""
        return x[:, self.code_columns].long()

    def offsets(self, x: Tensor) -> Tensor:
        """The offsets of compact rows: float32 [n, slots of numbers]."""
        return x[:, self.offset_columns]

    def pack(self, codes: Tensor, offsets: Tensor) -> Tensor:
        """Compact rows [n, width] of codes [n, slots] and offsets [n, slots of numbers]; column
        after column in memory, as they are decoded.
        """
        x = torch.empty((self.width, len(codes)), dtype=torch.float32, device=codes.device)
        for columns, numbers in ((self.code_columns, codes), (self.offset_columns, offsets)):
            at = torch.tensor(columns, dtype=torch.int64, device=x.device)
            x.index_copy_(0, at, numbers.T.float())
        return x.T

    def expand(self, x: Tensor) -> Tensor:
        """Compact rows as expanded ones, [n, expanded_width]: slot by slot the offset, if it is one
        of numbers, and the one-hot code.
        """
        parts: list[Tensor] = []
        for at, slot in zip(self.code_columns, self.slots, strict=True):
            if slot.number:
                parts.append(x[:, at + 1 : at + 2])
            # Not F.one_hot, which looks at values and so cannot be mapped over rows (vmap).
            codes = torch.arange(slot.codes, dtype=x.dtype, device=x.device)
            parts.append((x[:, at : at + 1] == codes).to(x.dtype))
        return torch.cat(parts, dim=1)

    def harden(self, expanded: Tensor) -> Tensor:
        """The inverse of `expand`, for soft rows too: the largest code that is not hidden."""
        x = torch.empty((len(expanded), self.width), dtype=torch.float32, device=expanded.device)
        for at, slot, span in zip(self.code_columns, self.slots, self.spans, strict=True):
            if slot.number:
                x[:, at + 1] = expanded[:, span.start - 1].clamp(-1, 1)
            part = expanded[:, span]
            if slot.hidden is not None:
                part = part.clone()
                part[:, slot.hidden] = -torch.inf
            x[:, at] = part.argmax(dim=1).float()
        return x

    def numbers(self, x: Tensor) -> Tensor:
        """What the slots of numbers hold, [n, slots of numbers], in units of each column's
        deviation from its mean; a missing cell is 0.
        """
        columns = []
        for at, slot in zip(self.code_columns, self.slots, strict=True):
            if slot.number:
                centres = torch.tensor(slot.centres, dtype=x.dtype, device=x.device)
                spreads = torch.tensor(slot.spreads, dtype=x.dtype, device=x.device)
                code = x[:, at].long()
                columns.append(centres[code] + spreads[code] * x[:, at + 1])
        return torch.stack(columns, dim=1) if columns else x.new_empty((len(x), 0))

    def features(self, x: Tensor) -> Tensor:
        """Compact rows as points whose distances mean something: [n, d].

        A slot of numbers gives the number, within 5 deviations, and whether it is missing; any
        other slot its one-hot code, scaled so that two different ones are a distance of 1 apart.
        """
        parts = [self.numbers(x).clamp(-5, 5)]
        for at, slot in zip(self.code_columns, self.slots, strict=True):
            if not slot.number:
                parts.append(F.one_hot(x[:, at].long(), slot.codes).to(x.dtype) * 0.5**0.5)
            elif slot.missing is not None:
                parts.append((x[:, at : at + 1] == slot.missing).to(x.dtype))
        return torch.cat(parts, dim=1)
