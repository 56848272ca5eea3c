"""What a training's log says when workers are lost; with no cluster at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray._private.worker
from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError
from ray.train.v2._internal.execution.controller.state import (
    ReschedulingState,
    ResizingState,
    RestartingState,
    RunningState,
)

from synthray.config import ClusterConfig
from synthray.distributed import regrouping
from synthray.distributed.cluster import in_short
from synthray.distributed.regrouping import Regrouping
from synthray.errors import SourceError
from synthray.training.checkpoint import CheckpointStore


def told(tmp_path: Path, cluster: ClusterConfig, *states: Any) -> list[str]:
    """The lines of a controller that goes through these states."""
    lines: list[str] = []
    (tmp_path / "step-000000412.safetensors").touch()
    board = SimpleNamespace(tell=SimpleNamespace(remote=lines.append))
    callback = Regrouping(board, CheckpointStore(str(tmp_path), "x"), cluster)
    callback.after_controller_start(SimpleNamespace(run_id="x"))
    for before, after in zip((RunningState(), *states), states, strict=False):
        callback.after_controller_state_update(before, after)
    asyncio.run(callback.before_controller_shutdown())
    return lines


def failed(error: Exception) -> WorkerGroupError:
    return WorkerGroupError("Traceback", {0: error})


LOST = "a worker or its node was lost: training goes on from step 412 as soon as "


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ActorDiedError(), f"{LOST}2 workers find room"),
        (RuntimeError("gloo: Connection closed by peer"), f"{LOST}2 workers find room"),
        (ValueError("no"), "a worker failed (no): training goes on from step 412 as soon as"),
        (SourceError("data.source: gone"), ""),  # the driver raises it
    ],
)
def test_a_restart_says_why_from_where_and_what_it_waits_for(
    tmp_path: Path, error: Exception, line: str
) -> None:
    lines = told(tmp_path, ClusterConfig(workers=2), RestartingState(failed(error)))
    assert len(lines) == bool(line) and "".join(lines).startswith(line)


def test_of_waiting_is_told_once_and_the_nodes_are_counted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []

    def look(requester: str, recompute: bool) -> None:
        looks.append(recompute)

    coordinator = SimpleNamespace(get_reserved_resources=SimpleNamespace(remote=look))
    monkeypatch.setattr(regrouping, "get_or_create_autoscaling_coordinator", lambda: coordinator)
    monkeypatch.setattr(regrouping.ray, "get", lambda asked, timeout: asked)
    error = failed(ActorDiedError())
    waiting, running = ReschedulingState(error), RunningState()
    larger = ResizingState(SimpleNamespace(num_workers=2))  # type: ignore[arg-type]
    states = [RestartingState(error), waiting, running, running, larger]
    lines = told(tmp_path, ClusterConfig(workers=2, min_workers=1), *states)
    assert lines == [
        f"{LOST}1 of up to 2 workers find room",
        "not all workers have found room: training goes on as soon as 1 of up to 2 workers "
        "find room",
        "there is room for 2 workers now: they start from step 412 again",
    ]
    assert looks == [True, True]


def test_what_ray_tells_of_nodes_is_one_plain_line_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "Raylet is terminated. Last 20 lines of the Raylet logs:\n    [state-dump] x\n"
    with in_short():
        for _ in range(2):
            data = {"lines": [text], "pid": "raylet", "is_err": False}
            ray._private.worker.print_to_stdstream(data, ignore_prefix=False)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Ray: Raylet is terminated.\n")
