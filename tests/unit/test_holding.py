"""What is asked of generated rows: held values, balanced shares, and rows that are sorted out."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import synthray
from synthray.errors import ConditionError
from synthray.sampling import virtual as virtual_module
from synthray.sampling.virtual import VirtualDataset

QUICK: dict[str, Any] = {"train": {"steps": 150, "batch_size": 128, "eval_every": 150}}
NADE: dict[str, Any] = {
    "model": {"name": "nade", "params": {"embedding": 16, "hidden": 16, "optimizer": {"lr": 1e-2}}}
}


def people(rows: int = 2000) -> pa.Table:
    generator = np.random.default_rng(0)
    rich = generator.random(rows) < 0.25
    city = np.where(generator.random(rows) < 0.7, "Bern", "Uri")
    return pa.table(
        {
            "income": pa.array(np.where(rich, ">50K", "<=50K")),
            "city": pa.array(city, mask=generator.random(rows) < 0.1),
            "age": pa.array(generator.integers(18, 30, rows) + 30 * rich, pa.int32()),
            "pay": pa.array(np.round(generator.normal(50, 5, rows) + 40 * rich, 2)),
            "born": pa.array(generator.integers(0, 3000, rows), pa.int32()).cast(pa.date32()),
        }
    )


@pytest.fixture(scope="module")
def held() -> synthray.Artifact:
    return synthray.fit(people(), **NADE, **QUICK)


@pytest.fixture(scope="module")
def unheld() -> synthray.Artifact:
    params = {"encoder_widths": [32], "decoder_widths": [32], "latent_dim": 8}
    model = {"name": "tvae", "params": params | {"optimizer": {"lr": 3e-3}}}
    data = {"conditions": ["income"]}
    return synthray.fit(people(), model=model, data=data, **QUICK)


def share(rows: pa.Table, column: str, value: Any) -> float:
    return pc.mean(pc.equal(rows[column], value).cast(pa.float64())).as_py()


def test_any_columns_are_held_without_a_row_drawn_in_vain(held: synthray.Artifact) -> None:
    where = {"income": ">50K", "age": 50, "city": "Uri"}
    virtual = VirtualDataset(held, 1, where)
    rows = virtual.rows(100, 3000)
    for column, value in where.items():
        assert rows[column].unique().to_pylist() == [value]
    assert virtual.drawn == 0 and rows.schema.equals(people().schema)
    # What is free follows what is held: the pay of the rich is 90.
    assert pc.mean(rows["pay"]).as_py() == pytest.approx(90, abs=4)
    assert rows["born"].null_count == 0 and len(rows["born"].unique()) > 500
    assert virtual.rows(1500, 10).equals(rows.slice(1400, 10))


@pytest.mark.parametrize("missing", [None, "", float("nan")], ids=["none", "empty", "nan"])
def test_missing_cells_are_held_as_well(
    held: synthray.Artifact, unheld: synthray.Artifact, missing: Any
) -> None:
    rows = held.sample(300, where={"city": missing, "income": ">50K"})
    assert rows["city"].null_count == 300 and share(rows, "income", ">50K") == 1
    # A tenth of the rows, which are looked for where a family holds no columns.
    assert unheld.sample(50, where={"city": missing})["city"].null_count == 50


def test_shares_of_missing_cells_are_hit(held: synthray.Artifact) -> None:
    rows = held.sample(4000, balance={"city": {"": 0.5}})
    # Five standard errors of the shares drawn.
    assert rows["city"].null_count / 4000 == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("age", "where: age: no cell of the column is missing in the source"),
        ("income", "where: income: no cell of the column is missing in the source"),
    ],
)
def test_where_none_is_missing_none_is_held(
    held: synthray.Artifact, column: str, told: str
) -> None:
    with pytest.raises(ConditionError, match=told):
        held.sample(5, where={column: None})


def test_a_condition_has_no_missing_cells(unheld: synthray.Artifact) -> None:
    with pytest.raises(ConditionError, match="income = None is not in the training data"):
        unheld.sample(5, where={"income": None})


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("age", "50", 50),
        ("pay", "88.25", 88.25),
        ("city", "bern", "Bern"),
        ("born", "1975-03-01", date(1975, 3, 1)),
    ],
)
def test_text_that_reads_as_a_value_is_taken_as_it(
    held: synthray.Artifact, column: str, text: str, value: Any
) -> None:
    rows = held.sample(50, where={column: text})
    assert rows[column].unique().to_pylist() == [value]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"wage": 3}, r"no column named 'wage' is learned.*its columns: income, city"),
        ({"incme": 3}, r"no column named 'incme' is learned.*did you mean 'income'\?"),
        ({"age": [20, 50]}, r"age = \[20, 50\]: a condition takes one value.*balance="),
        ({"age": ">40"}, r"age = '>40' is no value of type int32.*takes no comparison"),
        ({"city": "Rome"}, r"city = 'Rome' is not in the training data.*Bern, Uri"),
        ({"age": 7}, r"age = 7 is not among what the column holds; near is 18"),
        ({"age": "old"}, r"age = 'old' is no value of type int32"),
        ({"pay": 1e9}, r"pay = 1000000000.0 is not among"),
    ],
)
def test_what_cannot_be_held_is_told(
    held: synthray.Artifact, where: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConditionError, match=f"(?s){message}"):
        held.sample(1, where=where)


def test_shares_are_hit(held: synthray.Artifact) -> None:
    rows = held.sample(20_000, balance={"income": 0.5, "city": {"Uri": 0.6}})
    # Four standard errors of a half in 20,000 are 0.014.
    assert share(rows, "income", ">50K") == pytest.approx(0.5, abs=0.015)
    assert pc.sum(pc.equal(rows["city"], "Uri")).as_py() / 20_000 == pytest.approx(0.6, abs=0.015)
    rich = rows.filter(pc.equal(rows["income"], ">50K"))
    assert pc.mean(rich["pay"]).as_py() == pytest.approx(90, abs=4)
    missing = rows["city"].null_count / 20_000  # the rest keeps its proportions, 0.63 to 0.1
    assert missing == pytest.approx(0.4 * 0.1 / 0.73, abs=0.015)


def test_shares_of_conditions_are_hit(unheld: synthray.Artifact) -> None:
    rows = unheld.sample(20_000, balance={"income": {"<=50K": 0.1}})
    assert share(rows, "income", "<=50K") == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ({"income": 1.5}, "shares of .1.5."),
        ({"income": {">50K": 0.7, "<=50K": 0.7}}, "together no more than 1"),
        ({"income": {">50K": 0.2, "<=50K": 0.2}}, "add up to 0.4"),
        ({"city": 0.5}, "of which of its 3 values"),
        ({"income": {"none": 0.5}}, "not in the training data"),
    ],
)
def test_shares_that_are_none_are_told(
    held: synthray.Artifact, balance: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConditionError, match=message):
        held.sample(1, balance=balance)


def test_a_column_is_held_or_balanced(held: synthray.Artifact) -> None:
    with pytest.raises(ConditionError, match="held by where"):
        held.sample(1, where={"income": ">50K"}, balance={"income": 0.5})


def test_rows_are_sorted_out_where_the_family_holds_nothing(unheld: synthray.Artifact) -> None:
    virtual = VirtualDataset(unheld, 2, {"income": ">50K", "city": "Uri"})
    rows = virtual.rows(0, 1500)
    assert rows["city"].unique().to_pylist() == ["Uri"]
    assert rows["income"].unique().to_pylist() == [">50K"]
    assert virtual.kept >= 1500 and 0.05 < virtual.kept / virtual.drawn < 0.6
    assert virtual.sorting == "city = 'Uri'"
    again = VirtualDataset(unheld, 2, {"income": ">50K", "city": "Uri"})
    assert again.rows(1200, 100).equals(rows.slice(1200, 100))


def test_no_more_are_drawn_than_are_asked_for(
    unheld: synthray.Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"income": ">50K", "age": 50}
    whole = VirtualDataset(unheld, 2, where).rows(0, 1500)
    few = VirtualDataset(unheld, 2, where)
    assert few.rows(1020, 10).equals(whole.slice(1020, 10))
    one = VirtualDataset(unheld, 2, where)
    assert one.rows(0, 1).equals(whole.slice(0, 1))
    assert one.drawn == 1024 < few.drawn
    assert one.kept >= 1 and one.acceptance == pytest.approx(few.acceptance, rel=0.5)
    # A draw has enough for a few rows, and too few for a block.
    monkeypatch.setattr(virtual_module, "ATTEMPTS", 1)
    assert VirtualDataset(unheld, 2, where).rows(0, 1).equals(whole.slice(0, 1))
    told = (
        rf"{one.kept} of 1,024 rows drawn have age = 50; 2,000 rows were asked for, and rows 0 … "
        rf"1023 need 1,024\n.*rows 0 … {one.kept - 1} can be had"
    )
    with pytest.raises(ConditionError, match=told):
        VirtualDataset(unheld, 2, where).rows(0, 2000)


def test_what_hardly_ever_comes_is_told(
    unheld: synthray.Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_module, "ATTEMPTS", 4)
    told = r"(?s)of 4,096 rows drawn have pay = 50.01; 10 rows were asked for\n.*nade"
    with pytest.raises(ConditionError, match=told):
        unheld.sample(10, where={"pay": 50.01})
    with pytest.raises(
        ConditionError, match=r"balances conditions alone\n.*conditions: income; or"
    ):
        unheld.sample(10, balance={"city": {"Uri": 0.5}})


def test_a_dictionary_of_numbers_is_held_and_balanced() -> None:
    rows = pa.table(
        {"x": pa.array([1, 2, 3] * 100).dictionary_encode(), "z": np.arange(300) % 7 + 0.5}
    )
    artifact = synthray.fit(rows, **NADE, train={"steps": 30, "batch_size": 64})
    assert artifact.sample(20, where={"x": 2})["x"].unique().to_pylist() == [2]
    found = artifact.sample(4000, balance={"x": {"2": 0.5}})["x"].cast(pa.int64())
    assert pc.mean(pc.equal(found, 2).cast(pa.float64())).as_py() == pytest.approx(0.5, abs=0.04)


def test_a_misspelt_column_to_balance_is_told(held: synthray.Artifact) -> None:
    with pytest.raises(ConditionError, match=r"(?s)no column named 'incom'.*did you mean 'income'"):
        held.sample(1, balance={"incom": 0.5})
    with pytest.raises(ConditionError, match="'half' is no share"):
        held.sample(1, balance={"income": "half"})  # type: ignore[dict-item]
