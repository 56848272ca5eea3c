"""The shapes of short strings: runs of digits and letters, of which patterns for ids are made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synthray.data.ids import PatternIds

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

ROOM = 10_000
"""Ids for each row of the source that a pattern must have if a run that varies is to keep what all
strings have in common in it: they may be the first digits of a number that goes on counting.
"""
_OPEN = "\0"
"""Where strings differ."""


@dataclass(frozen=True)
class Run:
    """One run of a shape, in all strings of the shape.

    Attributes:
        least, most: its length.
        start, end: its text, ``least`` signs long, counted from its start and from its end;
            `_OPEN` where strings differ.
    """

    least: int
    most: int
    start: str
    end: str

    def merge(self, other: Run) -> Run:
        least = min(self.least, other.least)
        ends = zip(self.end[::-1], other.end[::-1], strict=False)
        return Run(
            least,
            max(self.most, other.most),
            _common(zip(self.start, other.start, strict=False)),
            _common(ends)[::-1],
        )

    @property
    def fixed(self) -> bool:
        """Whether it is the same text in all strings."""
        return self.least == self.most and _OPEN not in self.start

    @property
    def common(self) -> int:
        """How many signs all have in common, from the start on."""
        return (self.start + _OPEN).index(_OPEN)


Runs = tuple[Run, ...]


@dataclass(frozen=True)
class Shapes:
    """What strings look like.

    Attributes:
        runs: by shape, where a run of digits is "9", of capitals "A", of small letters "a", and all
            else is as it is. None: there are too many.
        classes: the classes of characters, and the forms of whole strings, that all are of.
        short, long: the least and the greatest length.
    """

    runs: dict[str, Runs] | None = field(default_factory=dict)
    classes: frozenset[str] = frozenset((*_UUIDS, *_MIXED))
    short: int = 2**31
    long: int = -1

    @classmethod
    def of(cls, values: pa.Array) -> Shapes:
        """Of at least one string."""
        values = values.cast(pa.large_string())
        lengths = pc.min_max(pc.utf8_length(values)).as_py()
        short, long = lengths["min"], lengths["max"]
        first = values.slice(0, LOOKED_FIRST)
        classes = [
            name
            for name in (*_UUIDS, *_MIXED)
            if _all_are(first, name) and (len(values) <= LOOKED_FIRST or _all_are(values, name))
        ]
        return cls(_runs(values), frozenset(classes), short, long)

    def merge(self, other: Shapes) -> Shapes:
        if self.long < 0 or other.long < 0:
            return other if self.long < 0 else self
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
        )

    def pattern(self, rows: int) -> str | None:
        """A regular expression for all of them, if they look like codes: of one shape with digits,
        or letters and digits in no order of one length.

        What all have in common is in it: a run of letters or digits that never varies, and places
        of one that does while there are `ROOM` ids for each of so many rows.
        """
        for name in _UUIDS:
            if name in self.classes:
                return name
        if self.runs is not None and len(self.runs) == 1:
            shape, runs = next(iter(self.runs.items()))
            if "9" in shape and (shape == "9" or not _MEASURE.fullmatch(shape)):
                return _of_runs(shape, runs, ROOM * rows)
            return None
        if self.classes and self.short == self.long >= MIN_MIXED:
            name = next(name for name in _MIXED if name in self.classes)
            return f"{name}{{{self.short}}}"
        return None

    @property
    def fixed(self) -> bool:
        """Whether all are of one length."""
        return self.short == self.long


def _of_runs(shape: str, runs: Runs, ids: int) -> str:
    """The pattern of one shape, with at least so many ids if it can have them."""
    signs = list(zip(shape, runs, strict=True))
    kept = [_kept(sign, run) for sign, run in signs]
    while True:
        pattern = "".join(_part(*pair, k) for pair, k in zip(signs, kept, strict=True))
        last = max((i for i, k in enumerate(kept) if k), default=None)
        if last is None or PatternIds(pattern).count >= ids:
            return pattern
        kept[last] -= 1


def _kept(sign: str, run: Run) -> int:
    """How often a run that varies can give up something that all strings have in common."""
    if run.fixed or sign not in _LETTERS:
        return 0
    if sign == "9":  # numbers of several lengths have other digits at each place
        return run.common if run.least == run.most else 0
    return 1


def _part(sign: str, run: Run, kept: int) -> str:
    """The pattern of one run; ``kept`` of the first digits, or all common letters, if not 0."""
    if sign not in _LETTERS:
        return (sign if sign in " -" else re.escape(sign)) + _times(run.least, run.most)
    if run.fixed:
        return run.start
    if sign == "9":
        return run.start[:kept] + _repeated(sign, run.least - kept, run.most - kept)
    if not kept:
        return _repeated(sign, run.least, run.most)
    if run.least == run.most:
        parts = []
        for fixed, signs in groupby(run.start, _OPEN.__ne__):
            text = "".join(signs)
            parts.append(text if fixed else _repeated(sign, len(text), len(text)))
        return "".join(parts)
    first = run.start[: run.common]
    last = run.end[run.end.rfind(_OPEN) + 1 :]
    last = last[max(0, len(first) + len(last) - run.least) :]  # each letter once
    taken = len(first) + len(last)
    return first + _repeated(sign, run.least - taken, run.most - taken) + last


def _all_are(values: pa.Array, name: str) -> bool:
    pattern = f"^{name}{'+' * (name in _MIXED)}$"
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _repeated(sign: str, least: int, most: int) -> str:
    if not most:
        return ""
    if sign == "9" and least < most:  # numbers of several lengths have no zeros in front
        return rf"[1-9]\d{{{least - 1},{most - 1}}}"
    return _LETTERS[sign] + _times(least, most)


def _times(least: int, most: int) -> str:
    if least < most:
        return f"{{{least},{most}}}"
    return "" if most == 1 else f"{{{most}}}"


def _common(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(a if a == b else _OPEN for a, b in pairs)


def _wider(a: Runs, b: Runs) -> Runs:
    return tuple(x.merge(y) for x, y in zip(a, b, strict=True))


def _runs(values: pa.Array) -> dict[str, Runs] | None:
    shapes = pc.replace_substring_regex(values, "[0-9]", "9")
    shapes = pc.replace_substring_regex(shapes, "[A-Z]", "A")
    shapes = pc.replace_substring_regex(shapes, "[a-z]", "a").dictionary_encode()
    if len(shapes.dictionary) > MAX_LOOKED:
        return None
    names = shapes.dictionary.to_pylist()
    coarse = ["".join(sign for sign, _ in groupby(shape)) for shape in names]
    if len(set(coarse)) > MAX_SHAPES:
        return None
    index = shapes.indices.to_numpy()
    order = np.argsort(index, kind="stable")
    ends = np.cumsum(np.bincount(index, minlength=len(names)))
    found: dict[str, Runs] = {}
    for shape, name, rows in zip(names, coarse, np.split(order, ends[:-1]), strict=True):
        text = _common_text(values.take(pa.array(rows)))
        runs, at = [], 0
        for _, signs in groupby(shape):
            part = text[at : at + len(list(signs))]
            runs.append(Run(len(part), len(part), part, part))
            at += len(part)
        found[name] = _wider(found[name], tuple(runs)) if name in found else tuple(runs)
    return found


def _common_text(values: pa.Array) -> str:
    """What strings of one shape, and so of as many bytes each, have in common."""
    first = values[0].as_py().encode()
    start, end = np.frombuffer(values.buffers()[1], np.int64)[[0, len(values)]]
    cells = np.frombuffer(values.buffers()[2] or b"", np.uint8)[start:end]
    cells = cells.reshape(len(values), len(first))
    same = (cells == cells[0]).all(axis=0)
    # Where bytes differ there are letters or digits, of one byte each.
    return np.where(same, cells[0], ord(_OPEN)).astype(np.uint8).tobytes().decode()
