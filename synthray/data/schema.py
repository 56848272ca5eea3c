"""The columns of a source, with their kinds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from synthray.errors import SchemaError


class Kind(StrEnum):
    """What a column holds, which decides how it is encoded."""

    continuous = "continuous"
    integer = "integer"
    categorical = "categorical"
    boolean = "boolean"
    datetime = "datetime"
    text = "text"
    image = "image"
    id = "id"


class Column(BaseModel):
    """One column.

    ``values`` are the categories of a categorical column, in a fixed order, as Python scalars of
    the source's own type; ``dictionary`` are those that a column of a dictionary type lists, in its
    order, whether they occur or not. ``format`` is that of a datetime column stored as text, as
    strptime takes it. ``pattern`` is the regular expression that a generated id matches.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    condition: bool = False
    values: tuple[bool | int | str, ...] | None = None
    dictionary: tuple[bool | int | str, ...] | None = None
    arrow_type: str = Field(default="string", description="the Arrow type, as str(type)")
    format: str | None = None
    pattern: str | None = None

    @property
    def countable(self) -> bool:
        """Whether its values can be listed, as those of a condition are."""
        if self.kind == Kind.integer:  # whole numbers may be stored as floats
            return "float" not in self.arrow_type and "double" not in self.arrow_type
        return self.kind in (Kind.categorical, Kind.boolean)


def no_column(place: str, name: str, names: Sequence[str]) -> SchemaError:
    """That ``place`` names a column that is none of these."""
    return SchemaError(
        f"{place}: no column named {name!r}",
        f"{near(name, names)}the columns are: {', '.join(names)}",
    )


def near(name: str, names: Sequence[str]) -> str:
    """A question, with a space after it, whether the nearest of these names was meant; or none."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}? " if close else ""


class Schema(BaseModel):
    """All columns of a source, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...]

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"no column named {name!r}", f"the columns are: {', '.join(self.names)}")

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def conditions(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.condition)

    def of_kind(self, kind: Kind) -> list[Column]:
        return [column for column in self.columns if column.kind == kind]

    def with_conditions(self, names: Iterable[str]) -> Schema:
        """The same schema with exactly ``names`` as conditions.

        Raises:
            SchemaError: an unknown column, or one that is not categorical, boolean or integer.
        """
        wanted = list(names)
        for name in wanted:
            try:
                column = self[name]
            except SchemaError as error:
                raise SchemaError(f"data.conditions: {error.what}", error.remedy) from None
            if not column.countable:
                floats = " stored as floats" if column.kind == Kind.integer else ""
                raise SchemaError(
                    f"data.conditions: column {name!r} is {column.kind.value}{floats}, "
                    "not categorical, boolean or integer",
                    "choose a column of labels, or correct its kind under data.schema",
                )
        columns = tuple(c.model_copy(update={"condition": c.name in wanted}) for c in self.columns)
        return Schema(columns=columns)
