"""Tables of mixed columns behind the HTTP API: any column can be held, and shares be hit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pytest
from people import save_people
from serving_fake import call

from synthray.artifact import Artifact
from synthray.config import ServeConfig
from synthray.sampling import virtual as virtual_module
from synthray.sampling.virtual import VirtualDataset
from synthray.serving.app import create_app
from synthray.serving.loading import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS, SAMPLE = "/v1/models/nade/rows", "/v1/models/nade/sample"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("people")
    save_people(str(place / "nade"), "sex")
    save_people(str(place / "tvae"), "sex", family="tvae")
    return place


@pytest.fixture(scope="module")
def app(folder: Path) -> Any:
    names = ("nade", "tvae")
    return create_app({name: load_model(str(folder / name)) for name in names}, ServeConfig())


def table(response: Any) -> pa.Table:
    assert response.status_code == 200, response.text
    return pa.ipc.open_stream(io.BytesIO(response.content)).read_all()


def get(app: Any, url: str = ROWS, **query: Any) -> Any:
    return call(app, "GET", f"{url}?{urlencode({'count': 3, **query}, doseq=True)}")


def test_held_columns_of_every_kind_reach_the_rows(app: Any, folder: Path) -> None:
    where = {"sex": "M", "age": 40, "weight": 70.5, "city": "Rom", "member": False}
    where |= {"born": "2020-02-01", "paid": "1.50", "plan": "c"}
    virtual = VirtualDataset(Artifact.load(str(folder / "nade")), 3, where)
    body = {"rows": 30, "start": 1010, "seed": 3, "where": where}
    sampled = call(app, "POST", SAMPLE, json=body)
    assert table(sampled).equals(virtual.rows(1010, 30))
    assert call(app, "GET", sampled.headers["content-location"]).content == sampled.content
    told = [f"{name}={value}" for name, value in where.items()]
    got = table(get(app, count=30, start=1010, seed=3, where=told))
    assert got.equals(virtual.rows(1010, 30))


def test_missing_cells_are_held(app: Any) -> None:
    body = {"rows": 30, "seed": 3, "where": {"paid": None, "city": None}}
    sampled = call(app, "POST", SAMPLE, json=body)
    rows = table(sampled)
    assert rows["paid"].null_count == rows["city"].null_count == 30
    again = call(app, "GET", sampled.headers["content-location"])
    assert again.content == sampled.content
    got = get(app, count=30, seed=sampled.headers["synthray-seed"], where=["paid="], missing="city")
    assert got.headers["etag"] == again.headers["etag"] and table(got).equals(rows)
    shares = {"paid": {"": 0.5}}
    paid = table(call(app, "POST", SAMPLE, json={"rows": 2000, "balance": shares}))["paid"]
    assert paid.null_count / 2000 == pytest.approx(0.5, abs=0.05)
    twice = get(app, where=["paid="], missing=["paid"])
    assert twice.json()["errors"][0]["field"] == "query.missing"
    # Empty text is one of the column's values.
    assert table(get(app, where=["city="]))["city"].unique().to_pylist() == [""]


def test_equal_requests_have_equal_tags_and_others_do_not(app: Any) -> None:
    same = [
        ["paid=1.5", "born=2020-02-01", "member=True"],
        ["member=true", "paid=1.50", "born=2020-02-01"],
    ]
    other = [["paid=1.5", "born=2020-02-01"], ["paid=1.51", "born=2020-02-01", "member=True"]]
    tags = [get(app, where=where).headers["etag"] for where in (*same, *other)]
    assert tags[0] == tags[1] and len(set(tags)) == 3


def test_shares_are_hit_and_can_be_had_again(app: Any, folder: Path) -> None:
    shares = {"member": {"true": 0.9}, "city": {"rom": 0.5}, "sex": 0.8}
    body = {"rows": 2000, "seed": 1, "balance": shares}
    sampled = call(app, "POST", SAMPLE, json=body)
    rows = table(sampled)
    assert rows["member"].to_pylist().count(True) / 2000 == pytest.approx(0.9, abs=0.03)
    assert rows["sex"].to_pylist().count("M") / 2000 == pytest.approx(0.8, abs=0.03)
    assert rows["city"].to_pylist().count("Rom") / 2000 == pytest.approx(0.5, abs=0.05)
    assert call(app, "GET", sampled.headers["content-location"]).content == sampled.content
    own = {"city": {"Rom": 0.5}, "member": {"True": 0.9}, "sex": 0.8}
    virtual = VirtualDataset(Artifact.load(str(folder / "nade")), 1, balance=own)
    assert virtual.rows(0, 2000).equals(rows)
    answers = [get(app, balance=json.dumps(wish)) for wish in (shares, own, {"sex": 0.8})]
    tags = [answer.headers["etag"] for answer in answers]
    assert tags[0] == tags[1] != tags[2] and tags[2] != get(app).headers["etag"]


def test_rows_that_are_sorted_out_are_counted(app: Any, folder: Path) -> None:
    url = "/v1/models/tvae/rows"
    answer = get(app, url, where="member=true")
    assert set(table(answer)["member"].to_pylist()) == {True}
    virtual = VirtualDataset(Artifact.load(str(folder / "tvae")), 0, {"member": True})
    virtual.rows(0, 3)
    assert answer.headers["synthray-acceptance"] == f"{virtual.acceptance:.3g}"
    assert "synthray-acceptance" not in get(app, url, where="sex=M").headers


def test_what_too_few_rows_have_is_a_problem(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_module, "ATTEMPTS", 1)
    response = get(app, "/v1/models/tvae/rows", count=100_000, where=["member=true", "age=40"])
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "rows drawn have" in response.json()["detail"]


def test_a_few_rows_are_had_where_a_block_is_not(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url, where = "/v1/models/tvae/rows", ["member=true", "sex=F"]
    expected = table(get(app, url, where=where))
    monkeypatch.setattr(virtual_module, "ATTEMPTS", 1)
    assert table(get(app, url, where=where)).equals(expected)
    told = get(app, url, count=1024, where=where).json()["detail"]
    assert "1,024 rows were asked for" in told


def test_why_an_id_is_not_held_is_told(app: Any) -> None:
    response = call(app, "POST", SAMPLE, json={"rows": 1, "where": {"id": "P-1"}})
    assert "column 'id' is an id, and ids are made anew" in response.json()["detail"]


def test_a_model_tells_what_can_be_held(app: Any) -> None:
    told = call(app, "GET", "/v1/models/nade").json()["where"]
    assert told["sex"] == "condition" and told["age"] == told["born"] == "held"
    assert "id" not in told
    assert call(app, "GET", "/v1/models/tvae").json()["where"]["age"] == "sorted_out"


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        ({"where": {"id": "P-1"}}, "unknown-condition", "body.where.id"),
        ({"where": {"age": [1, 2]}}, "invalid-request", "body.where.age"),
        ({"where": {"age": 400}}, "unknown-value", "body.where.age"),
        ({"where": {"age": True}}, "unknown-value", "body.where.age"),
        ({"where": {"weight": "nan"}}, "unknown-value", "body.where.weight"),
        ({"where": {"born": "\ud800"}}, "unknown-value", "body.where.born"),
        ({"where": {"city": "Rome"}}, "unknown-value", "body.where.city"),
        ({"where": {"age": None}}, "unknown-value", "body.where.age"),
        ({"balance": {"id": 0.5}}, "unknown-condition", "body.balance.id"),
        ({"balance": {"city": {"Rome": 0.5}}}, "unknown-value", "body.balance.city"),
        ({"balance": {"sex": {"F": 0.5, "f": 0.2}}}, "invalid-condition", "body.balance.sex"),
        ({"balance": {"sex": {"F": 0.9, "M": 0.9}}}, "invalid-condition", None),
        ({"balance": {"city": 0.5}}, "invalid-condition", None),
        ({"balance": {"sex": 0.5}, "where": {"sex": "F"}}, "invalid-condition", None),
    ],
)
def test_wrong_wishes_are_told(app: Any, body: Any, kind: str, field: str | None) -> None:
    content = json.dumps({"rows": 1, **body})
    response = call(
        app, "POST", SAMPLE, content=content, headers={"Content-Type": "application/json"}
    )
    told = response.json()
    assert response.status_code == 422 and told["type"].endswith(":" + kind), told
    assert field is None or told["errors"][0]["field"] == field


@pytest.mark.parametrize("balance", ["{", "[]", '{"sex": NaN}', '{"sex": "half"}', "1"])
def test_a_balance_that_is_none_names_its_field(app: Any, balance: str) -> None:
    response = get(app, balance=balance)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("query.balance")
