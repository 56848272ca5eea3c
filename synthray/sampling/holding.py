"""What rows of a virtual dataset must have: values that are held, and shares that are balanced.

A condition is held by drawing it so. A column that the family can hold (`GenerativeModel.holds`) is
given to the model, which draws the others around it. Whatever else is asked for is met by sorting
out the rows that have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from synthray.data import arrow_types
from synthray.data.codec import Cell, DataSpec
from synthray.rng import BatchRandom

ROUNDS = 100
"""Of proportional fitting: the shares of a handful of conditions settle within a few dozen."""


@dataclass(frozen=True)
class Balance:
    """A column of which every value gets a share of the rows.

    position: of a condition; None: ``cells`` are those of a slot. shares: add up to 1.
    """

    position: int | None
    cells: tuple[Cell, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Holding:
    """What is held, balanced and sorted out.

    fixed: value indices of conditions, by position; cells: of slots; sorted_out: values of columns
    that rows are looked through for.
    """

    spec: DataSpec
    fixed: Mapping[int, int] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    balances: tuple[Balance, ...] = ()
    sorted_out: Mapping[str, pa.Scalar] = field(default_factory=dict)

    def conditions(self, random: BatchRandom, rows: int) -> Tensor:
        """Conditions int64 [rows, conditions], as they occur together in the source, given those
        that are held or balanced.

        Values that never occur together leave the others to their own frequencies.
        """
        spec = self.spec
        if not spec.conditions:
            return torch.empty((rows, 0), dtype=torch.int64)
        combinations, weights = self._weighted
        cond = torch.from_numpy(combinations)[random.choice(weights).cpu()]
        for position, value in self.fixed.items():
            cond[:, position] = value
        return cond

    @cached_property
    def _weighted(self) -> tuple[np.ndarray, np.ndarray]:
        """The combinations of conditions, and how often each is drawn; by proportional fitting
        (Deming & Stephan 1940) where several are balanced. The same for all blocks.
        """
        combinations = np.asarray(self.spec.combinations, dtype=np.int64)
        counts = np.asarray(self.spec.counts, dtype=np.float64)
        match = np.all([combinations[:, p] == v for p, v in self.fixed.items()], axis=0)
        if self.fixed and (counts * match).sum() > 0:
            counts = counts * match
        balances = [b for b in self.balances if b.position is not None]
        for _ in range(ROUNDS if len(balances) > 1 else 1):
            for balance in balances:
                values = combinations[:, balance.position]
                found = np.bincount(values, counts, minlength=len(balance.shares))
                shares = np.asarray(balance.shares)
                counts = counts * np.divide(shares, found, out=shares * 0, where=found > 0)[values]
        return combinations, counts

    def held(self, random: BatchRandom, rows: int) -> Tensor | None:
        """Compact rows [rows, width], NaN where a column is free; None if all are."""
        layout, drawn = self.spec.layout, [b for b in self.balances if b.position is None]
        if layout is None or not (self.cells or drawn):
            return None
        x = torch.full((rows, layout.width), torch.nan)
        chosen = [(self.cells[i : i + 1], torch.zeros(rows)) for i in range(len(self.cells))]
        chosen += [(b.cells, random.choice(b.shares).cpu()) for b in drawn]
        for cells, index in chosen:
            at, number = layout.code_columns[cells[0].slot], layout.slots[cells[0].slot].number
            index = index.long()
            x[:, at] = torch.tensor([float(cell.code) for cell in cells])[index]
            if number:
                x[:, at + 1] = torch.tensor([cell.offset for cell in cells])[index]
        return x

    def meets(self, rows: pa.Table) -> np.ndarray:
        """Which rows have what is sorted out for, bool [rows]."""
        met = np.ones(len(rows), bool)
        for name, value in self.sorted_out.items():
            cells = arrow_types.without_dictionary(rows[name])
            same = pc.equal(cells, value).fill_null(False) if value.is_valid else cells.is_null()
            met &= same.to_numpy()
        return met

    def describe(self) -> str:
        """What is sorted out for, in words."""
        told = []
        for name, scalar in self.sorted_out.items():
            value = scalar.as_py()
            shown = repr(value) if isinstance(value, str) else value
            told.append(f"{name} missing" if value is None else f"{name} = {shown}")
        return ", ".join(told)
