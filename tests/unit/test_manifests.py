"""The manifests for KubeRay: valid as they are, and every way to spoil them is noticed."""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from typer.main import get_command

from k8s.checks import __main__ as command
from k8s.checks import versions
from k8s.checks.objects import check_folder, check_object, check_objects, platform_of
from k8s.checks.reading import cluster_of, job_of, pods_of
from k8s.checks.rendering import OVERLAYS, ROOT, Document, name_of, overlays, render
from k8s.checks.schemas import KUBERNETES
from k8s.checks.security import secrets_named
from k8s.checks.together import check_platform, check_references
from synthray import config as configs
from synthray.cli import app
from synthray.config import ServeConfig

NAMES = [str(folder.relative_to(OVERLAYS)) for folder in overlays()]


@cache
def rendered(name: str) -> tuple[Document, ...]:
    """Rendered once; never changed in place."""
    return tuple(render(OVERLAYS / name))


def found(name: str, kind: str, which: str | None = None) -> Document:
    """A copy of the first object of a kind in an overlay."""
    for tree in rendered(name):
        if tree["kind"] == kind and which in (None, tree["metadata"]["name"]):
            return copy.deepcopy(tree)
    raise LookupError(f"{name} has no {kind} {which or ''}")


@pytest.mark.parametrize("name", NAMES)
def test_an_overlay_is_valid(name: str) -> None:
    platform = platform_of(OVERLAYS / name)
    around = rendered(platform.name) if platform else ()
    assert check_objects(list(rendered(name)), list(around)) == []


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
    ],
)
def test_an_optional_component_is_valid(base: str, components: list[str], tmp_path: Path) -> None:
    def relative(*parts: str) -> str:
        return os.path.relpath(ROOT.joinpath("k8s", *parts), tmp_path.resolve())

    tree = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    tree["resources"] = [relative("overlays", base)]  # type: ignore[assignment]
    folders = [relative("components", name) for name in (*components, "common")]
    tree["components"] = folders  # type: ignore[assignment]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(tree))
    made = render(tmp_path)
    assert made != list(rendered(base))
    assert check_objects(made, list(rendered(base.partition("/")[0]))) == []


def test_every_secret_is_one_that_the_guide_tells_how_to_make() -> None:
    guide = (ROOT / "k8s" / "README.md").read_text()
    named = {secret for name in NAMES for tree in rendered(name) for secret in secrets_named(tree)}
    assert {"synthray-ray-token", "synthray-serve-token", "synthray-redis"} <= named
    assert [secret for secret in named if f"secret generic {secret} " not in guide] == []


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


