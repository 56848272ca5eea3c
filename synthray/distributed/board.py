"""A small actor where workers leave word of how they are doing, for the driver to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from synthray.errors import SynthRayError


class FirstError:
    """The first error after which trying again is no use; a base of actors."""

    def __init__(self) -> None:
        self._error: SynthRayError | None = None

    def fail(self, error: SynthRayError) -> None:
        self._error = self._error or error

    def error(self) -> SynthRayError | None:
        return self._error


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Board(FirstError):
    """The newest progress, lines to say, evaluations, the first error; and whether to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._progress: Any = None
        self._lines: list[str] = []
        self._evaluations: list[Any] = []
        self._at_work = self._stopping = False

    def begin(self) -> None:
        """The workers are there, and hear from now on."""
        self._at_work = True

    def stop(self) -> bool:
        """Ask the workers to leave a checkpoint and end; gives whether there are any."""
        self._stopping = True
        return self._at_work

    def stopping(self) -> bool:
        return self._stopping

    def tell(self, line: str) -> None:
        self._lines.append(line)

    def lines(self, start: int) -> list[str]:
        """Those told since line ``start``."""
        return self._lines[start:]

    def evaluated(self, progress: Any) -> None:
        self._evaluations.append(progress)

    def evaluations(self, start: int) -> list[Any]:
        """Where training stood at each since number ``start``."""
        return self._evaluations[start:]

    def post(self, progress: Any) -> None:
        self._progress = progress

    def progress(self) -> Any:
        return self._progress


def new_board() -> Any:
    return beside_driver(Board).remote()


def beside_driver(actor: Any) -> Any:
    """The actor class, on the driver's node: it is lost when the driver is, and with no other."""
    # A node affinity would prefer a node with processors, which a head often has none of.
    return actor.options(label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()})


@contextmanager
def watching(
    board: Any,
    show: Callable[[Any], None],
    say: Callable[[str], None] = lambda _: None,
    evaluated: Callable[[Any], None] = lambda _: None,
    seconds: float = 0.5,
) -> Iterator[None]:
    """Tell of the board's progress, lines and evaluations from a thread while the block runs."""
    done = threading.Event()

    def watch() -> None:
        last, said, seen, ended = None, 0, 0, False
        while not ended:
            ended = done.wait(seconds)
            asked = [
                board.progress.remote(),
                board.lines.remote(said),
                board.evaluations.remote(seen),
            ]
            try:
                now, lines, evaluations = ray.get(asked, timeout=10)
            except RayError:
                continue
            for line in lines:
                say(line)
            said += len(lines)
            if now is not None and now != last:
                show(now)
                last = now
            for evaluation in evaluations:
                evaluated(evaluation)
            seen += len(evaluations)

    thread = threading.Thread(target=watch, name="synthray-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=15)
