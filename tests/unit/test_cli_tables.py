"""The command line on tables of mixed columns, without Ray."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from people import save_people
from pyarrow import csv

from synthray import config as configs
from synthray.artifact import Artifact
from synthray.cli.using import _adhoc
from synthray.sampling.dataset import Plan
from synthray.sampling.virtual import VirtualDataset

pytestmark = pytest.mark.usefixtures("one_thread")
WHERE = ("--where", "age=40", "--where", "born=2020-02-01", "--where", "member=false")
WORDS = ("--count", 30, "--start", 1010, "--seed", 3)
HELD = {"age": 40, "born": "2020-02-01", "member": False}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("people"))
    save_people(place, "sex")
    return place


def test_rows_of_held_numbers_dates_and_booleans(run: Any, uri: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    assert run("rows", "--artifact", uri, *WORDS, *WHERE, "--out", path) == (0, "", "")
    expected = VirtualDataset(Artifact.load(uri), 3, HELD).rows(1010, 30)
    assert pq.read_table(path).to_pylist() == expected.to_pylist()


def test_every_kind_of_cell_has_a_form_in_json(run: Any, uri: str) -> None:
    code, out, err = run("rows", "--artifact", uri, *WORDS, *WHERE)
    assert (code, err) == (0, "")
    expected = VirtualDataset(Artifact.load(uri), 3, HELD).rows(1010, 30).to_pylist()
    for line, row in zip(out.splitlines(), expected, strict=True):
        found = json.loads(line)
        assert found["born"] == "2020-02-01" and found["age"] == 40 and found["member"] is False
        assert found["joined"] == row["joined"].isoformat()
        assert found["paid"] == (None if row["paid"] is None else str(row["paid"]))
        assert (found["city"], found["plan"]) == (row["city"], row["plan"])


def test_rows_as_csv(run: Any, uri: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert run("rows", "--artifact", uri, "--count", 1100, "--out", path) == (0, "", "")
    expected = VirtualDataset(Artifact.load(uri)).rows(0, 1100)
    kinds = {field.name: field.type for field in expected.schema} | {"plan": pa.string()}
    options = csv.ConvertOptions(
        column_types=kinds, strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    assert csv.read_csv(path, convert_options=options).to_pylist() == expected.to_pylist()


def test_rows_are_balanced(run: Any, uri: str, tmp_path: Path) -> None:
    path, words = tmp_path / "rows.parquet", ("--count", 1024, "--seed", 3)
    balance = ("--balance", "sex={F: 1.0}", "--balance", "member=0")
    assert run("rows", "--artifact", uri, *words, *balance, "--out", path) == (0, "", "")
    found = pq.read_table(path)
    expected = VirtualDataset(Artifact.load(uri), 3, balance={"sex": {"F": 1.0}, "member": 0.0})
    assert found.to_pylist() == expected.rows(0, 1024).to_pylist()
    assert set(found["sex"].to_pylist()) == {"F"}


@pytest.mark.parametrize(
    ("balance", "told"),
    [
        ("sex", "--balance sex: not col=share"),
        ("sex=[", "not col=share"),
        ("sex={f: x}", "balance"),
    ],
)
def test_shares_that_are_none_are_told(run: Any, uri: str, balance: str, told: str) -> None:
    code, out, err = run("rows", "--artifact", uri, "--balance", balance)
    assert (code, out) == (2, "") and told in err


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("age=old", "where: age = 'old' is no value of type int16"),
        ("age=4000", "near is 59"),
        ("born=1.2.2020", "where: born = '1.2.2020' is no value of type date32"),
        ("signed=2020-02-01", "give a date of the format %d.%m.%Y"),
        ("member=maybe", "known values: False, True"),
        ("age=>40", "a condition takes no comparison"),
        ("id=P-00001", "ids are made anew"),
        ("agee=40", "its columns: age, "),
    ],
)
def test_what_cannot_be_held_is_told(run: Any, uri: str, where: str, told: str) -> None:
    code, out, err = run("rows", "--artifact", uri, "--where", where)
    assert (code, out) == (2, "") and told in err and "Traceback" not in err


def test_generation_without_a_config_holds_and_balances(uri: str, tmp_path: Path) -> None:
    overrides = ["generate.balance={sex: {M: 0.9}, city: {Rom: 0.5}}"]
    config = _adhoc(uri, 2000, str(tmp_path), 3, ["age=40"], [], None, None, overrides)
    words = ["sex={M: 0.9}", "city={Rom: 0.5}"]
    same = _adhoc(uri, 2000, str(tmp_path), 3, ["age=40"], words, None, None, [])
    assert same.generate == config.generate
    plan = Plan.of("d", config.generate)
    virtual = VirtualDataset(Artifact.load(uri), plan.seed, plan.where, balance=plan.balance)
    rows = virtual.rows(0, 2000)
    assert set(rows["age"].to_pylist()) == {40}
    assert rows["sex"].to_pylist().count("M") / 2000 == pytest.approx(0.9, abs=0.03)
    assert rows["city"].to_pylist().count("Rom") / 2000 == pytest.approx(0.5, abs=0.05)


def test_a_config_holds_values_of_its_own_types(uri: str, tmp_path: Path) -> None:
    held = "{age: 40, weight: 70.5, member: false, born: 2020-02-01}"
    (tmp_path / "c.yaml").write_text(f"data: {{source: x}}\noutput: o\ngenerate: {{where: {held}}}")
    where = configs.load(str(tmp_path / "c.yaml")).generate.where
    rows = VirtualDataset(Artifact.load(uri), 0, where).rows(0, 9)
    assert set(rows["weight"].to_pylist()) == {70.5}
    assert set(rows["born"].to_pylist()) == {date(2020, 2, 1)}
