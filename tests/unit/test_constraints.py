"""Constraints one by one: what the model learns, what comes back, and what is refused."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import constrained
import numpy as np
import pyarrow as pa
import pytest

from synthray.data.constraints import Plan
from synthray.data.constraints.decimals import difference, shortest, total
from synthray.data.schema import Kind
from synthray.errors import ArtifactError, SchemaError, SourceError


def refusal(rows: pa.Table, *given: dict[str, Any], **kinds: Any) -> str:
    with pytest.raises(SchemaError) as caught:
        Plan(constrained.schema(rows, **kinds), constrained.constraints(*given))
    assert caught.value.remedy
    return str(caught.value)


# Inequalities.


def test_the_greater_column_is_learned_as_its_distance() -> None:
    day = dt.date(2024, 2, 28)
    rows = pa.table(
        {
            "start": pa.array([day, day, None, None]),
            "end": pa.array([dt.datetime(2024, 3, 1, 6), None, dt.datetime(2024, 3, 1), None]),
        }
    )
    made = constrained.plan(rows, {"less": ["start", "end"]})
    assert [(c.name, c.kind, c.arrow_type) for c in made.inner] == [
        ("start", Kind.datetime, "date32[day]"),
        ("end", Kind.integer, "int64"),
        ("end alone", Kind.datetime, "timestamp[us]"),
    ]
    hours = (2 * 24 + 6) * 3_600_000_000
    found = made.forward(rows)
    assert found["end"].to_pylist() == [hours, None, 0, None]
    # Without a start nothing bounds the end, which is learned as it is.
    assert found["end alone"].to_pylist() == [None, None, dt.datetime(2024, 3, 1), None]
    assert made.backward(found).equals(rows)


def test_of_several_lesser_columns_the_greatest_that_is_there_counts() -> None:
    rows = pa.table({"a": [1, 5, None, None], "b": [4, 2, 3, None], "c": [9, 9, 9, 9]})
    made = constrained.plan(rows, {"less": ["a", "c"]}, {"less": ["b", "c"]})
    assert made.forward(rows)["c"].to_pylist() == [5, 4, 6, 0]
    assert made.backward(made.forward(rows)).equals(rows)


def test_a_distance_does_not_lead_beyond_the_range_of_the_source() -> None:
    rows = pa.table({"a": [0, 50], "b": [10, 60]})
    made = constrained.plan(rows, {"less": ["a", "b"]})
    wild = pa.table({"a": [50, 70, 0], "b": [40, 5, -9], "b alone": pa.array([None] * 3, "int64")})
    # But where the lesser column is beyond it already the inequality counts more.
    assert made.backward(wild)["b"].to_pylist() == [60, 70, 10]


def test_nothing_is_missing_that_the_source_always_has() -> None:
    rows = pa.table({"a": [1, None, None, None], "b": [5, 7, 8, 90]})
    made = constrained.plan(rows, {"less": ["a", "b"]})
    # A model may give a distance without a start, and a start with a value of its own.
    wild = pa.table({"a": [None, 2], "b": [3, 4], "b alone": pa.array([None, 80], "int64")})
    assert made.backward(wild)["b"].to_pylist() == [48, 6]


def test_strict_inequalities_leave_a_step_of_the_type() -> None:
    kinds = {"date": pa.date32(), "second": pa.timestamp("s"), "half": pa.float16()}
    zero = {"date": pa.int32(), "second": pa.int64(), "half": pa.float32()}
    for name, kind in kinds.items():
        cells = pa.array([0], zero[name])
        column = cells.cast(kind) if name == "half" else cells.view(kind)
        rows = pa.table({"a": column, "b": column})
        made = Plan(
            constrained.schema(rows), constrained.constraints({"less": ["a", "b"], "strict": True})
        )
        gap = pa.array([0.0] if name == "half" else [0])
        found = made.backward(
            pa.table({"a": column, "b": gap, "b alone": pa.array([None], rows["b"].type)})
        )
        step = found["b"].combine_chunks().view(pa.uint16() if name == "half" else zero[name])
        assert step.to_pylist() == [1]  # of float16 the smallest number above 0


def test_a_longer_list_bounds_across_a_missing_cell() -> None:
    rows = pa.table({"a": [1, 9], "b": [2, None], "c": [3, 5]})
    made = Plan(constrained.schema(rows), constrained.constraints({"less": ["a", "b", "c"]}))
    assert made.check(rows).found[0].violated == 1
    assert made.check(rows).found[0].example == {"a": 9, "b": None, "c": 5}


def test_columns_below_a_fixed_one_are_learned_downwards() -> None:
    rows = pa.table({"tier": ["s", "l"], "limit": [10, 100], "used": [4, 90], "once": [1, 50]})
    made = constrained.plan(
        rows, {"combinations": ["tier", "limit"]}, {"less": ["once", "used", "limit"]}
    )
    found = made.forward(rows)
    assert found["used"].to_pylist() == [6, 10] and found["once"].to_pylist() == [3, 40]
    assert made.backward(found).equals(rows)
    swapped = found.set_column(0, "tier & limit", found["tier & limit"].take([1, 0]))
    assert made.backward(swapped)["used"].to_pylist() == [90, 4]
    chain = ({"less": ["once", "used"]}, {"less": ["used", "limit"]})
    made = constrained.plan(rows, {"combinations": ["tier", "limit"]}, *chain)
    assert made.forward(rows)["once"].to_pylist() == [3, 40]  # below the one below the limit


def test_a_condition_stays_and_its_neighbours_give_way() -> None:
    rows = pa.table({"a": [1, 2], "b": [5, 6], "c": [9, 9]})
    schema = constrained.schema(rows, "b")
    made = Plan(schema, constrained.constraints({"less": ["a", "b", "c"]}))
    made.fit(made.partial(rows))
    assert [c.name for c in made.inner.conditions] == ["b"]
    assert made.forward(rows).to_pydict() == {
        "a": [4, 4],
        "a alone": [None, None],
        "b": [5, 6],
        "c": [4, 3],
        "c alone": [None, None],
    }
    assert made.backward(made.forward(rows)).equals(rows)


def test_dates_as_text_are_compared_and_written_in_their_format() -> None:
    rows = pa.table({"from": ["2024-02-28", None], "to": ["2024-03-01", "2024-01-01"]})
    form = {"from": "%Y-%m-%d", "to": "%Y-%m-%d"}
    made = constrained.plan(rows, {"less": ["from", "to", "2024-12-31"]}, formats=form)
    assert made.forward(rows)["to"].to_pylist() == [2 * 86_400, 0]
    assert made.backward(made.forward(rows)).equals(rows)


def test_decimals_and_dictionaries_keep_their_types() -> None:
    rows = pa.table(
        {
            "net": pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(9, 2)),
            "gross": pa.array([Decimal("1.785"), Decimal("2.380")], pa.decimal128(9, 3)),
            "low": pa.array([1, 2]).dictionary_encode(),
            "high": pa.array([3, 3]).dictionary_encode(),
            "word": pa.array(["x", "y"]).dictionary_encode(),
            "sum": pa.array([4, 5]).dictionary_encode(),
        }
    )
    made = constrained.plan(
        rows,
        {"less": ["net", "gross"]},
        {"less": ["low", "high"]},
        {"combinations": ["word", "low"]},
        {"sum": {"total": "sum", "parts": ["low", "high"]}},
        {"range": {"column": "net", "max": 2}},
    )
    assert made.forward(rows)["gross"].to_pylist() == [285, 380]
    assert made.backward(made.forward(rows)).equals(rows)


def test_a_distance_beyond_int64_is_refused() -> None:
    rows = pa.table({"a": [-(2**63)], "b": [2**63 - 1]})
    with pytest.raises(SourceError, match="'b' is beyond int64 in some row"):
        constrained.plan(rows, {"less": ["a", "b"]}).forward(rows)
    rows = pa.table({"a": [2**53 + 1], "b": [2.0**60]})
    with pytest.raises(SourceError, match=r"'a' has values beyond 9,007,199,254,740,992"):
        constrained.plan(rows, {"less": ["a", "b"]}).forward(rows)


# Ranges.


def test_ranges_clip_and_leave_other_cells_alone() -> None:
    rows = pa.table(
        {"x": pa.array([0.25, 0.5, 1.0], pa.float32()), "n": pa.array([1, 2, 3], "int8")}
    )
    made = constrained.plan(
        rows,
        {"range": {"column": "x", "min": 0.1, "max": 1}},
        {"less": ["n", 3.5]},
        {"less": [0, "n"], "strict": True},
    )
    wild = pa.table(
        {"x": pa.array([0.0, 0.3, None], pa.float32()), "n": pa.array([-1, None, 9], "int8")}
    )
    found = made.backward(wild)
    # The float32 nearest to 0.1 is above it.
    assert found["x"].to_pylist() == [float(np.float32(0.1)), float(np.float32(0.3)), None]
    assert found["n"].to_pylist() == [1, None, 3]
    assert [v.text for v in made.check(found)] == ["0.1 <= x <= 1", "n <= 3.5", "0 < n"]


def test_a_date_with_a_time_bounds_a_date() -> None:
    rows = pa.table({"day": pa.array([dt.date(2024, 5, 2)])})
    made = constrained.plan(rows, {"less": ["2024-05-01T12:00", "day"]})
    wild = pa.table({"day": pa.array([dt.date(1999, 1, 1)])})
    assert made.backward(wild)["day"].to_pylist() == [dt.date(2024, 5, 2)]


# Combinations.


def test_combinations_are_one_column_of_keys() -> None:
    rows = pa.table({"city": ["a", "a", None, "b"], "n": [1, 1, 2, None], "other": [1, 2, 3, 4]})
    made = constrained.plan(rows, {"combinations": ["city", "n"]})
    assert made.inner.names == ["city & n", "other"]
    assert made.backward(made.forward(rows)).equals(rows)
    assert made.check(pa.table({"city": ["a", "b"], "n": [1, 1]})).found[0].violated == 1
    wrong = pa.table({"city & n": ["a\x1f2"], "other": [1]})
    with pytest.raises(ArtifactError, match=r"combination 'a\\x1f2' that the source lacks"):
        made.backward(wrong)


def test_keys_are_apart_whatever_the_text() -> None:
    rows = pa.table(
        {
            "a": ["x\x1fy", "x", "\\0", None, "\\", "\\\\0"],
            "b": ["z", "y\x1fz", "", "", "s", ""],
        }
    )
    made = constrained.plan(rows, {"combinations": ["a", "b"]})
    assert made.backward(made.forward(rows)).equals(rows)
    assert len(made.forward(rows).column(0).unique()) == 6


def test_combinations_do_not_depend_on_the_order_of_chunks() -> None:
    rows = pa.table({"a": list("zyxz"), "b": list("1234")})
    one = constrained.plan(rows, {"combinations": ["a", "b"]})
    other = Plan(one.schema, one.constraints)
    parts = [other.partial(rows.slice(n, 1)) for n in (3, 1, 2, 0)]
    merged = parts[0]
    for part in parts[1:]:
        merged = other.merge(merged, part)
    other.fit(merged)
    assert one.state() == other.state() and len(one.state()[0]["a"]) == 4


def test_names_of_added_columns_are_free() -> None:
    rows = pa.table({"a": [1], "b": [2], "a & b": [3], "c": [4], "c alone": [5]})
    made = constrained.plan(rows, {"combinations": ["a", "b"]}, {"less": ["a & b", "c"]})
    assert made.inner.names == ["a & b'", "a & b", "c", "c alone'", "c alone"]
    assert made.backward(made.forward(rows)).equals(rows)


# Sums.


def test_totals_follow_and_are_learned_only_where_a_part_is_missing() -> None:
    rows = pa.table(
        {
            "total": [0.3, 1.0, 7.5, None],
            "base": [0.1, 0.7, None, 1.0],
            "bonus": [0.2, 0.3, 1.0, 2.0],
        }
    )
    made = constrained.plan(rows, {"sum": {"total": "total", "parts": ["base", "bonus"]}})
    assert made.forward(rows)["total"].to_pylist() == [0.0, 0.0, 7.5, None]
    assert made.backward(made.forward(rows)).equals(rows)
    wild = pa.table({"total": [5.0] * 3, "base": [0.7, None, 0.1], "bonus": [0.1, 1.0, 0.7]})
    assert made.backward(wild)["total"].to_pylist() == [0.8, 5.0, 0.8]


def test_totals_are_missing_where_the_source_lacks_them() -> None:
    rows = pa.table({"t": [3, None, None], "a": [1, None, 2], "b": [2, 2, None]})
    made = constrained.plan(rows, {"sum": {"total": "t", "parts": ["a", "b"]}})
    # The model may mistake which of its rows have a total.
    wild = pa.table({"t": [None, 0, 7], "a": [1, 5, None], "b": [2, 2, 1]})
    assert made.backward(wild)["t"].to_pylist() == [3, 7, None]


def test_sums_of_floats_that_are_no_short_decimals_are_those_of_float64() -> None:
    a, b, c = np.random.default_rng(0).normal(size=(3, 1000))
    assert np.array_equal(total([a, b, c], [53] * 3), (a + b) + c)
    assert np.array_equal(difference(a, b, 53, 53), a - b)


def test_decimal_numbers_are_found_row_by_row() -> None:
    cells = np.array([0.1 + 0.2, 0.3, -12.25, 5.0, 2.0**60, np.inf, 1 / 3])
    numbers, decimals = shortest(cells, 53)
    assert np.array_equal(numbers, cells)
    assert decimals.tolist() == [-1, 1, 2, 0, -1, -1, -1]
    narrow = cells[1:4].astype(np.float32).astype(np.float64)
    assert shortest(narrow, 24)[0].tolist() == [0.3, -12.25, 5.0]


def test_a_sum_that_its_type_cannot_hold_is_missing() -> None:
    kind = pa.int8()
    rows = pa.table({"t": pa.array([5], kind), "a": pa.array([2], kind), "b": pa.array([3], kind)})
    made = constrained.plan(rows, {"sum": {"total": "t", "parts": ["a", "b"]}})
    wild = pa.table(
        {
            "t": pa.array([0, 0], kind),
            "a": pa.array([100, 1], kind),
            "b": pa.array([100, -1], kind),
        }
    )
    assert made.backward(wild)["t"].to_pylist() == [None, 0]


def test_sums_in_the_source_may_be_off_by_rounding() -> None:
    rows = pa.table({"t": [0.1 + 0.2, 0.3, 0.31], "a": [0.1] * 3, "b": [0.2] * 3})
    made = Plan(
        constrained.schema(rows),
        constrained.constraints({"sum": {"total": "t", "parts": ["a", "b"]}}),
    )
    found = made.check(rows).found[0]
    assert (found.violated, found.example) == (1, {"t": 0.31, "a": 0.1, "b": 0.2})


# Ids.


def test_patterns_make_ids_of_text_and_hold_categories_to_the_source() -> None:
    rows = pa.table({"who": ["C-1", "C-2"], "zip": ["01234", "99999"]})
    given = (
        {"pattern": {"column": "who", "regex": "C-[0-9]"}},
        {"pattern": {"column": "zip", "regex": "[0-9]{5}"}},
        {"unique": ["zip", "who"]},
    )
    made = constrained.plan(rows, *given, who="id")
    assert made.inner["who"].pattern == "C-[0-9]" and made.inner["who"].kind == Kind.id
    assert made.inner["zip"].kind == Kind.categorical
    wrong = pa.table({"who": ["C-1", "C-1", "C-12", None], "zip": ["01234", "01234", "x", None]})
    assert [v.violated for v in made.check(wrong)] == [1, 1, 1]
    assert constrained.plan(rows, *given, who="text").inner["who"].kind == Kind.id


# Refusals.

NUMBERS = pa.table({"a": [1], "b": [2], "c": [3], "d": ["x"], "f": [0.5]})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([{"less": ["a", "bb"]}], r"'bb' is neither a column nor a number"),
        ([{"combinations": ["a", "dd"]}], r"constraints\.0: no column named 'dd'\n.*did you mean"),
        ([{"less": ["x", "2024-01-01"]}], r"constraints\.0: no column named 'x'"),
        ([{"less": ["a", "d"]}], r"'d' is categorical of string, which has no order"),
        ([{"range": {"column": "d", "min": 1}}], r"'d' is categorical of string"),
        ([{"range": {"column": "a", "min": "2024-01-01"}}], "neither a column nor a number"),
        (
            [{"less": ["a", "b"]}, {"less": ["b", "c"]}, {"less": ["c", "a"]}],
            r"constraints\.\d \(.*\); data\.constraints\.\d \(.*\); .* go in a circle: ",
        ),
        (
            [{"combinations": ["a", "b"]}, {"combinations": ["b", "c"]}],
            r"constraints\.1 .* and data\.constraints\.0 .* both settle the column 'b'",
        ),
        (
            [
                {"sum": {"total": "c", "parts": ["a", "b"]}},
                {"sum": {"total": "c", "parts": ["b", "a"]}},
            ],
            r"constraints\.1 \(c = b \+ a\) and data\.constraints\.0 \(c = a \+ b\) both settle",
        ),
        (
            [
                {"sum": {"total": "c", "parts": ["a", "b"]}},
                {"sum": {"total": "a", "parts": ["c", "b"]}},
            ],
            r"\(c = a \+ b\).*each of these needs what another gives",
        ),
        (
            [{"sum": {"total": "c", "parts": ["a", "b"]}}, {"less": ["a", "c"]}],
            r"\(a <= c\).*each of these needs what another gives",
        ),
        (
            [
                {"sum": {"total": "c", "parts": ["a", "b"]}},
                {"range": {"column": "c", "max": 9}},
            ],
            r"constraints\.1 \(c <= 9\): data\.constraints\.0 .* settles 'c', whose range follows",
        ),
        (
            [{"range": {"column": "a", "min": 5}}, {"less": ["a", 3]}],
            r"constraints\.0 \(5 <= a\); data\.constraints\.1 \(a <= 3\): no value of 'a'",
        ),
        ([{"less": ["a", -1e30]}], "'a' of int64 holds no such values"),
        ([{"less": ["a", -(10**30)]}], "'a' of int64 holds no such values"),
        ([{"sum": {"total": "a", "parts": ["f", "b"]}}], "'a' is int64, and not all"),
        ([{"sum": {"total": "d", "parts": ["a", "b"]}}], "'d' is categorical of string"),
        ([{"unique": ["a"]}], r"'a' is integer, and what is learned comes again.*\n.*kind: id"),
        ([{"unique": ["d", "a"]}], r"'d' is categorical, 'a' is integer"),
        ([{"pattern": {"column": "a", "regex": "[0-9]"}}], "'a' is integer of int64"),
        ([{"pattern": {"column": "d", "regex": "(?=x)"}}], r"constraints\.0: pattern '\(\?=x\)'"),
        (
            [{"combinations": ["a", "b"]}, {"sum": {"total": "b", "parts": ["a", "c"]}}],
            r"both settle the column 'b'",
        ),
        (
            [
                {"sum": {"total": "c", "parts": ["a", "b"]}},
                {"combinations": ["d", "f"]},
                {"less": ["f", "c"]},
            ],
            r"neither 'f' nor 'c' can give way",
        ),
    ],
)
def test_what_cannot_hold_is_refused_by_name(given: list[dict[str, Any]], words: str) -> None:
    message = refusal(NUMBERS, *given)
    assert re.search(words, message, re.DOTALL), message


def test_conditions_and_ids_are_refused_where_they_cannot_be() -> None:
    rows = pa.table({"a": [1], "b": ["x"], "c": [2], "d": [3], "w": [dt.date(2024, 1, 1)]})
    schema = constrained.schema(rows, "b", "c", "d")
    for given, words in (
        ({"combinations": ["a", "b"]}, "data.conditions 'b' both settle the column 'b'"),
        ({"sum": {"total": "c", "parts": ["a", "d"]}}, "data.conditions 'c' both settle"),
        ({"less": ["c", "d"]}, "neither 'c' nor 'd' can give way, for data.conditions 'c' and"),
    ):
        with pytest.raises(SchemaError, match=words):
            Plan(schema, constrained.constraints(given))
    assert "'b' is id of string, which has no order" in refusal(rows, {"less": ["a", "b"]}, b="id")
    assert "'b' is id of string, which cannot be part" in refusal(
        rows, {"combinations": ["a", "b"]}, b="id"
    )
    assert "'a' is a number, 'w' is a time" in refusal(rows, {"less": ["a", "w"]})
    assert "the number 3 among columns of the sort time" in refusal(rows, {"less": ["w", 3]})
    assert "pattern 'x+': '+' has no end" in refusal(
        rows, {"pattern": {"column": "b", "regex": "x+"}}, b="id"
    )
