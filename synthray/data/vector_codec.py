"""The codec of rows of plain numbers: every column standardised, labels to condition indices."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict

from synthray.data import conditions
from synthray.data.codec import Cleaning, DataSpec, Encoded, Value
from synthray.data.conditions import Label
from synthray.data.moments import Moments, Number, to_float64
from synthray.data.schema import Column, Kind, Schema
from synthray.errors import ArtifactError, SourceError

RESOLUTION = 1e-9
"""The smallest deviation, as a share of the mean, that float64 keeps apart well."""


@dataclass(frozen=True)
class VectorStats:
    """Statistics of some rows of a source of numbers: by column, and of the conditions."""

    rows: int = 0
    columns: dict[str, Moments] = field(default_factory=dict)
    combinations: Counter[Label] = field(default_factory=Counter)

    def merge(self, other: VectorStats) -> VectorStats:
        names = [*self.columns, *(name for name in other.columns if name not in self.columns)]
        none = Moments()
        return VectorStats(
            rows=self.rows + other.rows,
            columns={
                name: self.columns.get(name, none).merge(other.columns.get(name, none))
                for name in names
            },
            combinations=self.combinations + other.combinations,
        )


class Scale(BaseModel):
    """How a column is standardised: (x - mean) / deviation. Its range is that of the source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    deviation: float
    low: Number
    high: Number

    @property
    def constant(self) -> bool:
        return self.low == self.high