HEAD = "spec.headGroupSpec.template.spec"
RAY = f"{HEAD}.containers.0"
WORKER = "spec.workerGroupSpecs.0"
JOB = "spec.rayClusterSpec"
GONE = object()
ERRORS: list[tuple[str, str, Any, str]] = [
    # Schemas: fields, types, kinds.
    ("RayCluster", "spec.headGroup", {}, "'headGroup' was unexpected"),
    ("RayCluster", f"{RAY}.resource", {}, "'resource' was unexpected"),
    ("RayCluster", "spec.headGroupSpec", GONE, "'headGroupSpec' is a required property"),
    ("RayCluster", f"{WORKER}.replicas", "two", "'two' is not of type 'integer'"),
    ("RayCluster", "spec.headGroupSpec.rayStartParams.num-cpus", 0, "0 is not of type 'string'"),
    ("RayCluster", "spec.autoscalerOptions.version", "v3", "'v3' is not one of"),
    ("RayCluster", f"{RAY}.env.0", {"value": "1"}, "'name' is a required property"),
    ("RayCluster", "kind", "RayCluter", "no such kind"),
    ("RayCluster", "apiVersion", "ray.io/v1alpha1", "no such kind"),
    ("RayJob", "spec.backoffLimits", 3, "'backoffLimits' was unexpected"),
    ("RayJob", "spec.activeDeadlineSeconds", "1h", "'1h' is not of type 'integer'"),
    ("RayService", "spec.serveConfig", "", "'serveConfig' was unexpected"),
    ("NetworkPolicy", "spec.podSelectors", {}, "'podSelectors' was unexpected"),
    ("PodDisruptionBudget", "spec.minAvailable", True, "True is not"),
    ("ServiceAccount", "automountServiceAccountToken", "no", "'no' is not of type"),
    ("PodMonitor", "spec.podMetricsEndpoints.0.ports", 1, "'ports' was unexpected"),
    # What the operator refuses.
    ("RayCluster", "metadata.name", "Interactive", "no DNS-1035 label"),
    ("RayCluster", "metadata.name", "a" * 54, "54 characters are more than 53"),
    ("RayCluster", f"{WORKER}.minReplicas", 99, "minReplicas 99 and maxReplicas"),
    ("RayCluster", f"{WORKER}.template.spec.restartPolicy", "Always", "must be Never"),
    ("RayCluster", "spec.autoscalerOptions.version", "v1", "only with autoscaler v2"),
    ("RayCluster", f"{WORKER}.rayStartParams.labels", "a=b", "use the group's labels"),
    ("RayCluster", "spec.gcsFaultToleranceOptions.backend", "rocksdb", "not with backend rocksdb"),
    ("RayCluster", "spec.rayVersion", GONE, "rayVersion: missing"),
    ("RayJob", "spec.shutdownAfterJobFinishes", True, "not with shutdownAfterJobFinishes"),
    ("RayJob", "spec.suspend", True, "only with shutdownAfterJobFinishes"),
    ("RayJob", "spec.deletionStrategy.deletionRules", [], "should be non-empty"),
    (
        "RayJob",
        "spec.deletionStrategy.deletionRules.0.policy",
        "DeleteWorkers",
        "does not go with autoscaling",
    ),
    (
        "RayJob",
        "spec.deletionStrategy.deletionRules.1.condition.ttlSeconds",
        1,
        "workers go before",
    ),
    (
        "RayJob",
        "spec.deletionStrategy.deletionRules.0.condition.jobDeploymentStatus",
        "Failed",
        "exactly one of",
    ),
    ("RayJob", "spec.submissionMode", "HttpMode", "'HttpMode' is none of"),
    ("RayService", "spec.upgradeStrategy.type", "Rolling", "'Rolling' is none of"),
    (
        "RayService",
        "spec.upgradeStrategy.clusterUpgradeOptions.stepSizePercent",
        60,
        "must be at most maxSurgePercent",
    ),
    ("RayService", "spec.upgradeStrategy.clusterUpgradeOptions", GONE, "clusterUpgradeOptions"),
    # Security.
    ("RayCluster", f"{RAY}.image", "ghcr.io/synthray/synthray:latest", "no fixed version"),
    ("RayCluster", f"{RAY}.image", "ghcr.io:5000/synthray/synthray", "no fixed version"),
    ("RayCluster", f"{HEAD}.securityContext.runAsUser", 0, "runs as root"),
    ("RayCluster", f"{RAY}.securityContext.runAsNonRoot", False, "runAsNonRoot: not true"),
    ("RayCluster", f"{RAY}.securityContext.privileged", True, "privileged: on"),
    ("RayCluster", f"{RAY}.securityContext.capabilities.add", ["SYS_PTRACE"], "capabilities"),
    ("RayCluster", f"{RAY}.securityContext", GONE, "allowPrivilegeEscalation: not false"),
    ("RayCluster", f"{RAY}.securityContext.readOnlyRootFilesystem", False, "not true"),
    ("RayCluster", f"{HEAD}.securityContext.seccompProfile", GONE, "seccompProfile"),
    ("RayCluster", "spec.autoscalerOptions.securityContext", GONE, "autoscalerOptions"),
    ("RayCluster", f"{HEAD}.hostNetwork", True, "hostNetwork: on"),
    ("RayCluster", f"{HEAD}.volumes.0", {"name": "x", "hostPath": {"path": "/"}}, "hostPath"),
    ("RayCluster", f"{RAY}.ports.0.hostPort", 6379, "hostPort 6379"),
    ("RayCluster", f"{RAY}.env.0", {"name": "RAY_AUTH_TOKEN", "value": "abc"}, "in the open"),
    ("RayCluster", "spec.authOptions.mode", "disabled", "authOptions: no token"),
    ("RayCluster", "spec.authOptions.secretName", GONE, "authOptions: no token"),
    (
        "RayCluster",
        "spec.gcsFaultToleranceOptions.redisPassword",
        {"value": "hunter2"},
        "redisPassword: a value in the open",
    ),
    ("RayService", "spec.serveConfigV2", "args: {token: 'abcdef'}", "looks like a secret"),
    ("ConfigMap", "data.KEY", "AKIAABCDEFGHIJKLMNOP", "looks like a secret"),
    ("Namespace", "metadata.labels.pod-security.kubernetes.io/enforce", GONE, "not restricted"),
    ("StatefulSet", "spec.template.spec.containers.0.image", "redis", "no fixed version"),
    # Running it.
    ("RayCluster", "metadata.labels.app.kubernetes.io/component", GONE, "component missing"),
    ("RayCluster", f"{WORKER}.template.metadata.labels", GONE, "labels: app.kubernetes.io/name"),
    ("RayCluster", "metadata.namespace", GONE, "namespace: missing"),
    ("RayCluster", f"{RAY}.resources.limits", GONE, "cpu, memory, ephemeral-storage missing"),
    ("RayCluster", f"{RAY}.resources.requests.memory", "1Gi", "requests and limits"),
    ("RayCluster", "spec.autoscalerOptions.resources", GONE, "autoscalerOptions.resources"),
    ("RayCluster", "spec.headGroupSpec.rayStartParams.num-cpus", "2", "the head takes work"),
    ("RayCluster", f"{WORKER}.maxReplicas", GONE, "without bound"),
    ("RayCluster", f"{HEAD}.terminationGracePeriodSeconds", 60, "are not less than 60 of grace"),
    ("RayCluster", f"{RAY}.env", [], "too short for a checkpoint"),
    ("RayCluster", "spec.workerGroupSpecs.1.template.spec.tolerations", GONE, "disagree"),
    ("RayCluster", "spec.workerGroupSpecs.2.template.spec.nodeSelector", GONE, "from any node"),
    ("RayCluster", "spec.workerGroupSpecs.2.template.spec.tolerations", GONE, "nvidia.com/gpu"),
    ("RayJob", "spec.activeDeadlineSeconds", GONE, "activeDeadlineSeconds: missing"),
    ("RayJob", "spec.backoffLimit", GONE, "backoffLimit: missing"),
    ("RayJob", "spec.deletionStrategy", GONE, "stays for ever"),
    ("RayJob", "spec.submissionMode", "K8sJobMode", "not HTTPMode"),
    ("RayJob", f"{JOB}.workerGroupSpecs.0.template.spec.containers", [], "containers: missing"),
    ("StatefulSet", "spec.template.spec.containers.0.resources", GONE, "resources.limits"),
]
PLACE = {"RayJob": "production/jobs", "RayService": "production/endpoint"}


