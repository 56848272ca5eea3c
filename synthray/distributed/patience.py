"""Storage that does not answer for a while, as when its server restarts: wait, but not for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from synthray import storage
from synthray.errors import StorageError

T = TypeVar("T")

ATTEMPTS = 8
"""Each with the SDK's own retries of every request: together they bridge a minute or two."""
LONGEST_PAUSE_SECONDS = 20.0


def patiently(uri: str, action: Callable[[], T]) -> T:
    """Do something that may be done again, on a storage that has been seen to work.

    Only what can pass is tried again: a server that does not answer, or answers that it cannot
    now. A missing bucket, refused credentials and a full disk come out at once, and so does
    everything on a local disk.

    Raises:
        StorageError: as ``action``; the last one, if the storage did not come back.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return action()
        except StorageError as error:
            if type(error) is not StorageError or not storage.is_remote(uri):
                raise
        # At random, so that many workers do not come back at the same moment.
        time.sleep(random.uniform(0.1, min(LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt)))
    return action()
