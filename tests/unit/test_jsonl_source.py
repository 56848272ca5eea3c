"""JSON Lines: types over all lines, what is left out and said, what is refused with its line."""

from __future__ import annotations

import gzip
import json
import pickle
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthray.data import pieces
from synthray.data.source import Source, open_source
from synthray.errors import SourceError


def opened(folder: Path, *lines: Any, name: str = "t.jsonl") -> Source:
    """Lines as they are, other things as JSON."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / name).write_text("\n".join(texts) + "\n")
    return open_source(str(folder / name))


def rows(source: Source) -> pa.Table:
    chunks = [pickle.loads(pickle.dumps(chunk)) for chunk in source.chunks]
    found = pa.concat_tables(chunk.read() for chunk in chunks)
    assert found.schema.equals(source.schema) and len(found) == source.rows
    return found


def column(folder: Path, *values: Any) -> tuple[list[Any], pa.DataType, str]:
    source = opened(folder, *({"n": 1, "c": value} for value in values))
    found = rows(source)["c"]
    return found.to_pylist(), found.type, "\n".join(source.notes)


def refusal(folder: Path, *lines: Any) -> str:
    with pytest.raises(SourceError) as caught:
        opened(folder, *lines)
    assert caught.value.exit_code == 2 and caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 3], pa.int64(), [1, None, 3]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([True, None, False], pa.bool_(), [True, None, False]),
        (["a", None, "b c"], pa.string(), ["a", None, "b c"]),
        (["39", "40"], pa.string(), ["39", "40"]),  # what is text stays text
        (["2020-02-29", "1999-12-31"], pa.date32(), [date(2020, 2, 29), date(1999, 12, 31)]),
        (
            ["2020-01-02T03:04:05.5", "2020-01-02"],
            pa.timestamp("ms"),
            [datetime(2020, 1, 2, 3, 4, 5, 500000), datetime(2020, 1, 2)],
        ),
        ([None, None], pa.string(), [None, None]),
        ([1, "?", "2"], pa.int64(), [1, None, 2]),
        ([1, "a", True], pa.string(), ["1", "a", "true"]),
        ([2**70, 1], pa.float64(), [float(2**70), 1.0]),
    ],
)
def test_types_of_columns(
    tmp_path: Path, values: list[Any], kind: pa.DataType, expected: list[Any]
) -> None:
    found, found_kind, _ = column(tmp_path, *values)
    assert (found, found_kind) == (expected, kind)


def test_types_and_columns_are_those_of_all_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 64)
    first = [{"a": 1, "b": 1, "m": 1}] * 30
    source = opened(tmp_path, *first, {"a": 1.5, "b": None, "late": "x"}, {"m": "many"})
    assert len(source.chunks) > 5
    found = rows(source)
    assert found.schema.names == ["a", "b", "m", "late"]
    assert found.schema.types == [pa.float64(), pa.int64(), pa.string(), pa.string()]
    assert found["m"].to_pylist() == ["1"] * 30 + [None, "many"]
    assert found["late"].to_pylist() == [None] * 30 + ["x", None]
    assert "m: mixes integer and text values" in source.notes
    alone = source.chunks[-1].select(["m"]).read()
    assert alone.column_names == ["m"]


def test_words_among_numbers_count_as_missing_and_are_said(tmp_path: Path) -> None:
    found, kind, said = column(tmp_path, *range(200), "unknown")
    assert kind == pa.int64() and found[-1] is None
    assert "c: 1 of 201 cells are no whole numbers and count as missing: 'unknown' (1)" in said


@pytest.mark.parametrize("other", [{"d": [1]}, {"d": {"x": 1}}, {"d": []}])
def test_nested_values_are_left_out_and_said(tmp_path: Path, other: dict[str, Any]) -> None:
    for lines in ([other, {"a": 1}], [{"a": 1, "d": 3}, other], [other, {"a": 1, "d": "x"}]):
        source = opened(tmp_path, *lines)
        assert rows(source).column_names == ["a"]
        assert "d: holds lists or objects, left out; flatten it to learn from it" in source.notes
    assert "no column of plain values; d: holds lists" in refusal(tmp_path, other)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['{"a": 1}', "", '{"a": }'], "line 3: not JSON: "),
        (['{"a": 1}', '{"a": 1'], "line 2: not JSON: "),
        (['{"a": 1}', "{", '"a": 2', "}"], "line 2: not JSON: "),
        (['{"a": 1}', "[1, 2]"], "line 2: [1, 2] is no object"),
        (['{"a": 1}', '{"a": 1, "b": 2, "a": 3}'], "line 2: not JSON: the name 'a' occurs twice"),
        (["[", '{"a": 1}', "]"], "is one JSON array, not JSON Lines"),
        ([""], "holds no rows"),
    ],
)
def test_broken_lines_are_refused_with_their_number(
    tmp_path: Path, lines: list[str], told: str
) -> None:
    assert told in refusal(tmp_path, *lines)


def test_a_broken_line_late_in_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 64)
    assert "line 101: not JSON" in refusal(tmp_path, *[{"a": 1}] * 100, "oops")


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    data = '{"a": "Müller"}\n{"a": "José"}\n'.encode() + b'{"a": "Jos\xe9"}\n'
    (tmp_path / "t.jsonl").write_bytes(data)
    with pytest.raises(SourceError, match="line 3: the byte 0xe9 is not UTF-8"):
        open_source(str(tmp_path / "t.jsonl"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_compression(tmp_path: Path, encoding: str) -> None:
    data = '{"a": "Müller"}\r\n{"a": "José"}\r\n'.encode(encoding)
    (tmp_path / "a.ndjson").write_bytes(data)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(data))
    source = open_source(str(tmp_path))
    assert rows(source)["a"].to_pylist() == ["Müller", "José"] * 2
    assert source.notes == (f"JSON Lines in {encoding.upper().removesuffix('-SIG')}",)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8).map(lambda word: f"w{word}"),
)


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=st.lists(VALUES, min_size=1, max_size=20), size=st.integers(16, 100))
def test_any_values_come_back_or_as_their_text(
    tmp_path: Path, values: list[Any], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", size)
    found, kind, _ = column(tmp_path, *values)
    if kind == pa.string() and not all(v is None or isinstance(v, str) for v in values):
        values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    assert found == values
