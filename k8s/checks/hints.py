"""What a reader may have meant by a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
