"""What callers in Python give: numpy's and pandas' values count, other things are told."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest
from people import save_people

import synthray
from synthray import arguments
from synthray.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> synthray.Artifact:
    place = str(tmp_path_factory.mktemp("people"))
    save_people(place)
    return synthray.load(place)


@pytest.mark.parametrize(
    ("where", "same"),
    [
        ({"age": np.int64(40)}, {"age": 40}),
        ({"age": pa.scalar(40)}, {"age": 40}),
        ({"sex": np.str_("F")}, {"sex": "F"}),
        ({"member": np.bool_(True)}, {"member": True}),
        ({"city": np.nan}, {"city": None}),
        ({"city": pandas.NA}, {"city": None}),
        ({"paid": pandas.NaT}, {"paid": None}),
        ({"born": np.datetime64("2020-01-02")}, {"born": "2020-01-02"}),
        (None, {}),
    ],
)
def test_values_of_numpy_and_pandas_are_values(where: Any, same: dict[str, Any]) -> None:
    assert arguments.held(where) == same


@pytest.mark.parametrize(
    "value",
    ["", "x", 3, 2.5, True, Decimal("1.5"), dt.date(2020, 1, 1), dt.timedelta(1), 2**70],
)
def test_other_values_stay_as_they_are(value: Any) -> None:
    assert arguments.held({"c": value}) == {"c": value}


@pytest.mark.parametrize(
    "value", [[1, 2], (1,), {"a"}, np.array([1]), pandas.Series([10]), polars.Series([1])]
)
def test_several_values_are_no_value(people: synthray.Artifact, value: Any) -> None:
    with pytest.raises(UsageError, match=r"(?s)where: age = .*takes one value") as error:
        people.sample(3, where={"age": value})
    assert "balance" in error.value.remedy


def test_text_in_the_place_of_a_dict_is_told_as_it_would_be_right(
    people: synthray.Artifact,
) -> None:
    with pytest.raises(UsageError, match="where: 'sex=F' is no dict") as error:
        people.sample(3, where="sex=F")  # type: ignore[arg-type]
    assert error.value.remedy == "give one, such as where={'sex': 'F'}"
    with pytest.raises(UsageError, match=r"balance: 0.5 is no dict"):
        people.sample(3, balance=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["start", "count", "seed"])
def test_numbers_that_are_not_whole_are_told(people: synthray.Artifact, name: str) -> None:
    given: dict[str, Any] = {"start": 0, "count": 3, name: 2.5}
    with pytest.raises(UsageError, match=rf"{name}: 2.5 is no whole number"):
        people.rows(**given)
    with pytest.raises(UsageError, match=r"rows: '5' is no whole number"):
        people.sample("5")  # type: ignore[arg-type]


def test_numpys_numbers_ask_for_the_same_rows(people: synthray.Artifact) -> None:
    asked = people.sample(
        np.int32(5),  # type: ignore[arg-type]
        seed=np.uint8(3),  # type: ignore[arg-type]
        where={"age": np.int16(30)},  # type: ignore[dict-item]
        balance={"sex": {np.str_("F"): np.float32(0.5)}},  # type: ignore[dict-item]
    )
    same = people.sample(5, seed=3, where={"age": 30}, balance={"sex": {"F": 0.5}})
    assert asked.equals(same)