def spoil(tree: Document, path: str, value: Any) -> None:
    """Put a value where the path leads, or take away what is there; keys may have dots."""
    node: Any = tree
    keys = path.split(".")
    for prefix in ("app", "pod-security"):
        if prefix in keys:
            at = keys.index(prefix)
            keys[at:] = [".".join(keys[at:])]
    for key in keys[:-1]:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    last: Any = int(keys[-1]) if isinstance(node, list) else keys[-1]
    if value is GONE:
        del node[last]
    else:
        node[last] = value


@pytest.mark.parametrize(("kind", "path", "value", "told"), ERRORS)
def test_an_error_is_noticed(kind: str, path: str, value: Any, told: str) -> None:
    tree = found(PLACE.get(kind, "production"), kind)
    spoil(tree, path, value)
    problems = check_object(tree)
    assert any(told in problem for problem in problems), problems


def test_another_version_is_noticed() -> None:
    ray, package = versions.locked_ray(), versions.package_version()
    for path, value, told in (
        ("spec.rayVersion", "2.59.0", "rayVersion: 2.59.0"),
        (f"{RAY}.image", "ghcr.io/synthray/synthray:0.0.9-cpu", "is not of version"),
        (f"{RAY}.image", f"ghcr.io/synthray/synthray:{package}", "is not of version"),
        (f"{WORKER}.template.metadata.labels.app.kubernetes.io/version", "0.0.9", "0.0.9, not"),
    ):
        tree = found("cpu", "RayCluster")
        spoil(tree, path, value)
        problems = versions.check_versions([tree], ray, package)
        assert any(told in problem for problem in problems), (path, problems)


def test_what_is_not_there_is_noticed() -> None:
    jobs, platform = list(rendered("cpu/jobs")), list(rendered("cpu"))
    without = [tree for tree in jobs if tree["kind"] != "ConfigMap"]
    assert any("ConfigMap/train-" in told for told in check_references(without, platform))
    assert any("ServiceAccount/synthray-head" in told for told in check_references(jobs))
    for gone, told in (("deny-all", "none denies"), ("dns", "DNS"), ("storage", "S3")):
        left = [tree for tree in platform if tree["metadata"]["name"] != gone]
        assert any(told in problem for problem in check_platform(left)), gone


def test_what_kustomize_refuses_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    with pytest.raises(ValueError, match=r"nothing\.yaml"):
        check_folder(tmp_path)
    assert command.main([str(tmp_path)]) == 1
    assert "nothing.yaml" in capsys.readouterr().out
    assert command.main([str(OVERLAYS / "cpu")]) == 0


def test_every_cluster_names_the_same_token() -> None:
    trees = [tree for name in NAMES for tree in rendered(name)]
    clusters = [each[1] for each in map(cluster_of, trees) if each]
    assert {cluster["authOptions"]["secretName"] for cluster in clusters} == {"synthray-ray-token"}
