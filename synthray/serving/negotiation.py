"""Choosing the media type of an answer from ``Accept`` (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def choose(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type the client likes best; equals go in the order offered.

    Args:
        accept: the header; none or empty accepts everything.
        offered: media types without parameters, the default first.

    Returns:
        One of ``offered``, or none when the client accepts none of them.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [parsed for item in accept.split(",") if (parsed := _range(item)) is not None]
    best, best_quality = None, 0.0
    for media_type in offered:
        quality = _quality(media_type, ranges)
        if quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _range(item: str) -> tuple[str, float] | None:
    """``text/*;q=0.5`` as ("text/*", 0.5); none when it is not a media range."""
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    major, slash, minor = media_range.partition("/")
    if not slash or not major or not minor or (major == "*" and minor != "*"):
        return None
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            if not 0 <= quality <= 1:
                return None
    return media_range, quality


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The most specific range that matches decides, so ``a/b;q=0, */*`` excludes a/b."""
    major = media_type.partition("/")[0]
    for pattern in (media_type, f"{major}/*", "*/*"):
        qualities = [quality for media_range, quality in ranges if media_range == pattern]
        if qualities:
            return max(qualities)
    return 0.0
