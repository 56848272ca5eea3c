"""Every media type tells the same rows, those of the virtual dataset, in constant memory."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from serving_fake import PICTURES, SIDE, TABLE, FakeRows, Watch, app_of, call

from synthray.data.csv_text import csv_text
from synthray.data.plain_rows import plain_rows
from synthray.serving.sheet import GAP

SLICES = [(0, 1), (0, 1024), (1023, 2), (1000, 3000), (2**63 - 5, 5), (1024, 1025)]


def get(model: str, query: str, accept: str = "*/*", app: Any = None) -> Any:
    url = f"/v1/models/{model}/rows?{query}"
    response = call(app or app_of(), "GET", url, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    return response


def arrow(content: bytes) -> pa.Table:
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


@pytest.mark.parametrize(("start", "count"), SLICES)
@pytest.mark.parametrize("images", ["png", "tensor"])
def test_arrow_and_parquet_hold_the_rows_of_the_virtual_dataset(
    start: int, count: int, images: str
) -> None:
    expected = FakeRows(PICTURES, 3, {}, images).rows(start, count)
    query = f"start={start}&count={count}&seed=3&images={images}"
    stream = get("digits", query)
    assert stream.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert arrow(stream.content).equals(expected, check_metadata=True)
    parquet = get("digits", query, "application/vnd.apache.parquet")
    assert pq.read_table(io.BytesIO(parquet.content)).equals(expected)


def test_an_arrow_stream_ends_with_its_mark() -> None:
    assert get("digits", "count=2000").content[-8:] == b"\xff\xff\xff\xff\0\0\0\0"


def test_conditions_reach_the_dataset() -> None:
    expected = FakeRows(TABLE, 0, {"member": False, "city": "Rom=1"}, "png").rows(5, 20)
    got = arrow(get("people", "start=5&count=20&where=city=Rom=1&where=member=false").content)
    assert got.to_pylist()[:3] == expected.to_pylist()[:3]
    assert set(got["city"].to_pylist()) == {"Rom=1"}


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("count", [3, 1500])
def test_json_holds_images_as_base64(accept: str, count: int) -> None:
    content = get("digits", f"start=1020&count={count}&seed=9", accept).content
    if accept.endswith("x-ndjson"):
        rows = [json.loads(line) for line in content.splitlines()]
    else:
        document = json.loads(content)
        rows = document["rows"]
        assert (document["model"], document["seed"], document["start"]) == ("digits", 9, 1020)
    expected = FakeRows(PICTURES, 9, {}, "png").rows(1020, count).to_pylist()
    for row in rows:
        row["image"]["bytes"] = base64.b64decode(row["image"]["bytes"])
    assert rows == expected


def test_json_holds_tensors_as_nested_lists() -> None:
    rows = json.loads(get("digits", "count=2&images=tensor", "application/json").content)["rows"]
    expected = FakeRows(PICTURES, 0, {}, "tensor").rows(0, 2)["image"].chunk(0)
    assert np.array_equal([row["image"] for row in rows], expected.to_numpy_ndarray())


def test_json_has_no_nan_and_iso_times() -> None:
    text = get("people", "count=4", "application/json").text
    rows = json.loads(text, parse_constant=pytest.fail)["rows"]
    assert rows[3]["amount"] is None
    assert rows[0]["day"].startswith("1970-01-")


@pytest.mark.parametrize("count", [9, 1500])
def test_csv_holds_the_rows_with_missing_cells_empty(count: int) -> None:
    response = get("people", f"start=1020&count={count}&seed=3", "text/csv")
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["content-disposition"].endswith('.csv"')
    lines = list(csv.reader(io.StringIO(response.content.decode())))
    expected = list(plain_rows(FakeRows(TABLE, 3, {}, "png").rows(1020, count)))
    assert lines[0] == list(expected[0]) and len(lines) == count + 1
    for line, row in zip(lines[1:], expected, strict=True):
        assert line[0] == "" if row["amount"] is None else float(line[0]) == row["amount"]
        assert line[1:3] == [str(row["member"]).lower(), row["city"]]
    assert lines[8][0] == ""  # NaN, of row 1027


def test_images_have_no_csv() -> None:
    url = "/v1/models/digits/rows?count=3"
    response = call(app_of(), "GET", url, headers={"Accept": "text/csv"})
    assert response.status_code == 406 and "CSV holds no images" in response.json()["detail"]


def test_awkward_values_become_csv() -> None:
    table = pa.table(
        {
            "text": pa.array(["a", "", None, 'x"\n'], pa.string_view()),
            "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
            "half": pa.array([1.5, None, float("nan"), 0], pa.float16()),
            "decimal": pa.array([1, 2, None, 3], pa.decimal128(5, 2)),
            "seen": pa.array([0, None, 1, 2], pa.timestamp("s", "UTC")),
        }
    )
    text = csv_text(table, header=False).to_pybytes().decode()
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "a", "1.5", "1.00", "1970-01-01 00:00:00Z"],
        ["", "", "", "2.00", ""],
        ["", "b", "", "", "1970-01-01 00:00:01Z"],
        ['x"\n', "a", "0", "3.00", "1970-01-01 00:00:02Z"],
    ]
    # Empty text is told from a missing cell.
    assert text.splitlines()[1].startswith('"",')
    assert text.splitlines()[2].startswith(',"b"')


def test_awkward_values_become_json() -> None:
    table = pa.table(
        {
            "bytes": pa.array([b"\xff", None], pa.binary()),
            "list": [[1.0, float("inf")], None],
            "decimal": pa.array([1, 2], pa.decimal128(5, 2)),
            "dictionary": pa.array(["a", None]).dictionary_encode(),
            "date": pa.array([0, 1], pa.date32()),
        }
    )
    first, second = (json.loads(json.dumps(row)) for row in plain_rows(table))
    assert first == {
        "bytes": "/w==",
        "list": [1.0, None],
        "decimal": "1.00",
        "dictionary": "a",
        "date": "1970-01-01",
    }
    assert second["bytes"] is second["list"] is second["dictionary"] is None


def test_a_contact_sheet_shows_the_images_in_order() -> None:
    response = get("digits", "start=1020&count=7&seed=1&images=tensor", "image/png")
    sheet = np.asarray(Image.open(io.BytesIO(response.content)))
    step = SIDE + GAP
    assert sheet.shape == (3 * step - GAP, 3 * step - GAP)
    tensors = FakeRows(PICTURES, 1, {}, "tensor").rows(1020, 7)["image"].combine_chunks()
    for index, image in enumerate(tensors.to_numpy_ndarray()):
        top, left = index // 3 * step, index % 3 * step
        assert np.array_equal(sheet[top : top + SIDE, left : left + SIDE], image[:, :, 0])


@pytest.mark.parametrize("count", [1, 1500])
def test_a_zip_holds_a_png_a_row_and_the_labels(count: int) -> None:
    response = get("digits", f"start=1000&count={count}&seed=2", "application/zip")
    expected = FakeRows(PICTURES, 2, {}, "png").rows(1000, count).to_pylist()
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        labels = list(csv.reader(io.StringIO(archive.read("labels.csv").decode())))
        assert labels[0] == ["image", "label"]
        assert len(archive.namelist()) == count + 1
        assert labels[1] == ["image/001000.png", str(expected[0]["label"])]
        for (name, label), row in zip(labels[1:], expected, strict=True):
            assert archive.read(name) == row["image"]["bytes"]
            assert label == str(row["label"])


@pytest.mark.parametrize(
    "accept",
    [
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet",
        "application/json",
        "application/x-ndjson",
        "application/zip",
    ],
)
def test_long_answers_take_the_memory_of_a_block(accept: str) -> None:
    watch = Watch()
    get("digits", "count=12000", accept, app_of(watch))
    assert len(watch.made) == 12
    assert watch.most_alive <= 2
    assert (watch.alive, watch.closed) == (0, 1)


@pytest.mark.parametrize("count", [10, 3000])
def test_the_same_request_gives_the_same_bytes(count: int) -> None:
    for accept in ["*/*", "application/vnd.apache.parquet", "application/zip"]:
        first = get("digits", f"count={count}&seed=4", accept)
        again = get("digits", f"count={count}&seed=4", accept)
        assert first.content == again.content
        assert first.headers["etag"] == again.headers["etag"]


def test_short_answers_tell_their_length() -> None:
    response = get("digits", "start=1020&count=10")
    assert int(response.headers["content-length"]) == len(response.content)
    assert "content-length" not in get("digits", "count=3000").headers
