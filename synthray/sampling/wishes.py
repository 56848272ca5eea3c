"""Reading what is asked of generated rows: ``where`` and ``balance``, by column and value."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa

from synthray import models
from synthray.config import Config
from synthray.data.codec import Cell, Codec, Value
from synthray.data.conditions import not_learned, value_index
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.schema import Kind
from synthray.errors import ConditionError
from synthray.sampling.holding import Balance, Holding

Shares = Mapping[str, float] | float
Way = Literal["condition", "held", "sorted_out"]
"""How a value is held: drawn with the conditions, given to the model, or looked for among rows."""


def ways(codec: Codec, holds: bool) -> dict[str, Way]:
    """The columns that `holding` can hold, each with how, in the order of the schema.

    Args:
        holds: whether the model honours columns that are held.
    """
    layout = codec.spec.layout
    slots = {slot.name for slot in layout.slots} if layout is not None and holds else set()
    found: dict[str, Way] = {}
    for column in codec.schema:
        if column.condition:
            found[column.name] = "condition"
        elif layout is not None and column.kind not in (Kind.id, Kind.text, Kind.image):
            found[column.name] = "held" if column.name in slots else "sorted_out"
    return found


def settled(codec: Codec, name: str, value: Value) -> Value:
    """The column's own value that ``value`` means, the same for all that mean it: '7' is 7.

    What is no number, text or boolean comes as text.

    Raises:
        ConditionError: an unknown column or value.
    """
    for column in codec.schema.conditions:
        if column.name == name:
            return (column.values or ())[value_index(column, value)]
    scalar = codec.cell(name, value)[1]
    if pa.types.is_temporal(scalar.type) or pa.types.is_decimal(scalar.type):
        scalar = scalar.cast(pa.string())
    found: Value = scalar.as_py()
    return found + 0.0 if isinstance(found, float) else found  # -0.0 is 0.0


def holding(
    codec: Codec,
    holds: bool,
    where: Mapping[str, Value] | None = None,
    balance: Mapping[str, Shares] | None = None,
) -> Holding:
    """What a virtual dataset's rows must have.

    Args:
        holds: whether the model honours columns that are held.
        where: values, by column; text that reads as the column's own type is taken as it.
        balance: shares of values, by column. What is not named keeps its proportions; a single
            number is the share of the rarer of a column's two values.

    Raises:
        ConditionError: an unknown column or value, or shares that are none.
    """
    wishes = _Wishes(codec, holds)
    for name, value in (where or {}).items():
        if isinstance(value, Collection) and not isinstance(value, str):
            raise ConditionError(
                f"where: {name} = {value!r}: a condition takes one value",
                f"hold one; or give several their shares: balance={{{name!r}: {{a: 0.5, b: 0.5}}}}",
            )
        wishes.hold(name, value)
    # In one order: each draws its own numbers, and what is asked for comes in any.
    for name, shares in sorted((balance or {}).items()):
        if name in (where or {}):
            raise ConditionError(
                f"balance: column {name!r} is held by where", "name it in one of them"
            )
        wishes.balance(name, shares)
    return Holding(
        codec.spec,
        wishes.fixed,
        tuple(wishes.cells),
        tuple(wishes.balances),
        wishes.sorted_out,
    )


def check_wishes(config: Config, codec: Codec) -> None:
    """Hold what the config asks of generated rows against a fitted codec, before anything trains.

    Raises:
        ConditionError: as `holding`.
    """
    asked = config.generate
    holding(codec, models.family(config.model.name).holds, asked.where, asked.balance)


class _Wishes:
    def __init__(self, codec: Codec, holds: bool) -> None:
        self.spec, self._codec, self._holds = codec.spec, codec, holds
        self.fixed: dict[int, int] = {}
        self.cells: list[Cell] = []
        self.balances: list[Balance] = []
        self.sorted_out: dict[str, pa.Scalar] = {}

    def hold(self, name: str, value: Value) -> None:
        position = self._position(name)
        if position is not None:
            self.fixed[position] = value_index(self._codec.schema.conditions[position], value)
            return
        cell, scalar = self._codec.cell(name, value)
        if cell is not None:
            self.cells.append(cell)
        if cell is None or not self._holds:
            self.sorted_out[name] = scalar

    def balance(self, name: str, shares: Shares) -> None:
        position = self._position(name)
        if position is not None:
            column = self._codec.schema.conditions[position]
            found = np.zeros(len(column.values or ()))
            values = np.asarray(self.spec.combinations, dtype=np.int64)[:, position]
            np.add.at(found, values, np.asarray(self.spec.counts, dtype=np.float64))
            given = _named(name, shares, found, lambda value: value_index(column, value))
            self.balances.append(Balance(position, (), _filled(name, given, found)))
            return
        layout = self.spec.layout
        slots = [slot.name for slot in layout.slots] if layout is not None else []
        if layout is None or not self._holds or name not in slots:
            raise self._not_balanced(name)
        at = slots.index(name)
        slot = layout.slots[at]
        found = np.asarray(slot.counts, dtype=np.float64)
        if slot.hidden is not None:
            found[slot.hidden] = 0
        # What is not named keeps what the model gives it: the offset is left to the model.
        cells = [Cell(at, code, math.nan) for code in range(slot.codes)]

        def code_of(value: Value) -> int:
            cell, _ = self._codec.cell(name, value)
            if cell is None or cells[cell.code].offset == cells[cell.code].offset:
                raise ConditionError(
                    f"balance: {name} = {value!r} is not a value apart from others",
                    "name values that are far from each other, or those of a category",
                )
            cells[cell.code] = cell
            return cell.code

        given = _named(name, shares, found, code_of)
        self.balances.append(Balance(None, tuple(cells), _filled(name, given, found)))

    def _not_balanced(self, name: str) -> ConditionError:
        """Why a column that is no condition gets no shares."""
        codec, layout = self._codec, self.spec.layout
        column = next((c for c in codec.schema if c.name == name), None)
        if column is None or column.kind in (Kind.id, Kind.text):
            return not_learned(codec.schema, name, "balance")
        known = [c.name for c in codec.schema.conditions]
        if layout is None or not self._holds:
            others = f"balance one of its conditions: {', '.join(known)}; or " if known else ""
            return ConditionError(
                f"balance: column {name!r} is no condition, and this family balances conditions "
                "alone",
                f"{others}train with {name!r} in data.conditions, or choose the family nade",
            )
        maker = codec.plan.maker(name) if isinstance(codec, ConstrainedCodec) else None
        why = "it has one value" if maker is None else f"{maker} settles it"
        slots = {slot.name for slot in layout.slots}
        known = [c.name for c in codec.schema if c.condition or c.name in slots]
        return ConditionError(
            f"balance: column {name!r} is not learned by itself: {why}",
            f"balance one of: {', '.join(known)}",
        )

    def _position(self, name: str) -> int | None:
        conditions = self._codec.schema.conditions
        return next((i for i, c in enumerate(conditions) if c.name == name), None)


def _named(
    name: str, shares: Shares, found: np.ndarray, index_of: Callable[[Value], int]
) -> dict[int, float]:
    """The shares that are given, by index of the value."""
    if isinstance(shares, Mapping):
        return {index_of(value): share for value, share in shares.items()}
    if not isinstance(shares, int | float):
        raise ConditionError(
            f"balance.{name}: {shares!r} is no share", f"give {name}: 0.5, or shares by value"
        )
    present = np.flatnonzero(found)
    if len(present) != 2:
        raise ConditionError(
            f"balance.{name}: {shares} of which of its {len(present)} values?",
            f"give shares by value, such as {name}: {{a: 0.5, b: 0.2}}",
        )
    if found[present[0]] == found[present[1]]:
        raise ConditionError(
            f"balance.{name}: {shares} of the rarer of its two values, which are equally frequent",
            f"give the share by value, such as {name}: {{a: {shares}}}",
        )
    return {int(present[found[present].argmin()]): float(shares)}


def _filled(name: str, given: Mapping[int, float], found: np.ndarray) -> tuple[float, ...]:
    """A share for every value: what is not given is divided as in the source."""
    total = sum(given.values())
    if not all(0 <= share <= 1 for share in given.values()) or total > 1 + 1e-9:
        raise ConditionError(
            f"balance.{name}: shares of {list(given.values())}",
            "each must be within 0 … 1, and together no more than 1",
        )
    rest = found.copy()
    rest[list(given)] = 0
    if rest.sum() == 0 and total < 1 - 1e-9:
        raise ConditionError(
            f"balance.{name}: the shares of all its values add up to {total:g}",
            "let them add up to 1, or leave a value out",
        )
    shares = rest / max(rest.sum(), 1) * max(1 - total, 0)
    shares[list(given)] = list(given.values())
    return tuple(shares.tolist())
