"""What cells of text look like: numbers, dates, words for missing; counted so that parts merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MARKERS = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?", "-")
"""What stands for a missing cell, in lower case."""
EXAMPLES = 64
"""Cells of no other look that are remembered, the most frequent ones."""


class Look(StrEnum):
    """What a cell of text looks like."""

    boolean = "boolean"
    integer = "integer"
    padded = "padded"
    """A whole number with leading zeros, which a number would lose."""
    long = "long"
    """A whole number beyond int64."""
    decimal = "decimal"
    infinite = "infinite"
    comma = "comma"
    """A number with a decimal comma."""
    grouped = "grouped"
    """Such as 1,234: with a decimal comma or one of thousands."""
    day = "day"
    moment = "moment"
    zoned = "zoned"
    """A moment with the difference from UTC."""
    other = "other"


# ISO 8601, with the days that each month has, as Arrow reads it: what matches can be converted.
_LEAP = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29"
_DAY = (
    r"(?:[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|" + _LEAP + ")"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
_MOMENT = _DAY + "[ T]" + _CLOCK

PATTERNS: dict[Look, str] = {
    Look.integer: r"[+-]?(?:0|[1-9][0-9]{0,17})",
    Look.decimal: r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+[eE][+-]?[0-9]+"
    r"|[0-9]*\.?[0-9]+[eE][+-]?[0-9]+|[0-9]+\.[eE][+-]?[0-9]+)",
    Look.padded: r"[+-]?0[0-9]+",
    Look.long: r"[+-]?[1-9][0-9]{18,}",
    Look.day: _DAY,
    Look.moment: _MOMENT,
    Look.zoned: _MOMENT + r"(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])",
    Look.grouped: r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+",
    Look.comma: r"[+-]?(?:[0-9]+|[1-9][0-9]{0,2}(?:\.[0-9]{3})+),[0-9]+(?:[eE][+-]?[0-9]+)?",
    Look.boolean: r"(?i:true|false)",
    Look.infinite: r"(?i:[+-]?inf(?:inity)?)",
}
_START = r"^[-+.0-9iItTfF]"
NUMBERS = (Look.integer, Look.padded, Look.long, Look.decimal, Look.infinite)


def matches(values: pa.Array | pa.ChunkedArray, looks: tuple[Look, ...]) -> pa.Array:
    """Which cells of text have one of these looks."""
    pattern = "|".join(PATTERNS[look] for look in looks)
    return pc.match_substring_regex(values, f"^(?:{pattern})$")


def is_missing(value: str) -> bool:
    return value.strip().lower() in MARKERS


@dataclass(frozen=True)
class CellCounts:
    """What the cells of a column of text look like.

    Attributes:
        cells: all of them.
        missing: how often each word for a missing cell occurs.
        looks: how many cells have each look.
        digits: the most digits of a second's fraction.
        others: the most frequent cells of no other look.
        pairs: of those, cells of two capital letters; signs: of one sign, such as "+".
        spaced: some cell has space around it; plus: some number begins with "+".
    """

    cells: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    looks: Counter[Look] = field(default_factory=Counter)
    digits: int = 0
    others: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    signs: int = 0
    spaced: bool = False
    plus: bool = False

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> CellCounts:
        """Of a column of strings; nulls are passed over."""
        present = column.drop_null()
        found = present.value_counts()
        found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
        raw, counts = found.field(0), found.field(1).to_numpy()
        values = pc.utf8_trim_whitespace(raw)
        spaced = not values.equals(raw)
        gone = pc.is_in(pc.utf8_lower(values), pa.array(MARKERS)).to_numpy(zero_copy_only=False)
        missing = _counter(values, counts, np.flatnonzero(gone))
        values, counts = _at(values, counts, np.flatnonzero(~gone))
        likely = pc.match_substring_regex(values, _START).to_numpy(zero_copy_only=False)
        looks: Counter[Look] = Counter()
        other = [np.flatnonzero(~likely)]
        index = np.flatnonzero(likely)
        digits, plus = 0, False
        for look in PATTERNS:
            if not len(index):
                break
            rest = values.take(pa.array(index))
            fits = matches(rest, (look,)).to_numpy(zero_copy_only=False)
            if fits.any():
                fitting = rest.filter(pa.array(fits))
                fine = look == Look.long and _within_int64(fitting)
                looks[Look.integer if fine else look] += int(counts[index[fits]].sum())
                plus = plus or bool(pc.any(pc.starts_with(fitting, "+")).as_py())
                if look in (Look.moment, Look.zoned):
                    digits = max(digits, _fraction_digits(fitting))
            index = index[~fits]
        values, counts = _at(values, counts, np.concatenate([*other, index]))
        total = int(counts.sum())
        if total:
            looks[Look.other] += total
        pairs = pc.match_substring_regex(values, "^[A-Z]{2}$").to_numpy(zero_copy_only=False)
        signs = pc.match_substring_regex(values, r"^[^\pL\pN\s]$").to_numpy(zero_copy_only=False)
        return cls(
            cells=len(present),
            missing=missing,
            looks=looks,
            digits=digits,
            others=_most_frequent(_counter(values, counts, np.argsort(-counts)[:EXAMPLES])),
            pairs=int(counts[pairs].sum()),
            signs=int(counts[signs].sum()),
            spaced=spaced,
            plus=plus,
        )

    def merge(self, other: CellCounts) -> CellCounts:
        return CellCounts(
            cells=self.cells + other.cells,
            missing=self.missing + other.missing,
            looks=self.looks + other.looks,
            digits=max(self.digits, other.digits),
            others=_most_frequent(self.others + other.others),
            pairs=self.pairs + other.pairs,
            signs=self.signs + other.signs,
            spaced=self.spaced or other.spaced,
            plus=self.plus or other.plus,
        )


def _at(values: pa.Array, counts: np.ndarray, index: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    return values.take(pa.array(index)), counts[index]


def _counter(values: pa.Array, counts: np.ndarray, index: np.ndarray) -> Counter[str]:
    found: Counter[str] = Counter()
    values, counts = _at(values, counts, index)
    for value, count in zip(values.to_pylist(), counts.tolist(), strict=True):
        found[value] += count  # two spellings may differ by the space around them alone
    return found


def _most_frequent(found: Counter[str]) -> Counter[str]:
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return Counter(dict(ordered[:EXAMPLES]))


def _within_int64(values: pa.Array) -> bool:
    try:
        pc.replace_substring_regex(values, r"^\+", "").cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _fraction_digits(values: pa.Array) -> int:
    found = pc.extract_regex(values, r"\.(?P<digits>[0-9]+)")
    return pc.max(pc.utf8_length(found.field("digits"))).as_py() or 0
