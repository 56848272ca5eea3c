"""The codec of tables of mixed columns: each a code, numbers with an offset (see `layout`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import TypeAdapter

from synthray.data import arrow_types, conditions
from synthray.data.cells import storing
from synthray.data.cells.categories import CategoryCells, CategoryForm
from synthray.data.cells.ids import IdCells, IdForm
from synthray.data.cells.numbers import NumberCells, NumberForm
from synthray.data.cells.ranges import Range, range_of
from synthray.data.codec import Cell, Cleaning, DataSpec, Encoded, Value
from synthray.data.dictionaries import dictionaries_of
from synthray.data.hashing import row_keys
from synthray.data.layout import Layout
from synthray.data.schema import Column, Kind, Schema
from synthray.data.table_fit import Form, check_finite, fit_table
from synthray.data.table_stats import CATEGORIES, NUMBERS, TableStats, stats_of
from synthray.errors import ArtifactError, ConditionError, SchemaError

BINS = 64

Cells = NumberCells | CategoryCells


class TableCodec:
    """Rows of numbers, dates, categories and booleans, with missing cells; and conditions.

    A column of one value, or of none, is no slot and comes back as it was. Missing cells are a code
    of their own; NaN counts as missing, and comes back as null. Ids are not learned, but made anew,
    unique, from the number of the row (`cells.ids`). Text and images are left out.

    Args:
        schema: the columns. Conditions are coded apart, as for every codec.
        numbers: "bins": exact atoms and quantile bins (`cells.bins`); "modes": the mixture of
            1907.00503 (`cells.modes`).
        bins: into which the numbers of a column fall that are no atoms.
        rare: a privacy threshold, in rows. What fewer rows have does not get into the artifact:
            values of categories, which are hidden from generation; single numbers and modes; labels
            of the conditions; and a column's range starts and ends at the rare-th of the numbers
            that are not listed. The edges of bins are quantiles, so numbers of single rows that
            nothing marks as such. 0 keeps all.

    Raises:
        SchemaError: a pattern of ids that cannot be read.
    """

    storage: ClassVar[np.dtype[Any]] = np.dtype(np.float32)

    def __init__(
        self,
        schema: Schema,
        numbers: Literal["bins", "modes"] = "bins",
        bins: int = BINS,
        rare: int = 0,
    ) -> None:
        kinds = (*NUMBERS, *CATEGORIES, Kind.id)
        self.schema = Schema(columns=tuple(c for c in schema if c.kind in kinds or c.condition))
        self.numbers, self.bins, self.rare = numbers, bins, rare
        for column in self.schema.of_kind(Kind.id):
            IdCells(column, IdForm())  # a pattern that cannot be read is told before the fit
        self.cleaning: Cleaning | None = None

    @property
    def spec(self) -> DataSpec:
        return self._spec

    @property
    def made(self) -> list[Column]:
        """The columns beside the conditions: learned, constant or ids."""
        return [column for column in self.schema if not column.condition]

    # --- fitting -------------------------------------------------------------------------

    def partial(self, rows: pa.Table) -> TableStats:
        """Raises:
        SourceError, SchemaError: text that is no date, a column whose kind does not fit its type.
        """
        keys = row_keys(rows.select(self.schema.names))
        columns = {c.name: stats_of(c, rows[c.name], keys, self.rare) for c in self.made}
        return TableStats(
            len(rows),
            columns,
            conditions.count_labels(self.schema, rows),
            dictionaries_of(rows, self.schema),
        )

    def fit(self, stats: Sequence[TableStats]) -> DataSpec:
        """Raises: SourceError: as `fit_table`."""
        total = TableStats()
        for part in stats:
            total = total.merge(part)
        fitted = fit_table(self.schema, total, self.numbers, self.bins, self.rare)
        self.schema = fitted.schema
        self._take(fitted.forms, fitted.spec)
        self.cleaning = Cleaning(total.rows, 0, ())
        return self._spec

    def forget_counts(self) -> None:
        """Take every code of a column as equally frequent: exact counts tell of single rows."""
        layout = self.spec.layout or Layout(slots=())
        slots = tuple(s.model_copy(update={"counts": (1,) * s.codes}) for s in layout.slots)
        self._spec = self.spec.model_copy(update={"layout": Layout(slots=slots)})

    def _take(self, forms: Sequence[Form], spec: DataSpec) -> None:
        self._forms, self._spec = list(forms), spec
        self._cells: list[Cells] = []
        self._ids: dict[str, IdCells] = {}
        for column, form in zip(self.made, forms, strict=True):
            if isinstance(form, NumberForm):
                self._cells.append(NumberCells(column, form))
            elif isinstance(form, IdForm):
                self._ids[column.name] = IdCells(column, form)
            else:
                self._cells.append(CategoryCells(column, form))
        self._labels = [CategoryCells(column, CategoryForm()) for column in self.schema.conditions]
        layout = spec.layout or Layout(slots=())
        slots = [(c.column.name, c.codes, c.number) for c in self._cells if c.codes > 1]
        if slots != [(slot.name, slot.codes, slot.number) for slot in layout.slots]:
            raise ValueError("the slots of the layout are not those of the columns")
        self._codes, self._offsets = layout.code_columns, layout.offset_columns
        self._most = np.array([[slot.codes] for slot in layout.slots])
        self._arrow = pa.schema(
            [pa.field(c.name, arrow_types.parse(c.arrow_type)) for c in self.schema]
        )

    # --- rows to tensors -----------------------------------------------------------------

    def encode(self, rows: pa.Table) -> Encoded:
        """Numbers that the fit did not see are encoded as the nearest it knows.

        Raises:
            SourceError: infinite numbers, or a category or a missing cell in a column that had no
                such when it was fitted.
            ConditionError: a label that the fit did not see.
        """
        drawn = self.numbers == "modes"
        keys = row_keys(rows.select(self.schema.names)) if drawn else np.empty(0, np.uint64)
        x = np.empty((len(rows), *self.spec.shape), self.storage)
        slot = 0
        infinite: dict[str, int] = {}
        parts: list[tuple[Cells, pa.ChunkedArray]] = []
        for cells in self._cells:
            column = rows[cells.column.name]
            if isinstance(cells, NumberCells):
                column = storing.read(cells.column, column)
                if pa.types.is_floating(column.type):
                    infinite[cells.column.name] = int(np.isinf(column.to_numpy()).sum())
            parts.append((cells, column))
        check_finite(infinite, len(rows))
        for cells, column in parts:
            codes, offsets = cells.encode(column, keys)
            if cells.codes > 1:
                at = self._codes[slot]
                x[:, at] = codes
                if offsets is not None:
                    x[:, at + 1] = offsets
                slot += 1
        return Encoded(x, conditions.encode_labels(self.schema, rows))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        """Compact rows already."""
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
        """Rows with the source's columns and types; ``images_as`` has no meaning here.

        A hidden cell, which no model gives, comes back as null.

        Raises:
            ArtifactError: numbers that are not finite, of a model that has diverged, or no codes.
            SchemaError: more rows than a column's pattern has ids.
        """
        numbers = np.ascontiguousarray(x.detach().float().cpu().numpy().T)
        if not np.isfinite(numbers).all():
            raise ArtifactError(
                "the model gives numbers that are not finite",
                "train again with lower learning rates",
            )
        codes = numbers[self._codes].astype(np.int64)
        if ((codes < 0) | (codes >= self._most)).any():
            raise ArtifactError(
                "the model gives codes that its columns do not have", "mend the family's sample()"
            )
        offsets = np.clip(numbers[self._offsets], -1, 1)
        labels = np.ascontiguousarray(cond.cpu().numpy().T)
        constant = np.zeros(len(x), np.int64)
        cells, conditions_ = iter(self._cells), iter(self._labels)
        columns: list[pa.Array] = []
        slot, number, position = 0, 0, 0
        for column in self.schema:
            if column.condition:
                columns.append(next(conditions_).decode(labels[position], None))
                position += 1
                continue
            if column.name in self._ids:
                columns.append(self._ids[column.name].made(first, len(x), seed))
                continue
            part = next(cells)
            if part.codes == 1:
                columns.append(part.decode(constant, None))
                continue
            if dictionaries and isinstance(part, CategoryCells):
                columns.append(part.indexed(codes[slot]))
            else:
                columns.append(part.decode(codes[slot], offsets[number] if part.number else None))
            slot += 1
            number += part.number
        if dictionaries:
            return pa.Table.from_arrays(columns, names=self._arrow.names)
        return pa.Table.from_arrays(columns, schema=self._arrow)

    def cell(self, name: str, value: Value) -> tuple[Cell | None, pa.Scalar]:
        """How a learned column holds a value, and the value; text that reads as one is taken as it.

        Raises:
            ConditionError: no such column, or a value that it cannot have.
        """
        part = next((c for c in self._cells if c.column.name == name), None)
        if part is None:
            raise conditions.not_learned(self.schema, name)
        empty = value == "" and "" not in (part.column.values or ())
        if value is None or value != value or empty:  # NaN is not itself
            code, offset, scalar = self._missing(part)
        else:
            code, offset, scalar = part.cell(value)
        if part.codes == 1:
            return None, scalar
        slots = [c.column.name for c in self._cells if c.codes > 1]
        return Cell(slots.index(name), code, offset), scalar

    @staticmethod
    def _missing(part: Cells) -> tuple[int, float, pa.Scalar]:
        """As `Cells.cell`, of a missing cell."""
        name, code = part.column.name, part.form.missing
        if code is None:
            raise ConditionError(
                f"where: {name}: no cell of the column is missing in the source",
                "give a value to hold",
            )
        return code, 0.0, pa.scalar(None, arrow_types.value_type(part.type))

    def arrow_schema(self, images_as: Literal["png", "tensor"] = "png") -> pa.Schema:
        """The types of decoded rows: exactly those of the source."""
        return self._arrow

    def ranges(self) -> dict[str, Range]:
        found = {c.column.name: range_of(c) for c in self._cells if isinstance(c, NumberCells)}
        return {name: ends for name, ends in found.items() if ends is not None}

    # --- the artifact's form -------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "table",
            "schema": self.schema.model_dump(mode="json"),
            "numbers": self.numbers,
            "bins": self.bins,
            "rare": self.rare,
            "cells": [form.model_dump(mode="json") for form in self._forms],
            "spec": self.spec.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> TableCodec:
        """Raises: ArtifactError: not the form that `to_json` wrote."""
        try:
            schema = Schema.model_validate(tree["schema"])
            codec = cls(schema, tree["numbers"], tree["bins"], tree["rare"])
            forms = TypeAdapter(list[Form]).validate_python(tree["cells"])
            codec._take(forms, DataSpec.model_validate(tree["spec"]))
        except (KeyError, TypeError, ValueError, OverflowError, SchemaError) as error:
            raise ArtifactError(f"codec.json cannot be read: {error}", "train again") from error
        return codec
