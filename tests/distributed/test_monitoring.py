"""Dashboards, alerts and cluster files: what they name exists. No cluster is needed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from processes import until
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.util.metrics import Counter, Gauge, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from synthray.config import parse
from synthray.distributed import metrics
from synthray.distributed.metered import Metered
from synthray.distributed.metrics import ALL
from synthray.training.loop import Progress

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "cluster" / "monitoring"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
OWN = {name for spec in ALL for name in spec.exported}
ELSEWHERE = {
    "ray_node_gpus_utilization",  # on nodes with GPUs
    "ray_cluster_pending_nodes",  # where an autoscaler runs
    # KubeRay's operator, 1.7.0: ray-operator/controllers/ray/metrics
    "kuberay_job_deployment_status",
    "kuberay_service_condition_ready",
    "kuberay_service_info",
}
"""What the machine that the references were written on does not export."""


def known() -> set[str]:
    listed = (ROOT / "tests" / "references" / "ray_metrics.txt").read_text().splitlines()
    return OWN | ELSEWHERE | {line for line in listed if not line.startswith("#")}


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:kube)?ray_\w+", re.sub(r'"[^"]*"', "", query)))


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


def test_every_metric_of_ours_is_shown_and_named_once() -> None:
    shown = {
        name
        for path in DASHBOARDS
        for query in queries(json.loads(path.read_text()))
        for name in names_in(query)
    }
    unseen = [spec.name for spec in ALL if not shown & set(spec.exported)]
    assert unseen == []
    assert len({spec.name for spec in ALL}) == len(ALL)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_shows_metrics_that_exist_in_panels_that_do_not_overlap(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"synthray-{path.stem}"
    missing = {name for query in queries(board) for name in names_in(query)} - known()
    assert missing == set()
    assert all(names_in(query) for query in queries(board))
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not own & cells, panel["title"]
        cells |= own
        assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_there_is_a_dashboard_for_each_kind_of_work() -> None:
    assert [path.stem for path in DASHBOARDS] == ["generate", "serve", "train", "tune"]


def test_gauges_are_set_again_while_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray drops those that are not: a training that hangs would not be seen to hang."""
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(metrics, "REFRESH_SECONDS", 0.01)
    monkeypatch.setattr(Gauge, "set", lambda self, value, tags: told.append((self._name, value)))
    tree = {"data": {"source": "digits"}, "output": "out/digits"}
    with metrics.TrainMeters(parse(tree, where="test")) as meters:
        meters.progress(Progress(7, 10, {"critic": 0.5}, 1.0, 1.0))
        until(lambda: told.count(("synthray_train_step", 7)) >= 3)
    after = len(told)
    time.sleep(0.1)
    assert len(told) == after
    assert ("synthray_train_loss", 0.5) in told


def test_requests_are_counted_by_model_and_answer_and_made_up_names_are_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, float, str]] = []

    def note(self: Any, value: float, tags: dict[str, str]) -> None:
        told.append((self._name, value, tags["model"] + tags.get("code", "")))

    monkeypatch.setattr(Counter, "inc", note)
    monkeypatch.setattr(Histogram, "observe", note)

    async def answer(request: Request) -> Response:
        status = 503 if "busy" in request.url.path else 200
        return Response(b"rows", status, {"SynthRay-Rows": "40"})

    app = Starlette(routes=[Route("/{path:path}", answer)])
    app.add_middleware(Metered, models=["digits", "busy"])
    client = TestClient(app)
    for path in ("digits/rows?count=40", "busy/rows", "made-up/rows", "digits"):
        client.get(f"/v1/models/{path}")
    client.get("/healthz")
    counted = {found for found in told if "seconds" not in found[0]}
    assert counted == {
        ("synthray_serve_requests", 1, "digits200"),
        ("synthray_serve_rows", 40, "digits"),
        ("synthray_serve_requests", 1, "busy503"),
        ("synthray_serve_refused", 1, "busy"),
        ("synthray_serve_requests", 1, "unknown200"),
        ("synthray_serve_rows", 40, "unknown"),
    }
    timed = [model for name, _, model in told if name == "synthray_serve_seconds"]
    assert timed == ["digits", "busy", "unknown"]


def rules() -> list[dict[str, Any]]:
    tree = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [rule for group in tree["groups"] for rule in group["rules"]]


def test_alerts_ask_for_metrics_that_exist_and_say_what_to_do() -> None:
    headings = re.findall(
        r"^### (\w+)$", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE
    )
    for rule in rules():
        assert names_in(rule["expr"]) <= known(), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook"} == set(rule["annotations"])
        anchor = f"docs/monitoring.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == anchor
    assert headings == [rule["alert"] for rule in rules()]


def test_alerts_fire_when_they_should_and_not_else() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    for words in (["test", "rules", "alerts_test.yaml"], ["check", "config", "prometheus.yaml"]):
        done = subprocess.run(
            ["promtool", *words], cwd=MONITORING, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


# --- ray up -----------------------------------------------------------------------------------


def spot(node: dict[str, Any]) -> bool:
    """On AWS, or on Google Cloud."""
    asked = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    return asked or node.get("scheduling", [{}])[0].get("provisioningModel") == "SPOT"


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_a_cluster_file_is_whole_by_rays_own_schema_and_shrinks_to_its_head(name: str) -> None:
    config = yaml.safe_load((ROOT / "cluster" / f"{name}.yaml").read_text())
    validate_config(prepare_config(config))
    types = dict(config["available_node_types"])
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0} and not spot(head["node_config"])
    assert set(types) == {"cpu-spot", "gpu-spot"}
    assert all(kind["min_workers"] == 0 and kind["max_workers"] > 0 for kind in types.values())
    assert all(spot(kind["node_config"]) for kind in types.values())
    assert config["docker"]["image"].endswith("-cpu")
    assert types["gpu-spot"]["docker"]["worker_image"].endswith("-cuda")
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in config["file_mounts"]
    assert 0 < config["idle_timeout_minutes"] <= 10
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1]


@pytest.mark.parametrize(
    "broken", [{"idle_timeout_minuts": 5}, {"max_workers": "many"}, {"provider": {}}]
)
def test_rays_own_schema_finds_errors(broken: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())
    whole = prepare_config(config)
    with pytest.raises(ValidationError):
        validate_config(whole | broken)