class VectorCodec:
    """Rows of numbers, each column with mean 0 and variance 1, and categorical conditions.

    A constant column is 0 for the model, and comes back as it was. Columns of kind ``integer`` come
    back rounded, within the range of the source.

    Args:
        schema: continuous and integer columns, and the condition columns; others are not modelled.
    """

    storage: ClassVar[np.dtype[Any]] = np.dtype(np.float32)

    def __init__(self, schema: Schema) -> None:
        keep = tuple(c for c in schema if c.kind in (Kind.continuous, Kind.integer) or c.condition)
        self.schema = Schema(columns=keep)
        self.cleaning: Cleaning | None = None

    @property
    def spec(self) -> DataSpec:
        return self._spec

    @property
    def numbers(self) -> list[Column]:
        """The columns that are modelled, in the order of a row's numbers."""
        return [column for column in self.schema if not column.condition]

    # --- fitting -------------------------------------------------------------------------

    def partial(self, rows: pa.Table) -> VectorStats:
        columns = {column.name: Moments.of(rows[column.name]) for column in self.numbers}
        return VectorStats(len(rows), columns, conditions.count_labels(self.schema, rows))

    def fit(self, stats: Sequence[VectorStats]) -> DataSpec:
        """Settle the scale of each column and the values of the conditions.

        Raises:
            SourceError: missing or infinite numbers, or some that float64 cannot standardise.
        """
        total = VectorStats()
        for part in stats:
            total = total.merge(part)
        _check_finite(total.columns, total.rows)
        scales = [_scale(column.name, total.columns[column.name]) for column in self.numbers]
        self.schema = conditions.with_values(self.schema, total.combinations)
        self._take(
            scales,
            conditions.data_spec(self.schema, (len(scales),), total.rows, total.combinations),
        )
        self.cleaning = Cleaning(total.rows, 0, ())
        return self._spec

    def _take(self, scales: Sequence[Scale], spec: DataSpec) -> None:
        self._scales, self._spec = list(scales), spec
        self._mean = np.array([scale.mean for scale in scales])
        # A constant column's mean may differ from it by rounding: zero it, rather than divide.
        self._weight = np.array([0 if s.constant else 1 / s.deviation for s in scales])

    # --- rows to tensors -----------------------------------------------------------------

    def encode(self, rows: pa.Table) -> Encoded:
        """Raises:
        SourceError: missing or infinite numbers.
        ConditionError: a label that the fit did not see.
        """
        names = [column.name for column in self.numbers]
        _check_finite({name: Moments.of(rows[name]) for name in names}, len(rows))
        cells = np.stack([to_float64(rows[name]) for name in names], axis=1)
        x = ((cells - self._mean) * self._weight).astype(self.storage)
        return Encoded(x, conditions.encode_labels(self.schema, rows))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised already."""
        return x.float()

    # --- tensors to rows -----------------------------------------------------------------

    def decode(
        self,
        x: torch.Tensor,
        cond: torch.Tensor,
        images_as: Literal["png", "tensor"] = "png",
        first: int = 0,
        seed: int = 0,
        dictionaries: bool = False,
    ) -> pa.Table:
        """Rows with the source's columns and types; the other arguments have no meaning here.

        Raises:
            ArtifactError: numbers that are not finite, of a model that has diverged.
        """
        cells = x.detach().double().cpu().numpy()
        if not np.isfinite(cells).all():
            raise ArtifactError(
                "the model gives numbers that are not finite",
                "train again with lower learning rates",
            )
        schema = self.arrow_schema(images_as)
        columns: list[pa.Array] = []
        number, position = 0, 0
        for column in self.schema:
            if column.condition:
                columns.append(conditions.decode_label(column, cond[:, position]))
                position += 1
            else:
                whole = column.kind == Kind.integer
                kind = schema.field(column.name).type
                columns.append(_restored(cells[:, number], self._scales[number], kind, whole))
                number += 1
        return pa.Table.from_arrays(columns, schema=schema)

    def cell(self, name: str, value: Value) -> tuple[None, pa.Scalar]:
        """Raises: ConditionError: nothing but conditions can be held."""
        raise conditions.not_known(self.schema, name)

    def arrow_schema(self, images_as: Literal["png", "tensor"] = "png") -> pa.Schema:
        """The types of decoded rows: all keep those of the source."""
        return pa.schema([pa.field(c.name, conditions.plain_type(c)) for c in self.schema])

    def ranges(self) -> dict[str, tuple[pa.Scalar, pa.Scalar]]:
        """Of whole numbers; nothing bounds the others."""
        return {
            column.name: (pa.scalar(int(scale.low)), pa.scalar(int(scale.high)))
            for column, scale in zip(self.numbers, self._scales, strict=True)
            if column.kind == Kind.integer
        }

    # --- the artifact's form -------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "vector",
            "schema": self.schema.model_dump(mode="json"),
            "scales": [scale.model_dump(mode="json") for scale in self._scales],
            "spec": self.spec.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> VectorCodec:
        """Raises: ArtifactError: not the form that `to_json` wrote."""
        try:
            codec = cls(Schema.model_validate(tree["schema"]))
            scales = [Scale.model_validate(scale) for scale in tree["scales"]]
            spec = DataSpec.model_validate(tree["spec"])
            if not len(codec.numbers) == len(scales) == math.prod(spec.shape):
                raise ValueError(f"{len(scales)} scales for {len(codec.numbers)} columns")
            codec._take(scales, spec)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ArtifactError(f"codec.json cannot be read: {error}", "train again") from error
        return codec


def _check_finite(columns: dict[str, Moments], rows: int) -> None:
    """Raises: SourceError: columns with missing or infinite numbers, all of them named."""
    told = [
        f"column {name!r}: {found.missing} missing, {found.infinite} NaN or infinite"
        for name, found in columns.items()
        if found.missing or found.infinite
    ]
    if told:
        raise SourceError(
            f"data.source: of {rows} rows not all have numbers: {'; '.join(told)}",
            "fill or remove those rows",
        )


def _scale(name: str, found: Moments) -> Scale:
    if found.low != found.high:
        limit = RESOLUTION * abs(found.mean)
        if not (math.isfinite(found.deviation) and found.deviation > limit):
            raise SourceError(
                f"data.source: column {name!r} goes from {found.low!r} to {found.high!r}, which "
                "float64 cannot standardise",
                "give it in other units, or as the difference from a value among it",
            )
    return Scale(mean=found.mean, deviation=found.deviation, low=found.low, high=found.high)


def _restored(cells: np.ndarray, scale: Scale, kind: pa.DataType, whole: bool) -> pa.Array:
    """Standardised cells [rows] of a column in the source's Arrow type."""
    target = np.dtype(kind.to_pandas_dtype())
    if scale.constant:
        return pa.array(np.full(len(cells), scale.low, target))
    values = cells * scale.deviation + scale.mean
    if pa.types.is_floating(kind):
        limit = float(np.finfo(target).max)
        low, high = (scale.low, scale.high) if whole else (-limit, limit)
        return pa.array(np.clip(np.rint(values) if whole else values, low, high).astype(target))
    bounds = np.iinfo(target)
    low, high = (scale.low, scale.high) if whole else (int(bounds.min), int(bounds.max))
    return pa.array(_within(np.rint(values), int(low), int(high), target))


def _within(values: np.ndarray, low: int, high: int, target: np.dtype[Any]) -> np.ndarray:
    """Whole float64 values as integers between bounds that float64 itself may not hold."""
    cells = np.full(len(values), low, target)
    inside = (values > low) & (values < high)
    cells[inside] = values[inside].astype(target)
    cells[values >= high] = high
    return cells
