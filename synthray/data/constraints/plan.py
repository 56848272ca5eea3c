"""All constraints of a table as one reversible transform of Arrow tables.

Each constraint is a *rule* that rows can be held against, and most are *steps* that replace columns
(`steps`). What each step makes is a function of the source's own columns, so their order does not
matter on the way in. On the way back a step waits for the columns it needs.
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from synthray.config.constraints import Constraint
from synthray.data import arrow_types
from synthray.data.constraints.bounded import Bounded
from synthray.data.constraints.combinations import Joint
from synthray.data.constraints.orders import bounded_steps
from synthray.data.constraints.reading import Reading
from synthray.data.constraints.rules import RuleStats, Violations
from synthray.data.constraints.steps import Step, cells, in_types, without_dictionaries
from synthray.data.schema import Column, Schema
from synthray.errors import SchemaError


class Plan:
    """The steps of some constraints on a table.

    Attributes:
        schema: of the source; inner: of the tables that the model learns from.
        kept: the columns that are the same in both; alike: these, and those that are only drawn
            into a range.
        types: of the source's columns.
        rules: one a constraint, in the order of the config.

    Raises:
        SchemaError: constraints that do not fit the columns, or one another.
    """

    def __init__(self, schema: Schema, constraints: Sequence[Constraint]) -> None:
        self.schema, self.constraints = schema, tuple(constraints)
        self.types = pa.schema([(c.name, arrow_types.parse(c.arrow_type)) for c in schema])
        found = Reading(without_dictionaries(schema), self.types, constraints)
        self.rules = found.rules
        settled = [*found.joints, *found.totals, *found.ids]
        fixed = {column.name: f"data.conditions {column.name!r}" for column in schema.conditions}
        for step in settled:
            for column in step.restores:
                if column.name in fixed:
                    raise SchemaError(
                        f"{step.key} and {fixed[column.name]} both settle the column "
                        f"{column.name!r}",
                        "leave it out of one of the two",
                    )
                fixed[column.name] = step.key
        bounded = bounded_steps(
            found.chains,
            fixed,
            sums={total.total.name for total in found.totals},
            together=[frozenset(c.name for c in joint.columns) for joint in found.joints],
        )
        self.steps = _in_order([*settled, *bounded])
        taken = {column.name for step in self.steps for column in step.restores}
        self.kept = [name for name in schema.names if name not in taken]
        ranged = [s.column.name for s in self.steps if isinstance(s, Bounded) and not s.bases]
        self.alike = {*self.kept, *ranged}
        self.inner = self._inner_schema()

    def _inner_schema(self) -> Schema:
        """Each step's columns where the first of those it restores was, the others as they are."""
        owner = {column.name: step for step in self.steps for column in step.restores}
        taken = set(self.schema.names)
        columns: list[Column] = []
        done: list[Step] = []
        for column in self.schema:
            step = owner.get(column.name)
            if step is None:
                columns.append(column)
            elif step not in done:
                done.append(step)
                _name_apart(step, taken)
                columns += step.makes
        return Schema(columns=tuple(columns))

    # --- rows ----------------------------------------------------------------------------

    def forward(self, rows: pa.Table) -> pa.Table:
        """Rows of the source as the model learns from them; of each row by itself."""
        made = {name: rows[name].combine_chunks() for name in self.kept}
        for step in self.steps:
            names = [column.name for column in step.makes]
            made |= dict(zip(names, step.forward(rows), strict=True))
        return pa.table({name: made[name] for name in self.inner.names})

    def backward(self, rows: pa.Table) -> pa.Table:
        """The inverse of `forward`; and for any rows, rows that satisfy the constraints."""
        restored = {name: rows[name].combine_chunks() for name in self.kept}
        for step in self.steps:
            made = [cells(rows, column.name) for column in step.makes]
            names = [column.name for column in step.restores]
            restored |= dict(zip(names, step.backward(made, restored), strict=True))
        rows = pa.table({name: restored[name] for name in self.types.names})
        known = {c.name: c.dictionary for c in self.schema if c.dictionary is not None}
        return in_types(rows, self.types, known)

    def check(self, rows: pa.Table) -> Violations:
        """How rows satisfy the constraints; uniqueness is that among these rows.

        Raises:
            SchemaError: as `named`.
        """
        rows = self.named(rows)
        return Violations(tuple(rule.check(rows)[0] for rule in self.rules))

    def statistics(self, rows: pa.Table) -> list[RuleStats]:
        """Of each rule, to be merged with those of other rows.

        Args:
            rows: that `named` gave.
        """
        return [RuleStats.of(rule, rows)[0] for rule in self.rules]

    @property
    def names(self) -> list[str]:
        """The columns that the constraints name."""
        return list(dict.fromkeys(name for rule in self.rules for name in rule.names))

    def named(self, rows: pa.Table) -> pa.Table:
        """The columns that the constraints name, in the source's types.

        Args:
            rows: of any table that has the columns, in types that fit.

        Raises:
            SchemaError: a table that lacks a column, or has it in a type that does not fit.
        """
        named = self.names
        lacking = [name for name in named if name not in rows.column_names]
        if lacking:
            raise SchemaError(
                f"the table lacks {', '.join(map(repr, lacking))}, which the constraints name",
                f"give a table with the columns {', '.join(named)}",
            )
        schema = pa.schema([self.types.field(name) for name in named])
        try:
            return in_types(rows.select(named), schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(
                f"the table's columns do not fit the source's: {error}",
                f"give them as {', '.join(f'{f.name}: {f.type}' for f in schema)}",
            ) from error

    # --- what the steps learn ------------------------------------------------------------

    def partial(self, rows: pa.Table) -> list[Any]:
        return [step.partial(rows) for step in self.steps]

    def merge(self, a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
        pairs = zip(self.steps, a, b, strict=True)
        return [step.merge(left, right) for step, left, right in pairs]

    def fit(self, stats: Sequence[Any]) -> None:
        for step, found in zip(self.steps, stats, strict=True):
            step.fit(found)

    def known(self, inner: Schema, rare: int) -> None:
        """Take notice of what the codec of the inner tables kept; see `Step.known`."""
        values: Mapping[str, Any] = {column.name: column.values for column in inner}
        for step in self.steps:
            step.known(values, rare)

    def keep_dictionaries(self, schema: Schema) -> None:
        """Give rows the dictionaries of these columns."""
        columns = [
            c.model_copy(update={"dictionary": schema[c.name].dictionary}) for c in self.schema
        ]
        self.schema = Schema(columns=tuple(columns))

    def maker(self, name: str) -> str | None:
        """The constraint that makes a column of what the model learns; None of the others."""
        if name in self.alike:
            return None
        return next((s.key for s in self.steps if name in {c.name for c in s.restores}), None)

    def categories(self, name: str) -> tuple[Any, ...] | None:
        """The values of a column that comes in combinations, ascending; None of others."""
        for step in self.steps:
            if isinstance(step, Joint) and name in {column.name for column in step.columns}:
                return step.values(name)
        return None

    def state(self) -> list[Any]:
        return [step.state() for step in self.steps]

    def load(self, state: Sequence[Any]) -> None:
        for step, found in zip(self.steps, state, strict=True):
            step.load(found)


def _name_apart(step: Step, taken: set[str]) -> None:
    """Give the columns that a step adds names that no other column has."""
    if isinstance(step, Joint):
        step.rename(_free(" & ".join(column.name for column in step.columns), taken))
    elif isinstance(step, Bounded) and step.bases:
        step.rename(_free(f"{step.column.name} alone", taken))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    taken.add(name)
    return name


def _in_order(steps: Sequence[Step]) -> list[Step]:
    """Each after those that restore what it needs.

    Raises:
        SchemaError: steps that wait for one another.
    """
    owner = {column.name: index for index, step in enumerate(steps) for column in step.restores}
    waits: dict[int, Collection[int]] = {
        index: [owner[name] for name in step.needs if name in owner]
        for index, step in enumerate(steps)
    }
    try:
        return [steps[index] for index in graphlib.TopologicalSorter(waits).static_order()]
    except graphlib.CycleError as error:
        keys = "; ".join(dict.fromkeys(steps[index].key for index in error.args[1]))
        raise SchemaError(
            f"{keys}: each of these needs what another gives",
            "leave one of them out; a part is at most its sum already where the others are not "
            "negative, which a range can say",
        ) from None
