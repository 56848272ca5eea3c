"""What the cluster asks of a worker that trains: to save before a node goes, or to stop."""

from __future__ import annotations

import time
from typing import Any

import ray
import ray.train

from synthray.training.asking import Wish

WARNED_SECONDS = 10.0
"""Between checkpoints while a node is about to be taken away: what may be trained again."""
ELASTIC_SECONDS = 30.0
"""The same where nodes come and go unannounced. Shorter than `RESIZE_SECONDS` of training, so that
every group of workers leaves more than it found."""


class Asked:
    """Call it after the same steps on all workers: Ray's answer about nodes is one to all.

    Args:
        board: where the driver leaves word.
        elastic: whether the group may be started anew at any time.
    """

    def __init__(self, board: Any, rank: int, elastic: bool) -> None:
        self._board, self._rank, self._elastic = board, rank, elastic
        self._warned = False
        self._saved = time.monotonic()

    def __call__(self) -> Wish:
        # First of all and always: every worker has to ask as often as the others.
        warning = ray.train.get_preemption_info()
        if ray.get(self._board.stopping.remote()):
            return Wish.STOP
        first = warning is not None and not self._warned
        if first and self._rank == 0:
            self._board.tell.remote(told(warning))
        self._warned = self._warned or first
        every = WARNED_SECONDS if self._warned else ELASTIC_SECONDS
        due = (self._warned or self._elastic) and time.monotonic() - self._saved >= every
        if not (first or due):
            return Wish.NOTHING
        self._saved = time.monotonic()
        return Wish.SAVE


def told(warning: Any) -> str:
    """A line about what is going to be taken away. warning: a `ray.train.PreemptionInfo`."""
    when = ""
    if warning.deadline_ms is not None:
        when = f" in {max(warning.deadline_ms / 1000 - time.time(), 0):.0f} s"
    return (
        f"{len(warning.preempted_node_ids)} of the nodes will be taken away{when}: a checkpoint is "
        f"saved now, and every {WARNED_SECONDS:.0f} s until then"
    )
