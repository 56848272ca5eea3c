"""What the world asks of a training that is under way, and when it is heard."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum

import torch

from synthray.training.averaging import most

SECONDS = 1.0
"""Between two moments at which the world is asked, about."""


class Wish(IntEnum):
    """Of several workers' wishes, the strongest holds for all."""

    NOTHING = 0
    SAVE = 1
    """A checkpoint now, and go on."""
    STOP = 2
    """A checkpoint now, and no further."""


class Asking:
    """Asks about every second, after the same step on all workers.

    The step of the next time is agreed on each time, by the pace of the steps since the last one:
    so the steps between cost nothing.

    Args:
        ask: called on every worker at the same steps.
    """

    def __init__(
        self,
        ask: Callable[[], Wish],
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._device, self._clock = ask, device, clock
        self._gap, self._left, self._since = 1, 1, clock()

    def after_step(self) -> Wish:
        """What is wished, after each step."""
        self._left -= 1
        if self._left > 0:
            return Wish.NOTHING
        now = self._clock()
        pace = max(now - self._since, 1e-9) / self._gap
        # A pace that was measured over few steps is not trusted with many.
        gap = min(max(int(SECONDS / pace), 1), 4 * self._gap)
        wish, least = most([self._ask(), -gap], self._device)
        self._gap = self._left = -least
        self._since = self._clock()
        return Wish(wish)
