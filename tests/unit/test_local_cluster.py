"""The parts of `cluster.local` that need no Ray: finding processes, describing nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local.nodes import NODE_LOSS, NodeType, clean_environment, worker_words
from cluster.local.orders import PLACE, NoAnswerError, give, obey
from cluster.local.processes import end, found, processor_seconds
from cluster.local.scaling import write_scaling

CLOUDS = Path(__file__).parents[2] / "cluster"
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleepers() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A mark, two processes that carry it, the second with a node's name, and one without."""
    mark = f"SYNTHRAY_CLUSTER={uuid.uuid4().hex}"
    name, value = mark.split("=")
    environments = [{name: value}, {name: value, "RAY_CLOUD_INSTANCE_ID": "second"}, {}]
    started = [subprocess.Popen(SLEEP, env=os.environ | each) for each in environments]
    yield mark, started
    for process in started:
        process.kill()
        process.wait()


def test_only_what_carries_every_mark_is_ended(
    sleepers: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    mark, (first, second, other) = sleepers
    assert sorted(found({mark})) == sorted([first.pid, second.pid])
    end({mark, "RAY_CLOUD_INSTANCE_ID=second"})
    assert second.wait(10) < 0
    assert found({mark}) == [first.pid] and processor_seconds(second.pid) == 0
    end({mark})
    assert first.wait(10) < 0 and other.poll() is None


def test_a_session_leads_to_processes_that_hide_their_environment() -> None:
    nobody = f"SYNTHRAY_CLUSTER={uuid.uuid4().hex}"
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        assert found({nobody}) == []
        assert found({nobody}, {process.pid}) == [process.pid]
        end({nobody}, {process.pid})
        assert process.wait(10) < 0


@pytest.mark.parametrize("words", [(), ("",), ("a=1", "")])
def test_words_that_every_process_has_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="only the processes in question"):
        end(words)


def test_the_autoscaler_starts_from_none_and_keeps_to_the_most(tmp_path: Path) -> None:
    spot = NodeType("spot", 2, gpus=1, market="spot")
    tree = json.loads(write_scaling(tmp_path, "192.0.2.1:6379", {spot: 3}, 90).read_text())
    described = tree["available_node_types"]["spot"]
    assert (described["min_workers"], described["max_workers"], tree["max_workers"]) == (0, 3, 3)
    assert described["resources"]["CPU"] == 2 and described["resources"]["GPU"] == 1
    assert described["labels"]["ray.io/market-type"] == "spot"
    assert tree["idle_timeout_minutes"] == 1.5
    # A node that is started at once is the same as one that the autoscaler starts.
    words = worker_words("192.0.2.1:6379", spot)
    assert {"--num-cpus=2", "--num-gpus=1"} < set(words)
    assert "--labels=ray.io/node-group=spot,ray.io/market-type=spot" in words


@dataclass
class Cluster:
    """What orders need of a cluster."""

    place: Path
    idle_seconds: float | None = None
    names: list[str] = field(default_factory=lambda: ["cpu-1", "spot-1"])

    def workers(self) -> list[str]:
        return self.names

    def add(self, kind: NodeType) -> NodeType:
        self.names.append(f"{kind.name}-2")
        return kind

    def kill(self, name: str) -> None:
        self.names.remove(name)


def test_orders_add_and_kill_nodes_of_the_cluster_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster: Any = Cluster(tmp_path)
    monkeypatch.setenv(PLACE, str(tmp_path))

    def ordered(*words: str) -> str:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(give, words)
            while not answer.done():
                list(obey(cluster, {"spot": NodeType("spot", 1)}))
            return answer.result()

    assert ordered("add", "spot") == "spot is starting" and "spot-2" in cluster.names
    assert ordered("kill", "spot") == "spot-2 is killed"
    assert ordered("kill", "cpu-1") == "cpu-1 is killed" and cluster.names == ["spot-1"]
    assert "there are spot-1" in ordered("kill", "gpu")
    assert "not understood: add moon" in ordered("add", "moon")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoAnswerError, match="did not answer in 0 s"):
        give(["add", "spot"], seconds=0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(PLACE, str(tmp_path / "gone"))
    with pytest.raises(NoAnswerError, match="no local cluster at"):
        give(["add", "spot"])


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_clouds_notice_lost_nodes_as_the_local_cluster_does(cloud: str) -> None:
    tree = yaml.safe_load((CLOUDS / f"{cloud}.yaml").read_text())
    wanted = {f"--env {name}={value}" for name, value in NODE_LOSS.items()}
    assert wanted <= set(tree["docker"]["run_options"])
    if cloud == "aws":  # what Ray would choose is old, and open to the world
        for kind in tree["available_node_types"].values():
            assert {"ImageId", "SecurityGroupIds"} <= set(kind["node_config"])


def test_nothing_of_another_ray_reaches_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.9:6379")
    environment = clean_environment({"RAY_AUTH_MODE": "token"})
    assert "RAY_ADDRESS" not in environment and environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_health_check_failure_threshold"] == "3"
