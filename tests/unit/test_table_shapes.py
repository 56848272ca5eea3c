"""Columns and pairs of columns: SDMetrics' numbers, and what moves them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mixed import NUMBERS, mixed

from synthray.data.schema import Column, Kind
from synthray.errors import SchemaError
from synthray.metrics.tables import pairs as pairs_module
from synthray.metrics.tables.columns import Frame, canonical, check_columns, frames
from synthray.metrics.tables.pairs import (
    PairTrend,
    contingency_distance,
    correlation_distance,
    pair_trends,
    trend_score,
)
from synthray.metrics.tables.shapes import column_shapes, ks_complement, mean_score, tv_complement

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "references" / "sdmetrics.json").read_text()
)
KINDS = {"visits": Kind.integer, "since": Kind.datetime, "member": Kind.boolean}
COLUMNS = [
    Column(
        name=name,
        kind=KINDS.get(name, Kind.continuous if name in NUMBERS else Kind.categorical),
        arrow_type=str(mixed(1, 0).schema.field(name).type),
    )
    for name in mixed(1, 0).column_names
]


def comparable(*tables: pa.Table, columns: list[Column] = COLUMNS) -> list[Frame]:
    return frames([canonical(table, columns) for table in tables], columns)


@pytest.fixture(scope="module")
def pair() -> tuple[Frame, Frame]:
    """The tables of the reference."""
    real, synthetic = comparable(mixed(1500, 1), mixed(1200, 2, 0.15))
    return real, synthetic


def test_shapes_are_those_of_sdmetrics(pair: tuple[Frame, Frame]) -> None:
    shapes = {shape.name: shape for shape in column_shapes(*pair)}
    expected = REFERENCE["all"]["columns"]
    # The synthetic rows have a category that real rows do not: see the module about the 1e-6.
    assert {name: shape.score for name, shape in shapes.items()} == pytest.approx(
        expected, abs=1e-9
    )
    missing = {name: shape.missing_similarity for name, shape in shapes.items()}
    assert missing == pytest.approx(REFERENCE["missing"], abs=1e-12)
    assert mean_score([s.score for s in shapes.values()]) == pytest.approx(
        REFERENCE["all"]["column_shapes"], abs=1e-9
    )


def test_pairs_are_those_of_sdmetrics(pair: tuple[Frame, Frame]) -> None:
    found = {tuple(sorted([p.a, p.b])): p for p in pair_trends(*pair)}
    strong = {tuple(p["columns"]): p for p in REFERENCE["strong"]["pairs"]}
    assert len(found) == len(REFERENCE["all"]["pairs"]) == 21
    for expected in REFERENCE["all"]["pairs"]:
        names = tuple(expected["columns"])
        trend = found[names]
        assert trend.measure.split()[0] == expected["measure"].split("S")[0].lower()
        if expected["score"] is None:
            assert math.isnan(trend.score), names
        else:
            assert trend.score == pytest.approx(expected["score"], abs=1e-9), names
        real = expected["real"] if trend.correlation else strong[names]["association"]
        if real is not None:
            assert trend.real == pytest.approx(real, abs=1e-9), names
        assert trend.strong == (strong[names]["score"] is not None), names


def test_quality_is_that_of_sdmetrics_over_all_and_over_strong_pairs(
    pair: tuple[Frame, Frame],
) -> None:
    trends = pair_trends(*pair)
    for which, strong in (("all", False), ("strong", True)):
        assert trend_score(trends, strong) == pytest.approx(
            REFERENCE[which]["pair_trends"], abs=1e-9
        )


def test_a_table_beside_itself_is_perfect() -> None:
    real, again = comparable(mixed(200, 3), mixed(200, 3))
    assert {shape.score for shape in column_shapes(real, again)} == {1.0}
    trends = pair_trends(real, again)
    assert trend_score(trends) == pytest.approx(1.0, abs=1e-12)
    assert correlation_distance(trends) == contingency_distance(trends) == 0.0


def test_shuffled_columns_keep_their_shapes_and_lose_their_pairs() -> None:
    table, random = mixed(800, 4), np.random.default_rng(0)
    shuffled = pa.table(
        {name: table[name].take(random.permutation(800)) for name in table.column_names}
    )
    real, fresh, broken = comparable(table, mixed(800, 5), shuffled)
    assert {shape.score for shape in column_shapes(real, broken)} == {1.0}
    good, bad = pair_trends(real, fresh), pair_trends(real, broken)
    assert trend_score(bad, strong=True) < trend_score(good, strong=True) - 0.1
    assert correlation_distance(bad) > 2 * correlation_distance(good)
    assert contingency_distance(bad) > contingency_distance(good)


def test_worse_columns_have_lower_scores() -> None:
    real, near, far = comparable(mixed(800, 6), mixed(800, 7, 0.05), mixed(800, 8, 0.4))
    good, bad = ({s.name: s for s in column_shapes(real, other)} for other in (near, far))
    for name in ("income", "visits", "since", "code"):  # the others move little
        assert good[name].score > bad[name].score + 0.02, name
    assert good["city"].missing_similarity > bad["city"].missing_similarity


def test_the_complements_by_hand() -> None:
    x, y = np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 3.0, 4.0, 5.0])
    # Below 3, two of three and one of four: no other point differs more than 2 / 3 − 1 / 4 = 5 / 12
    # but at 3 (1 − 1 / 2) and at 1 (1 / 3 − 0).
    assert ks_complement(x, y) == pytest.approx(1 - 0.5)
    assert tv_complement(np.array([0, 0, 1, -1]), np.array([0, 1, 1, 2]), 3) == pytest.approx(
        1 - (2 / 3 - 1 / 4 + 2 / 4 - 1 / 3 + 1 / 4) / 2
    )
    assert math.isnan(ks_complement(x, np.array([np.nan])))
    assert math.isnan(tv_complement(np.array([-1]), np.array([0]), 1))


def test_pairs_with_nothing_to_compare_are_told_apart_from_bad_ones() -> None:
    gone = pa.table({"a": pa.array([None] * 30, pa.float64()), "b": np.arange(30.0)})
    columns = [Column(name=n, kind=Kind.continuous, arrow_type="double") for n in "ab"]
    real, other = comparable(gone, gone, columns=columns)
    assert math.isnan(column_shapes(real, other)[0].score)
    assert math.isnan(pair_trends(real, other)[0].score)
    assert math.isnan(trend_score(pair_trends(real, other)))
    assert math.isnan(
        trend_score([PairTrend("a", "b", "correlation similarity", 1, 0.5, 0.5)], True)
    )


def test_sparse_contingency_tables_are_counted_like_dense_ones(
    pair: tuple[Frame, Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = pair_trends(*pair)
    monkeypatch.setattr(pairs_module, "DENSE", 0)
    for a, b in zip(dense, pair_trends(*pair), strict=True):
        numbers = [[p.score, p.real, p.other] for p in (a, b)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-12, nan_ok=True)


def test_of_very_many_pairs_some_are_chosen_always_the_same(
    pair: tuple[Frame, Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {(p.a, p.b): p for p in pair_trends(*pair)}
    monkeypatch.setattr(pairs_module, "MAX_PAIRS", 6)
    some = pair_trends(*pair, seed=3)
    assert len(some) == 6 and [(p.a, p.b) for p in pair_trends(*pair, seed=3)] == [
        (p.a, p.b) for p in some
    ]
    assert [p.real for p in some] == pytest.approx(
        [every[p.a, p.b].real for p in some], nan_ok=True
    )


# One form for all types.


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(30, 2), pa.large_string()],
)
def test_numbers_of_any_type_compare(kind: pa.DataType) -> None:
    values = pa.array([1, 2, None, 4], pa.int64())
    cells = values.cast(pa.string()).cast(kind) if kind == pa.large_string() else values.cast(kind)
    column = [Column(name="x", kind=Kind.continuous, arrow_type=str(kind))]
    found = comparable(pa.table({"x": cells}), pa.table({"x": values}), columns=column)
    for frame in found:
        np.testing.assert_array_equal(frame["x"], [1, 2, np.nan, 4])


@pytest.mark.parametrize(
    "cells",
    [
        pa.array(["2020-01-02", None]).cast(pa.date32()),
        pa.array(["2020-01-02", None]).cast(pa.timestamp("ns")),
        pa.array(["2020-01-02", None]).cast(pa.timestamp("s")).cast(pa.timestamp("s", "UTC")),
        pa.array(["02/01/2020", None]),
    ],
)
def test_dates_of_any_type_compare(cells: pa.Array) -> None:
    column = [Column(name="t", kind=Kind.datetime, format="%d/%m/%Y", arrow_type=str(cells.type))]
    (frame,) = comparable(pa.table({"t": cells}), columns=column)
    np.testing.assert_array_equal(frame["t"], [18_263 * 86_400e6, np.nan])


@pytest.mark.parametrize(
    "cells",
    [
        pa.array(["b", "a", None, "b"]),
        pa.array(["b", "a", None, "b"]).dictionary_encode(),
        pa.array(["b", "a", None, "b"], pa.large_string()),
    ],
)
def test_categories_of_any_type_compare(cells: pa.Array) -> None:
    column = [Column(name="c", kind=Kind.categorical, arrow_type=str(cells.type))]
    real, other = comparable(
        pa.table({"c": cells}), pa.table({"c": ["z", "a", "a"]}), columns=column
    )
    # The most frequent of the real ones first, strangers last.
    assert real.columns[0].values == ("b", "a", "z")
    assert real["c"].tolist() == [0, 1, -1, 0] and other["c"].tolist() == [2, 1, 1]


def test_a_column_that_is_all_missing_somewhere_compares() -> None:
    column = [
        Column(name="x", kind=Kind.continuous, arrow_type="double"),
        Column(name="c", kind=Kind.categorical, arrow_type="string"),
    ]
    full = pa.table({"x": [1.0, 2.0], "c": ["a", "b"]})
    empty = pa.table({"x": pa.nulls(2), "c": pa.nulls(2)})
    check_columns("synthetic", empty.schema, full.schema, column)
    real, other = comparable(full, empty, columns=column)
    assert np.isnan(other["x"]).all() and (other["c"] == -1).all()
    assert len(column_shapes(real, other)) == 2


def test_cells_that_cannot_be_are_told() -> None:
    number = [Column(name="x", kind=Kind.continuous, arrow_type="double")]
    with pytest.raises(SchemaError, match="column 'x' holds infinite numbers"):
        canonical(pa.table({"x": [1.0, math.inf]}), number)
    with pytest.raises(SchemaError, match=r"column 'x' is continuous by the schema, but: .*abc"):
        canonical(pa.table({"x": ["1", "abc"]}), number)
    date = [Column(name="t", kind=Kind.datetime, format="%d.%m.%Y", arrow_type="string")]
    with pytest.raises(SchemaError, match=r"^column 't' has 1 cells that are not of the format"):
        canonical(pa.table({"t": ["01.02.2020", "soon"]}), date)


def test_fractions_of_seconds_count() -> None:
    date = [Column(name="t", kind=Kind.datetime, format="%H:%M:%S.%f", arrow_type="string")]
    (frame,) = comparable(pa.table({"t": ["00:00:01.5", "00:00:02"]}), columns=date)
    assert np.diff(frame["t"]) == [500_000]
