"""A training that is asked to end leaves a checkpoint first, and later goes on from that step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

GRACE_SECONDS = 100
"""How long the workers may take over their checkpoint; then everything ends at once."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ending_in_order(board: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Within the block, SIGTERM and Ctrl-C ask the workers, by way of the board, to leave a
    checkpoint and to end. When they have, or with a second signal, or where nobody trains yet, the
    signal does what it did before.

    Outside the main thread, which alone hears signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    asked: list[int] = []
    heard, done = threading.Event(), threading.Event()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, _: object) -> None:
        if asked:
            restore()
            signal.raise_signal(number)
        else:
            asked.append(number)
            heard.set()

    def see_to_it() -> None:
        # Not in the handler: it may have interrupted a call of Ray.
        heard.wait()
        if done.is_set():
            return
        try:
            at_work = ray.get(board.stop.remote(), timeout=10)
        except RayError:
            at_work = False
        if at_work:
            say("stopping when the workers have left a checkpoint; a second signal stops at once")
            done.wait(GRACE_SECONDS)
        if not done.is_set():
            os.kill(os.getpid(), asked[0])

    for number in SIGNALS:
        signal.signal(number, handle)
    thread = threading.Thread(target=see_to_it, name="synthray-stopping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        heard.set()
        thread.join(timeout=1)
        restore()
    if asked:
        signal.raise_signal(asked[0])
