"""The shapes of short strings: runs of digits and letters, of which patterns for ids are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby, takewhile

import pyarrow as pa
import pyarrow.compute as pc

MAX_SHAPES = 8
MAX_LOOKED = 2000
LOOKED_FIRST = 64
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUIDS = (_UUID, _UUID.replace("a-f", "A-F"))
_MIXED = ("[0-9a-f]", "[0-9A-F]", "[0-9A-Z]", "[0-9a-z]", "[0-9A-Za-z]")
_LETTERS = {"9": r"\d", "A": "[A-Z]", "a": "[a-z]"}
_MEASURE = re.compile(r"[-+$€£]? ?9(?:[.,]9)?(?: ?[%€$£°]| ?[Aa]+)?")
"""A number, perhaps with its unit."""
MIN_MIXED = 8
"""Letters and digits in no order that are taken for a code from this length on."""

Runs = tuple[tuple[int, int], ...]
"""The least and the greatest length of each run of a shape."""


@dataclass(frozen=True)
class Shapes:
    """What strings look like.

    Attributes:
        runs: by shape, where a run of digits is "9", of capitals "A", of small letters "a", and all
            else is as it is. None: there are too many.
        classes: the classes of characters, and the forms of whole strings, that all are of.
        short, long: the least and the greatest length.
        low, high: the first and the last in the order of their bytes.
    """

    runs: dict[str, Runs] | None = field(default_factory=dict)
    classes: frozenset[str] = frozenset((*_UUIDS, *_MIXED))
    short: int = 2**31
    long: int = 0
    low: str | None = None
    high: str | None = None

    @classmethod
    def of(cls, values: pa.Array) -> Shapes:
        """Of at least one string."""
        values = values.cast(pa.string())
        lengths = pc.min_max(pc.utf8_length(values)).as_py()
        ends = pc.min_max(values).as_py()
        short, long = lengths["min"], lengths["max"]
        first = values.slice(0, LOOKED_FIRST)
        classes = [
            name
            for name in (*_UUIDS, *_MIXED)
            if _all_are(first, name) and (len(values) <= LOOKED_FIRST or _all_are(values, name))
        ]
        return cls(_runs(values), frozenset(classes), short, long, ends["min"], ends["max"])

    def merge(self, other: Shapes) -> Shapes:
        if self.low is None or other.low is None:
            return other if self.low is None else self
        runs = None
        if self.runs is not None and other.runs is not None:
            runs = dict(self.runs)
            for shape, found in other.runs.items():
                runs[shape] = _wider(runs[shape], found) if shape in runs else found
        return Shapes(
            runs if runs is not None and len(runs) <= MAX_SHAPES else None,
            self.classes & other.classes,
            min(self.short, other.short),
            max(self.long, other.long),
            min(self.low, other.low),
            max(self.high or "", other.high or ""),
        )

    def pattern(self) -> str | None:
        """A regular expression for all of them, if they look like codes: of one shape with digits,
        or letters and digits in no order of one length.
        """
        for name in _UUIDS:
            if name in self.classes:
                return name
        if self.runs is not None and len(self.runs) == 1:
            shape, runs = next(iter(self.runs.items()))
            if "9" in shape and (shape == "9" or not _MEASURE.fullmatch(shape)):
                return self._of_runs(shape, runs)
            return None
        if self.classes and self.short == self.long >= MIN_MIXED:
            name = next(name for name in _MIXED if name in self.classes)
            return f"{name}{{{self.short}}}"
        return None

    @property
    def fixed(self) -> bool:
        """Whether all are of one length."""
        return self.short == self.long

    def _of_runs(self, shape: str, runs: Runs) -> str:
        ends = zip(self.low or "", self.high or "", strict=False)
        common = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], ends))
        parts, at, sure = [], 0, True
        for sign, (least, most) in zip(shape, runs, strict=True):
            literal = common[at : at + most]
            # Letters that all have in common are part of the pattern; digits are those that count.
            if sign in "Aa" and sure and least == most == len(literal):
                parts.append(literal)
            elif sign in _LETTERS:
                parts.append(_repeated(sign, least, most))
            else:
                parts.append((sign if sign in " -" else re.escape(sign)) + _times(least, most))
            sure, at = sure and least == most, at + most
        return "".join(parts)


def _all_are(values: pa.Array, name: str) -> bool:
    pattern = f"^{name}{'+' * (name in _MIXED)}$"
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _repeated(sign: str, least: int, most: int) -> str:
    if sign == "9" and least < most:  # numbers of several lengths have no zeros in front
        return rf"[1-9]\d{{{least - 1},{most - 1}}}"
    return _LETTERS[sign] + _times(least, most)


def _times(least: int, most: int) -> str:
    if least < most:
        return f"{{{least},{most}}}"
    return "" if most == 1 else f"{{{most}}}"


def _wider(a: Runs, b: Runs) -> Runs:
    return tuple((min(x[0], y[0]), max(x[1], y[1])) for x, y in zip(a, b, strict=True))


def _runs(values: pa.Array) -> dict[str, Runs] | None:
    shapes = pc.replace_substring_regex(values, "[0-9]", "9")
    shapes = pc.replace_substring_regex(shapes, "[A-Z]", "A")
    shapes = pc.replace_substring_regex(shapes, "[a-z]", "a").unique()
    if len(shapes) > MAX_LOOKED:
        return None
    found: dict[str, Runs] = {}
    for shape in shapes.to_pylist():
        parts = [(sign, len(list(run))) for sign, run in groupby(shape)]
        coarse = "".join(sign for sign, _ in parts)
        runs = tuple((length, length) for _, length in parts)
        found[coarse] = _wider(found[coarse], runs) if coarse in found else runs
        if len(found) > MAX_SHAPES:
            return None
    return found
