"""Profiles of columns: what they count, and that the grouping of rows changes nothing."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray.data.date_formats import FORMATS, chosen, formats_of
from synthray.data.profile import ColumnProfile
from synthray.data.shapes import Shapes
from synthray.data.sketches import LIMIT

RANDOM = np.random.default_rng(0)


def profile(cells: Any, kind: pa.DataType | None = None) -> ColumnProfile:
    return ColumnProfile.of(pa.chunked_array([pa.array(cells, kind)]))


def merged(cells: list[Any], kind: pa.DataType, cuts: list[int]) -> ColumnProfile:
    """By way of parts that end at the cuts."""
    total = ColumnProfile()
    ends = sorted({min(cut, len(cells)) for cut in cuts} | {len(cells)})
    for start, stop in zip([0, *ends], ends, strict=False):
        total = total.merge(profile(cells[start:stop], kind))
    return total


def test_missing_and_infinite_cells_are_counted_apart() -> None:
    found = profile([1.0, None, math.nan, math.inf, -math.inf, math.inf, 2.0])
    assert (found.rows, found.missing, found.infinite, found.count) == (7, 2, 3, 5)
    assert (found.low, found.high, found.fractions) == (1.0, 2.0, False)
    found = profile([math.inf, None])
    assert (found.low, found.infinite, found.fractions) == (None, 1, False)


@pytest.mark.parametrize(
    ("cells", "kind", "low", "high"),
    [
        ([3, 1, None], pa.int8(), 1, 3),
        ([2**63, 1], pa.uint64(), 1, 2**63),
        ([1.5, 1.0], pa.float32(), 1.0, 1.5),
        (
            [Decimal("1.10"), Decimal("-2.00")],
            pa.decimal128(5, 2),
            Decimal("-2.00"),
            Decimal("1.10"),
        ),
        ([date(2020, 1, 2), date(1999, 1, 1)], pa.date32(), "1999-01-01", "2020-01-02"),
        (
            [datetime(2020, 1, 2, 3), datetime(2020, 1, 2)],
            pa.timestamp("ns"),
            "2020-01-02 00:00:00.000000000",
            "2020-01-02 03:00:00.000000000",
        ),
        ([True, False], pa.bool_(), False, True),
        ([None, None], pa.null(), None, None),
        (["a", "b"], pa.string(), None, None),
    ],
)
def test_ranges_of_every_type(cells: list[Any], kind: pa.DataType, low: Any, high: Any) -> None:
    found = profile(cells, kind)
    assert (found.low, found.high, found.rows) == (low, high, len(cells))
    assert found.size == len({cell for cell in cells if cell is not None})


def test_a_dictionary_is_its_values() -> None:
    plain = pa.chunked_array([["b", "a", None, "b"]])
    assert ColumnProfile.of(plain.dictionary_encode()).size == ColumnProfile.of(plain).size == 2


@pytest.mark.parametrize(
    ("cells", "fractions"),
    [([1.0, 2.0], False), ([1.0, 2.5], True), ([1.0, 2.0**60], True), ([-(2.0**53)], False)],
)
def test_whole_numbers_among_floats_are_told(cells: list[float], fractions: bool) -> None:
    assert profile(cells).fractions == fractions


def test_uniqueness_is_told_of_few_and_of_many_values() -> None:
    assert profile([1, 2, None, 3]).unique and not profile([1, 2, 2]).unique
    many = list(range(3 * LIMIT))
    halves = profile(many[: 2 * LIMIT]).merge(profile(many[2 * LIMIT :]))
    assert halves.unique and abs(halves.size - 3 * LIMIT) < 0.15 * 3 * LIMIT
    assert not profile([*many[: 2 * LIMIT], *many[:LIMIT]]).unique


CELLS = {
    pa.int64(): st.integers(-(2**62), 2**62) | st.integers(0, 5),
    pa.float64(): st.floats() | st.integers(-9, 9).map(float),
    pa.string(): st.text("aB7- .:/\u00e9", max_size=5) | st.dates().map(str),
    pa.date32(): st.dates(date(1970, 1, 1), date(2100, 1, 1)),
}


@settings(max_examples=80, derandomize=True, deadline=None)
@given(data=st.data(), kind=st.sampled_from(list(CELLS)), cuts=st.lists(st.integers(0, 30)))
def test_profiles_do_not_depend_on_the_grouping(
    data: st.DataObject, kind: pa.DataType, cuts: list[int]
) -> None:
    cells = data.draw(st.lists(st.none() | CELLS[kind], max_size=30))
    one, parts = merged(cells, kind, []), merged(cells, kind, cuts)
    for name in ("rows", "missing", "infinite", "count", "size", "unique", "low", "high"):
        assert getattr(one, name) == getattr(parts, name), name
    assert one.fractions == parts.fractions and one.examples == parts.examples
    assert (one.text.letters, one.text.long) == (parts.text.letters, parts.text.long)
    if one.count:
        assert one.text.formats == parts.text.formats
    shapes = (one.text.shapes, parts.text.shapes)
    if one.unique and kind == pa.string() and one.count:
        assert shapes[0] is not None and shapes[0] == shapes[1]


# Dates as text.


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_found_in_what_it_writes(form: str) -> None:
    days = [datetime(2019, 12, 31, 23, 59, 58, 7), datetime(2020, 2, 29, 1, 2, 3, 456789)]
    texts = pa.array([day.strftime(form) for day in days])
    found = formats_of(texts)
    assert form in found
    # Another is taken only where it reads the same cells as the same times.
    taken = chosen(found)
    assert taken is not None
    for text in texts.to_pylist():
        assert datetime.strptime(text, taken) == datetime.strptime(text, form)


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (["31.12.2020", "1.2.2021"], "%d.%m.%Y"),  # zeros left out
        (["13/12/2020", "01/02/2021"], "%d/%m/%Y"),
        (["12/13/2020", "01/02/2021"], "%m/%d/%Y"),
        (["01/02/2021", "03/04/2021"], "%m/%d/%Y"),
        (["31.02.2020"], None),
        (["2020"], None),
        (["1.5", "2.25"], None),
        (["2020-01-01", "soon"], None),
        (["12.10.20", "31.10.21"], "%d.%m.%y"),
    ],
)
def test_formats_that_are_told_apart(texts: list[str], form: str | None) -> None:
    assert chosen(formats_of(pa.array(texts))) == form
    many = pa.array([*texts * 20, *texts])
    assert chosen(formats_of(many)) == form


def test_one_cell_beyond_the_first_ones_rules_a_format_out() -> None:
    assert not formats_of(pa.array(["2020-01-01"] * 100 + ["2020-13-01"]))


# Patterns of ids.


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["AB-000123", "XY-999999"], r"[A-Z]{2}-\d{6}"),
        (["CUST-0001", "CUST-0420"], r"CUST-\d{4}"),
        (["a17@x.org", "a9@x.org", "a2795@x.org"], r"a[1-9]\d{0,3}@x\.org"),
        (["ab1@x3.org", "aeb1@x3.org"], r"[a-z]{2,3}1@x3\.org"),
        (["INV-2024-00017", "INV-2024-31999"], r"INV-2024-\d{5}"),
        (["Kab-1", "Kcb-2"], r"K[a-z]{2}-\d"),
        (["N41791234567", "N41798800001"], r"N4179\d{7}"),
        (["é1x", "é2x"], r"é\dx"),
        (["user1", "user20", "user300"], r"user[1-9]\d{0,2}"),
        (["10.0.0.1", "192.168.10.25"], r"[1-9]\d{1,2}\.[1-9]\d{0,2}\.[1-9]\d{0,1}\.[1-9]\d{0,1}"),
        (["00123", "98765"], r"\d{5}"),
        (["a.1 b", "c.2 d"], r"[a-z]\.\d [a-z]"),
        (
            ["123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000"],
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        ),
        (["Ann", "Bob", "Carl"], None),
        (["12 kg", "7 kg", "100 kg"], None),
        (["$1.50", "$20.10"], None),
        (["-5", "-17"], None),
    ],
)
def test_patterns(texts: list[str], pattern: str | None) -> None:
    whole = Shapes.of(pa.array(texts))
    parts = Shapes()
    for text in texts:
        parts = parts.merge(Shapes.of(pa.array([text])))
    assert whole.pattern(len(texts)) == parts.pattern(len(texts)) == pattern


def test_what_varies_is_free_where_too_few_ids_would_be_left() -> None:
    numbered = Shapes.of(pa.array([f"AB-{n:09d}-2024" for n in range(400)]))
    assert numbered.pattern(1) == r"AB-00000\d{4}-2024"
    assert numbered.pattern(400) == r"AB-00\d{7}-2024"
    assert numbered.pattern(10**9) == r"AB-\d{9}-2024"
    plates = Shapes.of(pa.array([f"ZA{c}-{n}" for n in range(10) for c in "KLM"]))
    assert plates.pattern(0) == r"ZA[A-Z]-\d"
    assert Shapes.of(pa.array(["ab1", "aeb2"])).pattern(0) == r"a[a-z]{0,1}b\d"
    assert Shapes.of(pa.array(["aa1", "aaa2"])).pattern(0) == r"aa[a-z]{0,1}\d"
    assert plates.pattern(30) == r"[A-Z]{3}-\d"


def test_letters_and_digits_in_no_order_have_a_pattern_from_a_length_on() -> None:
    made = ["".join(row) for row in RANDOM.choice(list("0123456789abcdef"), (500, 12))]
    assert Shapes.of(pa.array(made)).pattern(500) == "[0-9a-f]{12}"
    assert Shapes.of(pa.array([text.upper() for text in made])).pattern(500) == "[0-9A-F]{12}"
    assert Shapes.of(pa.array([text[:5] for text in made])).pattern(500) is None
    assert Shapes.of(pa.array([*made, "0123"])).pattern(500) is None
