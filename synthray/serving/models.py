"""What the API knows of a model: who it is, and how to open its virtual dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from synthray.data.codec import Value
from synthray.data.schema import Kind, Schema
from synthray.sampling.wishes import Way

Images = Literal["png", "tensor"]
Where = Mapping[str, Value]
Balance = Mapping[str, Mapping[str, float] | float]


class Rows(Protocol):
    """The part of a virtual dataset that serving needs."""

    @property
    def arrow_schema(self) -> pa.Schema: ...

    @property
    def acceptance(self) -> float | None: ...

    def batches(self, start: int, count: int) -> Iterator[pa.Table]: ...


class Opener(Protocol):
    def __call__(self, seed: int, where: Where, balance: Balance, images: Images) -> Rows: ...


@dataclass(frozen=True)
class ServedModel:
    """One model under one name.

    Attributes:
        open: gives the virtual dataset of (seed, where, balance), with images in the given form.
        settle: a column's own value that is meant, of the columns in ``ways``; ConditionError.
        ways: the columns that can be held, each with how.
        scores: what the model's report says, when there is one.
    """

    digest: str
    schema: Schema
    open: Opener
    settle: Callable[[str, Value], Value]
    ways: Mapping[str, Way]
    card: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] | None = None

    @property
    def image_columns(self) -> list[str]:
        return [column.name for column in self.schema.columns if column.kind == Kind.image]
