"""The codec of numbers: standardised columns, types that come back, refusals that name columns."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch

from synthray.config import DataConfig
from synthray.data.codec import Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.moments import Moments
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.data.schema import Kind, Schema
from synthray.data.vector_codec import VectorCodec, VectorStats
from synthray.errors import ArtifactError, ConditionError, SchemaError, SourceError

RANDOM = np.random.default_rng(0)
TYPES = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()]


def fitted(rows: pa.Table, *conditions: str, **kinds: str) -> VectorCodec:
    return tiny.vector_codec(rows, *conditions, **kinds)


def back(made: VectorCodec, rows: pa.Table) -> pa.Table:
    """There and back, through the artifact's form."""
    encoded = made.encode(rows)
    loaded = VectorCodec.from_json(json.loads(json.dumps(made.to_json())))
    x = loaded.scale(torch.from_numpy(encoded.x))
    return loaded.decode(x, torch.from_numpy(encoded.cond))


def standardised(made: VectorCodec, *cells: float) -> torch.Tensor:
    return torch.tensor(cells, dtype=torch.float64).reshape(-1, made.spec.shape[0])


NO_LABELS = torch.empty((0, 0), dtype=torch.int64)


# There and back.


def test_columns_are_standardised() -> None:
    cells = RANDOM.normal(1e6, 3, 1000)
    rows = pa.table({"x": cells, "y": RANDOM.exponential(1e-9, 1000)})
    encoded = fitted(rows).encode(rows)
    assert encoded.x.dtype == np.float32 and encoded.x.shape == (1000, 2)
    assert encoded.cond.shape == (1000, 0)
    expected = (cells - cells.mean()) / cells.std()
    assert np.allclose(encoded.x[:, 0], expected, atol=1e-5)
    assert np.allclose(encoded.x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(encoded.x.var(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(pa.float16(), 2e-3), (pa.float32(), 1e-6), (pa.float64(), 1e-6)]
)
def test_floats_come_back_in_their_type(kind: pa.DataType, tolerance: float) -> None:
    cells = pa.array(RANDOM.normal(20, 5, 100).astype(kind.to_pandas_dtype()))
    rows = pa.table({"x": cells})
    found = back(fitted(rows), rows)
    assert found.schema.equals(rows.schema)
    assert np.allclose(found["x"].to_numpy(), cells.to_numpy(), rtol=tolerance)


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_integers_come_back_exactly(kind: pa.DataType) -> None:
    limits = np.iinfo(kind.to_pandas_dtype())
    low, high = max(int(limits.min), -30_000), min(int(limits.max), 30_000)
    rows = pa.table({"n": pa.array([low, high, *range(low, high, 97)], kind)})
    assert back(fitted(rows), rows).equals(rows)


@pytest.mark.parametrize(
    ("kind", "ends"), [(pa.int64(), (-(2**63), 2**63 - 1)), (pa.uint64(), (0, 2**64 - 1))], ids=str
)
def test_the_ends_of_the_largest_integers_do_not_wrap(
    kind: pa.DataType, ends: tuple[int, int]
) -> None:
    made = fitted(pa.table({"n": pa.array([*ends, *ends], kind)}))
    found = made.decode(standardised(made, -5, -1.1, 1.1, 5), NO_LABELS)
    assert found["n"].to_pylist() == [ends[0]] * 2 + [ends[1]] * 2


def test_integers_are_rounded_and_stay_within_the_range_of_the_source() -> None:
    rows = pa.table({"n": [1, 2, 3, 4, 5]})  # mean 3, deviation sqrt 2
    made = fitted(rows)
    cells = standardised(made, -9, -0.3, 0.3, 0.4, 9)
    assert made.decode(cells, NO_LABELS)["n"].to_pylist() == [1, 3, 3, 4, 5]
    free = fitted(rows, n="continuous")
    assert free.decode(cells, NO_LABELS)["n"].to_pylist() == [-10, 3, 3, 4, 16]
    whole = fitted(pa.table({"n": [1.0, 2.0, 3.0, 4.0, 5.0]}), n="integer")
    assert whole.decode(cells, NO_LABELS)["n"].to_pylist() == [1.0, 3.0, 3.0, 4.0, 5.0]


def test_floats_may_leave_the_range_of_the_source_but_not_of_their_type() -> None:
    made = fitted(pa.table({"x": pa.array([-60000, 60000], pa.float32()).cast(pa.float16())}))
    found = made.decode(standardised(made, -1.05, 2, 1000), NO_LABELS)["x"].to_pylist()
    assert found == [float(np.float16(-63000)), 65504.0, 65504.0]


@pytest.mark.parametrize(
    "cells", [pa.array([0.1] * 7), pa.array([0.1] * 7, pa.float32()), pa.array([2**63 - 1] * 7)]
)
def test_a_constant_column_is_zero_for_the_model_and_comes_back_exactly(cells: pa.Array) -> None:
    rows = pa.table({"c": cells, "x": np.arange(7.0)})
    made = fitted(rows)
    assert not made.encode(rows).x[:, 0].any()
    noise = torch.from_numpy(RANDOM.normal(size=(7, 2)))
    assert made.decode(noise, torch.empty((7, 0), dtype=torch.int64))["c"].to_pylist() == (
        cells.to_pylist()
    )


def test_conditions_of_text_booleans_and_integers_come_back() -> None:
    rows = pa.table(
        {
            "group": pa.array(["b", "a", "b", "c"]).dictionary_encode(),
            "x": [0.5, 1.5, 2.5, 3.5],
            "on": [True, True, False, True],
            "mode": pa.array([7, 5, 7, 5], pa.int8()),
        }
    )
    made = fitted(rows, "group", "on", "mode")
    assert made.spec.shape == (1,) and made.spec.conditions == (3, 2, 2)
    assert made.spec.combinations == ((0, 1, 0), (1, 0, 1), (1, 1, 1), (2, 1, 0))
    assert [c.values for c in made.schema.conditions] == [("a", "b", "c"), (False, True), (5, 7)]
    found = back(made, rows)
    assert found.select(["on", "mode"]).equals(rows.select(["on", "mode"]))
    assert found["group"].to_pylist() == rows["group"].to_pylist()
    assert found.column_names == rows.column_names
    with pytest.raises(ConditionError, match=r"mode = 9 is not in the training data"):
        made.encode(rows.set_column(3, "mode", pa.array([9] * 4, pa.int8())))


def test_the_artifacts_form_gives_the_same_codec() -> None:
    made = fitted(pa.table({"x": [0.1, 0.2, 0.7], "n": [1, 2**60, 3]}))
    tree = json.loads(json.dumps(made.to_json()))
    again = VectorCodec.from_json(tree)
    assert again.to_json() == made.to_json() and again.spec == made.spec
    assert again.arrow_schema().equals(made.arrow_schema())
    flat = tree["scales"][0] | {"deviation": 0.0}
    for broken in (
        {},
        tree | {"scales": tree["scales"][:1]},
        tree | {"scales": [flat, flat]},
        tree | {"scales": 3},
        tree | {"spec": {}},
        tree | {"schema": {"columns": []}},
    ):
        with pytest.raises(ArtifactError, match=r"codec\.json cannot be read"):
            VectorCodec.from_json(broken)


def test_a_model_that_has_diverged_makes_no_rows() -> None:
    made = fitted(pa.table({"n": [1, 2, 3]}))
    with pytest.raises(ArtifactError, match="not finite"):
        made.decode(standardised(made, 0, math.nan), NO_LABELS)


# The fit.


def test_moments_agree_with_numpy_for_any_grouping_and_order() -> None:
    cells = np.concatenate([RANDOM.normal(1e8, 1, 500), RANDOM.normal(-3, 1e-3, 77), [4.0]])
    edges = [0, 1, 2, 300, 301, 500, 570, len(cells)]
    parts = [Moments.of(pa.chunked_array([cells[a:b]])) for a, b in itertools.pairwise(edges)]
    for order in itertools.islice(itertools.permutations(parts), 0, 5040, 97):
        left = Moments()
        for part in order:
            left = left.merge(part)
        right = Moments()
        for part in reversed(order):
            right = part.merge(right)
        halves = order[0].merge(order[1]).merge(order[2].merge(order[3]))
        tree = halves.merge(order[4].merge(order[5]).merge(order[6]))
        for found in (left, right, tree):
            assert (found.count, found.low, found.high) == (len(cells), cells.min(), cells.max())
            assert found.mean == pytest.approx(cells.mean(), rel=1e-13)
            assert found.deviation == pytest.approx(cells.std(), rel=1e-13)


def test_an_empty_part_changes_no_bit() -> None:
    one = Moments.of(pa.chunked_array([RANDOM.normal(size=9)]))
    empty = Moments.of(pa.chunked_array([pa.array([], pa.float64())]))
    assert one.merge(empty) == one == empty.merge(one)
    assert empty.merge(empty) == empty == Moments()


def test_the_fit_is_the_same_for_any_grouping_of_the_chunks() -> None:
    tables = [
        pa.table({"x": RANDOM.normal(n, 1, 50), "n": RANDOM.integers(0, n + 2, 50), "k": [n] * 50})
        for n in range(4)
    ]
    whole = fitted(pa.concat_tables(tables), "k")
    parts = [whole.partial(table) for table in tables]
    for cuts in itertools.product([False, True], repeat=3):
        groups = [VectorStats().merge(parts[0])]
        for cut, part in zip(cuts, parts[1:], strict=True):
            groups = [*groups, part] if cut else [*groups[:-1], groups[-1].merge(part)]
        one = VectorCodec(whole.schema)
        one.fit(groups)
        assert one.spec == whole.spec and one.schema == whole.schema
        for ours, theirs in zip(one.to_json()["scales"], whole.to_json()["scales"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-13)


# Refusals.


def test_cells_without_a_number_are_counted_by_column_over_all_chunks() -> None:
    first = pa.table({"x": [1.0, None, 3.0], "y": [1.0, 2.0, 3.0], "n": [1, 2, 3]})
    second = pa.table({"x": [math.nan, math.inf, None], "y": [0.0] * 3, "n": [None, 2, 3]})
    made = VectorCodec(tiny.table_schema(first))
    with pytest.raises(SourceError) as caught:
        made.fit([made.partial(first), made.partial(second)])
    message = str(caught.value)
    assert "of 6 rows" in message and "fill or remove those rows" in message
    assert "column 'x': 2 missing, 2 NaN or infinite" in message
    assert "column 'n': 1 missing, 0 NaN or infinite" in message and "'y'" not in message
    good = fitted(pa.table({"x": [1.0, 2.0]}))
    with pytest.raises(SourceError, match="column 'x': 1 missing"):
        good.encode(pa.table({"x": pa.array([1.0, None])}))


@pytest.mark.parametrize("cells", [[1e308, -1e308, 1e308], [2**62, 2**62 + 1], [1e300, 0.0]])
def test_what_float64_cannot_standardise_is_refused_by_name(cells: list[Any]) -> None:
    with pytest.raises(SourceError, match=r"column 'x' goes from .* float64 cannot standardise"):
        fitted(pa.table({"x": cells}))


def test_a_missing_label_is_refused_by_name() -> None:
    with pytest.raises(SourceError, match="column 'k' has missing values"):
        fitted(pa.table({"x": [1.0, 2.0], "k": ["a", None]}), "k")


# The choice of the codec.


def chosen(folder: Path, rows: pa.Table, **settings: Any) -> VectorCodec | ImageCodec:
    pq.write_table(rows, folder / "rows.parquet")
    made = open_data(DataConfig(source=str(folder), **settings))[1]
    assert isinstance(made, VectorCodec | ImageCodec)
    return made


ROWS = pa.table(
    {
        "x": [0.5, 1.5, 2.5],
        "n": [1, 2, 3],
        "name": ["a", "b", "a"],
        "on": [True, False, True],
    }
)


@pytest.mark.parametrize("modality", ["auto", "table"])
def test_numbers_with_conditions_get_the_vector_codec(tmp_path: Path, modality: str) -> None:
    made = chosen(tmp_path, ROWS, modality=modality, conditions=["on", "name"])
    assert isinstance(made, VectorCodec)
    assert [c.name for c in made.numbers] == ["x", "n"]
    kinds = {c.name: c.kind for c in made.schema}
    assert kinds == {
        "x": Kind.continuous,
        "n": Kind.integer,
        "name": Kind.categorical,
        "on": Kind.boolean,
    }


def test_images_come_before_numbers(tmp_path: Path) -> None:
    cells = tiny.struct([tiny.png(tiny.noise(8, 8))] * 3)
    assert isinstance(chosen(tmp_path, ROWS.append_column("image", cells)), ImageCodec)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, r"neither numbers nor conditions: 'name' \(string\), 'on' \(bool\)"),
        ({}, "this family learns from numbers"),
        ({}, "name text and booleans in data.conditions, or leave the columns out"),
        ({"conditions": ["name"]}, r"neither numbers nor conditions: 'on' \(bool\)"),
        ({"conditions": ["name", "on", "x"]}, "column 'x' is continuous, not categorical"),
        ({"conditions": ["nmae"]}, "no column named 'nmae'"),
        ({"modality": "image"}, "read as 'image' with columns"),
        ({"modality": "text"}, "read as 'text' with columns"),
        (
            {"conditions": ["name", "on"], "schema": {"n": {"kind": "categorical"}}},
            r"neither numbers nor conditions: 'n' \(int64\)",
        ),
        (
            {"conditions": ["name", "on"], "schema": {"x": {"kind": "categorical"}}},
            r"x.kind: a column of double cannot be 'categorical'\n.*continuous, integer",
        ),
        ({"schema": {"m": {"kind": "integer"}}}, "data.schema: no column named 'm'"),
        ({"schema": {"n": {"knid": "integer"}}}, "data.schema.n.knid: unknown key"),
        (
            {"conditions": ["x"], "schema": {"x": {"kind": "integer"}}},
            "column 'x' is integer stored as floats, not categorical",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_a_row_is_read(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises((SourceError, SchemaError), match=words):
        chosen(tmp_path, ROWS, **settings)


def test_conditions_alone_are_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="at least one column of numbers"):
        chosen(tmp_path, ROWS.select(["n", "on"]), conditions=["n", "on"])


def test_a_source_is_encoded_in_its_order(tmp_path: Path) -> None:
    cells = RANDOM.normal(size=30)
    for part in range(3):
        rows = pa.table({"x": cells[10 * part : 10 * part + 10], "k": [part] * 10})
        if part == 1:  # one file with dictionaries, the others without
            rows = pa.table({name: rows[name].dictionary_encode() for name in rows.column_names})
        pq.write_table(rows, tmp_path / f"{part}.parquet", row_group_size=4)
    source, made = open_data(DataConfig(source=str(tmp_path), conditions=["k"]))
    fit_codec(source, made, map)
    encoded: Encoded = encode_all(source, made, map)
    assert np.allclose(encoded.x[:, 0] * cells.std() + cells.mean(), cells, atol=1e-6)
    assert encoded.cond[:, 0].tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_only_numbers_and_conditions_are_kept() -> None:
    schema = Schema(columns=tiny.table_schema(ROWS).columns)
    assert VectorCodec(schema).schema.names == ["x", "n"]
