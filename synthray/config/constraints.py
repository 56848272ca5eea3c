"""What holds in every row of a table. Reasons and examples: docs/tables.md, "Constraints"."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from synthray.config.strict import Strict


def _is_constant(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a column, a number, or a date such as 2024-12-31")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    return value


Constant = Annotated[int | float | str, BeforeValidator(_is_constant)]
"""A number, or a date as text: 2024-12-31, 2024-12-31T08:00."""
OnViolation = Literal["error", "drop"]


class Rule(Strict):
    """One constraint."""

    on_violation: OnViolation = Field(
        "error", description="rows of the source that break it: stop, or leave them out and say so"
    )


class Combinations(Strict):
    """Only combinations of values that the source has."""

    combinations: tuple[str, ...] = Field(min_length=2)

    @field_validator("combinations")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each_once(value)


class Less(Rule):
    """Columns and constants in ascending order: each at most every later one."""

    less: tuple[Constant, ...] = Field(min_length=2)
    strict: bool = Field(False, description="each below every later one")

    @field_validator("less")
    @classmethod
    def _once(cls, value: tuple[Constant, ...]) -> tuple[Constant, ...]:
        if not any(isinstance(item, str) for item in value):
            raise ValueError("must name a column")
        return _each_once(value)


class Bounds(Strict):
    """The range of a column, both ends included."""

    column: str
    min: Constant | None = None
    max: Constant | None = None

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Between(Rule):
    """Numbers or dates of one column within bounds."""

    range: Bounds


class Unique(Strict):
    """No two rows alike in these columns, one of which is an id."""

    unique: tuple[str, ...] = Field(min_length=1)

    @field_validator("unique")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _each_once(value)


class Form(Strict):
    """A column of text and the regular expression that all of it matches."""

    column: str
    regex: str

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return value


class Pattern(Rule):
    """Text of one form, such as ids."""

    pattern: Form


class Addition(Strict):
    """A column and those that it is the sum of."""

    total: str
    parts: tuple[str, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        _each_once(self.parts)
        if self.total in self.parts:
            raise ValueError(f"{self.total!r} cannot be a part of itself")
        return self


class Sum(Rule):
    """A column that is the sum of others."""

    sum: Addition


KEYS: dict[str, type[Strict]] = {
    "combinations": Combinations,
    "less": Less,
    "range": Between,
    "unique": Unique,
    "pattern": Pattern,
    "sum": Sum,
}


def _kind(value: Any) -> str | None:
    """Which constraint is meant: the one whose key is there. Two of them: the first, and the other
    is an unknown key.
    """
    if isinstance(value, dict):
        return next((f"({key})" for key in KEYS if key in value), None)
    return next((f"({key})" for key, kind in KEYS.items() if isinstance(value, kind)), None)


def _each_once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((item for index, item in enumerate(value) if item in value[:index]), None)
    if twice is not None:
        raise ValueError(f"names {twice!r} twice")
    return value


# In brackets, so that messages can tell these names from keys.
Constraint = Annotated[
    Annotated[Combinations, Tag("(combinations)")]
    | Annotated[Less, Tag("(less)")]
    | Annotated[Between, Tag("(range)")]
    | Annotated[Unique, Tag("(unique)")]
    | Annotated[Pattern, Tag("(pattern)")]
    | Annotated[Sum, Tag("(sum)")],
    Discriminator(
        _kind,
        custom_error_type="constraint",
        custom_error_message=f"Input must be a section with one of the keys {', '.join(KEYS)}",
    ),
]
