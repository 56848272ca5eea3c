"""Tables in memory: what is none, what Arrow has no type for, names and types that come back."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

import synthray
from synthray import frames
from synthray.errors import MissingDependencyError, UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK: dict[str, Any] = {"train": {"steps": 5, "batch_size": 32}}


def again(table: Any) -> Any:
    """A table to Arrow and back."""
    template = frames.template_of(table)
    return frames.from_arrow(frames.to_arrow(table), frames.frame_of(table), template)


@pytest.mark.parametrize(
    ("given", "told", "remedy"),
    [
        ([1, 2, 3], "builtins.list is none", "DataFrame"),
        ({"a": [1]}, "builtins.dict is none", "DataFrame"),
        (np.zeros((2, 2)), "numpy.ndarray is none", "columns=["),
        (pandas.Series([1, 2]), "Series is none", "to_frame"),
        (polars.Series([1, 2]), "Series is none", "to_frame"),
        (polars.LazyFrame({"a": [1]}), "LazyFrame is none", "collect"),
    ],
)
def test_what_is_no_table_is_told_with_what_makes_it_one(
    given: Any, told: str, remedy: str
) -> None:
    with pytest.raises(UsageError, match=told) as error:
        frames.to_arrow(given)
    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    ("table", "told", "remedy"),
    [
        (
            pandas.DataFrame({"n": [1, 2], "z": np.array([1j, 2j])}),
            "column 'z' of type complex128",
            "imaginary part",
        ),
        (
            pandas.DataFrame({"n": [1, 2], "m": [1, "x"]}),
            "column 'm' of type object.*'x' with type str",
            "one type",
        ),
        (
            pandas.DataFrame({"n": [1, 2], 0: [2**70, 1]}),
            "column 0 of type object",
            "one type",
        ),
        (
            polars.DataFrame({"n": [1], "big": polars.Series([2**70], dtype=polars.Int128)}),
            "column 'big' of type Int128",
            "cast whole numbers",
        ),
        (
            pandas.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]),
            r"several columns of one name: 'a' \(columns 1, 3\)",
            "a name of its own",
        ),
        (pandas.DataFrame([[1, 2]], columns=[1, "1"]), "of one name: '1'", "a name of its own"),
    ],
)
def test_columns_that_arrow_does_not_take_are_named_with_a_fitting_remedy(
    table: Any, told: str, remedy: str
) -> None:
    with pytest.raises(UsageError, match=told) as error:
        frames.to_arrow(table)
    assert remedy in error.value.remedy


def test_the_table_that_is_wrong_is_told() -> None:
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(UsageError, match=r"^synthetic: the table has several columns of one name"):
        synthray.evaluate(twice[["a"]].iloc[:, :1], twice)
    with pytest.raises(UsageError, match=r"^data\.source: a table in memory has several columns"):
        synthray.fit(pa.table([[1], [2]], names=["a", "a"]))


def test_a_pandas_frame_comes_back_with_its_labels_and_types() -> None:
    table = pandas.DataFrame(
        {
            0: [1, 2],
            1: pandas.array([1, 2], dtype="Int64"),
            2: pandas.array([1.5, 2], dtype="Float32"),
            3: pandas.array([True, False], dtype="boolean"),
            4: pandas.array(["a", "b"], dtype="string"),
            5: pandas.array([1, 2], dtype="int64[pyarrow]"),
            6: pandas.array(["x", "y"], pandas.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
            7: pandas.Categorical([20, 10], categories=[30, 20, 10], ordered=True),
            8: pandas.Series(["x", None], dtype=object),
            9: pandas.to_timedelta([1, 2], unit="s"),
            10: pandas.date_range("2020", periods=2, tz="Europe/Berlin"),
        }
    )
    made = again(table)
    pandas.testing.assert_frame_equal(made, table)
    assert made[8].iloc[1] is None
    wide = pandas.DataFrame(
        [[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", "b"), ("a", "c")], names=["x", "y"])
    )
    pandas.testing.assert_frame_equal(again(wide), wide)


def test_sparse_columns_become_dense() -> None:
    table = pandas.DataFrame({"s": pandas.arrays.SparseArray([0, 0, 1]), "n": [1, 2, 3]})
    made = again(table)
    assert made["s"].tolist() == [0, 0, 1] and str(made["s"].dtype) == "int64"


def test_a_polars_frame_comes_back_with_its_types() -> None:
    table = polars.DataFrame(
        {
            "level": polars.Series(["lo", "hi"], dtype=polars.Enum(["lo", "mid", "hi"])),
            "plan": polars.Series(["x", "y"], dtype=polars.Categorical),
            "took": [dt.timedelta(seconds=1), None],
            "u": polars.Series([1, 2], dtype=polars.UInt8),
        }
    )
    assert again(table).equals(table) and again(table).schema == table.schema


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingDependencyError, match="polars is not installed"):
        frames.from_arrow(pa.table({"a": [1]}), "polars")


def labelled() -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            0: pandas.array([n % 7 for n in range(128)], dtype="Int64"),
            1: pandas.array(["a", "b"] * 64, dtype="string"),
            2: [n / 3 for n in range(128)],
        }
    )


def test_rows_have_the_labels_and_types_of_the_frame_that_was_fitted() -> None:
    table = labelled()
    rows = synthray.fit(table, **QUICK).sample(40, where={1: "a"})
    pandas.testing.assert_index_equal(rows.columns, table.columns)
    assert (rows.dtypes == table.dtypes).all() and set(rows[1]) == {"a"}
    levels = polars.Enum(["lo", "mid", "hi"])
    level = polars.DataFrame({"l": polars.Series(["lo", "hi"] * 64, dtype=levels)})
    assert synthray.fit(level, **QUICK).sample(5).schema == level.schema


def test_rare_categories_do_not_come_back_in_the_types_of_a_frame() -> None:
    cells = ["S", "M"] * 60 + ["XXL"] * 3
    levels = polars.Enum(["S", "M", "XXL", "none"])
    table = polars.DataFrame({"size": polars.Series(cells, dtype=levels)})
    hidden = synthray.fit(table, data={"rare": 10}, **QUICK)
    assert hidden.sample(5).schema["size"].categories.to_list() == ["S", "M"]
    assert isinstance(hidden.sample(0).schema["size"], polars.Enum)


def test_the_kind_of_table_outlasts_saving_and_loading(tmp_path: Any) -> None:
    fitted = synthray.fit(labelled(), **QUICK)
    fitted.save(str(tmp_path / "kept"))
    loaded = synthray.load(str(tmp_path / "kept"))
    rows = loaded.sample(5)
    assert isinstance(rows, pandas.DataFrame) and rows.columns.tolist() == ["0", "1", "2"]
    assert fitted.sample(5)[2].equals(rows["2"])
    kept = synthray.fit(polars.DataFrame(labelled().set_axis(list("abc"), axis=1)), **QUICK)
    assert isinstance(kept.sample(5), polars.DataFrame)
    assert "frame" not in synthray.fit(frames.to_arrow(labelled()), **QUICK).card
