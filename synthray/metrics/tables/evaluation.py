"""One evaluation of tables: synthetic rows against real ones, beside real ones against real ones.

As for images, the value compares the real rows with n synthetic ones, and the floor with n rows of
the holdout. Without a holdout a fifth of the real rows stands in for it; the generator saw those,
so nothing is said about privacy then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthray.config import EvaluateConfig
from synthray.data.prepare import Mapper
from synthray.data.schema import Schema
from synthray.metrics.gates import check_gates, check_names
from synthray.metrics.prdc import precision_recall
from synthray.metrics.tables.attacks import attack_all, closeness
from synthray.metrics.tables.columns import Frame, compared_columns, frames
from synthray.metrics.tables.copies import find_copies
from synthray.metrics.tables.keeping import check_constraints
from synthray.metrics.tables.pairs import MAX_PAIRS, pair_trends
from synthray.metrics.tables.reading import (
    Sampled,
    TableSubjects,
    check_enough,
    count_rows,
    sample_rows,
)
from synthray.metrics.tables.report import Privacy, TableReport
from synthray.metrics.tables.scores import (
    known_scores,
    neighbour_scores,
    privacy_scores,
    quality_scores,
    utility_scores,
)
from synthray.metrics.tables.shapes import column_shapes
from synthray.metrics.tables.space import RowSpace
from synthray.metrics.tables.tails import column_tails
from synthray.metrics.tables.targets import check_targets, choose_targets
from synthray.metrics.tables.utility import judge_targets

NO_HOLDOUT = (
    "No holdout was given: a fifth of the real rows, which the generator may have learned from, "
    "stands in for it. Nothing can be said about privacy: rows that were learned from cannot show "
    "what rows that were not would look like."
)


def evaluate_tables(
    subjects: TableSubjects,
    settings: EvaluateConfig,
    *,
    seed: int = 0,
    compared: Mapping[str, str | int] | None = None,
    environment: Mapping[str, str] | None = None,
    created: str = "",
    mapper: Mapper = map,
) -> TableReport:
    """Judge a synthetic table.

    Args:
        compared: what is compared, in words, for the report's head.
        mapper: applies a function to items, here or on a cluster.

    Raises:
        ConfigError: a target that cannot be predicted, or a gate on a score that there is not.
        SchemaError: cells that are not what the schema says.
        UsageError: too few rows.
    """
    check_table_settings(settings, subjects.schema, subjects.holdout is not None)
    drawn = _draw(subjects, settings.rows, seed, mapper)
    real, synthetic, holdout = drawn["real"], drawn["synthetic"], drawn["holdout"]
    held = subjects.holdout is not None
    columns = list(subjects.compared)
    x, y, z = frames([real.rows, synthetic.rows, holdout.rows], columns)
    conditions = [column.name for column in subjects.schema.conditions]
    targets, why = choose_targets(given_targets(settings), conditions, x)

    keeping = check_constraints(
        subjects.schema,
        subjects.constraints,
        subjects.real,
        subjects.synthetic,
        mapper,
    )
    shapes, shapes_floor = column_shapes(x, y), column_shapes(x, z)
    tails, tails_floor = column_tails(x, y), column_tails(x, z)
    pairs, pairs_floor = pair_trends(x, y, seed), pair_trends(x, z, seed)
    utilities = judge_targets(targets, x, y, z, seed, mapper)
    scores = quality_scores((shapes, tails, pairs), (shapes_floor, tails_floor, pairs_floor))
    few = [frame.head(settings.subsample) for frame in (x, y, z)]
    space = RowSpace(x)
    points = [space.points(frame) for frame in few]
    rows = min(len(points[1]), len(points[2]))
    scores |= neighbour_scores(
        precision_recall(points[0], points[1][:rows]), precision_recall(points[0], points[2][:rows])
    )
    scores |= utility_scores(utilities)
    privacy = None
    if held:
        privacy = _privacy(subjects, [synthetic, holdout], space, [x, y, z], settings, mapper)
        scores |= privacy_scores(privacy.copies, privacy.closeness, privacy.attacks)
    gates = check_gates({k: g.model_dump() for k, g in settings.gates.items()}, scores)
    return TableReport(
        title="Synthetic against real",
        compared=dict(compared or {}),
        rows={name: (len(s.rows), s.total) for name, s in drawn.items()},
        frames=(x, y),
        scores=scores,
        shapes=shapes,
        shapes_floor=shapes_floor,
        tails=tails,
        tails_floor=tails_floor,
        pairs=pairs,
        utilities=utilities,
        privacy=privacy,
        constraints=keeping,
        gates=gates,
        notes=_notes(subjects, drawn, settings, [why], len(x.columns)),
        environment=dict(environment or {}),
        created=created,
    )


def check_table_settings(settings: EvaluateConfig, schema: Schema, held: bool) -> None:
    """Refuse what could only fail after the work.

    Args:
        held: whether there is a holdout.

    Raises:
        ConfigError: an unknown target, or a gate on a score that there is not.
        SchemaError: no column can be compared.
    """
    columns = [column.name for column in compared_columns(schema)[0]]
    targets = given_targets(settings)
    check_targets(targets, columns)
    gates = {name: gate.model_dump() for name, gate in settings.gates.items()}
    check_names(gates, known_scores(targets or columns, held))


def given_targets(settings: EvaluateConfig) -> list[str]:
    """The columns that the config names."""
    target = settings.target
    return [target] if isinstance(target, str) else list(target or [])


def _draw(subjects: TableSubjects, most: int, seed: int, mapper: Mapper) -> dict[str, Sampled]:
    """The rows that are judged: all real ones up to a number, as many synthetic as held out."""
    sources = {"real": subjects.real, "synthetic": subjects.synthetic}
    if subjects.holdout is not None:
        sources["holdout"] = subjects.holdout
    counts = {name: count_rows(name, source, mapper) for name, source in sources.items()}
    drawn = {}
    for salt, (name, source) in enumerate(sources.items()):
        # Tables that are stored in the same order must not be sampled at the same places.
        drawn[name] = sample_rows(
            source, counts[name], subjects.compared, most, 3 * seed + salt, mapper
        )
    real = drawn["real"]
    if "holdout" not in drawn:
        cut = len(real.rows) // 5
        check_enough("real", cut, "a fifth of them stands in for a holdout that was not given")
        drawn["holdout"] = Sampled(cut, real.rows.slice(0, cut))
        drawn["real"] = Sampled(real.total, real.rows.slice(cut))
    rows = min(len(drawn["synthetic"].rows), len(drawn["holdout"].rows))
    for name in ("synthetic", "holdout"):
        drawn[name] = Sampled(drawn[name].total, drawn[name].rows.slice(0, rows))
    check_enough("holdout", len(drawn["holdout"].rows))
    return drawn


def _privacy(
    subjects: TableSubjects,
    sampled: list[Sampled],
    space: RowSpace,
    judged: list[Frame],
    settings: EvaluateConfig,
    mapper: Mapper,
) -> Privacy:
    training, synthetic, holdout = judged
    tables = [sample.rows for sample in sampled]
    most = settings.subsample
    copies = find_copies(subjects.real.chunks, tables, subjects.compared, most, mapper)
    equal = min(most, len(training), len(holdout))
    made = space.points(synthetic.head(most))
    close = closeness(space.points(training.head(equal)), space.points(holdout.head(equal)), made)
    # Half of the holdout are the non-members, the other half tells how dense real rows are.
    half = min(most, len(training), len(holdout) // 2)
    attacks = attack_all(
        space.points(training.head(half)),
        space.points(holdout.head(half)),
        space.points(holdout.rows(half, 2 * half)),
        made,
    )
    return Privacy((copies[0], copies[1]), close, attacks)


def _notes(
    subjects: TableSubjects,
    drawn: Mapping[str, Sampled],
    settings: EvaluateConfig,
    first: list[str],
    columns: int,
) -> list[str]:
    notes = [] if subjects.holdout is not None else [NO_HOLDOUT]
    notes += [note for note in first if note]
    real, synthetic = drawn["real"], drawn["synthetic"]
    rows = len(synthetic.rows)
    notes.append(
        f"Values compare {len(real.rows):,} real rows with {rows:,} synthetic ones; floors compare "
        f"them with {rows:,} real rows of the holdout."
    )
    cut = {name: s for name, s in drawn.items() if len(s.rows) < s.total}
    if any(len(s.rows) == settings.rows for s in cut.values()):
        notes.append(
            f"Tables of more than {settings.rows:,} rows (evaluate.rows) are judged by a random "
            "sample of so many; copies are looked for among all training rows."
        )
    notes.append(
        f"Neighbours, distances and attacks are computed from at most {settings.subsample:,} rows "
        "of each table (evaluate.subsample)."
    )
    notes += _left_out(subjects)
    if columns * (columns - 1) // 2 > MAX_PAIRS:
        notes.append(f"Of all pairs of columns a random {MAX_PAIRS:,} were compared.")
    return notes


def _left_out(subjects: TableSubjects) -> list[str]:
    notes = []
    schema: dict[str, Any] = {column.name: column.kind.value for column in subjects.left_out}
    kept = {column.name for column in subjects.compared}
    others = [
        f"{field.name} ({schema.get(field.name, str(field.type))})"
        for field in subjects.real.schema
        if field.name not in kept
    ]
    if others:
        notes.append(f"Left out of the comparison: {', '.join(others)}.")
    if subjects.ignored:
        names = ", ".join(subjects.ignored)
        notes.append(f"Columns that only the synthetic table has are left out: {names}.")
    return notes
