"""The encoding of a text file: found from its bytes, and undone."""

from __future__ import annotations

import codecs

import charset_normalizer
import numpy as np

LEGACY = (
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "gb18030",
    "shift_jis",
    "big5",
    "euc_kr",
)
"""What text that is not Unicode may be in; the first is taken where the bytes fit several alike.

In all of them line ends, quotes and separators are the bytes of ASCII, and no part of others.
"""
NAMES = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
    "latin-1": "Latin-1",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def find(sample: bytes) -> tuple[str, int]:
    """The encoding of a file that begins with ``sample``, and the length of its byte order mark.

    UTF-8, also of what is ASCII as far as the sample goes, unless the bytes say something else.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name, len(mark)
    if len(sample) > 1:
        cells = np.frombuffer(sample[: len(sample) // 2 * 2], np.uint8)
        odd, even = cells[1::2], cells[0::2]
        # Latin letters in UTF-16 have a zero byte each, at one side.
        if (odd == 0).mean() > 0.3 and not (even == 0).any():
            return "utf-16-le", 0
        if (even == 0).mean() > 0.3 and not (odd == 0).any():
            return "utf-16-be", 0
    return ("utf-8" if is_utf8(sample, cut=True) else instead_of_utf8(sample)), 0


def is_utf8(data: bytes, cut: bool = False) -> bool:
    """Whether the bytes are UTF-8; ``cut``: they may end within a letter."""
    if data.isascii():
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def instead_of_utf8(sample: bytes) -> str:
    """The likeliest encoding of text that is not all UTF-8.

    UTF-8 still where most lines beyond ASCII are: then some are damaged.
    """
    lines = [line for line in sample.splitlines() if not line.isascii()][:2000]
    if 2 * sum(is_utf8(line) for line in lines) > len(lines):
        return "utf-8"
    found = charset_normalizer.from_bytes(b"\n".join(lines), cp_isolation=list(LEGACY))
    best = min(
        (
            (round(match.chaos, 2), -round(match.coherence, 2), LEGACY.index(name))
            for match in found
            for name in match.could_be_from_charset  # all that read these bytes alike
            if name in LEGACY
        ),
        default=(0.0, 0.0, 0),
    )
    name = LEGACY[best[2]]
    try:
        b"\n".join(lines).decode(name)
    except UnicodeDecodeError:
        return "latin-1"  # which has a letter for every byte
    return name


def narrow(data: bytes, encoding: str) -> bytes:
    """One byte for each unit of the encoding: those of ASCII as they are."""
    if not encoding.startswith("utf-16"):
        return data
    units = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if encoding.endswith("le") else ">u2")
    return np.minimum(units, 0xFF).astype(np.uint8).tobytes()


def unit_size(encoding: str) -> int:
    """Bytes of a unit of `narrow`."""
    return 2 if encoding.startswith("utf-16") else 1


def to_utf8(data: bytes, encoding: str) -> bytes:
    """Raises: UnicodeDecodeError: bytes that are not text in this encoding."""
    if data.isascii() and unit_size(encoding) == 1:
        return data
    text = data.decode(encoding)
    return data if encoding == "utf-8" else text.encode()
