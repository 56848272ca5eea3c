"""The virtual dataset: (artifact, seed) as an endless table of which any slice can be had."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import pyarrow as pa
import torch
from torch import Tensor

from synthray import rng
from synthray.artifact import Artifact
from synthray.config import BLOCK_ROWS
from synthray.data.codec import Value
from synthray.errors import ConditionError, UsageError
from synthray.sampling.blocks import sample_blocks
from synthray.sampling.wishes import Shares, holding

MAX_ROWS = 2**63
MOST_BLOCKS, MOST_BYTES = 8, 2**22
"""Blocks, and bytes of encoded rows, that are computed together: eight blocks of a table take half
as long as one by one, and a block of images is slow by itself.
"""
ATTEMPTS = 256
"""Draws of a block, at most, for rows that have what is asked for."""


class VirtualDataset:
    """Row i is a pure function of (artifact, seed, where, i).

    Args:
        artifact: a trained generator.
        seed: 0 … 2^63 - 1.
        where: values to hold, by column name. Conditions, and columns that the family can hold, are
            drawn so; for others, rows are drawn until as many as are asked for have them.
        balance: shares of values to hit, by column name (see `synthray.sampling.wishes`).
        images: PNG bytes, or uint8 tensors [height, width, channels].
        device: where the generator computes. Bytes agree among processors of one kind.

    Raises:
        ConditionError: ``where`` or ``balance`` names a column or a value that the model does not
            know; later, that too few rows have what is asked for.
    """

    def __init__(
        self,
        artifact: Artifact,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        images: Literal["png", "tensor"] = "png",
        device: str = "cpu",
        balance: Mapping[str, Shares] | None = None,
    ) -> None:
        if not 0 <= seed <= rng.MAX_SEED:
            raise UsageError(f"seed: {seed} is out of range", "use 0 … 2^63 - 1")
        self.artifact, self.seed, self.images = artifact, seed, images
        self._model = artifact.model.to(device)
        self._holding = holding(artifact.codec, artifact.model.holds, where, balance)
        self.drawn, self.kept = 0, 0

    @property
    def _together(self) -> int:
        """Blocks that are computed together."""
        block = 4 * BLOCK_ROWS * math.prod(self.artifact.codec.spec.shape)
        return max(1, min(MOST_BLOCKS, MOST_BYTES // block))

    @property
    def arrow_schema(self) -> pa.Schema:
        return self.artifact.codec.arrow_schema(self.images)

    @property
    def sorting(self) -> str:
        """What rows are sorted out for, in words."""
        return self._holding.describe()

    @property
    def acceptance(self) -> float | None:
        """The share of the rows drawn so far that had what they are sorted out for."""
        return self.kept / self.drawn if self.drawn else None

    def block(self, index: int) -> pa.Table:
        """The 1,024 rows of block ``index``."""
        return self._part(index * BLOCK_ROWS, BLOCK_ROWS, BLOCK_ROWS)

    def _part(self, start: int, length: int, asked: int, dictionaries: bool = False) -> pa.Table:
        """Some rows, computed together; their blocks are sampled whole.

        Args:
            asked: how many rows these are a part of, for errors.
        """
        first, end = start // BLOCK_ROWS, start + length
        blocks = range(first, -(-end // BLOCK_ROWS))
        if self._holding.sorted_out:
            x, cond = self._sorted(blocks, end, asked)
        else:
            x, cond = sample_blocks(self._model, self._holding, self.seed, blocks)
        here = slice(start - first * BLOCK_ROWS, end - first * BLOCK_ROWS)
        x, cond = x[here], cond[here]
        return self.artifact.codec.decode(x, cond, self.images, start, self.seed, dictionaries)

    def _sorted(self, blocks: range, end: int, asked: int) -> tuple[Tensor, Tensor]:
        """Encoded rows and conditions of some blocks, of the last one those before row ``end``."""
        needed = [min(end - block * BLOCK_ROWS, BLOCK_ROWS) for block in blocks]
        parts = [self._met(block, n, asked) for block, n in zip(blocks, needed, strict=True)]
        return torch.cat([x for x, _ in parts]), torch.cat([cond for _, cond in parts])

    def _met(self, index: int, needed: int, asked: int) -> tuple[Tensor, Tensor]:
        """The first of several draws of a block that have what is asked for. They are kept in the
        order of the draws, so that they are the same however many are needed.

        Raises:
            ConditionError: too few rows have it.
        """
        holding, codec = self._holding, self.artifact.codec
        block = range(index, index + 1)
        parts: list[tuple[Tensor, Tensor]] = []
        kept = 0
        for attempt in range(ATTEMPTS):
            x, cond = sample_blocks(self._model, holding, self.seed, block, attempt)
            met = torch.from_numpy(holding.meets(codec.decode(x, cond, self.images)))
            parts.append((x[met], cond[met]))
            kept += int(met.sum())
            self.drawn += len(x)
            self.kept += int(met.sum())
            if kept >= needed:
                whole = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
                return whole[0][:needed], whole[1][:needed]
        raise self._too_few(index * BLOCK_ROWS, kept, needed, asked)

    def _too_few(self, first: int, kept: int, needed: int, asked: int) -> ConditionError:
        """That of the rows from ``first`` on, fewer have what is asked for than are needed."""
        here = "" if needed == asked else f", and {_span(first, needed)} need {needed:,}"
        there = f"{_span(first, kept)} can be had; for more, " if kept else ""
        return ConditionError(
            f"where: {kept} of {ATTEMPTS * BLOCK_ROWS:,} rows drawn have "
            f"{self._holding.describe()}; {asked:,} rows were asked for{here}",
            there
            + (
                "hold the columns that the constraints make these of, or what is more frequent"
                if self.artifact.model.holds
                else "hold what is more frequent, train with those columns in data.conditions, or "
                "choose a family that holds any column (nade)"
            ),
        )

    def batches(self, start: int, count: int, dictionaries: bool = False) -> Iterator[pa.Table]:
        """Rows start … start + count, a block or a few at a time, in constant memory.

        Args:
            dictionaries: whether text may come as dictionaries, for `write_parquet`.

        Raises:
            UsageError: a negative start or count, or more than 2^63 rows.
        """
        if start < 0 or count < 0:
            name, value = ("start", start) if start < 0 else ("count", count)
            raise UsageError(f"{name}: {value} is negative", "rows count from 0")
        stop = start + count
        if stop > MAX_ROWS:
            raise UsageError(f"rows {start} … +{count} are out of range", "there are 2^63 rows")
        together = BLOCK_ROWS * self._together
        while start < stop:
            length = min(together - start % together, stop - start)
            yield self._part(start, length, count, dictionaries)
            start += length

    def rows(self, start: int, count: int) -> pa.Table:
        """Rows start … start + count as one table."""
        tables = list(self.batches(start, count))
        return pa.concat_tables(tables) if tables else self.arrow_schema.empty_table()


def _span(first: int, count: int) -> str:
    """Some rows by their numbers."""
    return f"row {first}" if count == 1 else f"rows {first} … {first + count - 1}"
