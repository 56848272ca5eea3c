"""A subset of regular expressions, whose language is finite and counted: for ids.

Literals, escapes, ``\\d`` ``\\w``, classes such as ``[A-Z0-9-]``, ``{n}``, ``{m,n}``, ``?``,
groups and alternation; ``^`` and ``$`` at the ends change nothing.

A language is a list of *boxes* that have no string in common. A box is the bytes that may stand at
each place of a string, and so the product of its places.
"""

from __future__ import annotations

import string
from typing import NoReturn

from synthray.errors import SchemaError

Box = tuple[bytes, ...]
"""For each byte of the strings, its choices, ascending."""

MAX_BOXES = 1000
MAX_LENGTH = 1000
DIGITS = string.digits.encode()
CLASSES = {"d": DIGITS, "w": (string.digits + string.ascii_letters + "_").encode()}
REMEDY = r"write it of literals, \d, \w, [A-Z], {n}, {m,n}, ?, ( ) and |"


def boxes_of(pattern: str) -> list[Box]:
    """The language of a pattern.

    Raises:
        SchemaError: what this subset does not have, or a language of too many parts.
    """
    return _disjoint(pattern, _Parser(pattern).parsed())


class _Parser:
    """Recursive descent: alternatives of sequences of quantified parts."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.text = pattern.removeprefix("^")
        if self.text.endswith("$") and not self.text.endswith("\\$"):
            self.text = self.text[:-1]
        self.at = 0

    def parsed(self) -> list[Box]:
        found = self._alternatives()
        if self.at < len(self.text):
            self._fail(f"{self.text[self.at]!r} has nothing to close")
        return found

    def _fail(self, what: str) -> NoReturn:
        raise SchemaError(f"pattern {self.pattern!r}: {what}", REMEDY)

    def _next(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _taken(self) -> str:
        found = self._next()
        if not found:
            self._fail("it ends too soon")
        self.at += 1
        return found

    def _alternatives(self) -> list[Box]:
        found = self._sequence()
        while self._next() == "|":
            self.at += 1
            found += self._sequence()
        return found

    def _sequence(self) -> list[Box]:
        found: list[Box] = [()]
        while self._next() not in ("", "|", ")"):
            part = self._part()
            low, high = self._repeats()
            repeated: list[Box] = [()] if low == 0 else []
            power: list[Box] = [()]
            for count in range(1, high + 1):
                power = self._joined(power, part)
                if count >= low:
                    repeated = self._limited([*repeated, *power])
            found = self._joined(found, repeated)
        return found

    def _joined(self, a: list[Box], b: list[Box]) -> list[Box]:
        if len(a) * len(b) > MAX_BOXES:
            self._fail(f"more than {MAX_BOXES:,} alternatives")
        return self._limited([x + y for x in a for y in b])

    def _limited(self, boxes: list[Box]) -> list[Box]:
        if any(len(box) > MAX_LENGTH for box in boxes):
            self._fail(f"strings of more than {MAX_LENGTH:,} bytes")
        found = list(dict.fromkeys(boxes))
        if len(found) > MAX_BOXES:
            self._fail(f"more than {MAX_BOXES:,} alternatives")
        return found

    def _part(self) -> list[Box]:
        char = self._taken()
        if char == "(":
            if self.text.startswith("?:", self.at):
                self.at += 2
            found = self._alternatives()
            if self._taken() != ")":
                self._fail("a group is not closed")
            return found
        if char == "[":
            return [(self._class(),)]
        if char == "\\":
            return [self._escape()]
        if char in ".*+?{}^$":
            self._fail(f"{char!r} is not known there")
        return [tuple(bytes([byte]) for byte in char.encode())]

    def _escape(self) -> Box:
        char = self._taken()
        if char in CLASSES:
            return (bytes(sorted(CLASSES[char])),)
        if char.isalnum():
            self._fail(f"\\{char} is not known")
        return tuple(bytes([byte]) for byte in char.encode())

    def _class(self) -> bytes:
        found: set[int] = set()
        if self._next() == "^":
            self._fail("classes that say what is not in them are not known")
        while self._next() != "]" or not found:
            start = self._member()
            follows = self.text[self.at : self.at + 2]
            if len(start) == 1 and len(follows) == 2 and follows[0] == "-" and follows[1] != "]":
                self.at += 1
                stop = self._member()
                if len(stop) != 1 or stop < start:
                    self._fail("a range in a class is upside down")
                found |= set(range(start[0], stop[0] + 1))
            else:
                found |= set(start)
        self.at += 1
        return bytes(sorted(found))

    def _member(self) -> bytes:
        char = self._taken()
        if char == "\\":
            choices = self._escape()
            return choices[0]
        if not char.isascii():
            self._fail(f"{char!r} in a class; only ASCII can be there")
        return char.encode()

    def _repeats(self) -> tuple[int, int]:
        """How often the part before may stand: at least, and at most."""
        char = self._next()
        if char == "?":
            self.at += 1
            return 0, 1
        if char in ("*", "+") and char:
            self._fail(f"{char!r} has no end")
        if char != "{":
            return 1, 1
        close = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : close].partition(",")
        if close < 0 or not low.isdecimal() or (comma and not high.isdecimal()):
            self._fail("braces need {n} or {m,n}")
        self.at = close + 1
        least, most = int(low), int(high) if comma else int(low)
        if not least <= most <= MAX_LENGTH:
            self._fail(f"{{{least},{most}}} is upside down, or more than {MAX_LENGTH:,}")
        return least, most


def _disjoint(pattern: str, boxes: list[Box]) -> list[Box]:
    """The same language, every string in one box."""
    found: list[Box] = []
    for box in boxes:
        pieces = [box]
        for other in found:
            if len(other) == len(box):
                pieces = [rest for piece in pieces for rest in _without(piece, other)]
        found += pieces
        if len(found) > MAX_BOXES:
            raise SchemaError(
                f"pattern {pattern!r}: more than {MAX_BOXES:,} alternatives", "make it simpler"
            )
    return found


def _without(box: Box, other: Box) -> list[Box]:
    """What is in a box and not in another of the same length, as boxes."""
    common = [bytes(sorted(set(a) & set(b))) for a, b in zip(box, other, strict=True)]
    if not all(common):
        return [box]
    found = []
    for place, choices in enumerate(box):
        only = bytes(sorted(set(choices) - set(common[place])))
        if only:
            found.append((*common[:place], only, *box[place + 1 :]))
    return found
