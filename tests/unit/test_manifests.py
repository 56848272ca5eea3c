"""The manifests for KubeRay: valid, complete, and at one with configs, image and guide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import NAMES, beside, found, overlaid, rendered
from packaging.specifiers import SpecifierSet
from typer.main import get_command

from k8s.checks import configs as job_configs
from k8s.checks import nodes, selectors, versions
from k8s.checks.objects import check_folder, check_objects
from k8s.checks.reading import cluster_of, job_of, pods_of
from k8s.checks.references import SECRETS, secrets_of
from k8s.checks.rendering import ROOT, Document, name_of, render
from k8s.checks.schemas import KUBERNETES
from synthray import config as configs
from synthray.cli import app
from synthray.config import ServeConfig


@pytest.mark.parametrize("name", NAMES)
def test_an_overlay_is_valid(name: str) -> None:
    assert check_objects(list(rendered(name)), beside(name)) == []


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "production"])
def test_an_overlay_has_all_that_is_run(overlay: str) -> None:
    platform = {tree["kind"] for tree in rendered(overlay)}
    assert {"Namespace", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"} < platform
    assert "RayCluster" in platform
    jobs = {name_of(tree) for tree in rendered(f"{overlay}/jobs") if job_of(tree)}
    assert jobs == {f"RayJob/{name}" for name in ("train", "tune", "generate", "pipeline")}
    assert "RayService/endpoint" in map(name_of, rendered(f"{overlay}/endpoint"))


def test_applying_an_overlay_starts_nothing_that_ends() -> None:
    """Jobs and endpoints have folders of their own: the pattern of their pods stays behind."""
    for name in NAMES:
        kinds = {tree["kind"] for tree in rendered(name)}
        assert ("RayJob" in kinds) == name.endswith("/jobs")
        assert ("RayCluster" in kinds) == ("/" not in name)


def test_the_groups_of_an_overlay() -> None:
    def groups(overlay: str) -> dict[str, tuple[int, int]]:
        cluster = found(overlay, "RayCluster")["spec"]["workerGroupSpecs"]
        return {group["groupName"]: (group["replicas"], group["minReplicas"]) for group in cluster}

    assert groups("cpu") == {"cpu": (0, 0)}
    assert groups("gpu") == {"cpu": (0, 0), "gpu": (0, 0)}
    everything = ("cpu", "cpu-spot", "gpu", "gpu-spot")
    assert groups("production") == dict.fromkeys(everything, (0, 0))


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "production"])
def test_a_job_runs_a_command_that_there_is_on_a_config_that_is_valid(overlay: str) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    maps = {name_of(tree): tree["data"] for tree in rendered(f"{overlay}/jobs") if "data" in tree}
    for tree in rendered(f"{overlay}/jobs"):
        if tree["kind"] != "RayJob":
            continue
        word, stage, path, *overrides = tree["spec"]["entrypoint"].split()
        assert (word, path) == ("synthray", "/etc/synthray/config.yaml")
        assert stage in commands
        head = tree["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        mounted = {volume["name"]: volume for volume in head["volumes"]}["config"]["configMap"]
        text = maps[f"ConfigMap/{mounted['name']}"]["config.yaml"]
        config = configs.parse(yaml.safe_load(text), overrides)
        assert config.output.startswith("s3://")
        assert not config.cluster.address
        groups = {pod.group["groupName"]: limits(pod) for pod in workers(tree)}
        assert ("gpu" in groups) == (config.cluster.gpus_per_worker > 0)
        fitting = groups["gpu" if "gpu" in groups else "cpu"]
        assert config.cluster.cpus_per_worker <= int(fitting["cpu"])
        room = sum(pod.group["maxReplicas"] * int(limits(pod)["cpu"]) for pod in workers(tree))
        assert config.cluster.replicas <= room


def workers(tree: Document) -> list[Any]:
    return [pod for pod in pods_of(tree) if not pod.is_head]


def limits(pod: Any) -> dict[str, str]:
    return dict(pod.containers[0]["resources"]["limits"])


@pytest.mark.parametrize("overlay", ["cpu", "gpu", "production"])
def test_an_endpoint_finds_its_port_and_its_processors(overlay: str) -> None:
    tree = found(f"{overlay}/endpoint", "RayService")
    serve = yaml.safe_load(tree["spec"]["serveConfigV2"])
    (group,) = tree["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    port = serve["http_options"]["port"]
    assert {"name": "serve", "containerPort": port} in container["ports"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/healthz", "port": port}
    # A timeout of Serve's would cut streams in the middle.
    assert serve["http_options"]["request_timeout_s"] is None
    (application,) = serve["applications"]
    settings = ServeConfig.model_validate(application["args"]["serve"])
    scaling = application["deployments"][0]["autoscaling_config"]
    most = scaling["max_replicas"] * settings.cpus_per_replica
    assert most <= group["maxReplicas"] * int(container["resources"]["limits"]["cpu"])
    assert scaling["target_ongoing_requests"] <= settings.max_concurrent


def test_the_pods_are_everywhere_those_of_the_pattern() -> None:
    """Copied whole, but for what a job or an endpoint adds."""
    pattern = found("production", "RayCluster")["spec"]["workerGroupSpecs"]
    for tree in rendered("production/jobs"):
        if tree["kind"] == "RayJob":
            for pod, group in zip(workers(tree), pattern, strict=True):
                assert pod.spec == group["template"]["spec"]
                component = pod.template["metadata"]["labels"]["app.kubernetes.io/component"]
                assert component == tree["metadata"]["name"]


@pytest.mark.parametrize(
    ("base", "components"),
    [
        ("cpu", ["gcs-rocksdb", "pod-identity"]),
        ("cpu/endpoint", ["gcs-rocksdb"]),
        ("cpu/jobs", ["kueue"]),
        ("cpu/jobs", ["nightly"]),
        ("cpu", ["trackers", "s3-inside"]),
        ("cpu/jobs", ["trackers", "nightly"]),
        ("production", ["prometheus-rules"]),
        ("production/endpoint", ["tls"]),
    ],
)
def test_an_optional_component_is_valid(base: str, components: list[str], tmp_path: Path) -> None:
    overlaid(tmp_path, base, components)
    assert render(tmp_path) != list(rendered(base))
    assert check_folder(tmp_path)[1] == []


def test_every_secret_is_one_that_the_guide_tells_how_to_make() -> None:
    guide = (ROOT / "k8s" / "README.md").read_text()
    trees = [tree for name in NAMES for tree in rendered(name)]
    optional = {"synthray-trackers", "synthray-tls"}  # of components that no overlay has
    assert {name for tree in trees for _, name, _ in secrets_of(tree)} == set(SECRETS) - optional
    for name, keys in SECRETS.items():
        kind = "tls" if name.endswith("-tls") else "generic"
        made = guide.partition(f"secret {kind} {name} ")[2].partition("kubectl")[0]
        assert made, name
        assert [key for key in keys if f"--from-literal={key}=" not in made] == []


def test_what_the_checks_know_is_what_there_is() -> None:
    guide = (ROOT / "k8s" / "README.md").read_text()
    for labels in (nodes.NODE_LABELS, selectors.NAMESPACE_LABELS):
        for key, values in labels.items():
            if key.startswith("synthray.io/"):
                assert [value for value in values if f"{key}={value}" not in guide] == []
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert set(job_configs.STAGES) < set(commands)


def test_versions_agree() -> None:
    ray = versions.locked_ray()
    assert SpecifierSet(versions.promised_ray()).contains(ray)
    trees = [tree for name in NAMES for tree in rendered(name)]
    assert versions.check_versions(trees, ray, versions.package_version()) == []
    for other in ("2.59.0", "2.60"):
        assert any("rayVersion" in told for told in versions.check_versions(trees, other, "0.1.0"))
    told = versions.check_versions(trees, ray, "0.2.0")
    assert any("is not of version 0.2.0" in each for each in told)
    assert any("version is 0.1.0, not 0.2.0" in each for each in told)
    namespace = found("cpu", "Namespace")["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce-version"] == f"v{KUBERNETES}"


def test_the_image_has_the_ray_of_the_manifests() -> None:
    if not (ROOT / "cluster" / "Dockerfile").exists():
        pytest.skip("cluster/Dockerfile is not there")
    assert versions.image_ray() == {versions.locked_ray()}
    user = found("cpu", "RayCluster")["spec"]["headGroupSpec"]["template"]["spec"][
        "securityContext"
    ]
    run_as = f"USER {user['runAsUser']}:{user['runAsGroup']}\n"
    assert run_as in (ROOT / "cluster" / "Dockerfile").read_text()


def test_every_cluster_names_the_same_token() -> None:
    trees = [tree for name in NAMES for tree in rendered(name)]
    clusters = [each[1] for each in map(cluster_of, trees) if each]
    assert {cluster["authOptions"]["secretName"] for cluster in clusters} == {"synthray-ray-token"}
