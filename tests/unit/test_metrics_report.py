"""The report as page and as JSON."""

import dataclasses
import html
import json
import math
import struct
import zlib

import pytest

from synthray.errors import UsageError
from synthray.metrics.gates import check_gates
from synthray.metrics.report import ClassRow, Picture, Report, report_html, report_json
from synthray.metrics.utility import Accuracy, Utility


def png(grey=128):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    image = zlib.compress(bytes([0, grey]))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", image) + chunk(b"IEND", b"")
    )


SCORES = {
    "frechet_domain": {"value": 9.8765, "floor": 4.5, "ratio": 2.1948, "better": "lower"},
    "kernel_domain": {
        "value": -0.00123,
        "floor": 0.0,
        "ratio": None,
        "better": "lower",
        "std": 0.0004,
    },
    "coverage_domain": {"value": 0.9123, "floor": 0.95, "ratio": 0.9603, "better": "higher"},
    "odd_value": {"value": math.nan, "floor": None, "ratio": None, "better": "higher"},
}
REPORT = Report(
    title="Digits <script>alert('x')</script>",
    compared={"source": "s3://raw/digits/", "synthetic rows": 1_000_000, "seed": 7},
    extractor=("domain", "ab" * 32),
    scores=SCORES,
    utility=Utility(Accuracy(970, 1000), Accuracy(988, 1000), 640),
    gates=check_gates(
        {"frechet_domain.ratio": {"max": 3}, "coverage_domain": {"min": 0.95}}, SCORES
    ),
    classes=[
        ClassRow("zero & <b>one</b>", 500, 480, {"TSTR": 0.97}),
        ClassRow("two", 500, 520, {"TSTR": 0.96}),
    ],
    pictures=[Picture("Real", png()), Picture("Synthetic", png(90))],
    notes=["Fréchet distance from few rows is biased."],
    environment={"torch": "2.13.0"},
    created="2026-11-22",
)


def test_page_holds_every_number():
    page = html.unescape(report_html(REPORT))
    for text in (
        "9.877", "4.5", "2.19", "−0.00123", "± 0.0004", "0.9123", "97.00 %", "98.80 %", "95.7",
        "max 3", "1 of 2 gates missed", "ab" * 32, "1,000,000", "640", "480", "520", "0.96",
        "biased", "2.13.0", "frechet_domain", "2026-11-22", "not defined here",
    ):  # fmt: skip
        assert text in page, text


def test_page_escapes_and_loads_nothing():
    page = report_html(REPORT)
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 2


def test_page_of_the_least():
    bare = Report("Bare", {}, ("inception", "00"), {})
    page = report_html(bare)
    for heading in ("Gates", "Classes", "Samples", "Usefulness", "Environment"):
        assert f"<h2>{heading}" not in page
    assert report_json(bare)["utility"] is None
    passed = dataclasses.replace(REPORT, gates=[g for g in REPORT.gates if g.passed])
    assert "all 1 gates passed" in report_html(passed)


def test_json_is_the_same():
    data = report_json(REPORT)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["scores"]["frechet_domain"]["value"] == 9.8765
    assert data["scores"]["odd_value"]["value"] is None
    assert data["utility"]["tstr"]["accuracy"] == 0.97
    assert data["utility"]["tstr"]["low"] == pytest.approx(0.9576, abs=1e-3)
    assert data["passed"] is False
    assert data["gates"][0] == {
        "name": "frechet_domain.ratio", "value": 2.1948, "limit": "max 3", "passed": True,
    }  # fmt: skip
    assert data["classes"][0]["label"] == "zero & <b>one</b>"


def test_pictures_are_png():
    with pytest.raises(UsageError, match="picture 'Real' is not PNG"):
        report_html(dataclasses.replace(REPORT, pictures=[Picture("Real", b"GIF89a")]))
