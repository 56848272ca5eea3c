"""Training on nodes that are taken away: what there is goes on, from a checkpoint made in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import test_train
from test_train import environment, orders, source

from benchmarks.cluster.nodes import Nodes, several_nodes
from synthray.artifact import Artifact
from synthray.distributed.cluster import connect
from synthray.distributed.train import train

__all__ = ["environment", "orders", "source"]
pytestmark = pytest.mark.timeout(300)
STEPS = 60


def settings(source: str, output: Path, **changes: Any) -> Any:
    few = {"train.steps": STEPS, "train.eval_every": STEPS, "train.checkpoint_every": STEPS}
    crew = {"cluster.workers": 2, "cluster.min_workers": 1, "train.max_failures": 0}
    return test_train.settings(source, output, **few, **crew, **changes)


@pytest.fixture
def nodes(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.5")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    with several_nodes(1) as started:
        yield started


def test_a_spot_warning_leaves_a_checkpoint_and_the_nodes_that_stay_go_on(
    nodes: Nodes, source: str, orders: Path, tmp_path: Path
) -> None:
    """No failure is allowed: the steps since the warning's checkpoint are all that is lost."""
    spot = nodes.add()
    (orders / "nap").write_text("0.25")
    config = settings(source, tmp_path)
    lines: list[str] = []
    shown: list[int] = []

    def show(progress: Any) -> None:
        shown.append(progress.step)
        if len(shown) == 1:
            nodes.warn(spot, 8)

    with connect(config.cluster.model_copy(update={"address": nodes.address})):
        train(config, show, lines.append)
        ray.shutdown()
    assert any("1 of the nodes will be taken away in" in line for line in lines), lines
    card = Artifact.load(str(tmp_path / "artifact"), trust=[test_train.FAMILY]).card
    assert card["steps"] == STEPS
    changes = {int(step): workers for step, workers in card["workers"]["from_step"].items()}
    (start, step), after = changes, list(changes.values())
    assert (start, after) == (0, [2, 1])
    assert 0 < step < STEPS
    assert any(f"workers: 1 from step {step} on, 2 before" in line for line in lines), lines
