"""Between which cells columns lie, as codecs know it and the card of a dataset tells it."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from test_table_codec import FLOATS, WHOLE, as_kind, fitted, with_spare

from synthray.config.constraints import Less
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.schema import Column, Kind, Schema
from synthray.data.table_codec import TableCodec
from synthray.data.vector_codec import VectorCodec
from synthray.sampling.card import _values

RANDOM = np.random.default_rng(0)


def told(made: Any, name: str = "x") -> str:
    return _values(made.schema[name], made.ranges().get(name))


@pytest.mark.parametrize("kind", [*WHOLE, *FLOATS], ids=str)
@pytest.mark.parametrize("numbers", ["bins", "modes"])
def test_ranges_are_those_of_the_source_in_its_type(
    kind: pa.DataType, numbers: Literal["bins", "modes"]
) -> None:
    whole = [int(n) for n in RANDOM.permutation(600) % 100 + 10]
    cells = as_kind(whole, kind) if kind in WHOLE else pa.array(whole, pa.float64()).cast(kind)
    made = fitted(with_spare(cells), numbers=numbers)
    made = TableCodec.from_json(json.loads(json.dumps(made.to_json())))
    values = [cell for cell in cells.to_pylist() if cell is not None]
    ends = made.ranges()["x"]
    assert [end.type for end in ends] == [kind, kind]
    assert [end.as_py() for end in ends] == [min(values), max(values)]
    assert " to " in told(made)


def test_ranges_are_told() -> None:
    measured = fitted(with_spare(pa.array(np.linspace(-0.1, 2 / 3, 1000))))
    assert told(measured) == "-0.1 to 0.6666666667"
    days = pa.array([18_000, 18_001, 18_400] * 5, pa.int32()).view(pa.date32())
    assert told(fitted(with_spare(days))) == "2019-04-14 to 2020-05-18"
    assert told(fitted(with_spare([7, None] * 5, pa.int64()))) == "7"
    assert told(fitted(with_spare([None] * 10, pa.int64()))) == ""
    assert told(fitted(with_spare(["b", "a"] * 5))) == "a, b"


@pytest.mark.parametrize("numbers", ["bins", "modes"])
def test_ranges_tell_of_no_rare_number(numbers: Literal["bins", "modes"]) -> None:
    cells = np.concatenate([RANDOM.integers(0, 1000, 3000), [-5000, 10**6]])
    made = fitted(with_spare(cells), numbers=numbers, rare=20)
    low, high = (end.as_py() for end in made.ranges()["x"])
    assert 0 <= low < 50 and 950 < high < 1000
    hidden = fitted(with_spare([None] * 500 + list(range(10)), pa.int64()), rare=20)
    assert "x" not in hidden.ranges()


def test_ranges_of_derived_columns_are_not_told() -> None:
    rows = pa.table({"a": [1, 2, 3, 4] * 5, "b": [5, 9, 7, 8] * 5, "x": [0, 1] * 10})
    columns = tuple(Column(name=n, kind=Kind.integer, arrow_type="int64") for n in "abx")
    made = ConstrainedCodec(Schema(columns=columns), [Less(less=["a", "b"])])
    made.fit([made.partial(rows)])
    assert (told(made, "x"), told(made, "b")) == ("0 to 1", "")
    assert set(made.ranges()) <= {"a", "x"}


def test_ranges_of_plain_numbers() -> None:
    kinds = {"x": (Kind.integer, "int64"), "y": (Kind.continuous, "double")}
    columns = tuple(Column(name=n, kind=k, arrow_type=t) for n, (k, t) in kinds.items())
    made = VectorCodec(Schema(columns=columns))
    made.fit([made.partial(pa.table({"x": [3, 1, 2], "y": [0.5, 0.1, 0.2]}))])
    assert (told(made, "x"), told(made, "y")) == ("1 to 3", "")
