"""What a client may ask for, checked strictly: no float, boolean or odd text is a number."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from synthray.data.codec import Value
from synthray.data.schema import Kind
from synthray.errors import ConditionError
from synthray.rng import MAX_SEED
from synthray.serving.models import Balance, Images, ServedModel, Where
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


def _one(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise ValueError("must be one value: text, a number, true, false or null; see balance")
    return value


Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Held = Annotated[StrictBool | StrictInt | Finite | StrictStr | None, BeforeValidator(_one)]
Share = Annotated[StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]
Shares = dict[str, dict[str, Share] | Share]
BALANCE = (
    "shares of values, by column, such as {'income': {'>50K': 0.5}}; a number alone is the share "
    "of the rarer of two values"
)


class SampleBody(BaseModel):
    """A batch of rows to draw."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"rows": 16, "seed": 0, "where": {}, "balance": {}}]},
    )

    rows: int = Field(ge=1, description="how many rows")
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="none: a fresh one, told in the header SynthRay-Seed"
    )
    start: int = Field(0, ge=0, le=MAX_START, description="the first row's number")
    where: dict[str, Held] = Field(
        {},
        description="values to hold, by column, null for a missing cell; GET /v1/models/{name} "
        "tells which can be held",
    )
    balance: Shares = Field({}, description=BALANCE)
    images: Images = Field("png", description="how image columns come in tables")


class RowsQuery(BaseModel):
    """A range of rows of the virtual dataset of one seed."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, BeforeValidator(_digits)] = Field(ge=1, description="how many rows")
    start: Annotated[int, BeforeValidator(_digits)] = Field(
        0, ge=0, le=MAX_START, description="the first row's number"
    )
    seed: Annotated[int, BeforeValidator(_digits)] = Field(0, ge=0, le=MAX_SEED)
    where: list[str] = Field([], description="values to hold: where=label=7, repeatable")
    missing: list[str] = Field([], description="columns to hold missing cells in, repeatable")
    balance: Json[Shares] = Field("{}", validate_default=True, description=f"as JSON: {BALANCE}")
    images: Images = Field("png", description="how image columns come in tables")


@dataclass(frozen=True)
class Slice:
    """Rows start … start + count of the virtual dataset of (seed, where, balance)."""

    start: int
    count: int
    seed: int
    where: Where
    balance: Balance
    images: Images


def slice_of_body(body: SampleBody, model: ServedModel) -> Slice:
    """Raises Problem: a range past the last row, an unknown column or value."""
    _check_range(body.start, body.rows, "body.rows")
    where = {
        name: _known_value(model, name, value, f"body.where.{name}")
        for name, value in body.where.items()
    }
    seed = secrets.randbelow(FRESH_SEEDS) if body.seed is None else body.seed
    balance = _known_shares(model, body.balance, "body.balance")
    return Slice(body.start, body.rows, seed, where, balance, body.images)


def slice_of_query(query: RowsQuery, model: ServedModel) -> Slice:
    """Raises Problem: a range past the last row, an unknown or repeated column or value."""
    _check_range(query.start, query.count, "query.count")
    where: dict[str, Value] = {}
    for item in query.where:
        name, equals, text = item.partition("=")
        if not equals:
            detail = f"{item!r} is not of the form column=value, such as where=label=7"
            raise bad_field("invalid-condition", "query.where", detail)
        if name in where:
            detail = f"column {name!r} is fixed twice; give each condition once"
            raise bad_field("invalid-condition", "query.where", detail)
        where[name] = _known_value(model, name, text, "query.where")
    for name in query.missing:
        if name in where:
            detail = f"column {name!r} is fixed twice; give each condition once"
            raise bad_field("invalid-condition", "query.missing", detail)
        where[name] = _known_value(model, name, None, "query.missing")
    balance = _known_shares(model, query.balance, "query.balance")
    return Slice(query.start, query.count, query.seed, where, balance, query.images)


def _check_range(start: int, count: int, field: str) -> None:
    if start + count > MAX_START + 1:
        detail = f"start + rows = {start + count} lies past the last row number, {MAX_START}"
        raise bad_field("range-too-far", field, detail)


def _known_value(model: ServedModel, name: str, value: Value, field: str) -> Value:
    """The column's own value that ``value`` means, so that equal requests have equal tags."""
    _check_column(model, name, field)
    try:
        return model.settle(name, value)
    except ConditionError as error:
        detail, values = f"{error.what}; {error.remedy}", model.schema[name].values
        members = {} if values is None else {"known": list(values)}
        raise bad_field("unknown-value", field, detail, **members) from error


def _check_column(model: ServedModel, name: str, field: str) -> None:
    known = list(model.ways)
    if name not in known:
        ids = [column.name for column in model.schema.of_kind(Kind.id)]
        why = f"column {name!r} is an id, and ids are made anew" if name in ids else ""
        told = f"those that can are: {', '.join(known)}" if known else "none can, of this model"
        detail = f"{why or f'no column {name!r} that can be held'}; {told}"
        raise bad_field("unknown-condition", field, detail, known=known)


def _known_shares(model: ServedModel, balance: Balance, field: str) -> Balance:
    """The same with the columns' own values, sorted. What shares are none, the dataset tells."""
    found: dict[str, Mapping[str, float] | float] = {}
    for name, shares in sorted(balance.items()):
        place = f"{field}.{name}"
        _check_column(model, name, place)
        if isinstance(shares, Mapping):
            own = {}
            for value, share in shares.items():
                known = _known_value(model, name, value, place)
                own["" if known is None else str(known)] = float(share)
            found[name] = dict(sorted(own.items()))
            if len(own) < len(shares):
                detail = f"a value of column {name!r} has two shares; give each value once"
                raise bad_field("invalid-condition", place, detail)
        else:
            found[name] = float(shares)
    return found
