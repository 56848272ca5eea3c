"""SynthRay's metrics for Prometheus, beside Ray's own, at every node's metrics port.

Ray puts `ray_` before the names. `docs/monitoring.md` shows them; `cluster/monitoring/` has the
dashboards and alerts over them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from ray.util import metrics as ray_metrics

from synthray.config import Config
from synthray.sampling.dataset import Receipt
from synthray.training.health import SCORES
from synthray.training.loop import Progress

SECONDS = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0]
"""Upper bounds of the histograms' buckets."""
REFRESH_SECONDS = 5.0


@dataclass(frozen=True)
class Spec:
    """A metric, and what tells its series apart."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    tags: tuple[str, ...]

    def make(self) -> ray_metrics.Metric:
        """In this process; Ray must be connected by the first value."""
        if self.kind == "histogram":
            return ray_metrics.Histogram(self.name, self.help, SECONDS, self.tags)
        of = ray_metrics.Counter if self.kind == "counter" else ray_metrics.Gauge
        return of(self.name, self.help, self.tags)

    @property
    def exported(self) -> tuple[str, ...]:
        """Names at the metrics port."""
        if self.kind == "gauge":
            return (f"ray_{self.name}",)
        parts = ("total",) if self.kind == "counter" else ("bucket", "sum", "count")
        return tuple(f"ray_{self.name}_{part}" for part in parts)


ALL = (
    Spec("gauge", "synthray_train_step", "Training steps done", ("run",)),
    Spec("gauge", "synthray_train_steps", "Training steps in all", ("run",)),
    Spec("gauge", "synthray_train_rows_per_second", "Rows trained on a second", ("run",)),
    Spec("gauge", "synthray_train_loss", "A term of the last step's losses", ("run", "term")),
    Spec("gauge", "synthray_train_coverage", "Real rows that samples cover", ("run",)),
    Spec("gauge", "synthray_train_distance", "Distance of samples to real rows", ("run",)),
    Spec("gauge", "synthray_train_recoveries", "Returns of the guard", ("run",)),
    Spec("gauge", "synthray_tune_trials", "Trials by state", ("run", "state")),
    Spec("gauge", "synthray_tune_best_distance", "Distance of the best ended trial", ("run",)),
    Spec("gauge", "synthray_tune_best_successes", "Its seeds that succeeded", ("run",)),
    Spec("gauge", "synthray_generate_rows_wanted", "Rows of the dataset in all", ("run",)),
    Spec("counter", "synthray_generate_rows", "Rows in finished shards", ("run",)),
    Spec("counter", "synthray_generate_bytes", "Bytes of finished shards", ("run",)),
    Spec("counter", "synthray_generate_shards", "Finished shards", ("run",)),
    Spec("counter", "synthray_generate_retries", "Shards begun again", ("run",)),
    Spec("histogram", "synthray_generate_shard_seconds", "Time a shard took", ("run",)),
    Spec("counter", "synthray_serve_requests", "Requests for rows", ("model", "code")),
    Spec("counter", "synthray_serve_rows", "Rows answered with", ("model",)),
    Spec("counter", "synthray_serve_refused", "Requests refused by overload", ("model",)),
    Spec("histogram", "synthray_serve_seconds", "Time to the last byte", ("model",)),
)


class Meters:
    """Metrics of some kind of work, with tags that stay.

    Ray drops a gauge that nobody sets for some seconds. As a context, this sets those that it has
    again and again: a training that hangs is then seen to hang, and its series end with it.
    """

    def __init__(self, work: str, **tags: str) -> None:
        self._tags = tags
        start = f"synthray_{work}_"
        self._made = {s.name.removeprefix(start): s.make() for s in ALL if s.name.startswith(start)}
        self._set: dict[tuple[str, ...], tuple[str, float, dict[str, str]]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="synthray-metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=REFRESH_SECONDS)

    def set(self, name: str, value: float, **tags: str) -> None:
        """Of a gauge."""
        self._set[(name, *tags.values())] = (name, value, tags)
        found = self._made[name]
        if isinstance(found, ray_metrics.Gauge):
            found.set(value, self._tags | tags)

    def add(self, name: str, value: float = 1, **tags: str) -> None:
        """To a counter."""
        found = self._made[name]
        # Ray refuses to add nothing.
        if isinstance(found, ray_metrics.Counter) and value > 0:
            found.inc(value, self._tags | tags)

    def observe(self, name: str, value: float, **tags: str) -> None:
        """In a histogram."""
        found = self._made[name]
        if isinstance(found, ray_metrics.Histogram):
            found.observe(value, self._tags | tags)

    def _hold(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            for name, value, tags in list(self._set.values()):
                self.set(name, value, **tags)


class TrainMeters(Meters):
    """Of a training, in its driver."""

    def __init__(self, config: Config) -> None:
        super().__init__("train", run=run_of(config.output))

    def progress(self, progress: Progress) -> None:
        self.set("step", progress.step)
        self.set("steps", progress.steps)
        self.set("rows_per_second", progress.rows_per_second)
        self.set("recoveries", progress.recoveries)
        for term, value in progress.terms.items():
            if term in SCORES:
                self.set(term, value)
            else:
                self.set("loss", value, term=term)


class TuneMeters(Meters):
    """Of a search, in its driver."""

    STATES = ("PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR")

    def __init__(self, output: str) -> None:
        super().__init__("tune", run=run_of(output))

    def trials(self, states: Iterable[str]) -> None:
        count = Counter(states)
        for state in self.STATES:
            self.set("trials", count[state], state=state.lower())

    def best(self, distance: float, successes: int) -> None:
        self.set("best_distance", distance)
        self.set("best_successes", successes)


class GenerateMeters(Meters):
    """Of a generated dataset: what is finished, in the driver; time and retries, where they are."""

    def __init__(self, out: str) -> None:
        super().__init__("generate", run=run_of(out.rstrip("/").removesuffix("/synthetic")))

    def wanted(self, rows: int) -> None:
        self.set("rows_wanted", rows)

    def finished(self, receipt: Receipt) -> None:
        self.add("rows", receipt.rows)
        self.add("bytes", receipt.bytes)
        self.add("shards")

    def took(self, seconds: float) -> None:
        self.observe("shard_seconds", seconds)

    def retried(self) -> None:
        self.add("retries")


def run_of(place: str) -> str:
    """What a run is called where its output is there."""
    return place.rstrip("/").rpartition("/")[2] or "run"
