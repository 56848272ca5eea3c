"""What a reader may have meant by a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


def hint(word: object, known: Iterable[object]) -> str:
    """The nearest of the known names, or all of them: the remedy in a message.

    Numbers that look alike are not near.
    """
    names = sorted({str(name) for name in known})
    near = names if isinstance(word, str) else ()
    close = difflib.get_close_matches(str(word), near, n=1, cutoff=0.7)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else "there is none"


def unknown_label(
    key: str, values: Iterable[str], known: Mapping[str, tuple[str, ...]], what: str
) -> str | None:
    """What is wrong with a label that is asked for; of the known ones, no values mean any."""
    if key not in known:
        return f"{key}: no label of {what} that is known; {hint(key, known)}"
    for value in values:
        if known[key] and value not in known[key]:
            return f"{key}: {value!r} is no value that {what} have; {hint(value, known[key])}"
    return None
