"""Columns of text cells: which type they are read as, decided over the whole source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from synthray.data.chunks import listed
from synthray.data.looks import NUMBERS, CellCounts, Look, matches

CLEAN = 0.99
"""The share of a column's cells that must be of one type for the others to count as missing."""

_LOOKS: dict[str, tuple[Look, ...]] = {
    "integer": (Look.integer,),
    "number": NUMBERS,
    "comma": (Look.integer, Look.comma, Look.grouped, Look.infinite),
    "day": (Look.day,),
    "moment": (Look.day, Look.moment),
    "zoned": (Look.zoned,),
    "boolean": (Look.boolean,),
}


@dataclass(frozen=True)
class TextColumn:
    """How a column of text cells is read.

    Attributes:
        type: the Arrow type it gets.
        missing: the words that stand for a missing cell.
        strip: space around a cell is no part of it.
        looks: for a type other than text, what is converted; all else becomes missing.
        plain: the CSV reader of Arrow can convert it by itself.
    """

    name: str
    type: pa.DataType
    missing: tuple[str, ...] = ()
    strip: bool = False
    looks: tuple[Look, ...] = ()
    plain: bool = False

    def convert(self, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        """Cells of text in the type of the column."""
        if pa.types.is_string(self.type):
            return self._text(cells)
        cells = pc.utf8_trim_whitespace(cells)
        cells = pc.if_else(matches(cells, self.looks), cells, pa.scalar(None, pa.string()))
        if pa.types.is_integer(self.type) or pa.types.is_floating(self.type):
            cells = pc.replace_substring_regex(cells, r"^\+", "")
        if Look.comma in self.looks:
            cells = pc.replace_substring(pc.replace_substring(cells, ".", ""), ",", ".")
        return cells.cast(self.type)

    def _text(self, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        stripped = pc.utf8_trim_whitespace(cells) if self.strip or self.missing else cells
        kept = stripped if self.strip else cells
        if not self.missing:
            return kept
        gone = pc.is_in(stripped, pa.array(self.missing, pa.string()))
        return pc.if_else(gone, pa.scalar(None, pa.string()), kept)


def decide(
    name: str, counts: CellCounts, strip: bool = False, kinds: Container[str] = tuple(_LOOKS)
) -> tuple[TextColumn, list[str]]:
    """How a column is read, and what has to be said about it.

    Args:
        strip: of text too, space around a cell is no part of it.
        kinds: what other than text it can be.
    """
    total = counts.cells - counts.missing.total()
    if not total:
        words = tuple(sorted(counts.missing))
        return TextColumn(name, pa.string(), words, strip), [f"{name}: all cells are missing"]
    kind, type_ = _type(counts, total)
    if kind is None or kind not in kinds:
        words = _text_markers(counts, total)
        column = TextColumn(name, pa.string(), words, strip)
        why = _why_text(name, counts, total) if "number" in kinds else ()
        return column, [*_said(name, counts, words), *why]
    looks = _LOOKS[kind]
    words = tuple(sorted(counts.missing))
    dirty = total - sum(counts.looks[look] for look in looks)
    plain = not (counts.spaced or counts.plus or dirty or kind == "comma")
    notes = list(_said(name, counts, words))
    if kind == "comma":
        notes.append(f"{name}: read as numbers with a decimal comma")
    if dirty:
        notes.append(
            f"{name}: {dirty:,} of {total:,} cells are no {_NAMES[kind]} and count as missing: "
            f"{_examples(counts, looks)}"
        )
    return TextColumn(name, type_, words, strip, looks, plain), notes


DATES = ("day", "moment", "zoned")
_NAMES = {
    "integer": "whole numbers",
    "number": "numbers",
    "comma": "numbers",
    "day": "dates",
    "moment": "dates",
    "zoned": "times with a zone",
    "boolean": "booleans",
}


def _type(counts: CellCounts, total: int) -> tuple[str | None, pa.DataType | None]:
    """What the cells are, and the Arrow type for it; (None, None) for text."""
    looks = counts.looks

    def clean(kind: str) -> bool:
        return sum(looks[look] for look in _LOOKS[kind]) >= CLEAN * total

    floats = looks[Look.decimal] + looks[Look.infinite]
    # What is written with zeros in front, or beyond int64, is a code unless it is among fractions.
    codes = not looks[Look.decimal] and (looks[Look.padded] or looks[Look.long])
    if looks[Look.boolean] == total:
        return "boolean", pa.bool_()
    if not codes and not floats and not looks[Look.comma] and clean("integer"):
        return "integer", pa.int64()
    if not codes and clean("number"):
        return "number", pa.float64()
    if not looks[Look.decimal] and looks[Look.comma] and clean("comma"):
        return "comma", pa.float64()
    if clean("day"):
        return "day", pa.date32()
    if looks[Look.moment] and clean("moment"):
        return "moment", pa.timestamp(_unit(counts.digits))
    if clean("zoned"):
        return "zoned", pa.timestamp(_unit(counts.digits), "UTC")
    return None, None


def _unit(digits: int) -> str:
    return "s" if not digits else "ms" if digits <= 3 else "us" if digits <= 6 else "ns"


def _text_markers(counts: CellCounts, total: int) -> tuple[str, ...]:
    """The words for missing among cells of text, where some may be values like others."""
    kept = set()
    if counts.signs:
        kept |= {"-", "?"}  # one sign among others
    if counts.pairs == total and len(counts.others) > 2:
        kept |= {"na"}  # two letters among such codes: Namibia
    return tuple(sorted(word for word in counts.missing if word.lower() not in kept))


def _said(name: str, counts: CellCounts, words: tuple[str, ...]) -> Iterator[str]:
    found = Counter({word: counts.missing[word] for word in words if word})
    if found:
        told = ", ".join(f"{word!r} ({n:,})" for word, n in found.most_common())
        yield f"{name}: {told} counts as missing"
    kept = [word for word in counts.missing if word not in words]
    if kept:
        yield f"{name}: {listed(kept)} counts as a value, as others look like it"


def _why_text(name: str, counts: CellCounts, total: int) -> Iterator[str]:
    """Why what looks like numbers is read as text."""
    looks = counts.looks
    numbers = sum(looks[look] for look in NUMBERS)
    if numbers >= CLEAN * total and looks[Look.padded]:
        yield f"{name}: whole numbers with leading zeros, read as text to keep them"
    elif numbers >= CLEAN * total and looks[Look.long]:
        yield f"{name}: whole numbers beyond 64 bits, read as text to keep them"
    elif looks[Look.grouped] and numbers + looks[Look.grouped] + looks[Look.comma] >= CLEAN * total:
        yield f"{name}: numbers with commas that may mean decimals or thousands, read as text"
    elif numbers > total / 2:
        yield (
            f"{name}: {total - numbers:,} of {total:,} cells are no numbers, read as text: "
            f"{_examples(counts, NUMBERS)}"
        )


def _examples(counts: CellCounts, looks: tuple[Look, ...]) -> str:
    told = [f"{value!r} ({n:,})" for value, n in counts.others.most_common(3)]
    told += [
        f"{n:,} that look like {look.value}"
        for look, n in counts.looks.items()
        if look not in looks and look != Look.other
    ]
    return ", ".join(told)
