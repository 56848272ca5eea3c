"""What components of k8s/ add, and what overlays promise beside what the checks know."""

from __future__ import annotations

import json
import math
import runpy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from manifests import found, overlaid, rendered

from k8s.checks.reading import pods_of
from k8s.checks.rendering import ROOT, Document, name_of, render
from synthray import config as configs

COMPONENTS = ROOT / "k8s" / "components"
MONITORING = ROOT / "cluster" / "monitoring"
COMPONENT = "app.kubernetes.io/component"
GATEWAY = "gateway.networking.k8s.io/gateway-name"


@cache
def layered(overlay: str, *components: str) -> dict[str, Document]:
    """An overlay with components over it, by the names of its objects."""
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        overlaid(root, overlay, components)
        return {name_of(made): made for made in render(root)}


def ports(rules: list[dict[str, Any]]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_the_label_nightly_brings_all_that_the_nightly_job_needs() -> None:
    """Else its head would wait for a ConfigMap for ever."""
    trees = layered("cpu/jobs", "nightly")
    brought = {
        name: tree
        for name, tree in trees.items()
        if tree["metadata"]["labels"][COMPONENT] == "nightly"
    }
    job = brought["RayCronJob/nightly"]["spec"]["jobTemplate"]
    head, *workers = list(pods_of(brought["RayCronJob/nightly"]))
    (named,) = [each["configMap"]["name"] for each in head.spec["volumes"] if "configMap" in each]
    (pipeline,) = [name for name in trees if name.startswith("ConfigMap/pipeline")]
    assert brought[f"ConfigMap/{named}"]["data"] == trees[pipeline]["data"]
    for pod in (head, *workers):
        assert pod.template["metadata"]["labels"][COMPONENT] == "nightly"
    whole = trees["RayJob/pipeline"]["spec"]
    for key in ("deletionStrategy", "preRunningDeadlineSeconds", "submissionMode", "backoffLimit"):
        assert job[key] == whole[key], key


def test_trackers_reach_the_driver_and_the_driver_reaches_them() -> None:
    secret = {"secretRef": {"name": "synthray-trackers", "optional": True}}
    for overlay in ("cpu", "cpu/jobs"):
        trees = layered(overlay, "trackers").values()
        heads = [pod for tree in trees for pod in pods_of(tree) if pod.is_head]
        assert heads and all(secret in pod.containers[0]["envFrom"] for pod in heads)
    policy = layered("cpu", "trackers")["NetworkPolicy/trackers"]["spec"]
    head = found("cpu", "RayCluster")["spec"]["headGroupSpec"]["template"]["metadata"]["labels"]
    chosen = dict(policy["podSelector"]["matchLabels"])
    assert chosen.pop("ray.io/node-type") == "head"
    assert chosen.items() <= head.items()
    guide = (ROOT / "docs" / "tracking.md").read_text()
    space = policy["egress"][0]["to"][0]["namespaceSelector"]["matchLabels"]
    (port,) = ports(policy["egress"])
    assert f"http://mlflow.{space['kubernetes.io/metadata.name']}:{port}" in guide


def test_a_nightly_job_has_the_trackers_that_were_added_before_it() -> None:
    (head, *_) = pods_of(layered("cpu/jobs", "trackers", "nightly")["RayCronJob/nightly"])
    assert [each for each in head.containers[0]["envFrom"] if "synthray-trackers" in str(each)]


def test_s3_inside_opens_the_way_to_the_address_that_it_names() -> None:
    trees = layered("cpu", "s3-inside")
    address = trees["ConfigMap/synthray-storage"]["data"]["AWS_ENDPOINT_URL"]
    policy = trees["NetworkPolicy/s3-inside"]["spec"]
    space = policy["egress"][0]["to"][0]["namespaceSelector"]["matchLabels"]
    (port,) = ports(policy["egress"])
    assert address.endswith(f".{space['kubernetes.io/metadata.name']}:{port}")


def test_rules_and_dashboards_are_those_of_the_monitoring() -> None:
    make = runpy.run_path(str(COMPONENTS / "prometheus-rules" / "make.py"))
    text = (COMPONENTS / "prometheus-rules" / "prometheus-rule.yaml").read_text()
    assert text == make["made"](), "run: python k8s/components/prometheus-rules/make.py"
    trees = layered("production", "prometheus-rules")
    rule = trees["PrometheusRule/synthray"]
    assert rule["spec"] == yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    monitor = found("production", "PodMonitor")
    assert rule["metadata"]["labels"]["release"] == monitor["metadata"]["labels"]["release"]
    boards = trees["ConfigMap/synthray-dashboards"]
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    files = (MONITORING / "grafana" / "dashboards").glob("*.json")
    assert {name: json.loads(text) for name, text in boards["data"].items()} == {
        path.name: json.loads(path.read_text()) for path in files
    }


def test_bearer_tokens_do_not_cross_the_internet_in_the_clear() -> None:
    trees = layered("production/endpoint", "tls")
    for tree in trees.values():
        if tree["kind"] == "NetworkPolicy":
            for rule in tree["spec"].get("ingress", ()):
                assert rule.get("from") or not ports([rule]) & {80, 8000}, name_of(tree)
    edge, plain = trees["NetworkPolicy/edge"]["spec"], trees["NetworkPolicy/gateway"]["spec"]
    taken = trees["NetworkPolicy/from-edge"]["spec"]
    assert taken["podSelector"] == plain["podSelector"] and ports(taken["ingress"]) == {80}
    assert taken["ingress"][0]["from"] == [{"podSelector": edge["podSelector"]}]
    assert {"podSelector": plain["podSelector"]} in edge["egress"][0]["to"]
    gateway, route = trees["Gateway/edge"], trees["HTTPRoute/edge"]
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTPS", 443)
    assert edge["podSelector"]["matchLabels"] == {GATEWAY: gateway["metadata"]["name"]}
    # KubeRay's Gateway is called so, and Istio's Service after it and its class.
    kind = trees["RayService/endpoint"]["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]
    service = f"{plain['podSelector']['matchLabels'][GATEWAY]}-{kind['gatewayClassName']}"
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert backend == {"name": service, "port": 80}


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "production"])
def test_a_budget_for_workers_lets_one_go(overlay: str) -> None:
    """One of which the last pod is never let go stops drains for ever."""
    (group,) = found(f"{overlay}/endpoint", "RayService")["spec"]["rayClusterConfig"][
        "workerGroupSpecs"
    ]
    budgets = [
        tree["spec"]
        for tree in rendered(f"{overlay}/endpoint")
        if tree["kind"] == "PodDisruptionBudget"
    ]
    for budget in budgets:
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        if budget["selector"]["matchLabels"]["ray.io/node-type"] == "worker":
            assert budget["minAvailable"] < group["minReplicas"]
    assert len(budgets) == (2 if overlay == "production" else 1)


def test_training_on_spot_takes_the_nodes_that_come() -> None:
    job = found("production/jobs", "RayJob", "train")
    (text,) = [
        tree["data"]["config.yaml"]
        for tree in rendered("production/jobs")
        if tree["metadata"]["name"].startswith("train") and tree["kind"] == "ConfigMap"
    ]
    config = configs.parse(yaml.safe_load(text))
    assert config.cluster.min_workers == 1 < config.cluster.workers
    # Rows that stream are dealt out in equal parts, whatever the number of workers.
    assert config.train.batch_size % math.lcm(*config.cluster.crews) == 0
    (head, *_) = pods_of(job)
    waits = {each["name"]: each.get("value") for each in head.containers[0]["env"]}
    assert int(waits["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] or 0) <= 60
