"""CSV sources: encodings, dialects, types over the whole file, refusals that name the line."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthray.data import pieces
from synthray.data.source import Source, open_source
from synthray.errors import SourceError


def opened(folder: Path, text: str | bytes, name: str = "t.csv") -> Source:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    return open_source(str(folder / name))


def rows(source: Source) -> pa.Table:
    # Chunks go to other processes.
    chunks = [pickle.loads(pickle.dumps(chunk)) for chunk in source.chunks]
    found = pa.concat_tables(chunk.read() for chunk in chunks)
    assert found.schema.equals(source.schema) and len(found) == source.rows
    return found


def column(folder: Path, *cells: str) -> tuple[list[Any], pa.DataType, str]:
    """One column of cells beside another: its values, its type, and what is said."""
    lines = [f"{n};{cell}" for n, cell in enumerate(cells)]
    source = opened(folder, "\n".join(["n;c", *lines]) + "\n")
    found = rows(source)["c"]
    return found.to_pylist(), found.type, "\n".join(source.notes)


def refusal(folder: Path, text: str | bytes, name: str = "t.csv") -> str:
    with pytest.raises(SourceError) as caught:
        opened(folder, text, name)
    assert caught.value.exit_code == 2 and caught.value.remedy
    assert "data.source: " in str(caught.value)
    return str(caught.value)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 64)


# Dialects.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,x\n2,y\n", "UTF-8, separated by commas, a header in line 1"),
        ("a\tb\n1\tx\n2\ty\n", "separated by tabs"),
        ("a;b\n1;x\n2;y\n", "separated by semicolons"),
        ("a|b\r\n1|x\r\n2|y\r\n", "separated by bars"),
        ("a, b\n1, x\n2, y\n", "separated by commas and spaces"),
        ('a, "b"\n1, "x"\n2, "y"\n', "separated by commas and spaces"),
        ('"a","b"\n"1","x"\n"2","y"', "separated by commas"),
        ("a,b\r1,x\r2,y\r", "a header in line 1"),
        ("a,b\n\n1,x\n\n2,y\n\n", "a header in line 1"),
        (
            "Sales of 2020\n\na,b\n1,x\n2,y\n",
            "1 line above the table passed over, a header in line",
        ),
        ("sep=;\na;b\n1;x\n2;y\n", "1 line above the table passed over"),
    ],
)
def test_the_dialect_is_found_and_said(tmp_path: Path, text: str, said: str) -> None:
    source = opened(tmp_path, text)
    assert rows(source).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert said in source.notes[0] and source.notes[0].startswith("t.csv: ")


def test_decimal_commas_are_numbers_where_semicolons_separate(tmp_path: Path) -> None:
    source = opened(tmp_path, "a;b;c\n1,5;-2,25;1.234,5\n3;,5;2,0\n".replace(";,5", ";0,5"))
    assert rows(source).to_pydict() == {"a": [1.5, 3.0], "b": [-2.25, 0.5], "c": [1234.5, 2.0]}
    assert "a: read as numbers with a decimal comma" in source.notes


def test_commas_that_may_mean_two_things_stay_text(tmp_path: Path) -> None:
    found, kind, said = column(tmp_path, "1,234", "5,678", "9")
    assert kind == pa.string() and found == ["1,234", "5,678", "9"]
    assert "may mean decimals or thousands" in said


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,x\n2,y\n", ["column_1", "column_2"]),
        ("p,x\ne,x\np,y\n", ["column_1", "column_2"]),  # categories come again below
        ("p,p\ne,x\np,y\n", ["column_1", "column_2"]),
        ("2020-01-01,x\n2020-01-02,y\n", ["column_1", "column_2"]),
        ("?,x\na,y\nb,z\n", ["column_1", "column_2"]),
        ("name,city\nAnn,Rome\nBob,Oslo\n", ["name", "city"]),
        (",a\n0,x\n1,y\n", ["column_1", "a"]),
        (",0,1\n0,x,5\n1,y,6\n", ["column_1", "0", "1"]),  # a data frame without names
    ],
)
def test_a_header_is_told_from_a_row(tmp_path: Path, text: str, names: list[str]) -> None:
    source = opened(tmp_path, text)
    assert source.schema.names == names
    assert ("no header" in source.notes[0]) == (names == ["column_1", "column_2"])


def test_one_column_is_a_table(tmp_path: Path) -> None:
    assert rows(opened(tmp_path, "x\n1\n2\n3\n")).to_pydict() == {"x": [1, 2, 3]}
    source = opened(tmp_path, "remark\nwell, well\nno\nyes, it is, indeed\n")
    assert rows(source)["remark"].to_pylist() == ["well, well", "no", "yes, it is, indeed"]


def test_one_row_is_a_table(tmp_path: Path) -> None:
    assert rows(opened(tmp_path, "a,b\n1,x\n")).to_pydict() == {"a": [1], "b": ["x"]}
    assert rows(opened(tmp_path, "1,x")).to_pydict() == {"column_1": [1], "column_2": ["x"]}


def test_adult_as_it_is_published(tmp_path: Path) -> None:
    text = (
        "|1x3 Cross validator\n"
        "25, Private, 226802, 11th, 7, ?, <=50K.\n"
        "38, ?, 89814, HS-grad, 9, Sales, >50K.\n"
    )
    (tmp_path / "adult.test").write_text(text)
    source = open_source(str(tmp_path / "adult.test"))
    found = rows(source)
    assert found["column_1"].to_pylist() == [25, 38]
    assert found["column_2"].to_pylist() == ["Private", None]
    assert found["column_7"].to_pylist() == ["<=50K.", ">50K."]
    assert "1 line above the table passed over" in source.notes[0]
    assert "column_2: '?' (1) counts as missing" in source.notes


# Encodings.

WORDS = ["Müller", "Ärger im Büro", "José y señora", "naïve façade", "größer", "çà et là"]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("cp1252", "Windows-1252"),
        ("latin-1", "Windows-1252"),  # the same for all letters
    ],
)
def test_encodings_are_found_and_said(
    tmp_path: Path, small_pieces: None, encoding: str, said: str
) -> None:
    lines = ["name,wörd"] + [f'{word},"a\n{word}"' for word in WORDS * 3]
    source = opened(tmp_path, "\n".join(lines).encode(encoding))
    found = rows(source)
    assert len(source.chunks) > 2 and source.notes[0].startswith(f"t.csv: {said},")
    assert found["name"].to_pylist() == WORDS * 3
    assert found["wörd"].to_pylist() == [f"a\n{word}" for word in WORDS * 3]


def test_what_is_beyond_ascii_late_in_the_file_still_decides(tmp_path: Path) -> None:
    plain = "name,n\n" + "abc,1\n" * 60_000
    source = opened(tmp_path, plain.encode() + "Müller,2\nJosé,3\n".encode("cp1252"))
    assert "Windows-1252" in source.notes[0]
    assert rows(source)["name"].to_pylist()[-2:] == ["Müller", "José"]


def test_chinese_and_russian_are_told_apart(tmp_path: Path) -> None:
    russian = "Привет мир, это обычный русский текст для проверки кодировки"
    chinese = "这是一个用来检查编码的普通中文句子"
    for text, encoding in ((russian, "cp1251"), (chinese, "gb18030")):
        source = opened(tmp_path, f"n;text\n1;{text}\n2;{text}\n".encode(encoding))
        assert encoding in source.notes[0]
        assert rows(source)["text"].to_pylist() == [text, text]


def test_damaged_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    data = "name,n\nMüller,1\nJosé,2\n".encode() + b"Jos\xe9,3\n"
    message = refusal(tmp_path, data)
    assert "line 4: the byte 0xe9 is not UTF-8" in message and "best UTF-8" in message


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    assert "is not text" in refusal(tmp_path, b"a,b\n\0\0\0\1,\0\2\n")


# Rows and their borders.


def test_line_ends_within_quotes_end_no_row(tmp_path: Path, small_pieces: None) -> None:
    texts = [f'line {n}\nsaid "hi, {n}"\r\nend' for n in range(50)]
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["n", "text"], *([n, text] for n, text in enumerate(texts))])
    source = opened(tmp_path, out.getvalue())
    assert len(source.chunks) > 10
    assert rows(source)["text"].to_pylist() == texts


def test_quotes_within_cells_are_letters(tmp_path: Path, small_pieces: None) -> None:
    text = "n,disk\n" + '1,5" disk\n2,"x, ""y""\nz"\n3,the 3" one\n4,plain\n' * 20
    source = opened(tmp_path, text)
    assert len(source.chunks) > 5
    assert rows(source)["disk"].to_pylist() == ['5" disk', 'x, "y"\nz', 'the 3" one', "plain"] * 20


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 cells, separated by commas, where the other rows have 2: '3'"),
        ("a,b\n1,2\n\n3,4,5\n", "line 4: 3 cells"),
        ('a,b\n1,"x\ny"\n3,4,5\n', "line 4: 3 cells"),
        ('a,b\n1,x\n2,"never closed\n3,y\n', "line 3: a quote opens that is never closed"),
        ("title\na,b\n1,2\n3,4,5\n", "line 4: 3 cells"),
    ],
)
def test_ragged_rows_are_refused_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


def test_a_ragged_row_late_in_the_file_is_named(tmp_path: Path, small_pieces: None) -> None:
    assert "line 302: 3 cells" in refusal(tmp_path, "a,b\n" + "1,2\n" * 300 + "1,2,3\n4,5\n")


CELLS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters="\n"),
    max_size=12,
)


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=30),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    size=st.integers(16, 200),
)
def test_any_text_comes_back_whatever_the_pieces(
    tmp_path: Path,
    cells: list[tuple[str, str]],
    delimiter: str,
    encoding: str,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", size)
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    # Words of our own keep the columns text, and the header plain.
    writer.writerows([["one", "two"], *((f"w{a}", f"v{b}") for a, b in cells)])
    source = opened(tmp_path, out.getvalue().encode(encoding))
    found = rows(source)
    assert found["one"].to_pylist() == [f"w{a}" for a, _ in cells]
    assert found["two"].to_pylist() == [f"v{b}" for _, b in cells]


# Types.


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2", "+3"], pa.int64(), [1, -2, 3]),
        (["1", " 2 ", ""], pa.int64(), [1, 2, None]),
        (["1", "2.5", "1e3", ".5", "5."], pa.float64(), [1.0, 2.5, 1000.0, 0.5, 5.0]),
        (["1", "NaN", "null", "NA", "-", "?"], pa.int64(), [1, *[None] * 5]),
        (["true", "FALSE", "True"], pa.bool_(), [True, False, True]),
        (["0", "1", "true"], pa.string(), ["0", "1", "true"]),
        (
            ["2020-02-29", "1999-12-31", "n/a"],
            pa.date32(),
            [date(2020, 2, 29), date(1999, 12, 31), None],
        ),
        (
            ["2020-01-02 03:04:05", "2020-01-02T03:04", "2020-01-02"],
            pa.timestamp("s"),
            [datetime(2020, 1, 2, 3, 4, 5), datetime(2020, 1, 2, 3, 4), datetime(2020, 1, 2)],
        ),
        (
            ["2020-01-02T03:04:05.25Z", "2020-01-02T03:04:05+02:00"],
            pa.timestamp("ms", "UTC"),
            [
                datetime(2020, 1, 2, 3, 4, 5, 250000, UTC),
                datetime(2020, 1, 2, 1, 4, 5, tzinfo=UTC),
            ],
        ),
        (["2021-02-29", "2020-01-01"], pa.string(), ["2021-02-29", "2020-01-01"]),
        (["007", "012", "100"], pa.string(), ["007", "012", "100"]),
        (["9223372036854775807", "-9223372036854775808"], pa.int64(), [2**63 - 1, -(2**63)]),
        (["9223372036854775808", "1"], pa.string(), ["9223372036854775808", "1"]),
        (["", "", ""], pa.string(), [None, None, None]),
        (["A", "NA", "", "None", "?"], pa.string(), ["A", None, None, None, None]),
        (["+", "-", "-"], pa.string(), ["+", "-", "-"]),
        (["NA", "ZA", "DE", "FR"], pa.string(), ["NA", "ZA", "DE", "FR"]),
        ([" a", "a ", "a"], pa.string(), [" a", "a ", "a"]),
    ],
)
def test_types_of_columns(tmp_path: Path, cells: list[str], kind: Any, values: list[Any]) -> None:
    found, found_kind, _ = column(tmp_path, *cells)
    assert (found, found_kind) == (values, kind)


def test_infinite_numbers_stay_for_the_schema_to_judge(tmp_path: Path) -> None:
    found, kind, _ = column(tmp_path, "1.5", "inf", "-Infinity")
    assert kind == pa.float64() and np.array_equal(found, [1.5, np.inf, -np.inf])


def test_types_are_those_of_the_whole_file(tmp_path: Path, small_pieces: None) -> None:
    source = opened(tmp_path, "a,b,c\n" + "1,1,1\n" * 60 + "2.5,x,2020-01-01\n")
    assert len(source.chunks) > 5
    assert rows(source).schema.types == [pa.float64(), pa.string(), pa.string()]


def test_a_few_words_among_numbers_count_as_missing_and_are_said(tmp_path: Path) -> None:
    found, kind, said = column(tmp_path, *map(str, range(300)), "unknown", "unknown", "12 or so")
    assert kind == pa.int64() and found == [*range(300), None, None, None]
    assert "c: 3 of 303 cells are no whole numbers and count as missing: 'unknown' (2)" in said
    found, kind, said = column(tmp_path, *map(str, range(20)), "unknown")
    assert kind == pa.string() and found[-1] == "unknown"
    assert "c: 1 of 21 cells are no numbers, read as text: 'unknown' (1)" in said


def test_what_is_kept_as_text_is_said(tmp_path: Path) -> None:
    assert "leading zeros" in column(tmp_path, "01067", "10115")[2]
    assert "beyond 64 bits" in column(tmp_path, "123456789012345678901", "2")[2]
    assert "all cells are missing" in column(tmp_path, "", "NA")[2]
    assert "'NA' counts as a value" in column(tmp_path, "NA", "ZA", "DE", "FR")[2]


# Folders, compression, refusals.


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x;y\n2;b\n")
    (tmp_path / "a.CSV").write_text("y,x\na,1.5\n")
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "notes.txt").write_text("words")
    source = open_source(str(tmp_path))
    assert rows(source).to_pydict() == {"y": ["a", "b"], "x": [1.5, 2.0]}
    assert len(source.notes) == 2


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ("x,z\n1,2\n", "b.csv has other columns than"),
        ("x,z\n1,2\n", "it lacks 'y' and has 'z' besides"),
        ("1,2\n3,4\n", "b.csv does not begin with the header that"),
    ],
)
def test_files_of_other_columns_are_refused(tmp_path: Path, other: str, told: str) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text(other)
    with pytest.raises(SourceError, match=r"data\.source") as caught:
        open_source(str(tmp_path))
    assert told in str(caught.value)


def test_csv_beside_json_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(SourceError, match="folder of their own"):
        open_source(str(tmp_path))


def test_compressed_files_are_read_in_chunks(tmp_path: Path, small_pieces: None) -> None:
    text = "a,b\n" + "".join(f"{n},x\n" for n in range(100))
    source = opened(tmp_path, gzip.compress(text.encode()), "t.csv.gz")
    assert len(source.chunks) > 5 and "compressed" in source.notes[1]
    assert rows(source)["a"].to_pylist() == list(range(100))
    assert "is not gzip, or damaged" in refusal(tmp_path, text, "u.csv.gz")


@pytest.mark.parametrize("text", ["", "a,b\n", "\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    assert "holds no rows" in refusal(tmp_path, text)


def test_column_names_that_occur_twice_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a,b,a,c,b\n1,2,3,4,5\n")
    assert "several columns of one name: 'a' (columns 1, 3); 'b' (columns 2, 5)" in message


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    source = opened(tmp_path, "a,b\n1,2\n3,4\n")
    (tmp_path / "t.csv").write_text("a,b\n1,2\nx,4\n")
    with pytest.raises(SourceError, match="has changed since it was looked at"):
        rows(source)


def test_columns_can_be_read_alone(tmp_path: Path) -> None:
    source = opened(tmp_path, "a,b,c\n1, x,2\n3, y,4\n")
    assert source.chunks[0].select(["c", "a"]).read().to_pydict() == {"a": [1, 3], "c": [2, 4]}
