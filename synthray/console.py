"""What people see while long work goes on: lines and a progress bar, all on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from synthray.training.loop import Progress as TrainingProgress

PLAIN_EVERY = 10.0
"""Seconds between lines where there is no terminal, as in the log of a job."""


class Screen:
    """Says things, and shows one bar at a time."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    @property
    def watched(self) -> bool:
        """Whether somebody sees it now: stderr is a terminal, or a notebook runs."""
        return self.console.is_terminal or self.console.is_jupyter

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, unit: str) -> Iterator[Bar]:
        """A bar for the length of the block; call it with (done, total, detail)."""
        if not self.console.is_terminal:
            yield Bar(self, title, unit, None)
            return
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn(unit),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            # What does not fit is cut here, and nowhere else.
            TextColumn(
                "{task.fields[detail]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
        )
        with Progress(*columns, console=self.console, expand=True) as progress:
            yield Bar(self, title, unit, progress)


class Bar:
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, screen: Screen, title: str, unit: str, progress: Progress | None) -> None:
        self._screen, self._title, self._unit = screen, title, unit
        self._progress = progress
        self._task = progress.add_task(title, total=None, detail="") if progress else None
        self._said = 0.0

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, detail=detail)
            return
        now = time.monotonic()
        if done >= total or now - self._said >= PLAIN_EVERY:
            self._said = now
            self._screen.say(f"{self._title} {done:,}/{total:,} {self._unit}  {detail}".rstrip())
            sys.stderr.flush()

    def training(self, progress: TrainingProgress) -> None:
        """Show losses, speed and time left."""
        terms = "  ".join(f"{name} {value:.3f}" for name, value in progress.terms.items())
        minutes, seconds = divmod(int(progress.seconds_left), 60)
        detail = f"{progress.rows_per_second:,.0f} rows/s  {minutes}:{seconds:02d} left  {terms}"
        self(progress.step, progress.steps, detail)


@contextmanager
def without_lines(noise: Sequence[str]) -> Iterator[None]:
    """Drop the lines that contain one of ``noise`` from what native code writes to stderr.

    It writes to the file descriptor, past Python; all its other lines pass.
    """
    sys.stderr.flush()
    direct = os.dup(2)
    reading, writing = os.pipe()
    os.dup2(writing, 2)
    os.close(writing)
    needles = [text.encode() for text in noise]

    def forward() -> None:
        with open(reading, "rb") as lines:
            for line in lines:
                if not any(needle in line for needle in needles):
                    os.write(direct, line)

    thread = threading.Thread(target=forward, name="synthray-stderr", daemon=True)
    thread.start()
    python = sys.stderr
    try:
        if _descriptor(python) == 2:
            # Our own lines and bars go straight on, to a terminal if it is one.
            sys.stderr = open(os.dup(direct), "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
        yield
    finally:
        if sys.stderr is not python:
            sys.stderr.close()
            sys.stderr = python
        python.flush()
        os.dup2(direct, 2)
        # The end of the pipe comes when the last process that inherited it has ended.
        thread.join(timeout=1)
        if not thread.is_alive():
            os.close(direct)


def _descriptor(stream: object) -> int | None:
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
