"""What is asked wrongly is told as a problem document that names the field and the remedy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from serving_fake import PICTURES, app_of, call, served

from synthray.config import ServeConfig
from synthray.errors import ConditionError, UsageError
from synthray.serving.app import create_app
from synthray.serving.negotiation import choose

SAMPLE = "/v1/models/digits/sample"
ROWS = "/v1/models/digits/rows"


def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:synthray:problem:{kind}"
    assert document["status"] == status
    assert document["title"] and document["detail"]
    assert document["instance"].startswith("urn:uuid:")
    return document


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.rows"),
        ({"rows": 0}, "body.rows"),
        ({"rows": -1}, "body.rows"),
        ({"rows": 1.0}, "body.rows"),
        ({"rows": True}, "body.rows"),
        ({"rows": "1"}, "body.rows"),
        ({"rows": None}, "body.rows"),
        ({"rows": 1, "seed": -1}, "body.seed"),
        ({"rows": 1, "seed": 2**63}, "body.seed"),
        ({"rows": 1, "start": 2**63}, "body.start"),
        ({"rows": 1, "start": False}, "body.start"),
        ({"rows": 1, "images": "jpeg"}, "body.images"),
        ({"rows": 1, "row": 1}, "body.row"),
        ({"rows": 1, "where": {"label": [1]}}, "body.where.label"),
        ({"rows": 1, "where": []}, "body.where"),
        ({"rows": 1, "balance": {"label": 1.5}}, "body.balance.label"),
        ({"rows": 1, "balance": {"label": {"1": "half"}}}, "body.balance.label"),
        ([], "body"),
        (1, "body"),
    ],
)
def test_a_wrong_body_names_its_field(body: Any, field: str) -> None:
    document = problem(call(app_of(), "POST", SAMPLE, json=body), 422, "invalid-request")
    assert document["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "query.count"),
        ("count=0", "query.count"),
        ("count=1.0", "query.count"),
        ("count=1_0", "query.count"),
        ("count=%2B1", "query.count"),
        ("count=%D9%A1", "query.count"),
        ("count=true", "query.count"),
        ("count=99999999999999999999", "query.count"),
        ("count=1&start=-1", "query.start"),
        ("count=1&start=9223372036854775808", "query.start"),
        ("count=1&seed=9223372036854775808", "query.seed"),
        ("count=1&sead=1", "query.sead"),
        ("count=1&images=gif", "query.images"),
    ],
)
def test_a_wrong_query_names_its_field(query: str, field: str) -> None:
    document = problem(call(app_of(), "GET", f"{ROWS}?{query}"), 422, "invalid-request")
    assert document["errors"][0]["field"] == field


def test_all_wrong_fields_are_told_at_once() -> None:
    document = problem(call(app_of(), "GET", f"{ROWS}?count=x&seed=y&z=1"), 422, "invalid-request")
    assert [e["field"] for e in document["errors"]] == ["query.count", "query.seed", "query.z"]


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"rows": NaN}', b"[" * 60_000, b'{"rows": ' + b"9" * 5000 + b"}", b""]
)
def test_a_body_that_is_no_json_is_told(body: bytes) -> None:
    response = call(
        app_of(), "POST", SAMPLE, content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    json.loads(response.content, parse_constant=pytest.fail)


def test_a_body_of_another_type_is_told() -> None:
    form = call(app_of(), "POST", SAMPLE, data={"rows": "1"})
    problem(form, 415, "unsupported-media-type")


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused(declared: bool) -> None:
    async def pieces() -> Any:
        for _ in range(100):
            yield b" " * 1024

    content = b" " * 102_400 if declared else pieces()
    response = call(app_of(), "POST", SAMPLE, content=content)
    assert problem(response, 413, "body-too-large")["max_body_bytes"] == 65_536


@pytest.mark.parametrize(
    ("accept", "limit"), [("*/*", 50), ("image/png", 20), ("application/zip", 30)]
)
def test_too_many_rows_name_the_limit(accept: str, limit: int) -> None:
    app = app_of(max_rows=50, max_sheet_rows=20, max_zip_rows=30)
    headers = {"Accept": accept}
    assert call(app, "GET", f"{ROWS}?count={limit}", headers=headers).status_code == 200
    response = call(app, "GET", f"{ROWS}?count={limit + 1}", headers=headers)
    assert problem(response, 422, "too-many-rows")["max_rows"] == limit
    response = call(app, "POST", SAMPLE, json={"rows": limit + 1}, headers=headers)
    assert problem(response, 422, "too-many-rows")["errors"][0]["field"] == "body.rows"


def test_a_range_past_the_last_row_is_refused() -> None:
    last = 2**63 - 1
    assert call(app_of(), "GET", f"{ROWS}?start={last}&count=1").status_code == 200
    problem(call(app_of(), "GET", f"{ROWS}?start={last}&count=2"), 422, "range-too-far")
    problem(call(app_of(), "POST", SAMPLE, json={"start": last, "rows": 2}), 422, "range-too-far")


def test_an_unknown_model_names_the_known_ones() -> None:
    for method, url in [("GET", "/v1/models/x"), ("GET", "/v1/models/x/rows?count=1")]:
        document = problem(call(app_of(), method, url), 404, "unknown-model")
        assert document["known"] == ["digits", "people"]
    response = call(app_of(), "POST", "/v1/models/x/sample", json={"rows": 1})
    problem(response, 404, "unknown-model")


@pytest.mark.parametrize(
    ("where", "kind", "known"),
    [
        ({"Label": 1}, "unknown-condition", ["label"]),
        ({"image": 1}, "unknown-condition", ["label"]),
        ({"label": 10}, "unknown-value", list(range(10))),
        ({"label": True}, "unknown-value", list(range(10))),
        ({"label": "\ud800"}, "unknown-value", list(range(10))),
    ],
)
def test_an_unknown_condition_or_value_names_the_known(
    where: dict[str, Any], kind: str, known: list[Any]
) -> None:
    body = json.dumps({"rows": 1, "where": where})
    response = call(
        app_of(), "POST", SAMPLE, content=body, headers={"Content-Type": "application/json"}
    )
    assert problem(response, 422, kind)["known"] == known


@pytest.mark.parametrize("item", ["label", "label=1&where=label=2"])
def test_a_malformed_or_repeated_condition_is_told(item: str) -> None:
    problem(call(app_of(), "GET", f"{ROWS}?count=1&where={item}"), 422, "invalid-condition")


def test_equal_conditions_have_equal_tags() -> None:
    people = "/v1/models/people/rows?count=1&where=member="
    tags = {call(app_of(), "GET", people + text).headers["etag"] for text in ("true", "True")}
    assert len(tags) == 1


def test_what_the_dataset_refuses_is_a_problem() -> None:
    def refuse(*_: Any) -> Any:
        raise ConditionError("where: this pair never occurred", "choose another")

    model = replace(served(PICTURES), open=refuse)
    app = create_app({"m": model}, ServeConfig())
    document = problem(call(app, "GET", "/v1/models/m/rows?count=1"), 422, "invalid-condition")
    assert "never occurred" in document["detail"]


@pytest.mark.parametrize("url", ["/nothing", "/v1/nothing", "/docs", "/v1/models/"])
def test_unknown_addresses(url: str) -> None:
    problem(call(app_of(), "GET", url), 404, "not-found")


def test_a_wrong_method_names_the_right_ones() -> None:
    response = call(app_of(), "GET", SAMPLE)
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/png;q=2", "x"])
def test_nothing_acceptable(accept: str) -> None:
    response = call(app_of(), "GET", f"{ROWS}?count=1", headers={"Accept": accept})
    assert "image/png" in problem(response, 406, "not-acceptable")["known"]


def test_a_table_has_no_pictures_to_offer() -> None:
    url = "/v1/models/people/rows?count=1"
    response = call(app_of(), "GET", url, headers={"Accept": "image/*, application/zip"})
    assert "no images" in problem(response, 406, "not-acceptable")["detail"]


OFFERED = ["a/first", "a/second", "b/third"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "a/first"),
        ("", "a/first"),
        ("*/*", "a/first"),
        ("b/third", "b/third"),
        ("B/Third; charset=utf-8", "b/third"),
        ("b/*", "b/third"),
        ("a/second, a/first", "a/first"),
        ("a/first;q=0.5, a/second", "a/second"),
        ("a/first;q=0, */*;q=0.1", "a/second"),
        ("a/*;q=0, */*", "b/third"),
        ("text/html, */*;q=0.8", "a/first"),
        ("text/html", None),
        ("*/b", None),
        ("a/first;q=x, b/third;q=0.1", "b/third"),
        ("*/*;q=0", None),
    ],
)
def test_negotiation(accept: str | None, chosen: str | None) -> None:
    assert choose(accept, OFFERED) == chosen


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "../x"])
def test_a_name_that_fits_no_url_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not fit into a URL"):
        create_app({name: served()}, ServeConfig())


def test_nothing_to_serve_and_an_empty_token_are_refused() -> None:
    with pytest.raises(UsageError, match="no model"):
        create_app({}, ServeConfig())
    with pytest.raises(UsageError, match="token is empty"):
        app_of(token=" ")
