"""Constraints for tests: plans of tables, and tables that a model may give."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from synthray import config as configs
from synthray.config.constraints import Constraint
from synthray.data import arrow_types
from synthray.data.constraints import Plan
from synthray.data.schema import Column, Kind, Schema


def constraints(*given: dict[str, Any]) -> tuple[Constraint, ...]:
    """Constraints as a config gives them."""
    tree = {"data": {"source": "x", "constraints": list(given)}, "output": "o"}
    return configs.parse(tree).data.constraints


def schema(
    rows: pa.Table, *conditions: str, formats: dict[str, str] | None = None, **kinds: str
) -> Schema:
    """Kinds by type; text with a format is of dates."""
    columns = []
    for field in rows.schema:
        kind = arrow_types.value_type(field.type)
        form = (formats or {}).get(field.name)
        found = Kind.categorical
        if pa.types.is_floating(kind):
            found = Kind.continuous
        elif pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            found = Kind.integer
        elif pa.types.is_temporal(kind) or form:
            found = Kind.datetime
        columns.append(
            Column(
                name=field.name,
                kind=Kind(kinds.get(field.name, found)),
                condition=field.name in conditions,
                arrow_type=str(field.type),
                format=form,
            )
        )
    return Schema(columns=tuple(columns))


def plan(rows: pa.Table, *given: dict[str, Any], **kinds: Any) -> Plan:
    """Fitted on the rows."""
    made = Plan(schema(rows, **kinds), constraints(*given))
    made.fit(made.partial(rows))
    return made


def there_and_back(made: Plan, rows: pa.Table) -> pa.Table:
    return made.backward(made.forward(rows))


def cells_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Any cell of a type, as Arrow takes it; dates of four digits."""
    if pa.types.is_integer(kind):
        bits, signed = kind.bit_width, pa.types.is_signed_integer(kind)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return st.integers(low, min(high, 2**63 - 1)) | st.integers(max(low, -9), 9)
    if pa.types.is_floating(kind):
        wide = st.floats(width=kind.bit_width, allow_nan=False, allow_infinity=False)
        return wide | st.integers(-999, 999).map(lambda n: n / 10)
    if pa.types.is_decimal(kind):
        top = 10**kind.precision - 1
        return st.integers(-top, top).map(lambda n: Decimal(n).scaleb(-kind.scale))
    if pa.types.is_date32(kind):
        return st.integers(-700_000, 2_900_000) | st.integers(-3, 3)
    if pa.types.is_timestamp(kind):
        per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        top = min(253_402_300_799 * per, 2**62)
        return st.integers(-min(62_135_596_800 * per, 2**62), top) | st.integers(-3, 3)
    if pa.types.is_boolean(kind):
        return st.booleans()
    return st.text(max_size=3)


def column_of(kind: pa.DataType, rows: int) -> st.SearchStrategy[pa.Array]:
    """A column of a few different cells, some missing: so that few draws make many rows."""
    pool = st.lists(cells_of(kind), max_size=4).map(lambda found: [None, *found])
    return st.builds(_spread, pool, st.integers(0, 2**32), st.just(kind), st.just(rows))


def _spread(pool: list[Any], seed: int, kind: pa.DataType, rows: int) -> pa.Array:
    plain = kind
    if pa.types.is_temporal(kind):
        plain = pa.int32() if pa.types.is_date32(kind) else pa.int64()
    elif pa.types.is_float16(kind):
        plain = pa.float32()
    cells = pa.array(pool, plain)
    cells = cells.view(kind) if pa.types.is_temporal(kind) else cells.cast(kind)
    return cells.take(pa.array(np.random.default_rng(seed).integers(0, len(pool), rows)))


def from_any_model(
    made: Plan, rows: int, keys: dict[str, list[str]] | None = None
) -> st.SearchStrategy[pa.Table]:
    """Tables with the columns that a model learns, of any cells.

    Args:
        keys: of columns of combinations, which a model knows.
    """
    columns = {}
    for column in made.inner:
        kind = arrow_types.parse(column.arrow_type)
        columns[column.name] = column_of(kind, rows)
        if keys and column.name in keys:
            known = st.just(keys[column.name])
            columns[column.name] = st.builds(
                _spread, known, st.integers(0, 2**32), st.just(kind), st.just(rows)
            )
    return st.fixed_dictionaries(columns).map(pa.table)
