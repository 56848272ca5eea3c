"""Constraints in the report: every row is held against them, wherever it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthray.config import Config, parse
from synthray.errors import SchemaError
from synthray.metrics.judging import judge
from synthray.metrics.report import report_html, report_json
from synthray.metrics.tables.report import TableReport

CONSTRAINTS: list[dict[str, Any]] = [
    {"less": ["start", "end"]},
    {"combinations": ["city", "country"]},
    {"unique": ["id"]},
]
PLACES = [("Rome", "IT"), ("Milan", "IT"), ("Lyon", "FR")]


def table(rows: int = 60, offset: int = 0) -> pa.Table:
    """Rows that keep all three."""
    starts = [(7 * i) % 50 for i in range(rows)]
    places = [PLACES[i % 3] for i in range(rows)]
    return pa.table(
        {
            "id": [f"K-{offset + i:05d}" for i in range(rows)],
            "start": starts,
            "end": [start + i % 4 for i, start in enumerate(starts)],
            "city": [city for city, _ in places],
            "country": [country for _, country in places],
        }
    )


def settings() -> Config:
    return parse({"data": {"source": "unused", "constraints": CONSTRAINTS}, "output": "unused"})


def judged(synthetic: pa.Table | str, real: pa.Table | None = None) -> TableReport:
    real = table() if real is None else real
    report = judge(settings(), synthetic, real=real, holdout=table(offset=500))
    assert isinstance(report, TableReport)
    return report


def broken(report: TableReport) -> list[tuple[int, int]]:
    return [(kept.broken.count, kept.broken.rows) for kept in report.constraints]


def spoiled() -> pa.Table:
    """An end before its start, two places that are nowhere, three ids that were there before."""
    rows = table(offset=100).to_pydict()
    rows["end"][7] = rows["start"][7] - 1
    rows["country"][3], rows["country"][30] = "FR", "DE"
    rows["id"][20] = rows["id"][40] = rows["id"][59] = rows["id"][0]
    return pa.table(rows)


def test_rows_that_keep_all_are_told_to() -> None:
    report = judged(table(offset=100))
    assert broken(report) == [(0, 60)] * 3
    assert [kept.real.count for kept in report.constraints] == [0, 0, 0]
    assert report.constraints[0].text == "start <= end"
    page = report_html(report)
    assert page.count("✓ kept") == 3 and "✗ broken" not in page


def test_rows_that_break_one_are_counted_with_an_example() -> None:
    report = judged(spoiled())
    assert broken(report) == [(1, 60), (2, 60), (3, 60)]
    start = spoiled()["start"][7].as_py()
    assert report.constraints[0].example == {"start": start, "end": start - 1}
    tree = report_json(report)["constraints"]
    assert [kept["synthetic"]["count"] for kept in tree] == [1, 2, 3]
    assert tree[1]["example"] == {"city": "Rome", "country": "FR"}
    page = report_html(report)
    assert page.count("✗ broken") == 3 and f"such as start = {start}, end = {start - 1}" in page


def test_real_rows_that_break_one_stand_beside() -> None:
    real = table().to_pydict()
    real["end"][2] = real["start"][2] - 5
    report = judged(table(offset=100), pa.table(real))
    assert broken(report)[0] == (0, 60) and report.constraints[0].real.count == 1


def test_no_count_depends_on_how_rows_are_stored(tmp_path: Path) -> None:
    pq.write_table(spoiled(), tmp_path / "rows.parquet", row_group_size=7)
    assert broken(judged(str(tmp_path / "rows.parquet"))) == broken(judged(spoiled()))


def test_a_table_without_the_column_is_told() -> None:
    with pytest.raises(SchemaError, match="lacks 'id', which the constraints name"):
        judged(table(offset=100).drop_columns(["id"]))


def test_without_constraints_there_is_nothing_to_tell() -> None:
    config = parse({"data": {"source": "unused"}, "output": "unused"})
    report = judge(config, table(offset=100), real=table(), holdout=table(offset=500))
    assert isinstance(report, TableReport)
    assert report.constraints == [] and "Constraints" not in report_html(report)
