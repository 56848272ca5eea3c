"""What a table must satisfy, row by row: for the source before training, and for any table after.

A comparison with a missing cell is satisfied, as in SQL.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data.constraints.combinations import Joint, joined
from synthray.data.constraints.lines import INT64, Line
from synthray.data.constraints.orders import Chain
from synthray.data.constraints.steps import cells
from synthray.data.constraints.sums import Total
from synthray.data.schema import Column
from synthray.data.sketches import Distinct


@dataclass(frozen=True)
class Violation:
    """How some rows satisfy one constraint.

    text: the constraint, as "start <= end".
    example: the cells of a row that breaks it.
    """

    text: str
    rows: int
    violated: int
    example: dict[str, Any] | None = None

    def merge(self, other: Violation) -> Violation:
        return Violation(
            self.text,
            self.rows + other.rows,
            self.violated + other.violated,
            self.example if self.example is not None else other.example,
        )


@dataclass(frozen=True)
class Violations:
    """How some rows satisfy all constraints, in the order of the config."""

    found: tuple[Violation, ...] = ()

    def __iter__(self) -> Iterator[Violation]:
        return iter(self.found)

    @property
    def total(self) -> int:
        return sum(violation.violated for violation in self.found)

    def merge(self, other: Violations) -> Violations:
        """Those of both parts, which know nothing of ids that are in both."""
        pairs = zip(self.found, other.found, strict=True)
        return Violations(tuple(a.merge(b) for a, b in pairs))


@dataclass(frozen=True)
class Rule(ABC):
    """One constraint.

    Attributes:
        place: in the config, as data.constraints.2.
        text: what it says.
        drop: whether training leaves out the rows that break it.
    """

    place: str
    text: str
    drop: bool = field(default=False, kw_only=True)

    @property
    def key(self) -> str:
        return f"{self.place} ({self.text})"

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The columns it is about."""

    @abstractmethod
    def violated(self, rows: pa.Table) -> np.ndarray:
        """The rows that break it, bool [rows]."""

    def check(self, rows: pa.Table) -> tuple[Violation, np.ndarray]:
        broken = self.violated(rows)
        count = int(broken.sum())
        example = None
        if count:
            example = rows.select(self.names).slice(int(broken.argmax()), 1).to_pylist()[0]
        return Violation(self.text, len(rows), count, example), broken


@dataclass(frozen=True)
class Ordered(Rule):
    """Inequalities and ranges."""

    chain: Chain
    line: Line

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.chain.columns)

    def violated(self, rows: pa.Table) -> np.ndarray:
        read = {c.name: self.line.read(c, cells(rows, c.name)) for c in self.chain.columns}
        broken = np.zeros(len(rows), bool)
        for lesser, greater in self.chain.pairs():
            low, low_there = self._side(lesser, read, len(rows), upper=False)
            high, high_there = self._side(greater, read, len(rows), upper=True)
            strict = (
                self.chain.strict and isinstance(lesser, Column) and isinstance(greater, Column)
            )
            broken |= low_there & high_there & ((low >= high) if strict else (low > high))
        return broken

    def _side(
        self, item: Any, read: dict[str, tuple[np.ndarray, np.ndarray]], rows: int, upper: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values [rows] of one side of a comparison, and which are there.

        A constant is the last number of the line that a column beside it may be.
        """
        if isinstance(item, Column):
            return read[item.name]
        bound = self.line.constant(self.key, item)
        strict = self.chain.strict
        if isinstance(bound, Fraction):
            if upper:
                bound = math.ceil(bound) - 1 if strict else math.floor(bound)
            else:
                bound = math.floor(bound) + 1 if strict else math.ceil(bound)
            bound = min(max(bound, int(INT64.min)), int(INT64.max))
        elif strict:
            bound = math.nextafter(bound, -math.inf if upper else math.inf)
        return np.full(rows, bound), np.ones(rows, bool)


@dataclass(frozen=True)
class Combined(Rule):
    """Combinations; every one that the fit saw satisfies it."""

    joint: Joint

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.joint.columns)

    def violated(self, rows: pa.Table) -> np.ndarray:
        if self.joint.table is None:
            return np.zeros(len(rows), bool)
        return ~self.joint.seen(rows)


@dataclass(frozen=True)
class Summed(Rule):
    """A total and its parts."""

    step: Total

    @property
    def names(self) -> tuple[str, ...]:
        return (self.step.total.name, *self.step.needs)

    def violated(self, rows: pa.Table) -> np.ndarray:
        return self.step.violated(rows)


@dataclass(frozen=True)
class Formed(Rule):
    """Text and the regular expression that all of it matches."""

    column: str
    regex: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,)

    def violated(self, rows: pa.Table) -> np.ndarray:
        text = cells(rows, self.column).cast(pa.string())
        matched = pc.match_substring_regex(text, f"^(?:{self.regex})$")
        return ~pc.fill_null(matched, True).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class Distinctive(Rule):
    """Columns in which no two rows are alike; rows in which one is missing are alike to none."""

    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns

    def keys(self, rows: pa.Table) -> pa.Array:
        """One text for each row, null where a column is missing."""
        columns = [cells(rows, name) for name in self.columns]
        there = np.logical_and.reduce(
            [pc.is_valid(column).to_numpy(zero_copy_only=False) for column in columns]
        )
        return pc.if_else(pa.array(there), joined(columns), pa.scalar(None, pa.string()))

    def violated(self, rows: pa.Table) -> np.ndarray:
        """Every row that is like an earlier one."""
        keys = self.keys(rows)
        codes = keys.dictionary_encode(null_encoding="encode").indices.to_numpy()
        first = np.zeros(len(codes), bool)
        first[np.unique(codes, return_index=True)[1]] = True
        return ~first & pc.is_valid(keys).to_numpy(zero_copy_only=False)


SAMPLED = 16_384
"""Distinct values that uniqueness is judged by across the chunks of a source."""


@dataclass(frozen=True)
class RuleStats:
    """How a chunk of the source satisfies a constraint; and its values, if they must be unique."""

    violation: Violation
    values: Distinct | None = None

    @classmethod
    def of(cls, rule: Rule, rows: pa.Table) -> tuple[RuleStats, np.ndarray]:
        violation, broken = rule.check(rows)
        values = None
        if isinstance(rule, Distinctive):
            values = Distinct.of(pa.chunked_array([rule.keys(rows)]), SAMPLED)
        return cls(violation, values), broken

    def merge(self, other: RuleStats) -> RuleStats:
        values = None
        if self.values is not None and other.values is not None:
            values = self.values.merge(other.values)
        return RuleStats(self.violation.merge(other.violation), values)

    @property
    def violated(self) -> int:
        """Rows that break it. Those that repeat a row of another chunk are known of a sample of
        values, and counted as if the others were like it.
        """
        if self.values is None or not len(self.values.hashes):
            return self.violation.violated
        repeats = int((self.values.counts - 1).sum())
        share = repeats / int(self.values.counts.sum())
        return max(self.violation.violated, math.ceil(share * self.values.count))


def statistics(rules: Sequence[Rule], rows: pa.Table) -> tuple[list[RuleStats], np.ndarray]:
    """Of each rule, and the rows that training leaves out."""
    dropped = np.zeros(len(rows), bool)
    found = []
    for rule in rules:
        if isinstance(rule, Combined):  # whatever the source has is right
            found.append(RuleStats(Violation(rule.text, len(rows), 0)))
            continue
        stats, broken = RuleStats.of(rule, rows)
        found.append(stats)
        if rule.drop:
            dropped |= broken
    return found, dropped
