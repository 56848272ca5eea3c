"""Schema inference of tables: kinds of every type, ids, dates, text, and corrections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from synthray.data.decisions import Decision
from synthray.data.inference import decide_table, infer_table_schema
from synthray.data.schema import Kind
from synthray.data.sketches import LIMIT
from synthray.data.source import Source, open_source
from synthray.data.table_codec import TableCodec
from synthray.errors import SchemaError, SourceError

RANDOM = np.random.default_rng(0)
N = 400


@dataclass(frozen=True)
class MemoryChunk:
    rows: pa.Table

    def read(self) -> pa.Table:
        return self.rows

    def select(self, names: Sequence[str]) -> MemoryChunk:
        return MemoryChunk(self.rows.select(list(names)))


def source(rows: pa.Table, chunk: int = 150) -> Source:
    chunks = [MemoryChunk(rows.slice(at, chunk)) for at in range(0, len(rows), chunk)]
    return Source("memory", rows.schema, len(rows), chunks)


def decided(cells: Any, name: str = "c", **given: object) -> Decision:
    rows = pa.table({name: cells, "x": RANDOM.normal(size=len(cells))})
    return decide_table(source(rows), {name: given} if given else {})[0]


def draws(*values: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array([values[at] for at in RANDOM.integers(0, len(values), N)], kind)


def refusal(cells: Any, **given: object) -> str:
    with pytest.raises(SchemaError) as caught:
        decided(cells, **given)
    assert caught.value.exit_code == 2 and caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (RANDOM.normal(size=N), Kind.continuous),
        (pa.array(RANDOM.normal(size=N).astype(np.float32)), Kind.continuous),
        (draws(0.5, 1.5), Kind.continuous),  # few values of a number are no categories
        (draws(1, 2, 3), Kind.integer),
        (draws(1.0, 2.0, None), Kind.integer),
        (draws(Decimal("1.25"), Decimal("2.00")), Kind.continuous),
        (draws(True, False, None), Kind.boolean),
        (draws("a", "b", None), Kind.categorical),
        (draws("a", "b").dictionary_encode(), Kind.categorical),
        (draws(3, 1, 2).dictionary_encode(), Kind.categorical),
        (pa.array(RANDOM.integers(0, 10**6, N)).dictionary_encode(), Kind.integer),
        (draws("a", "b", kind=pa.large_string()), Kind.categorical),
        (draws(date(2020, 1, 1), None), Kind.datetime),
        (draws(datetime(2020, 1, 1, 5), None, kind=pa.timestamp("ms", "UTC")), Kind.datetime),
        (draws(time(5), time(6)), Kind.datetime),
        (pa.nulls(N), Kind.categorical),
        (pa.nulls(N, pa.string()), Kind.categorical),
        (pa.nulls(N, pa.float64()), Kind.continuous),
    ],
)
def test_kinds_of_every_type(cells: Any, kind: Kind) -> None:
    found = decided(cells)
    assert found.column is not None and found.column.kind == kind
    assert found.column.arrow_type == str(found.type)


def test_what_is_peculiar_is_said() -> None:
    assert decided(draws(1.0, 2.0)).notes == ("whole numbers stored as floats",)
    assert decided(draws("a")).notes == ("constant",)
    assert decided(pa.nulls(N, pa.int64())).notes == ("all cells are missing",)
    assert "20 infinite numbers" in decided([0.5, 1.5] * 40 + [np.inf] * 20).notes[0]
    assert decided([f"v{n % 1500}" for n in range(4000)]).notes == ("many categories: 1,500",)


@pytest.mark.parametrize("cells", [draws([1], [2]), draws({"a": 1}), draws(b"a", b"b")])
def test_lists_objects_and_bytes_are_left_out_and_said(cells: pa.Array) -> None:
    found = decided(cells)
    assert found.column is None and f"tables do not take {cells.type}" in found.notes
    rows = pa.table({"c": cells, "x": RANDOM.normal(size=N)})
    assert infer_table_schema(source(rows), {}).names == ["x"]


# Ids.


@pytest.mark.parametrize(
    ("name", "cells", "pattern"),
    [
        ("c", [f"AB-{n:06d}" for n in RANDOM.permutation(N)], r"AB-\d{6}"),
        ("c", list(range(N)), None),
        ("c", [n + 1 for n in RANDOM.permutation(N)], None),
        ("c", list(range(53_000, 53_000 + N)), None),
        ("user_id", [17, 3, 99, 12], None),
        ("userId", [17.0, 3.0, None, 12.0], None),
        ("ID", [f"x{n}" for n in (5, 17, 3)], r"x[1-9]\d{0,1}"),
    ],
)
def test_ids_are_told_with_their_pattern(name: str, cells: list[Any], pattern: str | None) -> None:
    found = decided(cells, name)
    assert found.column is not None
    assert (found.column.kind, found.column.pattern) == (Kind.id, pattern)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([f"AB-{n:06d}" for n in RANDOM.permutation(N)], "1,000,000 ids"),
        ([f"AB-{n * 10**12:015d}" for n in RANDOM.permutation(1000)], "1e+15 ids"),
    ],
)
def test_how_many_ids_a_pattern_has_is_said(cells: list[Any], told: str) -> None:
    assert decided(cells, "c").notes[-1] == f"each value once, of one pattern with {told}"


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("c", RANDOM.permutation(10**6)[:N]),  # distinct measures, with gaps
        ("c", list(range(1990, 2021))),  # years
        ("c", [0, 1]),
        ("c", RANDOM.normal(size=N)),
        ("user_id", [1, 2, 2, 3]),
        ("user_id", [0.5, 1.5, 2.5]),
        ("user_id", [f"AB-{n % 50:06d}" for n in range(N)]),
        ("c", ["one", "two", "three"]),
    ],
)
def test_what_is_no_id(name: str, cells: Any) -> None:
    found = decided(cells, name)
    assert found.column is not None and found.column.kind != Kind.id


def test_an_id_is_one_over_all_chunks() -> None:
    twice = [f"AB-{n % (N // 2):06d}" for n in range(N)]  # each chunk has none twice
    found = decided(twice)
    assert found.column is not None and found.column.kind == Kind.categorical


# Dates and text.


def test_dates_as_text_get_their_format() -> None:
    days = [date(2020, 1, 1 + n % 28) for n in range(N)]
    found = decided([day.strftime("%d.%m.%Y") for day in days])
    assert found.column is not None
    assert (found.column.kind, found.column.format) == (Kind.datetime, "%d.%m.%Y")
    found = decided(["01/02/2020", "03/04/2020"] * 10)
    assert found.notes == ("dates as text, as %m/%d/%Y", "could also be %d/%m/%Y")
    # One cell that is none, in the last chunk.
    found = decided([*(day.strftime("%d.%m.%Y") for day in days[:-1]), "soon"])
    assert found.column is not None and found.column.kind == Kind.categorical


def test_text_is_not_learned() -> None:
    names = ["".join(chr(97 + n) for n in row) for row in RANDOM.integers(0, 26, (N, 8))]
    found = decided(names)
    assert found.kind == "text"
    assert found.notes == (
        "400 values in 400 rows; not learned: kind: categorical learns them, kind: id with a "
        "pattern makes others",
    )
    assert decided(names, kind="categorical").kind == "categorical"
    more = ["".join(chr(97 + n) for n in row) for row in RANDOM.integers(0, 26, (LIMIT + 50, 8))]
    assert decided(more).notes[0].endswith("not learned: kind: id with a pattern makes others")
    lines = [
        f"the {n % 40}th of some long sentences that nobody would use as a name" for n in range(N)
    ]
    assert "letters on average; not learned" in decided(lines).notes[0]


def test_a_table_of_nothing_to_learn_is_refused() -> None:
    rows = pa.table({"a": [f"AB-{n:04d}" for n in range(N)], "b": [[1]] * N})
    with pytest.raises(SchemaError) as caught:
        infer_table_schema(source(rows), {})
    assert "no column that can be learned: a: id, " in str(caught.value)
    assert "b: left out, tables do not take list" in str(caught.value)


def test_one_row_and_one_column_are_a_table() -> None:
    assert [c.kind for c in infer_table_schema(source(pa.table({"a": [1.5]})), {})] == [
        Kind.continuous
    ]


# Corrections.


def test_corrections_come_first() -> None:
    assert decided(draws(1, 2), kind="categorical").kind == "categorical"
    assert decided(draws("1", "2"), kind="text").kind == "text"
    found = decided(draws("1", "2"), kind="id", pattern=r"\d{4}")
    assert found.column is not None and found.column.pattern == r"\d{4}"
    found = decided([f"AB-{n}" for n in range(5)], kind="id")  # too few to be found
    assert found.column is not None and found.column.pattern == r"AB-\d"
    found = decided(draws("3.4.20", "5.6.21"), kind="datetime", format="%d.%m.%y")
    assert found.column is not None and found.column.format == "%d.%m.%y"


def test_columns_that_are_settled_are_not_read() -> None:
    class Unread(MemoryChunk):
        def select(self, names: Sequence[str]) -> MemoryChunk:
            assert list(names) == ["b"]
            return super().select(names)

    rows = pa.table({"a": draws("x", "y"), "b": draws(1, 2)})
    given = {"a": {"kind": "categorical"}}
    schema = infer_table_schema(Source("memory", rows.schema, N, [Unread(rows)]), given)
    assert [column.kind for column in schema] == [Kind.categorical, Kind.integer]


@pytest.mark.parametrize(
    ("cells", "given", "words"),
    [
        (draws(0.5), {"kind": "categorical"}, "data.schema.c.kind: a column of double cannot be"),
        (draws(0.5), {"kind": "categorical"}, "it can be: continuous, integer, id"),
        (draws("a"), {"kind": "continuous"}, "it can be: categorical, text, id, datetime"),
        (draws([1]), {"kind": "integer"}, "leave it out"),
        (draws("a"), {"knid": "id"}, "data.schema.c.knid: unknown key\n  → the keys are: kind,"),
        (draws("a"), {"format": "%Y"}, "c.format: only a column of kind datetime has one"),
        (draws("a"), {"kind": "text", "pattern": "a"}, "c.pattern: only a column of kind id"),
        (draws("a"), {"kind": "datetime"}, "no usual format of dates fits all cells, such as 'a'"),
        (draws("a"), {"kind": "datetime", "format": "dd"}, "'dd' names no part of a date"),
        (draws("a"), {"kind": "datetime", "format": 3}, "c.format: 3 is no text"),
        (draws(date(2020, 1, 1)), {"kind": "datetime", "format": "%Y"}, "date32[day] needs none"),
        (draws("a"), {"kind": "id", "pattern": "a+"}, "data.schema.c.pattern: pattern 'a+'"),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(
    cells: pa.Array, given: dict[str, object], words: str
) -> None:
    assert words in refusal(cells, **given)


def test_a_correction_of_no_column_is_refused() -> None:
    rows = pa.table({"age": [1, 2]})
    with pytest.raises(SchemaError, match=r"no column named 'aeg'\n.*did you mean 'age'"):
        infer_table_schema(source(rows), {"aeg": {"kind": "integer"}})


# With the sources and the codec.


def test_column_names_that_occur_twice_in_parquet_are_refused(tmp_path: Path) -> None:
    rows = pa.Table.from_arrays([pa.array([1, 2])] * 3, ["a", "b", "a"])
    pq.write_table(rows, tmp_path / "t.parquet")
    with pytest.raises(SourceError, match=re.escape("'a' (columns 1, 3)")):
        open_source(str(tmp_path))


def test_a_dirty_file_goes_through_to_the_codec_and_back(tmp_path: Path) -> None:
    words = ["".join(chr(97 + n) for n in row) for row in RANDOM.integers(0, 26, (300, 8))]
    lines = ["id,sex,wage,since,note,empty,on"]
    for n in range(300):
        wage = "unknown" if n == 7 else f"{1000 + n % 90}.50"
        lines.append(f"E-{n:05d}, {'FM?'[n % 3]},{wage},{1 + n % 28}.4.2021,{words[n]},,true")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    opened = open_source(str(tmp_path / "t.csv"))
    schema = infer_table_schema(opened, {})
    assert {column.name: column.kind.value for column in schema} == {
        "id": "id",
        "sex": "categorical",
        "wage": "continuous",
        "since": "datetime",
        "note": "text",
        "empty": "categorical",
        "on": "boolean",
    }
    codec = TableCodec(schema)
    rows = opened.chunks[0].read()
    codec.fit([codec.partial(rows)])
    encoded = codec.encode(rows)
    back = codec.decode(torch.from_numpy(encoded.x), torch.from_numpy(encoded.cond))
    for name in ("sex", "wage", "empty", "on"):
        assert back[name].to_pylist() == rows[name].to_pylist()
    assert back["since"][0].as_py() == "01.04.2021"
    assert all(re.fullmatch(r"E-\d{5}", cell) for cell in back["id"].to_pylist())
