"""An artifact of rows of numbers behind the HTTP API."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from serving_fake import call

from synthray.artifact import Artifact
from synthray.config import ServeConfig
from synthray.sampling.virtual import VirtualDataset
from synthray.serving.app import create_app
from synthray.serving.loading import load_model

URL = "/v1/models/ring/rows?start=1000&count=30&seed=3&where=mode=5"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("artifact"))
    settings = {"generator_widths": [16], "latent_dim": 8}
    tiny.save_artifact(place, tiny.vector_codec(tiny.ring(), "mode"), "gan", settings)
    return place


@pytest.fixture(scope="module")
def app(uri: str) -> Any:
    return create_app({"ring": load_model(uri)}, ServeConfig())


@pytest.fixture(scope="module")
def expected(uri: str) -> pa.Table:
    return VirtualDataset(Artifact.load(uri), seed=3, where={"mode": 5}).rows(1000, 30)


def test_arrow_parquet_and_json_hold_the_rows(app: Any, expected: pa.Table) -> None:
    def get(accept: str) -> bytes:
        response = call(app, "GET", URL, headers={"Accept": accept})
        assert response.status_code == 200, response.text
        return bytes(response.content)

    assert pa.ipc.open_stream(get("*/*")).read_all().equals(expected)
    assert pq.read_table(io.BytesIO(get("application/vnd.apache.parquet"))).equals(expected)
    assert json.loads(get("application/json"))["rows"] == expected.to_pylist()
    lines = get("application/x-ndjson").splitlines()
    assert [json.loads(line) for line in lines] == expected.to_pylist()


@pytest.mark.parametrize("accept", ["image/png", "application/zip"])
def test_pictures_of_numbers_are_refused_with_what_there_is(app: Any, accept: str) -> None:
    response = call(app, "GET", URL, headers={"Accept": accept})
    told = response.json()
    assert response.status_code == 406 and told["type"].endswith(":not-acceptable")
    assert "it has no images" in told["detail"] and "application/json" in told["known"]


def test_the_page_learns_that_columns_are_numbers(app: Any) -> None:
    """It shows a table where no column is an image."""
    assert call(app, "GET", "/").status_code == 200
    shown = call(app, "GET", "/v1/models/ring").json()
    kinds = {column["name"]: column["kind"] for column in shown["schema"]["columns"]}
    assert kinds == {"x": "continuous", "y": "continuous", "n": "integer", "mode": "integer"}
    assert not {"image/png", "application/zip"} & set(shown["max_rows"])
