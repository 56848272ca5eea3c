"""The report of a table: a page that stands alone, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from markupsafe import Markup

from synthray.metrics.gates import GateResult
from synthray.metrics.pages import finite, render, score_row, thousandths
from synthray.metrics.panel import Score
from synthray.metrics.tables.attacks import Attack, Closeness
from synthray.metrics.tables.columns import Frame
from synthray.metrics.tables.copies import Copies, Share
from synthray.metrics.tables.keeping import Keeping
from synthray.metrics.tables.pairs import PairTrend
from synthray.metrics.tables.shapes import ColumnShape
from synthray.metrics.tables.tails import ColumnTails
from synthray.metrics.tables.tails_text import spread_cells, spread_json
from synthray.metrics.tables.told import NEIGHBOURS, PRIVACY, QUALITY, UTILITY, told
from synthray.metrics.tables.utility import TargetUtility

FORMAT = 1
WORST = 10
"""Pairs that the page lists, the least alike."""


@dataclass(frozen=True)
class Privacy:
    """What synthetic rows give away.

    Attributes:
        copies: of training rows, among synthetic rows and among holdout rows.
        closeness: distances to closest records.
        attacks: membership inference.
    """

    copies: tuple[Copies, Copies]
    closeness: Closeness
    attacks: Sequence[Attack]


@dataclass(frozen=True)
class TableReport:
    """Everything the report tells.

    Attributes:
        title: the page's heading.
        compared: what was compared, in order: source, rows, artifact digest, seed …
        rows: of real, synthetic and holdout data: those judged, and all.
        frames: the judged real and synthetic rows, for the plots.
        scores: values beside floors, by name.
        shapes, shapes_floor: each column, synthetic and holdout rows beside real ones.
        tails, tails_floor: each column of numbers or dates, likewise.
        pairs: each pair of columns.
        utilities: TSTR beside TRTR, for each target.
        privacy: None without a holdout.
        constraints: how those of the config are kept.
        gates: of `check_gates`.
        notes: what the reader must know about these numbers.
        environment: versions and machine.
        created: a date for the reader.
    """

    title: str
    compared: Mapping[str, str | int]
    rows: Mapping[str, tuple[int, int]]
    frames: tuple[Frame, Frame] = field(repr=False)
    scores: Mapping[str, Score]
    shapes: Sequence[ColumnShape]
    shapes_floor: Sequence[ColumnShape]
    tails: Sequence[ColumnTails]
    tails_floor: Sequence[ColumnTails]
    pairs: Sequence[PairTrend]
    utilities: Sequence[TargetUtility] = ()
    privacy: Privacy | None = None
    constraints: Sequence[Keeping] = ()
    gates: Sequence[GateResult] = ()
    notes: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


def table_html(report: TableReport) -> str:
    """A self-contained page."""
    # Brings matplotlib, slow to import.
    from synthray.metrics.tables.plots import PANELS, SIDE, heat_maps, marginals

    names = [shape.name for shape in report.shapes]
    rows = {name: _row(name, score) for name, score in report.scores.items()}
    worst = sorted((p for p in report.pairs if p.score == p.score), key=lambda p: p.score)
    return render(
        "table.html",
        report=report,
        missed=sum(not gate.passed for gate in report.gates),
        quality=[rows[name] for name in QUALITY],
        neighbours=[rows[name] for name in NEIGHBOURS],
        privacy=[rows[name] for name in PRIVACY if name in rows],
        shares=_shares(report.privacy),
        columns=list(zip(report.shapes, report.shapes_floor, strict=True)),
        spreads=_spreads(report),
        worst=worst[:WORST],
        utilities=[_bars(utility) for utility in report.utilities],
        measures=_measures(report.utilities),
        # Drawn here from text that matplotlib escaped.
        marginals=Markup(marginals(*report.frames, report.shapes)),
        heat_maps=Markup(heat_maps(report.pairs, names)) if len(names) > 1 else "",
        panels=PANELS if len(names) > PANELS else None,
        side=SIDE if len(names) > SIDE else None,
    )


def table_json(report: TableReport) -> dict[str, Any]:
    """The same as plain JSON data, without the plots. NaN and infinity become null."""
    floors = {shape.name: shape for shape in report.shapes_floor}
    tails = _tails_json(report)
    data: dict[str, Any] = {
        "format": FORMAT,
        "title": report.title,
        "created": report.created,
        "compared": dict(report.compared),
        "rows": {name: {"judged": n, "all": total} for name, (n, total) in report.rows.items()},
        "scores": {name: dict(score) for name, score in report.scores.items()},
        "columns": [
            {
                "name": shape.name,
                "measure": shape.measure,
                "score": shape.score,
                "floor": floors[shape.name].score,
                "missing": {"real": shape.missing[0], "synthetic": shape.missing[1]},
                "missing_similarity": shape.missing_similarity,
                "tails": tails.get(shape.name),
            }
            for shape in report.shapes
        ],
        "pairs": [
            {
                "columns": [pair.a, pair.b],
                "measure": pair.measure,
                "score": pair.score,
                "real": pair.real,
                "synthetic": pair.other,
                "strong": pair.strong,
            }
            for pair in report.pairs
        ],
        "targets": [
            {
                "name": utility.target.name,
                "task": utility.target.task,
                "train_rows": utility.train_rows,
                "test_rows": utility.test_rows,
                "tstr": dict(utility.tstr),
                "trtr": dict(utility.trtr),
                "baseline": dict(utility.baseline),
            }
            for utility in report.utilities
        ],
        "privacy": _privacy_json(report.privacy),
        "constraints": [
            {
                "text": keeping.text,
                "synthetic": _share_json(keeping.broken),
                "real": _share_json(keeping.real),
                "example": {name: str(cell) for name, cell in (keeping.example or {}).items()},
            }
            for keeping in report.constraints
        ],
        "gates": [asdict(gate) for gate in report.gates],
        "passed": all(gate.passed for gate in report.gates),
        "notes": list(report.notes),
        "environment": dict(report.environment),
    }
    clean: dict[str, Any] = finite(data)
    return clean


def _tails_json(report: TableReport) -> dict[str, dict[str, Any]]:
    return {
        tail.column.name: {
            "score": tail.score,
            "floor": floor.score,
            "real": spread_json(tail.column, tail.real),
            "synthetic": spread_json(tail.column, tail.other),
            "holdout": spread_json(tail.column, floor.other),
        }
        for tail, floor in zip(report.tails, report.tails_floor, strict=True)
    }


def _privacy_json(privacy: Privacy | None) -> dict[str, Any] | None:
    if privacy is None:
        return None
    close = privacy.closeness
    return {
        "copies": {
            which: {
                "exact": _share_json(copies.exact),
                "unique": _share_json(copies.unique),
                "near": _share_json(copies.near),
                "distinct": copies.distinct,
            }
            for which, copies in zip(("synthetic", "holdout"), privacy.copies, strict=True)
        },
        "closeness": asdict(close),
        "attacks": [asdict(attack) | {"tells": attack.statement} for attack in privacy.attacks],
    }


def _share_json(share: Share) -> dict[str, Any]:
    return {
        "count": share.count,
        "rows": share.rows,
        "share": share.value,
        "interval": share.interval,
    }


def _row(name: str, score: Score) -> dict[str, Any]:
    about = told(name)
    return score_row(name, score, about.title, about.tells, about.silent, about.absent)


def _spreads(report: TableReport) -> list[tuple[str, list[tuple[str, str, list[str]]]]]:
    """By column: whose rows, their score, and moments, quantiles and ends as text."""
    return [
        (
            tail.column.name,
            [
                ("real", "", spread_cells(tail.column, tail.real)),
                ("synthetic", thousandths(tail.score), spread_cells(tail.column, tail.other)),
                ("holdout", thousandths(floor.score), spread_cells(tail.column, floor.other)),
            ],
        )
        for tail, floor in zip(report.tails, report.tails_floor, strict=True)
    ]


def _shares(privacy: Privacy | None) -> list[tuple[str, Share, Share]]:
    """Titles, and the shares of synthetic and of holdout rows."""
    if privacy is None:
        return []
    made, held = privacy.copies
    return [
        ("Exact copies of training rows", made.exact, held.exact),
        ("Copies of rows that occur once", made.unique, held.unique),
        ("Near copies: all columns but one at most", made.near, held.near),
    ]


def _bars(utility: TargetUtility) -> dict[str, Any]:
    """A target's measures, each with bars of synthetic, real and baseline."""
    measures = []
    for name, value in utility.tstr.items():
        values = [
            ("synthetic", value),
            ("real", utility.trtr[name]),
            ("baseline", utility.baseline[name]),
        ]
        # Errors have no natural end: the longest bar is full.
        full = max((v for _, v in values if v == v), default=1.0) if name == "rmse" else 1.0
        bars = [
            (who, v, 100 * min(1.0, max(0.0, v / (full or 1.0))) if v == v else 0.0)
            for who, v in values
        ]
        measures.append(
            {"title": UTILITY[name].title, "better": UTILITY[name].better, "bars": bars}
        )
    return {"of": utility, "measures": measures}


def _measures(utilities: Sequence[TargetUtility]) -> list[dict[str, str]]:
    """What the measures tell, once each."""
    names = dict.fromkeys(name for utility in utilities for name in utility.tstr)
    return [
        {"title": UTILITY[n].title, "tells": UTILITY[n].tells, "silent": UTILITY[n].silent}
        for n in names
    ]
