"""The constraints of the config, held against the columns of a source."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pyarrow as pa

from synthray.config.constraints import (
    Between,
    Combinations,
    Constraint,
    Less,
    Pattern,
    Sum,
    Unique,
)
from synthray.data import arrow_types
from synthray.data.constraints.combinations import Joint
from synthray.data.constraints.ids import Identified
from synthray.data.constraints.lines import Line
from synthray.data.constraints.orders import Chain
from synthray.data.constraints.rules import (
    Combined,
    Distinctive,
    Formed,
    Ordered,
    Rule,
    Summed,
)
from synthray.data.constraints.sums import Total
from synthray.data.schema import Column, Kind, Schema, no_column
from synthray.errors import SchemaError


def check_names(constraints: Sequence[Constraint], names: Sequence[str]) -> None:
    """Tell a column that is none before all rows are looked at.

    Args:
        names: of the source's columns.

    Raises:
        SchemaError: a constraint names a column that is none.
    """
    for index, constraint in enumerate(constraints):
        for name in _named(constraint):
            if name not in names:
                raise no_column(f"data.constraints.{index}", name, names)


def _named(constraint: Constraint) -> Sequence[str]:
    """The columns that a constraint names for certain."""
    if isinstance(constraint, Combinations):
        return constraint.combinations
    if isinstance(constraint, Less):
        return [i for i in constraint.less if isinstance(i, str) and not _is_date(i)]
    if isinstance(constraint, Between):
        return [constraint.range.column]
    if isinstance(constraint, Pattern):
        return [constraint.pattern.column]
    if isinstance(constraint, Sum):
        return [constraint.sum.total, *constraint.sum.parts]
    return constraint.unique


def _is_date(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


class Reading:
    """What the constraints say of a schema's columns.

    Args:
        schema: the columns, without dictionaries; types: those of the source, with them.

    Attributes:
        rules: one a constraint, in order.
        chains: inequalities and ranges; joints, totals, ids: what settles columns.

    Raises:
        SchemaError: an unknown column, or one that a constraint cannot be about.
    """

    def __init__(self, schema: Schema, types: pa.Schema, constraints: Sequence[Constraint]) -> None:
        self.schema, self.types = schema, types
        self.rules: list[Rule] = []
        self.chains: list[Chain] = []
        self.joints: list[Joint] = []
        self.totals: list[Total] = []
        self.ids: list[Identified] = []
        unique: list[Distinctive] = []
        for index, constraint in enumerate(constraints):
            place = f"data.constraints.{index}"
            if isinstance(constraint, Combinations):
                self._combinations(place, constraint)
            elif isinstance(constraint, Less):
                self._less(place, constraint)
            elif isinstance(constraint, Between):
                self._range(place, constraint)
            elif isinstance(constraint, Pattern):
                self._pattern(place, constraint)
            elif isinstance(constraint, Sum):
                self._sum(place, constraint)
            else:
                unique.append(self._unique(place, constraint))
        made = {step.column.name for step in self.ids}
        for rule in unique:
            self._check_unique(rule, made)

    def _column(self, place: str, name: str) -> Column:
        if name in self.schema.names:
            return self.schema[name]
        raise no_column(place, name, self.schema.names)

    def _combinations(self, place: str, given: Combinations) -> None:
        text = f"combinations of {', '.join(given.combinations)}"
        columns = tuple(self._column(place, name) for name in given.combinations)
        joint = Joint(f"{place} ({text})", columns, self.types)
        self.joints.append(joint)
        self.rules.append(Combined(place, text, joint))

    def _less(self, place: str, given: Less) -> None:
        sign = " < " if given.strict else " <= "
        text = sign.join(map(str, given.less))
        # Text that is no column may be a date, which the line tells.
        items = tuple(
            self.schema[item] if isinstance(item, str) and item in self.schema.names else item
            for item in given.less
        )
        if not any(isinstance(item, Column) for item in items):
            self._column(place, next(item for item in given.less if isinstance(item, str)))
        self._chain(place, text, items, given.strict, given.on_violation == "drop")

    def _range(self, place: str, given: Between) -> None:
        low, high, column = given.range.min, given.range.max, given.range.column
        items = [low, self._column(place, column), high]
        text = " <= ".join(str(item) for item in (low, column, high) if item is not None)
        present = tuple(item for item in items if item is not None)
        self._chain(place, text, present, False, given.on_violation == "drop")

    def _chain(
        self,
        place: str,
        text: str,
        items: tuple[Column | int | float | str, ...],
        strict: bool,
        drop: bool,
    ) -> None:
        chain = Chain(f"{place} ({text})", items, strict)
        line = Line.of(chain.key, chain.columns)
        for item in items:
            if not isinstance(item, Column):
                line.constant(chain.key, item)
        self.chains.append(chain)
        self.rules.append(Ordered(place, text, chain, line, drop=drop))

    def _sum(self, place: str, given: Sum) -> None:
        text = f"{given.sum.total} = {' + '.join(given.sum.parts)}"
        parts = tuple(self._column(place, name) for name in given.sum.parts)
        step = Total(f"{place} ({text})", self._column(place, given.sum.total), parts)
        self.totals.append(step)
        self.rules.append(Summed(place, text, step, drop=given.on_violation == "drop"))

    def _pattern(self, place: str, given: Pattern) -> None:
        column, regex = self._column(place, given.pattern.column), given.pattern.regex
        text = f"{column.name} matches {regex}"
        kind = arrow_types.parse(column.arrow_type)
        if not arrow_types.is_text(kind) or column.kind == Kind.datetime:
            raise SchemaError(
                f"{place}: column {column.name!r} is {column.kind.value} of {column.arrow_type}, "
                "and a pattern is one of text",
                "name a column of text that is no date",
            )
        rule = Formed(place, text, column.name, regex, drop=given.on_violation == "drop")
        try:
            rule.violated(pa.table({column.name: pa.array([""])}))
        except pa.ArrowInvalid as error:
            raise SchemaError(f"{place}: pattern {regex!r}: {error}", "make it simpler") from error
        self.rules.append(rule)
        # Categories come from the source, which is held against the rule.
        if column.kind in (Kind.id, Kind.text):
            self.ids.append(Identified(rule.key, column, regex))

    def _unique(self, place: str, given: Unique) -> Distinctive:
        columns = tuple(self._column(place, name).name for name in given.unique)
        rule = Distinctive(place, f"unique {', '.join(columns)}", columns)
        self.rules.append(rule)
        return rule

    def _check_unique(self, rule: Distinctive, made: set[str]) -> None:
        """Raises: SchemaError: no id among the columns, and learned values come again."""
        columns = [self.schema[name] for name in rule.columns]
        if any(column.kind == Kind.id or column.name in made for column in columns):
            return
        first = columns[0]
        raise SchemaError(
            f"{rule.key}: {', '.join(f'{c.name!r} is {c.kind.value}' for c in columns)}, and what "
            "is learned comes again in an endless table",
            f"make one of them an id: data.schema: {{{first.name}: {{kind: id}}}}, for text with a "
            "pattern among the constraints too",
        )
