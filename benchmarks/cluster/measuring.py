"""Measuring a job on a LocalCluster: what its processes take, and what its workers are at.

The machine may be busy with other things, so processor seconds stand beside those of the clock.
They are read from the kernel for every process of the cluster and the job, four times a second:
what one took in its last quarter of a second is missed. (Waiting for children would count nothing
of workers, for a raylet does not wait for them.)
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from cluster.local.processes import processor_seconds
from cluster.local.ray_cluster import LocalCluster

EVERY = 0.25  # seconds between two looks
REPLICA = "ray::MapWorker("


@dataclass
class Replica:
    """A process that generates, as seen so far."""

    seen: float
    """Seconds of the clock since the watch began."""
    computing: float | None = None
    start_up: float = 0.0
    """Processor seconds before its first shard: imports, the model."""
    seconds: float = 0.0
    """Processor seconds in all."""
    looks: int = 0
    busy: int = 0
    """Looks since its first shard, and those that found it at a shard."""


@dataclass
class Watch(threading.Thread):
    """Looks at a cluster until stopped."""

    cluster: LocalCluster
    nodes: list[tuple[float, int]] = field(default_factory=list)
    """(seconds, worker nodes), whenever the number changed."""
    replicas: dict[int, Replica] = field(default_factory=dict)
    taken: dict[int, float] = field(default_factory=dict)
    """Processor seconds of every process so far."""
    job: int | None = None
    """The process that submits or drives the job."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.begun = time.monotonic()
        self._over = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def now(self) -> float:
        return time.monotonic() - self.begun

    def run(self) -> None:
        while not self._over.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Every process once."""
        found = self.cluster.processes()
        now, count = self.now(), sum("raylet/raylet " in words for words in found.values()) - 1
        if not self.nodes or self.nodes[-1][1] != count:
            self.nodes.append((round(now, 1), count))
        for pid in [*found, *([self.job] if self.job else [])]:
            self.taken[pid] = max(processor_seconds(pid), self.taken.get(pid, 0.0))
        for pid, words in found.items():
            if not words.startswith(REPLICA):
                continue
            replica = self.replicas.setdefault(pid, Replica(now))
            replica.seconds = self.taken[pid]
            # Its title names the method that runs: `submit` is a shard.
            at_a_shard = words.endswith(".submit")
            if at_a_shard and replica.computing is None:
                replica.computing, replica.start_up = now, replica.seconds
            if replica.computing is not None:
                replica.looks += 1
                replica.busy += at_a_shard

    def alive(self) -> dict[int, float]:
        """The replicas that compute now, with their processor seconds since their first shard."""
        self.look()
        here = self.cluster.processes()
        return {
            pid: replica.seconds - replica.start_up
            for pid, replica in list(self.replicas.items())
            if pid in here and replica.computing is not None
        }

    def stop(self) -> None:
        self._over.set()
        self.join()

    def report(self) -> dict[str, float]:
        """Of the replicas that computed."""
        began = [r for r in self.replicas.values() if r.computing is not None]
        first = min(began, key=lambda r: r.computing or 0.0, default=None)
        started = first.computing if first and first.computing else 0.0
        # The last time before it that the first node came: one may come to nothing.
        pairs = zip([(0.0, 0), *self.nodes], self.nodes, strict=False)
        ups = [at for (_, before), (at, count) in pairs if not before and count and at <= started]
        up = max(ups, default=0.0)
        looks = sum(r.looks for r in began)
        return {
            "nodes_up_at": up,
            "computing_at": round(started, 1),
            "start_up_cpu_s": round(max((r.start_up for r in began), default=0.0), 1),
            "busy": round(sum(r.busy for r in began) / looks, 3) if looks else 0.0,
            "replicas": len(began),
            "replicas_cpu_s": round(sum(r.seconds for r in began), 1),
            "cpu_s": round(sum(self.taken.values()), 1),
        }
