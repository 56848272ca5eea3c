"""Telling all trackers, each from a thread of its own: one that is slow or fails stops nothing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from synthray import storage
from synthray.config import Config
from synthray.errors import ConfigError, MissingDependencyError
from synthray.tracking.run import Ending, Run, Tracker
from synthray.training.health import SCORES
from synthray.training.loop import Progress

SECONDS = 0.5
"""The least time between points of a curve …"""
POINTS = 1000
"""… which get rarer in a long run: as many points again each time the run has grown 2.7 times."""
WAITS: dict[Ending, float] = {"finished": 30.0, "failed": 10.0, "killed": 2.0}
"""Seconds that trackers get at the end to tell what they have; a killed job has not many."""

PACKAGES = {
    "tensorboard": ("tensorboardX", "pip install tensorboardX, or set track.tensorboard: false"),
    "mlflow": ("mlflow", "pip install 'synthray[mlflow]', or leave track.mlflow out"),
    "wandb": ("wandb", "pip install 'synthray[wandb]', or leave track.wandb out"),
}


def check(config: Config) -> None:
    """Tell before long work what the config's trackers lack.

    Raises:
        MissingDependencyError: a tracker's package is not installed.
        ConfigError: Weights & Biases offline, and nowhere to keep its files.
    """
    for name in _wanted(config):
        package, remedy = PACKAGES[name]
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"track.{name}: the package {package} is not installed", remedy
            )
    offline = os.environ.get("WANDB_MODE") == "offline"
    if config.track.wandb is not None and offline and storage.is_remote(config.output):
        raise ConfigError(
            "track.wandb: WANDB_MODE=offline keeps a run in a folder, and output is on S3",
            "choose a local output, unset WANDB_MODE, or use track.tensorboard",
        )


class Tracking:
    """All trackers of one run. No call waits, and none raises."""

    def __init__(self, run: Run, say: Callable[[str], None], *, training: bool) -> None:
        self._run, self._training = run, training
        self._feeds = [_Feed(run, name, say) for name in _wanted(run.config)]
        self._began = self._told_at = time.monotonic()
        self._last: int | None = None
        self._first: int | None = None

    @property
    def on(self) -> bool:
        """Whether anybody listens."""
        return bool(self._feeds)

    def progress(self, progress: Progress) -> None:
        """Losses and speed, as often as a curve needs them."""
        now = time.monotonic()
        due = max(SECONDS, (now - self._began) / POINTS)
        if self._last is None or (now - self._told_at >= due and progress.step != self._last):
            self._told_at = now
            self._curve(progress)

    def evaluated(self, progress: Progress, picture: bytes | None = None) -> None:
        """An evaluation: none of them is left out."""
        scores = {f"eval/{k}": v for k, v in progress.terms.items() if k in SCORES}
        if progress.step != self._last:
            self._curve(progress)
        if scores:
            self._tell(progress.step, "metrics", progress.step, scores)
        if picture is not None:
            self._tell(progress.step, "picture", progress.step, picture)

    def note(self, line: str) -> None:
        """What the guard did, say."""
        step = self._last or 0
        self._tell(step, "note", step, line)

    def artifact(self, digest: str, uri: str) -> None:
        """What training left."""
        self._tell(self._last or 0, "facts", {"digest": digest, "artifact": uri})

    def report(self, scores: Mapping[str, float]) -> None:
        """The scores of the generated dataset."""
        step = self._run.config.train.steps
        self._tell(step, "metrics", step, {f"report/{k}": v for k, v in scores.items()})

    def close(self, ending: Ending) -> None:
        """Let the trackers end, and wait for them a while."""
        for feed in self._feeds:
            feed.end(ending)
        deadline = time.monotonic() + WAITS[ending]
        for feed in self._feeds:
            feed.wait(deadline)

    def _curve(self, progress: Progress) -> None:
        self._last = progress.step
        terms = {f"train/{k}": v for k, v in progress.terms.items() if k not in SCORES}
        values = terms | {"train/rows_per_second": progress.rows_per_second}
        self._tell(progress.step, "metrics", progress.step, values)

    def _tell(self, step: int, what: str, *details: Any) -> None:
        if self._first is None:
            self._first = step
        first = self._first if self._training else None
        for feed in self._feeds:
            feed.put(first, what, *details)


@contextmanager
def tracking(
    config: Config, fingerprint: str, say: Callable[[str], None], *, training: bool = True
) -> Iterator[Tracking]:
    """The config's trackers for as long as the block runs; they hear how it ended.

    Nothing is opened or written before there is something to tell.

    Args:
        fingerprint: of the training.
        say: given one line when a tracker fails; the others, and the work, go on.
        training: False for what comes after it, and adds to the same run.
    """
    told = Tracking(Run(config, fingerprint), say, training=training)
    try:
        yield told
    except Exception:
        told.close("failed")
        raise
    except BaseException:
        told.close("killed")
        raise
    told.close("finished")


class _Feed:
    """One tracker's thread, and what is still to be told to it."""

    def __init__(self, run: Run, name: str, say: Callable[[str], None]) -> None:
        self._run, self._name, self._say = run, name, say
        self._queue: queue.SimpleQueue[tuple[int | None, str, tuple[Any, ...]] | None]
        self._queue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failed = False

    def put(self, first: int | None, what: str, *details: Any) -> None:
        """Have the tracker's method ``what`` called."""
        if self._failed:
            return
        if self._thread is None:
            name = f"synthray-{self._name}"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()
        self._queue.put((first, what, details))

    def end(self, ending: Ending) -> None:
        if self._thread is not None:
            self._queue.put((None, "end", (ending,)))
            self._queue.put(None)

    def wait(self, deadline: float) -> None:
        if self._thread is None:
            return
        self._thread.join(timeout=max(deadline - time.monotonic(), 0))
        if self._thread.is_alive():
            self._give_up("it takes too long; what it has not told is lost")

    def _work(self) -> None:
        tracker: Tracker | None = None
        while (told := self._queue.get()) is not None:
            first, what, details = told
            try:
                if tracker is None:
                    tracker = _made(self._run, self._name)
                    tracker.begin(first)
                getattr(tracker, what)(*details)
            # Whatever a tracker raises: training is worth more than its log.
            except Exception as error:
                lines = str(error).strip().splitlines()
                self._give_up(f"{type(error).__name__}: {lines[0] if lines else 'no reason'}")
                return

    def _give_up(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            self._say(f"track.{self._name} is given up, the run goes on: {why}")


def _wanted(config: Config) -> list[str]:
    track = config.track
    asked = {"tensorboard": track.tensorboard, "mlflow": track.mlflow, "wandb": track.wandb}
    return [name for name, value in asked.items() if value not in (None, False)]


def _made(run: Run, name: str) -> Tracker:
    """Imported on use: each needs a package of its own."""
    module = importlib.import_module(f"synthray.tracking.{name}")
    if name == "tensorboard":
        return module.TensorBoard(run)
    made = module.Mlflow if name == "mlflow" else module.Wandb
    return made(run, getattr(run.config.track, name))
