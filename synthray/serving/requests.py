"""What a client may ask for, checked strictly: no float, boolean or odd text is a number."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from synthray.data.schema import Column, Kind, Schema
from synthray.rng import MAX_SEED
from synthray.serving.models import Images, Where
from synthray.serving.problems import bad_field

MAX_START = 2**63 - 1
FRESH_SEEDS = 2**53
"""Fresh seeds stay below this, where every JSON reader still holds integers exactly."""


def _digits(value: Any) -> Any:
    """The text of a query parameter as an integer; pydantic alone would take '1_0' and '1.0'."""
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise ValueError("must be a whole number of at most 19 digits")
        return int(value)
    return value


class SampleBody(BaseModel):
    """A batch of rows to draw."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"rows": 16, "seed": 0, "where": {}}]},
    )

    rows: int = Field(ge=1, description="how many rows")
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="none: a fresh one, told in the header SynthRay-Seed"
    )
    start: int = Field(0, ge=0, le=MAX_START, description="the first row's number")
    where: dict[str, StrictBool | StrictInt | StrictStr] = Field(
        {}, description="condition values to fix, by column"
    )
    images: Images = Field("png", description="how image columns come in tables")


class RowsQuery(BaseModel):
    """A range of rows of the virtual dataset of one seed."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, BeforeValidator(_digits)] = Field(ge=1, description="how many rows")
    start: Annotated[int, BeforeValidator(_digits)] = Field(
        0, ge=0, le=MAX_START, description="the first row's number"
    )
    seed: Annotated[int, BeforeValidator(_digits)] = Field(0, ge=0, le=MAX_SEED)
    where: list[str] = Field([], description="condition values to fix: where=label=7, repeatable")
    images: Images = Field("png", description="how image columns come in tables")


@dataclass(frozen=True)
class Slice:
    """Rows start … start + count of the virtual dataset of (seed, where)."""

    start: int
    count: int
    seed: int
    where: Where
    images: Images


def slice_of_body(body: SampleBody, schema: Schema) -> Slice:
    """Raises Problem: a range past the last row, an unknown condition or value."""
    _check_range(body.start, body.rows, "body.rows")
    where = {
        name: _known_value(schema, name, value, f"body.where.{name}")
        for name, value in body.where.items()
    }
    seed = secrets.randbelow(FRESH_SEEDS) if body.seed is None else body.seed
    return Slice(body.start, body.rows, seed, where, body.images)


def slice_of_query(query: RowsQuery, schema: Schema) -> Slice:
    """Raises Problem: a range past the last row, an unknown or repeated condition or value."""
    _check_range(query.start, query.count, "query.count")
    where: dict[str, bool | int | str] = {}
    for item in query.where:
        name, equals, text = item.partition("=")
        if not equals:
            detail = f"{item!r} is not of the form column=value, such as where=label=7"
            raise bad_field("invalid-condition", "query.where", detail)
        if name in where:
            detail = f"column {name!r} is fixed twice; give each condition once"
            raise bad_field("invalid-condition", "query.where", detail)
        where[name] = _known_value(schema, name, text, "query.where")
    return Slice(query.start, query.count, query.seed, where, query.images)


def _check_range(start: int, count: int, field: str) -> None:
    if start + count > MAX_START + 1:
        detail = f"start + rows = {start + count} lies past the last row number, {MAX_START}"
        raise bad_field("range-too-far", field, detail)


def _condition(schema: Schema, name: str, field: str) -> Column:
    known = [column.name for column in schema.conditions]
    for column in schema.conditions:
        if column.name == name:
            return column
    told = f"the conditions are: {', '.join(known)}" if known else "the model has no conditions"
    raise bad_field("unknown-condition", field, f"no condition named {name!r}; {told}", known=known)


def _known_value(
    schema: Schema, name: str, value: bool | int | str, field: str
) -> bool | int | str:
    """The condition's own value that ``value`` means, so that equal requests have equal tags.

    Text that reads as a value of another type means it, as on the command line: '7' is 7.
    """
    column = _condition(schema, name, field)
    values = column.values or ((False, True) if column.kind == Kind.boolean else ())
    for known in values:
        # True == 1 in Python; a label 1 must not answer to true.
        if type(known) is type(value) and known == value:
            return known
    for known in values:
        if str(known).lower() == str(value).lower():
            return known
    shown = ", ".join(repr(known) for known in values[:50]) + (" …" if len(values) > 50 else "")
    detail = f"condition {name!r} has no value {value!r}; the values are: {shown}"
    raise bad_field("unknown-value", field, detail, known=list(values))
