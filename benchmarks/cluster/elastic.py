"""Nodes killed and added while a training runs: how long it stands still, and what it repeats.

Two nodes of one processor each beside a head without any. Once training runs, one is killed
(SIGKILL, no warning); when the other has gone on alone for a while, one is added. The same training
undisturbed on two nodes is the measure of the weights.

    RAY_AUTH_MODE=disabled python -m benchmarks.cluster.elastic --steps 3000
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cluster.nodes import Nodes, several_nodes
from benchmarks.stability.results import Results
from synthray.artifact import Artifact
from synthray.config import Config, parse
from synthray.distributed import train as training
from synthray.distributed.asked import ELASTIC_SECONDS
from synthray.distributed.cluster import connect

RESULTS = Path(__file__).parent / "results" / "elastic.jsonl"
ALONE_SECONDS = 10.0
"""How long one worker goes on before another node comes."""


def settings(folder: Path, steps: int, batch: int, workers: int, least: int | None) -> Config:
    """A small convolutional GAN on noise: its speed does not depend on what it learns."""
    source = folder / "source"
    if not source.exists():
        random = np.random.default_rng(0)
        for label in ("a", "b"):
            (source / label).mkdir(parents=True)
            for index in range(256):
                pixels = random.integers(0, 256, (32, 32), dtype=np.uint8)
                Image.fromarray(pixels).save(source / label / f"{index}.png")
    tree = {
        "data": {"source": str(source)},
        "model": {"name": "dcgan", "params": {"width": 16, "critic_width": 16}},
        "train": {
            "steps": steps,
            "batch_size": batch,
            "eval_every": steps,
            "checkpoint_every": steps,
            "guard": {"enabled": False},
        },
        "cluster": {"workers": workers, "min_workers": least},
        "output": str(folder / f"out-{workers}-{least}-{batch}-{steps}"),
    }
    return parse(tree)


@dataclass
class Course:
    """What is done to a training's nodes, and when it got where.

    seen: pairs (seconds, step) of every progress that was shown.
    """

    nodes: Nodes
    victim: Any
    began: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, int]] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def show(self, progress: Any) -> None:
        self.seen.append((time.monotonic() - self.began, progress.step))

    def act(self) -> None:
        """Kill or add a node when it is time."""
        now = time.monotonic() - self.began
        # Not before it has left a first checkpoint.
        due = self.seen and now > self.seen[0][0] + 1.5 * ELASTIC_SECONDS
        if "killed" not in self.marks and due:
            self.marks["killed"] = now
            self.nodes.kill(self.victim)
        alone = next((t for t, line in self._changes() if line.startswith("workers: 1")), None)
        if alone is not None and "added" not in self.marks and now > alone + ALONE_SECONDS:
            self.marks["added"] = now
            self.nodes.add()

    def say(self, line: str) -> None:
        self.lines.append(line)
        self.marks[line] = time.monotonic() - self.began

    def _changes(self) -> list[tuple[float, str]]:
        return [(t, line) for line, t in self.marks.items() if line.startswith("workers: ")]

    def told(self) -> dict[str, Any]:
        """Seconds from each event to the first progress after it, and the steps done again."""
        found: dict[str, Any] = {}
        for event, change in zip(("killed", "added"), self._changes(), strict=False):
            moment, resumed = self.marks[event], change[0]
            before = max(step for t, step in self.seen if t <= resumed)
            first = next(((t, step) for t, step in self.seen if t > resumed), (resumed, before))
            found[event] = {
                "at": round(moment, 1),
                "seconds_until_going_on": round(first[0] - moment, 1),
                "steps_again": max(before - _step(change[1]), 0),
            }
        return found


def _step(line: str) -> int:
    """The step that a line about the workers names."""
    return int(line.split("step ")[1].split()[0].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    # A new node is looked for sooner than once a minute, so that the trial is short.
    training.RESIZE_SECONDS = 20.0
    with tempfile.TemporaryDirectory(prefix="elastic-") as place, several_nodes(1) as nodes:
        config = settings(Path(place), given.steps, given.batch, 2, 1)
        course = Course(nodes, nodes.add())
        with connect(config.cluster.model_copy(update={"address": nodes.address})):
            # Nodes are added in the main thread, so training is in another.
            thread = threading.Thread(target=training.train, args=(config, course.show, course.say))
            thread.start()
            while thread.is_alive():
                course.act()
                time.sleep(0.2)
        card = Artifact.load(config.place("artifact")).card
    row = {
        "steps": given.steps,
        "seconds": round(time.monotonic() - course.began, 1),
        "workers": card["workers"],
        **course.told(),
        "load": round(os.getloadavg()[0], 1),
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(row, indent=2))
    Results(RESULTS).add(row)


if __name__ == "__main__":
    main()
