"""The interface of codecs, and what a fitted one knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict

from synthray.data.layout import Layout
from synthray.data.schema import Schema

Coding = Literal["numbers", "modes", "bins"]
"""How a table is encoded: numbers alone, standardised; or compact rows (see `synthray.data.layout`)
with the modes of a mixture, or with bins, for numbers.
"""


class DataSpec(BaseModel):
    """What a model needs to know of its data.

    ``shape`` is that of one encoded row. ``conditions`` gives the number of values of each
    condition column; ``combinations`` lists the value indices that occur together in the source,
    and ``counts`` how often. ``layout`` says how the columns of a table lie in a row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, ...]
    rows: int
    conditions: tuple[int, ...] = ()
    combinations: tuple[tuple[int, ...], ...] = ((),)
    counts: tuple[int, ...] = ()
    layout: Layout | None = None


@dataclass(frozen=True)
class Encoded:
    """Encoded rows in their compact form.

    x: [rows, *shape], in the codec's storage type (uint8 for images, float32 for numbers and for
        the compact rows of a table).
    cond: int64 [rows, conditions], the value index of each condition.
    """

    x: np.ndarray
    cond: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @staticmethod
    def concat(parts: Sequence[Encoded]) -> Encoded:
        return Encoded(
            np.concatenate([p.x for p in parts]), np.concatenate([p.cond for p in parts])
        )


Value = bool | int | float | str | None
"""What a column can be asked to hold: None is a missing cell, and so is empty text that is no value
of the column.
"""


class Cell(NamedTuple):
    """One value of one slot of a table, as the codec encodes it."""

    slot: int
    code: int
    offset: float = 0.0


@dataclass(frozen=True)
class Cleaning:
    """What was skipped: how many rows of how many, and some of their names with the reason.

    what: the skipped rows in words.
    """

    rows: int
    unreadable: int
    examples: tuple[tuple[str, str], ...]
    what: str = "unreadable rows"


class Codec(Protocol):
    """Turns rows into tensors and back. Fitted from partial statistics, so it fits on shards."""

    schema: Schema
    cleaning: Cleaning | None
    """What the fit skipped; None for a codec that was loaded."""
    storage: ClassVar[np.dtype[Any]]
    """The type of encoded rows."""

    @property
    def spec(self) -> DataSpec: ...

    def partial(self, rows: pa.Table) -> Any:
        """Statistics of some rows; they merge in any grouping."""
        ...

    def fit(self, stats: Sequence[Any]) -> DataSpec:
        """Learn from the statistics of all chunks, given in the order of the chunks."""
        ...

    def encode(self, rows: pa.Table) -> Encoded: ...

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Compact rows as the model sees them: float32; images in [-1, 1]."""
        ...

    def decode(
        self,
        x: torch.Tensor,
        cond: torch.Tensor,
        images_as: Literal["png", "tensor"] = "png",
        first: int = 0,
        seed: int = 0,
        dictionaries: bool = False,
    ) -> pa.Table:
        """The inverse of `encode` and `scale`: a table with the source's columns.

        Args:
            first: the number of the first row, and ``seed``: that of the virtual dataset; ids are
                made from them. Nothing else of a row depends on the rows beside it.
            dictionaries: whether cells may come as dictionaries of the source's type, which Parquet
                takes as they are.
        """
        ...

    def cell(self, name: str, value: Value) -> tuple[Cell | None, pa.Scalar]:
        """How a column that is no condition holds a value, if one slot does, and the value itself.

        Raises:
            ConditionError: no such column beside the conditions, or a value it cannot have.
        """
        ...

    def arrow_schema(self, images_as: Literal["png", "tensor"] = "png") -> pa.Schema:
        """The schema of decoded tables."""
        ...

    def ranges(self) -> Mapping[str, tuple[pa.Scalar, pa.Scalar]]:
        """Between which cells the numbers and dates of a column lie, where the codec knows."""
        ...

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self: ...
