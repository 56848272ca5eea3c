"""What the API knows of a model: who it is, and how to open its virtual dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa

from synthray.data.schema import Kind, Schema

Images = Literal["png", "tensor"]
Where = Mapping[str, bool | int | str]


class Rows(Protocol):
    """The part of a virtual dataset that serving needs."""

    @property
    def arrow_schema(self) -> pa.Schema: ...

    def batches(self, start: int, count: int) -> Iterator[pa.Table]: ...


class Opener(Protocol):
    def __call__(self, seed: int, where: Where, images: Images) -> Rows: ...


@dataclass(frozen=True)
class ServedModel:
    """One model under one name.

    Attributes:
        open: gives the virtual dataset of (seed, where), with images in the given form.
        scores: what the model's report says, when there is one.
    """

    digest: str
    schema: Schema
    open: Opener
    card: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] | None = None

    @property
    def image_columns(self) -> list[str]:
        return [column.name for column in self.schema.columns if column.kind == Kind.image]
