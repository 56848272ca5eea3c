"""How the constraints of the config are kept: by all synthetic rows, and by all real ones.

Rows are looked at chunk by chunk, and counts add up in any order; whether rows are unique across
chunks is judged by a sample of values (`synthray.data.constraints.rules`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from synthray.config.constraints import Constraint
from synthray.data.chunks import Chunk, Source
from synthray.data.constraints import Plan, RuleStats
from synthray.data.prepare import Mapper
from synthray.data.schema import Schema
from synthray.metrics.tables.copies import Share


@dataclass(frozen=True)
class Keeping:
    """How one constraint is kept.

    Attributes:
        text: the constraint, as "start <= end".
        broken, real: synthetic rows that break it, and real ones.
        example: the cells of a synthetic row that does.
    """

    text: str
    broken: Share
    real: Share
    example: dict[str, Any] | None = None


def check_constraints(
    schema: Schema,
    constraints: Sequence[Constraint],
    real: Source,
    synthetic: Source,
    mapper: Mapper,
) -> list[Keeping]:
    """Hold all rows against the constraints, in the order of the config.

    Combinations are those of the real rows.

    Args:
        schema: of the real rows.

    Raises:
        SchemaError: constraints that do not fit the columns, or a table that lacks one of these.
    """
    if not constraints:
        return []
    plan = Plan(schema, constraints)

    # Names alone go to whoever reads: a source may hold a table.
    ours, theirs = ([n for n in plan.names if n in s.schema.names] for s in (real, synthetic))

    def of_real(chunk: Chunk) -> tuple[list[RuleStats], list[Any]]:
        rows = plan.named(chunk.select(ours).read())
        return plan.statistics(rows), plan.partial(rows)

    sums: list[Any] | None = None
    found: list[list[RuleStats]] = []
    for stats, partial in mapper(of_real, real.chunks):
        found.append(stats)
        sums = partial if sums is None else plan.merge(sums, partial)
    plan.fit(sums or [])

    def of_synthetic(chunk: Chunk) -> list[RuleStats]:
        return plan.statistics(plan.named(chunk.select(theirs).read()))

    pairs = zip(_merged(mapper(of_synthetic, synthetic.chunks)), _merged(found), strict=True)
    return [
        Keeping(made.violation.text, _share(made), _share(held), made.violation.example)
        for made, held in pairs
    ]


def _merged(parts: Iterable[list[RuleStats]]) -> list[RuleStats]:
    merged: list[RuleStats] = []
    for part in parts:
        merged = [a.merge(b) for a, b in zip(merged, part, strict=True)] if merged else part
    return merged


def _share(stats: RuleStats) -> Share:
    return Share(stats.violated, stats.violation.rows)
