"""How far numbers and dates lie: distances, spreads, and what the report says of them."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

import synthray
from synthray.metrics.report import report_html, report_json
from synthray.metrics.tables.report import TableReport
from synthray.metrics.tables.tails import spread, tail_similarity, wasserstein

RANDOM = np.random.default_rng(0)
CELLS = st.lists(st.integers(-50, 50) | st.floats(-1e9, 1e9), min_size=1, max_size=30)


@given(CELLS, CELLS)
@settings(derandomize=True, database=None, deadline=None, max_examples=100)
def test_the_distance_is_scipy_s(x: list[float], y: list[float]) -> None:
    a, b = np.array(x, float), np.array(y, float)
    assert wasserstein(a, b) == pytest.approx(wasserstein_distance(a, b), rel=1e-9, abs=1e-6)
    assert wasserstein(a, b) == pytest.approx(wasserstein(b, a), rel=1e-12)


def test_the_score_by_hand() -> None:
    x = np.array([0.0, 1.0, 2.0, 10.0, 12.0])  # the mean distance from 2 is (2 + 1 + 8 + 10) / 5
    assert tail_similarity(x, x) == 1.0
    assert tail_similarity(x, x + 1.0) == pytest.approx(1 - 1 / 4.2)
    assert tail_similarity(x, np.full(5, 2.0)) == 0.0
    assert tail_similarity(x, 100 * x) == 0.0
    same = np.full(3, 7.0)
    assert (tail_similarity(same, same), tail_similarity(same, x)) == (1.0, 0.0)
    assert math.isnan(tail_similarity(x, np.empty(0)))


@pytest.mark.parametrize("factor", [1e-300, 1.0, -3.0, 1e300])
def test_the_score_knows_no_unit(factor: float) -> None:
    x, y = RANDOM.normal(size=300), RANDOM.normal(size=200) * 1.5
    expected = tail_similarity(x, y)
    assert tail_similarity(factor * x, factor * y) == pytest.approx(expected, rel=1e-6)
    if factor > 0:
        assert tail_similarity(x + 9, y + 9) == pytest.approx(expected, rel=1e-9)


def test_spreads_by_hand() -> None:
    found = spread(np.arange(1.0, 1001.0))
    assert (found.mean, found.deviation) == pytest.approx((500.5, math.sqrt((1000**2 - 1) / 12)))
    assert (found.least, found.low, found.median, found.high, found.greatest) == (
        1.0, 10.0, 500.0, 990.0, 1000.0,
    )  # fmt: skip
    ends = spread(np.array([-1.7e308, 1.7e308]))
    assert ends.mean == 0.0 and ends.deviation == 1.7e308


# In the report.


def numbers(rows: int, seed: int, far: float = 0.0) -> pa.Table:
    """``far``: how far a fiftieth of a column's values lie out."""
    random = np.random.default_rng(seed)
    x = random.normal(scale=2.0, size=rows)
    x[: rows // 50] += far
    days = (18_000 + random.integers(0, 1000, rows)).astype(np.int32)
    return pa.table(
        {
            "x": x,
            "day": pa.array(days).view(pa.date32()),
            "at": pa.array(random.integers(0, 86_400, rows, np.int32)).view(pa.time32("s")),
            "c": random.choice(["a", "b"], rows),
        }
    )


REAL, HOLDOUT = numbers(2000, 0), numbers(1000, 1)


def report_on(synthetic: pa.Table, **chosen: Any) -> TableReport:
    report = synthray.evaluate(REAL, synthetic, holdout=HOLDOUT, subsample=100, **chosen)
    assert isinstance(report, TableReport)
    return report


@pytest.fixture(scope="module")
def wrong() -> TableReport:
    return report_on(numbers(1000, 2, far=20.0), gates={"tails.ratio": {"min": 0.97}})


def test_far_rows_are_seen_that_shapes_do_not_see(wrong: TableReport) -> None:
    x = wrong.tails[0]
    assert x.real.deviation == pytest.approx(2.0, abs=0.1) and x.other.deviation > 3
    assert wrong.shapes[0].score > 0.95 > 0.8 > x.score
    score, fresh = wrong.scores["tails"], report_on(numbers(1000, 2)).scores["tails"]
    assert score["floor"] == fresh["floor"] and fresh["ratio"] == pytest.approx(1, abs=0.02)
    assert score["value"] < fresh["value"] - 0.05
    assert [gate.passed for gate in wrong.gates] == [False]


def test_spreads_are_told_of_real_synthetic_and_holdout_rows(wrong: TableReport) -> None:
    tree = {column["name"]: column["tails"] for column in report_json(wrong)["columns"]}
    assert tree["c"] is None
    x = REAL["x"].to_numpy()
    told = tree["x"]["real"]
    assert (told["mean"], told["deviation"]) == pytest.approx((x.mean(), x.std()))
    assert (told["least"], told["greatest"]) == (x.min(), x.max())
    assert tree["x"]["holdout"]["least"] == HOLDOUT["x"].to_numpy().min()
    assert tree["x"]["synthetic"]["greatest"] > 15
    assert 0 < tree["x"]["score"] < tree["x"]["floor"]
    day, at = tree["day"]["real"], tree["at"]["real"]
    ends = min(REAL["day"].to_pylist()), max(REAL["day"].to_pylist())
    assert (day["least"], day["greatest"]) == tuple(f"{end}T00:00:00" for end in ends)
    assert datetime.fromisoformat(day["mean"]).date() > date(2019, 4, 14)
    assert time.fromisoformat(at["low"]) < time.fromisoformat(at["high"])
    assert at["deviation"] == pytest.approx(86_400 / math.sqrt(12), rel=0.05)
    page = report_html(wrong)
    for text in (str(ends[0]), at["median"], " days", "Tails", "<code>tails</code>"):
        assert text in page, text


def test_the_drawing_says_how_much_lies_beyond(wrong: TableReport) -> None:
    drawing = re.findall("<svg.*?</svg>", report_html(wrong), flags=re.DOTALL)[0]
    shares = re.findall(r"([\d.]+)% beyond", drawing)
    assert len(shares) == 1 and 2.0 <= float(shares[0]) < 4.0
    drawing = re.findall("<svg.*?</svg>", report_html(report_on(REAL)), flags=re.DOTALL)[0]
    assert "beyond" not in drawing


def test_what_there_is_not_is_said() -> None:
    page = report_html(report_on(numbers(1000, 2)))
    assert "no pair is strong" in page and ">nan<" not in page
    letters = pa.table({"c": RANDOM.choice(["a", "b"], 200), "d": RANDOM.choice(["a", "b"], 200)})
    report = synthray.evaluate(letters, letters, gates={"tails": {"min": 0.5}})
    page = report_html(report)
    assert "no column of numbers or dates" in page and "moments" not in page
    assert report_json(report)["scores"]["tails"] == {
        "value": None, "floor": None, "ratio": None, "better": "higher",
    }  # fmt: skip
    assert [(gate.value, gate.passed) for gate in report.gates] == [(None, False)]


def test_dates_beyond_the_calendar_are_told() -> None:
    years = pa.array([-62_200_000_000, 10**12, 0] * 50).view(pa.timestamp("s"))
    page = report_html(synthray.evaluate(pa.table({"t": years}), pa.table({"t": years})))
    assert "33658-09-27 01:46:40" in page
