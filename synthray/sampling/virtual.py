"""The virtual dataset: (artifact, seed) as an endless table of which any slice can be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import pyarrow as pa

from synthray import rng
from synthray.artifact import Artifact
from synthray.config import BLOCK_ROWS
from synthray.data.schema import Column, Kind
from synthray.errors import ConditionError, UsageError
from synthray.sampling.blocks import sample_block

Value = bool | int | str
MAX_ROWS = 2**63


class VirtualDataset:
    """Row i is a pure function of (artifact, seed, where, i).

    Args:
        artifact: a trained generator.
        seed: 0 … 2^63 - 1.
        where: condition values to hold, by column name.
        images: PNG bytes, or uint8 tensors [height, width, channels].
        device: where the generator computes. Bytes agree among processors of one kind.

    Raises:
        ConditionError: ``where`` names a column or a value that the model was not trained on.
    """

    def __init__(
        self,
        artifact: Artifact,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        images: Literal["png", "tensor"] = "png",
        device: str = "cpu",
    ) -> None:
        if not 0 <= seed <= rng.MAX_SEED:
            raise UsageError(f"seed: {seed} is out of range", "use 0 … 2^63 - 1")
        self.artifact, self.seed, self.images = artifact, seed, images
        self._model = artifact.model.to(device)
        self._fixed = _fixed_conditions(artifact, where or {})

    @property
    def arrow_schema(self) -> pa.Schema:
        return self.artifact.codec.arrow_schema(self.images)

    def block(self, index: int) -> pa.Table:
        """The 1,024 rows of block ``index``."""
        return self._part(index, 0, BLOCK_ROWS)

    def _part(self, index: int, offset: int, length: int) -> pa.Table:
        """Some rows of a block. All are sampled; ids may not suffice for those not asked for."""
        codec = self.artifact.codec
        x, cond = sample_block(self._model, codec.spec, self.seed, index, self._fixed)
        x, cond = x[offset : offset + length], cond[offset : offset + length]
        first = index * BLOCK_ROWS + offset
        return codec.decode(x, cond, self.images, first=first, seed=self.seed)

    def batches(self, start: int, count: int) -> Iterator[pa.Table]:
        """Rows start … start + count, block by block, in constant memory.

        Raises:
            UsageError: a negative start or count, or more than 2^63 rows.
        """
        if start < 0 or count < 0:
            name, value = ("start", start) if start < 0 else ("count", count)
            raise UsageError(f"{name}: {value} is negative", "rows count from 0")
        stop = start + count
        if stop > MAX_ROWS:
            raise UsageError(f"rows {start} … +{count} are out of range", "there are 2^63 rows")
        while start < stop:
            block, offset = divmod(start, BLOCK_ROWS)
            length = min(BLOCK_ROWS - offset, stop - start)
            yield self._part(block, offset, length)
            start += length

    def rows(self, start: int, count: int) -> pa.Table:
        """Rows start … start + count as one table."""
        tables = list(self.batches(start, count))
        return pa.concat_tables(tables) if tables else self.arrow_schema.empty_table()


def _fixed_conditions(artifact: Artifact, where: Mapping[str, Value]) -> dict[int, int]:
    conditions = artifact.schema.conditions
    fixed: dict[int, int] = {}
    for name, value in where.items():
        position = next((i for i, c in enumerate(conditions) if c.name == name), None)
        if position is None:
            known = ", ".join(c.name for c in conditions) or "none"
            raise ConditionError(
                f"where: {name!r} is not a condition of this model", f"its conditions: {known}"
            )
        fixed[position] = _value_index(conditions[position], value)
    return fixed


def _value_index(column: Column, value: Value) -> int:
    """The index of a value; text that reads as the column's own type is taken as it."""
    values = column.values or ()
    if column.kind != Kind.image:
        for index, known in enumerate(values):
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return index
        for index, known in enumerate(values):
            if str(known).lower() == str(value).lower():
                return index
    shown = ", ".join(map(str, values[:20])) + (" …" if len(values) > 20 else "")
    raise ConditionError(
        f"where: {column.name} = {value!r} is not in the training data", f"known values: {shown}"
    )
