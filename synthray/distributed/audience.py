"""Those who hear how a training goes: people, trackers, and Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from synthray import storage
from synthray.config import Config
from synthray.distributed.board import watching
from synthray.distributed.metrics import TrainMeters
from synthray.errors import StorageError
from synthray.tracking import Tracking
from synthray.training.loop import Progress


class Audience:
    """Passes on what workers leave on the board.

    Args:
        show: given a `Progress` now and then; say: given a line.
    """

    def __init__(
        self,
        config: Config,
        show: Callable[[Any], None],
        say: Callable[[str], None],
        trackers: Tracking,
    ) -> None:
        self._config, self._show, self._say, self._trackers = config, show, say, trackers
        self._meters = TrainMeters(config)

    def progress(self, progress: Progress) -> None:
        self._show(progress)
        self._meters.progress(progress)
        self._trackers.progress(progress)

    def evaluated(self, progress: Progress) -> None:
        self._meters.progress(progress)
        picture = None
        if self._trackers.on:
            try:
                picture = storage.read_bytes(picture_of(self._config, progress.step))
            except StorageError:  # of tables there is none
                picture = None
        self._trackers.evaluated(progress, picture)

    def event(self, line: str) -> None:
        self._say(line)
        self._trackers.note(line)

    @contextmanager
    def listening(self, board: Any) -> Iterator[None]:
        """Pass on what is on the board, while the block runs."""
        with self._meters, watching(board, self.progress, self.event, self.evaluated):
            yield


def picture_of(config: Config, step: int) -> str:
    """Where the samples of a step are drawn."""
    return config.place("samples", f"step-{step:09d}.png")
