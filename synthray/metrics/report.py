"""The report: one HTML page that stands alone, and the same as JSON.

Functions here take plain data and return text: who measured what, and where the page goes, is the
caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from synthray.errors import UsageError
from synthray.metrics.gates import GateResult
from synthray.metrics.pages import finite, png_uri, render, score_row
from synthray.metrics.panel import Score
from synthray.metrics.tables.report import TableReport, table_html, table_json
from synthray.metrics.utility import Accuracy, Utility

PNG = b"\x89PNG\r\n\x1a\n"
FORMAT = 1

# By the first word of a value's name: title, what it tells, what it cannot tell.
_TELLS = {
    "frechet": (
        "Fréchet distance",
        "Distance between the means and covariances of features; sees missing variety and wrong "
        "looks alike.",
        "Biased by the number of rows; blind to anything beyond means and covariances, and to "
        "copies of real rows.",
    ),
    "kernel": (
        "Kernel distance",
        "Distance between the distributions of features, without bias; may fall below 0.",
        "Noisy on few rows: read it beside its standard deviation.",
    ),
    "score": (
        "Classifier score",
        "Whether rows are clear cases of a class, and all classes appear.",
        "Never looks at real data; says nothing of variety within a class.",
    ),
    "precision": (
        "Precision",
        "Share of synthetic rows that look like some real row.",
        "High also when few kinds of rows are made; one odd real row can vouch for many.",
    ),
    "recall": (
        "Recall",
        "Share of real rows that synthetic rows resemble: variety.",
        "Grows when synthetic rows scatter widely.",
    ),
    "density": (
        "Density",
        "How deep among real rows synthetic ones lie; may exceed 1. Robust precision.",
        "High also when all rows sit in the densest spot.",
    ),
    "coverage": (
        "Coverage",
        "Share of real rows with a synthetic neighbour. Robust recall.",
        "Depends on the number of rows: compare with the floor.",
    ),
}
_TELLS["fid"] = ("Fréchet Inception distance", *_TELLS["frechet"][1:])
_TELLS["kid"] = ("Kernel Inception distance", *_TELLS["kernel"][1:])
_TELLS["is"] = ("Inception score", *_TELLS["score"][1:])


@dataclass(frozen=True)
class Picture:
    """A contact sheet.

    Attributes:
        caption: what it shows, 'Real' or 'Synthetic'.
        png: PNG bytes.
    """

    caption: str
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class ClassRow:
    """One class of a labelled data set.

    Attributes:
        label: its name.
        real_rows: number of real rows.
        synthetic_rows: number of synthetic rows.
        scores: further numbers by name, the same names in every row.
    """

    label: str
    real_rows: int
    synthetic_rows: int
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Everything the report tells.

    Attributes:
        title: the page's heading.
        compared: what was compared, in order: source, rows, artifact digest, seed …
        extractor: (name, SHA-256 of its weights).
        scores: of `with_floor`.
        utility: TSTR beside TRTR, if the rows have labels.
        gates: of `check_gates`.
        classes: per-class rows, if the rows have labels.
        pictures: shown side by side.
        notes: what the reader must know about these numbers.
        environment: versions and machine.
        created: a date for the reader.
    """

    title: str
    compared: Mapping[str, str | int]
    extractor: tuple[str, str]
    scores: Mapping[str, Score]
    utility: Utility | None = None
    gates: Sequence[GateResult] = ()
    classes: Sequence[ClassRow] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


def report_html(report: Report | TableReport) -> str:
    """A self-contained page.

    Raises:
        UsageError: a picture that is not PNG.
    """
    if isinstance(report, TableReport):
        return table_html(report)
    utility = report.utility
    return render(
        "report.html",
        report=report,
        missed=sum(not gate.passed for gate in report.gates),
        scores=[_score_row(name, score) for name, score in report.scores.items()],
        training=[]
        if utility is None
        else [
            ("synthetic rows (TSTR)", _accuracy(utility.tstr)),
            ("real rows (TRTR)", _accuracy(utility.trtr)),
        ],
        class_columns=list(report.classes[0].scores) if report.classes else [],
        shares=_shares(report.classes),
        pictures=[(picture.caption, _data_uri(picture)) for picture in report.pictures],
    )


def report_json(report: Report | TableReport) -> dict[str, Any]:
    """The same as plain JSON data, without the pictures. NaN and infinity become null."""
    if isinstance(report, TableReport):
        return table_json(report)
    utility = report.utility
    data: dict[str, Any] = {
        "format": FORMAT,
        "title": report.title,
        "created": report.created,
        "compared": dict(report.compared),
        "extractor": {"name": report.extractor[0], "sha256": report.extractor[1]},
        "scores": {name: dict(score) for name, score in report.scores.items()},
        "utility": None
        if utility is None
        else {
            "tstr": _accuracy(utility.tstr),
            "trtr": _accuracy(utility.trtr),
            "ratio": utility.ratio,
            "steps": utility.steps,
        },
        "gates": [asdict(gate) for gate in report.gates],
        "passed": all(gate.passed for gate in report.gates),
        "classes": [
            {
                "label": row.label,
                "real_rows": row.real_rows,
                "synthetic_rows": row.synthetic_rows,
                "scores": dict(row.scores),
            }
            for row in report.classes
        ],
        "notes": list(report.notes),
        "environment": dict(report.environment),
    }
    clean: dict[str, Any] = finite(data)
    return clean


def _score_row(name: str, score: Score) -> dict[str, Any]:
    return score_row(name, score, *_TELLS.get(name.partition("_")[0], (name, "", "")))


def _shares(classes: Sequence[ClassRow]) -> list[tuple[float, float]]:
    """Bar lengths (synthetic, real) in percent: shares of all rows, the largest share full."""
    synthetic = sum(row.synthetic_rows for row in classes) or 1
    real = sum(row.real_rows for row in classes) or 1
    pairs = [(row.synthetic_rows / synthetic, row.real_rows / real) for row in classes]
    most = max((max(pair) for pair in pairs), default=0.0) or 1.0
    return [(100 * a / most, 100 * b / most) for a, b in pairs]


def _accuracy(accuracy: Accuracy) -> dict[str, float]:
    low, high = accuracy.interval
    return {"accuracy": accuracy.value, "low": low, "high": high, "rows": accuracy.rows}


def _data_uri(picture: Picture) -> str:
    if not picture.png.startswith(PNG):
        raise UsageError(f"picture {picture.caption!r} is not PNG", "give PNG bytes")
    return png_uri(picture.png)
