"""The codec of a table with constraints: the table codec, within the transform of `constraints`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import TypeAdapter

from synthray.config.constraints import Constraint
from synthray.data import arrow_types
from synthray.data.cells.ranges import Range
from synthray.data.codec import Cell, Cleaning, DataSpec, Encoded, Value
from synthray.data.conditions import not_learned, value_index
from synthray.data.constraints import Plan, Violations
from synthray.data.constraints.rules import RuleStats, statistics
from synthray.data.dictionaries import (
    Dictionaries,
    dictionaries_of,
    merged,
    with_dictionaries,
)
from synthray.data.schema import Kind, Schema
from synthray.data.table_codec import TableCodec, TableStats
from synthray.errors import ArtifactError, SourceError, UsageError


@dataclass(frozen=True)
class ConstrainedStats:
    """Statistics of some rows: of those that are learned, and of how all satisfy the constraints.

    plan: merges what the steps know; it is the same for all chunks.
    dictionaries: of the columns that steps restore.
    """

    plan: Plan
    rows: int
    dropped: int
    rules: tuple[RuleStats, ...]
    steps: tuple[Any, ...]
    inner: TableStats
    dictionaries: Dictionaries

    def merge(self, other: ConstrainedStats) -> ConstrainedStats:
        pairs = zip(self.rules, other.rules, strict=True)
        return ConstrainedStats(
            plan=self.plan,
            rows=self.rows + other.rows,
            dropped=self.dropped + other.dropped,
            rules=tuple(a.merge(b) for a, b in pairs),
            steps=tuple(self.plan.merge(self.steps, other.steps)),
            inner=self.inner.merge(other.inner),
            dictionaries=merged(self.dictionaries, other.dictionaries),
        )


class ConstrainedCodec:
    """Rows of a table that satisfies constraints, and of which every decoded row satisfies them.

    Args:
        schema: the columns; text and images are left out, as the table codec does.
        constraints: of the config.
        make: the table codec of the transformed columns.

    Raises:
        SchemaError: constraints that do not fit the columns, or one another.
    """

    storage: ClassVar[np.dtype[Any]] = TableCodec.storage

    def __init__(
        self,
        schema: Schema,
        constraints: Sequence[Constraint],
        make: Callable[[Schema], TableCodec] = TableCodec,
    ) -> None:
        plan = Plan(schema, constraints)
        kept = set(make(plan.inner).schema.names)
        left_out = {name for name in plan.inner.names if name not in kept}
        columns = tuple(column for column in schema if column.name not in left_out)
        self._take(Plan(Schema(columns=columns), constraints), make)

    def _take(self, plan: Plan, make: Callable[[Schema], TableCodec]) -> None:
        self.plan, self.inner = plan, make(plan.inner)
        self.schema = plan.schema
        self.cleaning: Cleaning | None = None

    @property
    def spec(self) -> DataSpec:
        return self.inner.spec

    def check(self, rows: pa.Table) -> Violations:
        """How a table with the source's columns satisfies the constraints, one by one."""
        return self.plan.check(rows)

    # --- fitting -------------------------------------------------------------------------

    def partial(self, rows: pa.Table) -> ConstrainedStats:
        rules, dropped = statistics(self.plan.rules, rows)
        learned = rows.filter(pa.array(~dropped)) if dropped.any() else rows
        return ConstrainedStats(
            plan=self.plan,
            rows=len(rows),
            dropped=int(dropped.sum()),
            rules=tuple(rules),
            steps=tuple(self.plan.partial(learned)),
            inner=self.inner.partial(self.plan.forward(learned)),
            dictionaries=dictionaries_of(learned, self.plan.schema),
        )

    def fit(self, stats: Sequence[ConstrainedStats]) -> DataSpec:
        """Learn from the rows that satisfy the constraints.

        Raises:
            SourceError: rows that break a constraint, if they are not to be left out; and what the
                table codec raises.
        """
        if not stats:
            raise SourceError("data.source: no rows", "give a source with data")
        total = stats[0]
        for part in stats[1:]:
            total = total.merge(part)
        self._check_source(total)
        self.plan.fit(total.steps)
        spec = self.inner.fit([total.inner])
        self._settle()
        self.schema = with_dictionaries(self.schema, total.dictionaries, self.inner.rare)
        self.plan.keep_dictionaries(self.schema)
        self.cleaning = Cleaning(
            total.rows, total.dropped, self._told(total), "rows that break constraints"
        )
        return spec

    def forget_counts(self) -> None:
        """As `TableCodec.forget_counts`."""
        self.inner.forget_counts()

    def _settle(self) -> None:
        """Take over what the inner fit found of the columns."""
        self.plan.known(self.inner.schema, self.inner.rare)
        inner = {column.name: column for column in self.inner.schema}
        columns = []
        for column in self.plan.schema:
            found = self.plan.categories(column.name)
            if column.name in self.plan.kept:
                column = inner[column.name]
            elif found is not None and column.kind in (Kind.categorical, Kind.boolean):
                column = column.model_copy(update={"values": found})
            columns.append(column)
        self.schema = Schema(columns=tuple(columns))

    def _check_source(self, total: ConstrainedStats) -> None:
        """Raises: SourceError: all constraints that the source breaks, with a row each."""
        broken = [
            f"{rule.key}: {found.violated:,} of {total.rows:,} rows break it{_example(found)}"
            for rule, found in zip(self.plan.rules, total.rules, strict=True)
            if found.violated and not rule.drop
        ]
        if broken:
            raise SourceError(
                "; ".join(broken),
                "correct the data or the constraint; on_violation: drop beside one leaves the "
                "rows that break it out of training (unique has no such choice)",
            )
        if total.dropped == total.rows:
            raise SourceError(
                f"data.constraints: each of {total.rows:,} rows breaks one that drops it",
                "correct the data or the constraints",
            )

    def _told(self, total: ConstrainedStats) -> tuple[tuple[str, str], ...]:
        return tuple(
            (rule.key, f"{found.violated:,} rows{_example(found)}")
            for rule, found in zip(self.plan.rules, total.rules, strict=True)
            if found.violated
        )

    # --- rows to tensors and back --------------------------------------------------------

    def encode(self, rows: pa.Table) -> Encoded:
        """Rows that break a constraint are left out where it says so; others are encoded as the
        nearest rows that satisfy it.
        """
        dropped = np.zeros(len(rows), bool)
        for rule in self.plan.rules:
            if rule.drop:
                dropped |= rule.violated(rows)
        learned = rows.filter(pa.array(~dropped)) if dropped.any() else rows
        return self.inner.encode(self.plan.forward(learned))

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.scale(x)

    def decode(
        self,
        x: torch.Tensor,
        cond: torch.Tensor,
        images_as: Literal["png", "tensor"] = "png",
        first: int = 0,
        seed: int = 0,
        dictionaries: bool = False,
    ) -> pa.Table:
        """Rows with the source's columns and types, all of which satisfy the constraints."""
        made = self.inner.decode(x, cond, images_as, first=first, seed=seed)
        return self.plan.backward(made)

    def cell(self, name: str, value: Value) -> tuple[Cell | None, pa.Scalar]:
        """How a column holds a value: one that a constraint derives has no slot of its own.

        Raises:
            ConditionError: no such column, or a value that it cannot have.
        """
        column = next((c for c in self.schema if c.name == name), None)
        if column is None or column.kind in (Kind.id, Kind.text):
            raise not_learned(self.schema, name)
        if name in self.plan.alike:
            return self.inner.cell(name, value)
        if value is None or value == "":
            return None, pa.scalar(None, arrow_types.parse(column.arrow_type))
        if column.values is not None:
            value = column.values[value_index(column, value)]
        return None, arrow_types.value_of(name, value, arrow_types.parse(column.arrow_type))[0]

    def arrow_schema(self, images_as: Literal["png", "tensor"] = "png") -> pa.Schema:
        return self.plan.types

    def ranges(self) -> dict[str, Range]:
        """Not of columns that a constraint derives from others."""
        return {n: ends for n, ends in self.inner.ranges().items() if n in self.plan.alike}

    # --- the artifact's form -------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "constrained",
            "schema": self.plan.schema.model_dump(mode="json"),
            "constraints": [c.model_dump(mode="json") for c in self.plan.constraints],
            "steps": self.plan.state(),
            "inner": self.inner.to_json(),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> ConstrainedCodec:
        """Raises: ArtifactError: not the form that `to_json` wrote."""
        codec = cls.__new__(cls)
        try:
            inner = TableCodec.from_json(tree["inner"])
            constraints = TypeAdapter(tuple[Constraint, ...]).validate_python(tree["constraints"])
            plan = Plan(Schema.model_validate(tree["schema"]), constraints)
            if plan.inner.names != inner.schema.names:
                raise ValueError("the constraints do not make the columns of the codec within")
            codec._take(plan, lambda schema: inner)
            plan.load(tree["steps"])
            codec._settle()
        except (KeyError, TypeError, ValueError, pa.ArrowInvalid, UsageError) as error:
            raise ArtifactError(f"codec.json cannot be read: {error}", "train again") from error
        return codec


def _example(found: RuleStats) -> str:
    example = found.violation.example
    if example is None:
        return ""
    return ", such as " + ", ".join(f"{name} = {value}" for name, value in example.items())
