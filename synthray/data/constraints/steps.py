"""Steps: each replaces some columns by others that a model learns from, and brings them back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from synthray.data import arrow_types
from synthray.data.dictionaries import Dictionaries, recoded
from synthray.data.schema import Column, Schema
from synthray.data.sketches import plain

Arrays = list[pa.Array]


class Step(ABC):
    """Some columns of the source, and what stands for them before the model.

    Attributes:
        key: of the constraint in the config, for errors.
        restores: columns of the source, which it takes away and brings back.
        needs: names of other columns of the source, which must be back before.
        makes: columns that the model learns from instead.
    """

    key: str
    restores: tuple[Column, ...]
    needs: tuple[str, ...] = ()
    makes: tuple[Column, ...]

    @abstractmethod
    def forward(self, rows: pa.Table) -> Arrays:
        """What it makes of rows of the source; each row's of that row alone."""

    @abstractmethod
    def backward(self, made: Sequence[pa.Array], restored: Mapping[str, pa.Array]) -> Arrays:
        """What it restores from any cells of the columns it makes; ``restored`` has all it needs.

        The constraint holds in every row, whatever the cells are. Where no value could satisfy it
        the cell is left missing.
        """

    def partial(self, rows: pa.Table) -> Any:
        """Statistics of some rows; none for most steps."""
        return None

    def merge(self, a: Any, b: Any) -> Any:
        """The statistics of both parts."""
        return None

    def fit(self, stats: Any) -> None:
        """Learn from the statistics of all rows."""
        return

    def known(self, values: Mapping[str, Sequence[Any] | None], rare: int) -> None:
        """Forget what the codec of the made columns did not keep.

        Args:
            values: by column, the categories that it kept.
            rare: its privacy threshold, in rows.
        """
        return

    def state(self) -> Any:
        """What the fit learned, as JSON."""
        return None

    def load(self, state: Any) -> None:
        """Raises: KeyError, TypeError, ValueError: not what `state` gave."""
        return


def cells(rows: pa.Table, name: str) -> pa.Array:
    """A column as one array, without a dictionary."""
    return plain(rows[name]).combine_chunks()


def without_dictionaries(schema: Schema) -> Schema:
    """The columns as steps see them."""
    kinds = {c.name: arrow_types.value_type(arrow_types.parse(c.arrow_type)) for c in schema}
    return Schema(
        columns=tuple(c.model_copy(update={"arrow_type": str(kinds[c.name])}) for c in schema)
    )


def in_types(
    rows: pa.Table, schema: pa.Schema, dictionaries: Dictionaries | None = None
) -> pa.Table:
    """The rows with the types of a schema, and what is known of its dictionaries."""
    columns = []
    for field in schema:
        column = rows[field.name]
        known = (dictionaries or {}).get(field.name)
        if known is not None:
            column = recoded(column, field.type, known)
        elif pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(column.type):
            column = column.combine_chunks().dictionary_encode()
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)
