"""Columns whose values go one to one with each other, and what `init` says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_inference import MemoryChunk, source

from synthray.config import parse
from synthray.data.matches import matching_columns
from synthray.data.source import Source
from synthray.starter import starter_config

RANDOM = np.random.default_rng(0)
GRADES = ["first", "second", "third", None, "fifth"]
AT = RANDOM.integers(0, 5, 400)
ROWS = pa.table(
    {
        "grade": pa.array([GRADES[n] for n in AT]),
        "number": pa.array(AT * 2),
        "half": pa.array(AT / 2),
        "coarse": pa.array(AT // 2),
        "other": pa.array(RANDOM.integers(0, 5, 400)),
        "city": pa.array([f"c{n}" for n in AT % 3]),
        "code": pa.array([f"c{n}" for n in AT % 3]).dictionary_encode(),
    }
)


def test_groups_of_columns_are_found() -> None:
    found = matching_columns(source(ROWS), ROWS.column_names)
    assert found == [["grade", "number", "half"], ["city", "code"]]
    assert matching_columns(source(ROWS), ["grade", "coarse", "other"]) == []
    assert matching_columns(source(ROWS), ["grade"]) == []


@pytest.mark.parametrize("at", [0, 200, 399])
def test_one_row_that_differs_is_enough(at: int) -> None:
    number = ROWS["number"].to_pylist()
    number[at] = 7
    rows = ROWS.set_column(1, "number", pa.array(number))
    found = matching_columns(source(rows), rows.column_names)
    assert found == [["grade", "half"], ["city", "code"]]


def test_a_match_within_each_chunk_is_none() -> None:
    rows = pa.table({"a": [1, 2] * 200, "b": ["x", "y"] * 100 + ["y", "x"] * 100})
    assert matching_columns(source(rows, 200), ["a", "b"]) == []


def test_no_other_chunk_is_read_for_nothing() -> None:
    class Unread(MemoryChunk):
        def read(self) -> pa.Table:
            raise AssertionError

    first = MemoryChunk(ROWS.slice(0, 100))
    read = Source("memory", ROWS.schema, 200, [first, Unread(ROWS)])
    assert matching_columns(read, ["grade", "other"]) == []


def test_init_suggests_to_keep_them(tmp_path: Path) -> None:
    many = pa.array(np.arange(400) % 300), pa.array(np.arange(400) % 300 * 2)  # hardly repeated
    rows = ROWS.append_column("seen", many[0]).append_column("again", many[1])
    pq.write_table(rows, tmp_path / "rows.parquet")
    said: list[str] = []
    text = starter_config(str(tmp_path / "rows.parquet"), said.append).text
    assert any("city, code: their values go one to one" in line for line in said)
    assert "constraints" not in yaml.safe_load(text)["data"]
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("  # constraints:"))
    suggested = [line.replace("# ", "", 1) for line in lines[start : start + 3]]
    tree: dict[str, Any] = yaml.safe_load(
        "\n".join([*lines[:start], *suggested, *lines[start + 3 :]])
    )
    rules = parse(tree, where="test").data.constraints
    assert [rule.model_dump()["combinations"] for rule in rules] == [
        ("grade", "number", "half"), ("city", "code"),
    ]  # fmt: skip
