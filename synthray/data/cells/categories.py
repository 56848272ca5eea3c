"""A column of categories or booleans as codes: its values in order, then missing and hidden."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from synthray.data import arrow_types
from synthray.data.conditions import value_index
from synthray.data.dictionaries import recoded
from synthray.data.schema import Column
from synthray.data.sketches import ValueCounts, plain
from synthray.errors import SchemaError, SourceError

Value = bool | int | str


class CategoryForm(BaseModel):
    """What is learned beside the schema, which holds the values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["categories"] = "categories"
    missing: int | None = None
    hidden: int | None = None


class CategoryCells:
    """Encodes and decodes one column, whose ``values`` are set."""

    def __init__(self, column: Column, form: CategoryForm) -> None:
        self.column, self.form = column, form
        self.type = arrow_types.parse(column.arrow_type)
        values = list(column.values or ())
        special = [code for code in (form.missing, form.hidden) if code is not None]
        self.codes = len(values) + len(special)
        if sorted(special) != list(range(len(values), self.codes)):
            raise ValueError(f"column {column.name!r}: missing and hidden follow the values")
        plain = arrow_types.value_type(self.type)
        # Arrow looks nothing up among views.
        self._view = pa.types.is_string_view(plain)
        self._known = pa.array(values, pa.string() if self._view else plain)
        self._values = pa.concat_arrays([self._known, pa.nulls(len(special), self._known.type)])
        if pa.types.is_dictionary(self.type):
            known = column.dictionary or tuple(values)
            self._values = recoded(self._values, self.type, known)

    @property
    def number(self) -> bool:
        return False

    def encode(self, cells: pa.ChunkedArray, keys: np.ndarray) -> tuple[np.ndarray, None]:
        """Codes int64 [rows]; a value that the fit did not see is hidden where rare ones are.

        Raises:
            SourceError: a value that the fit did not see.
        """
        found = [self._looked_up(chunk) for chunk in cells.chunks]
        codes = np.concatenate(found) if found else np.zeros(0, np.int64)
        unknown = codes < 0
        if unknown.any():
            missing = pc.is_null(plain(cells)).to_numpy()
            codes[unknown & missing] = -1 if self.form.missing is None else self.form.missing
            codes[unknown & ~missing] = -1 if self.form.hidden is None else self.form.hidden
            if (codes < 0).any():
                row = int(np.flatnonzero(codes < 0)[0])
                raise SourceError(
                    f"data.source: column {self.column.name!r} has the value "
                    f"{cells[row].as_py()!r}, which it had not when the codec was fitted",
                    "remove those rows, or train on data that has them",
                )
        return codes, None

    def _looked_up(self, chunk: pa.Array) -> np.ndarray:
        """Codes of the known values, and -1."""
        if pa.types.is_dictionary(chunk.type):
            table = self._looked_up(chunk.dictionary)
            index = chunk.indices.fill_null(len(table)).to_numpy()
            return np.append(table, -1)[index]
        if pa.types.is_string_view(chunk.type):
            chunk = chunk.cast(pa.string())
        known = self._known.cast(chunk.type)
        codes = pc.index_in(chunk, value_set=known).fill_null(-1)
        return np.asarray(codes.to_numpy().astype(np.int64))

    def cell(self, value: bool | int | float | str) -> tuple[int, float, pa.Scalar]:
        """The code of a value, the offset that it has not, and the value.

        Raises:
            ConditionError: the column has no such value.
        """
        code = value_index(self.column, value)
        return code, 0.0, self._known[code]

    def indexed(self, codes: np.ndarray) -> pa.Array:
        """As `decode`, in a dictionary if the type is text, with nothing copied but the codes."""
        if not arrow_types.is_text(self.type) or self._view:
            return self.decode(codes, None)
        mask = codes >= len(self._known) if self.codes > len(self._known) else None
        indices = pa.array(codes.astype(np.int32), mask=mask)
        return pa.DictionaryArray.from_arrays(indices, self._known, safe=False)

    def decode(self, codes: np.ndarray, offsets: np.ndarray | None) -> pa.Array:
        """Cells in the source's type; missing and hidden ones are null.

        Args:
            codes: int64 [rows].
        """
        cells = self._values.take(pa.array(codes))
        return cells.cast(self.type) if self._view else cells


def fit_categories(
    column: Column, counts: ValueCounts, rare: int
) -> tuple[Column, CategoryForm, tuple[int, ...]]:
    """The column with its values, the form, and the rows with each code.

    Args:
        rare: values in fewer rows are hidden.

    Raises:
        SourceError: more values than can be counted, or none that is not hidden.
        SchemaError: a type that holds no categories.
    """
    check_type(column)
    if counts.overflowed:
        raise SourceError(
            f"data.source: column {column.name!r} has more than {counts.limit:,} categories",
            f"set data.schema.{column.name}.kind to id or text, or leave the column out",
        )
    kept = counts.exact.take(np.flatnonzero(counts.exact.counts >= rare))
    found, hidden = kept.counts.tolist(), counts.count - int(kept.counts.sum())
    special: dict[str, int] = {}
    for name, rows in (("missing", counts.missing), ("hidden", hidden)):
        if rows:
            special[name] = len(found)
            found.append(rows)
    values = tuple(kept.values.to_pylist())
    kind = arrow_types.parse(column.arrow_type)
    if pa.types.is_dictionary(kind):
        most = int(np.iinfo(kind.index_type.to_pandas_dtype()).max) + 1
        if len(values) > most:
            raise SourceError(
                f"data.source: column {column.name!r} has {len(values)} categories in all, and its "
                f"type {kind} counts up to {most}",
                "store it with a wider index, or as plain text",
            )
    column = column.model_copy(update={"values": values})
    return column, CategoryForm(**special), tuple(found)


def check_type(column: Column) -> None:
    """Raises: SchemaError: a type that holds no categories."""
    kind = arrow_types.value_type(arrow_types.parse(column.arrow_type))
    if not (
        arrow_types.is_text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        raise SchemaError(
            f"data.schema.{column.name}.kind: a column of {kind} cannot be {column.kind.value}",
            "give a column of text, integers or booleans, or correct its kind",
        )
