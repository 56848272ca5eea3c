"""What can be held, and which value is meant by what is written."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from people import SMALL, people_codec, save_people
from tiny import codec, save_artifact

from synthray import config as configs
from synthray.artifact import Artifact
from synthray.config.constraints import Addition, Combinations, Less, Sum
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.schema import Column, Kind, Schema
from synthray.data.table_codec import TableCodec
from synthray.errors import ConditionError
from synthray.sampling.virtual import VirtualDataset
from synthray.sampling.wishes import check_wishes, holding, settled, ways

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return save_people(str(tmp_path_factory.mktemp("people")), "sex")


def test_every_learned_column_can_be_held_and_says_how(artifact: Artifact) -> None:
    found = ways(artifact.codec, holds=True)
    assert found.pop("sex") == "condition"
    assert set(found.values()) == {"held"} and "id" not in found and len(found) == 10
    assert set(ways(artifact.codec, holds=False).values()) == {"condition", "sorted_out"}


def test_beside_images_conditions_alone_can_be_held() -> None:
    assert ways(codec(), holds=False) == {"label": "condition"}


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("sex", ["F"], "F"),
        ("age", [37, "37", 37.0], 37),
        ("paid", ["1.5", "1.50", 1.5], "1.50"),
        ("weight", [70.5, "70.5", "70.50", "7.05e1"], 70.5),
        ("city", ["Rom", "rom"], "Rom"),
        ("city", [""], ""),
        ("plan", ["c"], "c"),
        ("member", [True, "true", "True", 1, "1"], True),
        ("born", ["2020-02-01"], "2020-02-01"),
        ("signed", ["01.02.2020"], "01.02.2020"),
    ],
)
def test_what_means_the_same_is_the_same(
    artifact: Artifact, name: str, written: list[Any], meant: Any
) -> None:
    for value in written:
        found = settled(artifact.codec, name, value)
        assert found == meant and type(found) is type(meant)
    assert settled(artifact.codec, name, meant) == meant


@pytest.mark.parametrize("name", ["joined", "seen"])
def test_times_are_found_by_their_text(artifact: Artifact, name: str) -> None:
    some = artifact.codec.decode(*_zeros(artifact))[name][0].as_py()
    found = settled(artifact.codec, name, str(some))
    assert settled(artifact.codec, name, some.isoformat()) == found
    assert settled(artifact.codec, name, found) == found
    rows = VirtualDataset(artifact, where={name: found}).rows(0, 5)
    assert rows[name].to_pylist() == [some] * 5


def _zeros(artifact: Artifact) -> Any:
    return torch.zeros(1, *artifact.codec.spec.shape), torch.zeros(1, 1, dtype=torch.int64)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "P-00001"),
        ("nobody", 1),
        ("age", "old"),
        ("age", True),
        ("age", 37.5),
        ("age", 10**400),
        ("weight", "nan"),
        ("weight", float("inf")),
        ("weight", "\ud800"),
        ("paid", "1.234"),
        ("city", "rome"),
        ("born", "soon"),
        ("born", "1999-01-01"),
        ("signed", "soon"),
        ("signed", "1.2.2020"),
        ("joined", ""),
    ],
)
def test_what_cannot_be_is_told(artifact: Artifact, name: str, value: Any) -> None:
    with pytest.raises(ConditionError, match=f"where: .*{name}"):
        settled(artifact.codec, name, value)


@pytest.mark.parametrize(
    ("name", "value", "example"),
    [
        ("seen", "2020-03-01", "such as 2020-03-01 00:00:00.000000Z"),
        ("seen", "soon", "such as 2020-03-01 08:00:00.000000Z"),
        ("joined", "soon", "such as 2020-03-01 08:00:00;"),
        ("seen", "299999-01-01", "such as 2020-03-01 08:00:00.000000Z"),
        ("born", "soon", "such as 2020-03-01;"),
    ],
)
def test_an_example_shows_how_a_column_has_its_dates(
    artifact: Artifact, name: str, value: str, example: str
) -> None:
    with pytest.raises(ConditionError, match=example):
        settled(artifact.codec, name, value)


def test_constraints_are_told_by_the_names_of_the_source(tmp_path: Path) -> None:
    constraints = (
        Combinations(combinations=("city", "plan")),
        Less(less=("joined", "2040-01-01")),
    )
    artifact = save_people(str(tmp_path), "sex", constraints=constraints)
    learned = "its columns: age, paid, weight, sex, city, plan, member, born, joined, seen, signed"
    for asked in ("where", "balance"):
        for name, told in (
            ("id", "column 'id' is an id, and ids are made anew"),
            ("mail", "no column named 'mail' is learned"),
        ):
            with pytest.raises(ConditionError) as caught:
                VirtualDataset(artifact, **{asked: {name: 0.5}})
            assert (caught.value.what, caught.value.remedy) == (f"{asked}: {told}", learned)
    with pytest.raises(ConditionError) as caught:
        VirtualDataset(artifact, balance={"city": {"Rom": 0.5}})
    assert "data.constraints.0 (combinations of city, plan) settles it" in caught.value.what
    assert caught.value.remedy == (
        "balance one of: age, paid, weight, sex, member, born, joined, seen, signed"
    )


def test_a_column_of_one_value_has_no_shares() -> None:
    rows = pa.table({"a": ["x", "y"] * 20, "b": ["z"] * 40})
    columns = tuple(Column(name=n, kind=Kind.categorical) for n in rows.schema.names)
    made = TableCodec(Schema(columns=columns))
    made.fit([made.partial(rows)])
    with pytest.raises(ConditionError, match=r"by itself: it has one value\n.*one of: a$"):
        holding(made, True, balance={"b": {"z": 0.5}})
    with pytest.raises(ConditionError, match=r"conditions alone\n  → train with 'a' in"):
        holding(made, False, balance={"a": {"x": 0.5}})


@pytest.mark.parametrize(
    "generate",
    [
        {"balance": {"city": {"Rom": 0.5}}},
        {"balance": {"age": {"400": 0.5}}},
        {"where": {"age": "old"}},
    ],
)
def test_a_config_whose_wishes_cannot_be_met_is_refused(generate: dict[str, Any]) -> None:
    made = people_codec(constraints=(Combinations(combinations=("city", "plan")),))
    tree = {"data": {"source": "x"}, "output": "o", "model": {"name": "nade"}}
    check_wishes(configs.parse(tree | {"generate": {"balance": {"age": {40: 0.5}}}}), made)
    with pytest.raises(ConditionError, match=r"city|age"):
        check_wishes(configs.parse(tree | {"generate": generate}), made)


def test_held_values_hold_in_every_row(artifact: Artifact) -> None:
    where = {"sex": "M", "age": "40", "city": "Rom", "born": "2020-02-01", "member": "false"}
    rows = VirtualDataset(artifact, where=where).rows(1000, 100)
    for name, value in {"sex": "M", "age": 40, "city": "Rom", "member": False}.items():
        assert set(rows[name].to_pylist()) == {value}
    assert set(rows["born"].to_pylist()) == {date(2020, 2, 1)}
    assert len(set(rows["paid"].to_pylist())) > 10


def test_what_is_balanced_does_not_depend_on_the_order_it_is_written_in(
    artifact: Artifact,
) -> None:
    shares = {"city": {"Rom": 0.5}, "member": 0.2, "sex": {"M": 0.9}}
    rows = VirtualDataset(artifact, balance=shares).rows(0, 2048)
    assert rows["city"].to_pylist().count("Rom") / 2048 == pytest.approx(0.5, abs=0.05)
    assert rows["sex"].to_pylist().count("M") / 2048 == pytest.approx(0.9, abs=0.03)
    other = dict(reversed(shares.items()))
    assert VirtualDataset(artifact, balance=other).rows(0, 2048).equals(rows)


def test_columns_that_a_constraint_derives_are_sorted_out(tmp_path: Path) -> None:
    parts = np.random.default_rng(0).integers(0, 3, (2, 200))
    rows = pa.table({"a": parts[0], "b": parts[1], "total": parts.sum(axis=0)})
    schema = Schema(
        columns=tuple(
            Column(name=n, kind=Kind.integer, arrow_type="int64") for n in rows.schema.names
        )
    )
    made = ConstrainedCodec(schema, [Sum(sum=Addition(total="total", parts=("a", "b")))])
    made.fit([made.partial(rows)])
    save_artifact(str(tmp_path), made, "nade", SMALL["nade"])
    artifact = Artifact.load(str(tmp_path))
    assert ways(artifact.codec, holds=True) == {"a": "held", "b": "held", "total": "sorted_out"}
    assert settled(artifact.codec, "total", "4") == 4
    virtual = VirtualDataset(artifact, where={"total": 4, "a": 2})
    assert virtual.rows(0, 50).to_pylist() == [{"a": 2, "b": 2, "total": 4}] * 50
    assert virtual.acceptance is not None and 0 < virtual.acceptance < 1
