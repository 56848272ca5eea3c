"""The dialect of a CSV file: what separates its cells, and whether it begins with a header."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from synthray.data.encoding import find, narrow, unit_size
from synthray.data.looks import PATTERNS, Look, is_missing
from synthray.errors import SourceError

SAMPLE_BYTES = 256 << 10
SAMPLE_ROWS = 1000
DELIMITERS = (",", "\t", ";", "|")
MAX_PREAMBLE = 20
"""Lines above a table, such as a title, that are passed over."""
_TYPED = re.compile(
    f"^(?:{'|'.join(PATTERNS[look] for look in Look if look not in (Look.boolean, Look.other))})$"
)
_TOLD = re.compile(r'\A"?sep=([,;\t|])"?\r?\n')
"""The first line of a file for spreadsheets."""
_COMMA = re.compile(f"^(?:{PATTERNS[Look.comma]})$")


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        delimiter: between cells.
        quoted: quotes around a cell have a meaning: separators and line ends in it have none.
        spaced: the space behind a delimiter is no part of the cell.
        compressed: by gzip.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quoted: bool = True
    spaced: bool = False
    compressed: bool = False


@dataclass(frozen=True)
class Opening:
    """What the begin of a file shows.

    Attributes:
        header: the names of the columns; None where the rows begin at once.
        width: cells of a row.
        start, line: where the rows begin, in bytes and in lines from 1.
        passed: lines above the table.
    """

    dialect: Dialect
    header: tuple[str, ...] | None
    width: int
    start: int
    line: int
    passed: int = 0


def look_at(sample: bytes, whole: bool, where: str, compressed: bool = False) -> Opening:
    """Find the dialect of a file from its first bytes.

    Args:
        sample: `SAMPLE_BYTES` of it, or all.
        whole: it is all.
        where: the field and the file, for errors.

    Raises:
        SourceError: it is not text.
    """
    encoding, mark = find(sample)
    cut = len(sample) if whole else _cut(sample, encoding)
    text = sample[mark:cut].decode(encoding, errors="replace")
    if "\0" in text:
        raise SourceError(f"{where} is not text: it holds zero bytes", "give a CSV file")
    told = _TOLD.match(text)
    tried = [_try(text, delimiter) for delimiter in (told.group(1) if told else DELIMITERS)]
    if told:
        tried = [replace(tried[0], passed=1, merit=(1.0, 1.0))]
    best = max(tried, key=lambda trial: trial.merit)
    if best.merit[0] <= 0:  # one column, whatever its text holds
        best = _try(text, next((sign for sign in DELIMITERS if sign not in text), ","))
    dialect = Dialect(encoding, best.delimiter, True, best.spaced, compressed)
    if not best.rows:
        return Opening(dialect, None, 0, mark, 1)
    rows = best.rows[best.passed :]
    cells = [[cell.strip() for cell in row] for row in rows]
    header = tuple(cells[0]) if _is_header(cells) else None
    ends = best.ends[best.passed] if header else best.ends[best.passed - 1] if best.passed else 0
    start = mark + _behind_line(sample[mark:], ends, encoding)
    return Opening(dialect, header, len(cells[0]), start, ends + 1, best.passed)


@dataclass(frozen=True)
class _Trial:
    """A sample read with one delimiter: rows, and the number of lines up to each one's end."""

    delimiter: str
    rows: list[list[str]]
    ends: list[int]
    passed: int = 0
    spaced: bool = False
    merit: tuple[float, float] = (0.0, 0.0)


def _try(text: str, delimiter: str) -> _Trial:
    rows, ends, strict = _read(text, delimiter, strict=True)
    if not strict:
        rows, ends, _ = _read(text, delimiter, strict=False)
    if not rows:
        return _Trial(delimiter, [], [])
    widths = Counter(len(row) for row in rows)
    width, share = max(widths.items(), key=lambda item: (item[1], item[0]))
    trial = _Trial(delimiter, rows, ends, spaced=_is_spaced(text, delimiter))
    if width < 2:
        return trial
    cells = [cell for row in rows if len(row) == width for cell in row]
    # A cell that holds another separator was cut at the wrong one.
    whole = sum(
        not any(other in cell for other in DELIMITERS if other != delimiter)
        or bool(_COMMA.match(cell.strip()))
        for cell in cells
    )
    passed = next(at for at, row in enumerate(rows) if len(row) == width)
    # Lines of nearly as many cells are no title: they are told as ragged ones.
    if passed > MAX_PREAMBLE or any(len(row) > width / 2 for row in rows[:passed]):
        passed = 0
    fit = share / (len(rows) - passed) * whole / len(cells)
    merit = (fit if strict else fit / 2, float(width))
    return replace(trial, passed=passed, merit=merit)


def _read(text: str, delimiter: str, strict: bool) -> tuple[list[list[str]], list[int], bool]:
    """Rows, the lines up to each one's end, and whether the dialect's rules were kept.

    With the wrong delimiter, quotes that close a cell stand before other things than one.
    """
    rows, ends = [], []
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict
    )
    try:
        for row in reader:
            if row:
                rows.append(row)
                ends.append(reader.line_num)
            if len(rows) == SAMPLE_ROWS:
                break
    except csv.Error as error:
        # The end of the sample may cut a cell; one beyond the module's limit is no fault either.
        return rows, ends, "unexpected end" in str(error) or "limit" in str(error)
    return rows, ends, True


def _is_spaced(text: str, delimiter: str) -> bool:
    """Whether space follows the delimiters throughout."""
    if delimiter == "\t":
        return False
    total = text.count(delimiter)
    return total > 0 and text.count(delimiter + " ") >= 0.95 * total


def _cut(sample: bytes, encoding: str) -> int:
    """The end of the last whole line of a sample, or the sample's where it has none."""
    plain = narrow(sample, encoding)
    end = max(plain.rfind(b"\n"), plain.rfind(b"\r", 0, len(plain) - 1)) + 1
    return unit_size(encoding) * end or len(sample)


def _behind_line(data: bytes, lines: int, encoding: str) -> int:
    """Where the text behind so many lines begins, in bytes."""
    plain = narrow(data, encoding)
    if not lines:
        return 0
    ends = re.finditer(rb"\r\n|\n|\r", plain)
    for count, match in enumerate(ends, 1):
        if count == lines:
            return unit_size(encoding) * match.end()
    return unit_size(encoding) * len(plain)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row gives names to the columns.

    It does where none of its cells is a number, a date or missing, unless the cells are alike in
    every way to those below: no two columns would bear one name, none its own value.
    """
    first, below = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if not any(first):
        return False
    numbers = [cell for cell in first if _TYPED.match(cell)]
    if numbers:
        # The names that data frames give: 0, 1, 2 ... with or without a cell for the index.
        counted = [str(at) for at in range(len(numbers))]
        return len(first) > 1 and numbers == counted and len(numbers) >= len(first) - 1
    typed = [
        any(_TYPED.match(row[at]) for row in below)
        and all(_TYPED.match(row[at]) or is_missing(row[at]) for row in below)
        for at in range(len(first))
    ]
    if any(is_missing(cell) and cell not in ("", "-") for cell in first):
        return False
    if any(typed):
        return True
    if len(set(first)) < len(first):
        return False
    return not any(first[at] == row[at] for row in below for at in range(len(first)))
