"""Every way to spoil the manifests is noticed by the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifests import GONE, found, rendered, spoil

from k8s.checks import __main__ as command
from k8s.checks import versions
from k8s.checks.objects import check_folder, check_object
from k8s.checks.references import check_references
from k8s.checks.rendering import OVERLAYS
from k8s.checks.together import check_platform

HEAD = "spec.headGroupSpec.template.spec"
RAY = f"{HEAD}.containers.0"
WORKER = "spec.workerGroupSpecs.0"
JOB = "spec.rayClusterSpec"
GPUS = "spec.workerGroupSpecs.2.template.spec"
TERM = {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm"]}]}
AFFINITY = {
    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]},
}
NO_FAILED = [
    {"policy": policy, "condition": {"jobStatus": status, "ttlSeconds": 9}}
    for policy in ("DeleteCluster", "DeleteSelf")
    for status in ("SUCCEEDED", "FAILED")
]
METADATA = [{"ipBlock": {"cidr": "169.254.169.0/24"}}]
IPV6 = [{"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}]
EVERYWHERE = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
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
    ("NetworkPolicy", "spec.egress", [{"to": EVERYWHERE}], "169.254.0.0/16, the node's metadata"),
    ("NetworkPolicy", "spec.egress", [{"to": METADATA}], "add except: [169.254.169.254/32]"),
    ("NetworkPolicy", "spec.egress", [{"to": IPV6}], "add except: [fd00:ec2::254/128]"),
    ("NetworkPolicy", "spec.egress", [{}], "missing, and so everywhere"),
    ("RayCluster", f"{WORKER}.template.spec.automountServiceAccountToken", True, "set it to false"),
    ("RayCluster", f"{WORKER}.template.spec.automountServiceAccountToken", GONE, "not given, and"),
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
    ("RayCluster", f"{WORKER}.replicas", 9, "replicas: 9 is not between minReplicas 0 and"),
    ("RayCluster", f"{WORKER}.minReplicas", 2, "replicas: 0 is not between minReplicas 2"),
    ("RayCluster", f"{HEAD}.terminationGracePeriodSeconds", 60, "are not less than 60 of grace"),
    ("RayCluster", f"{RAY}.env", [], "too short for a checkpoint"),
    ("RayCluster", "spec.workerGroupSpecs.1.template.spec.tolerations", GONE, "disagree"),
    ("RayCluster", "spec.workerGroupSpecs.2.template.spec.nodeSelector", GONE, "from any node"),
    ("RayCluster", "spec.workerGroupSpecs.2.template.spec.tolerations", GONE, "nvidia.com/gpu"),
    ("RayJob", "spec.activeDeadlineSeconds", GONE, "activeDeadlineSeconds: missing"),
    ("RayJob", "spec.preRunningDeadlineSeconds", GONE, "preRunningDeadlineSeconds: missing"),
    ("RayJob", "spec.deletionStrategy.deletionRules", NO_FAILED, "jobDeploymentStatus: Failed"),
    ("RayJob", "spec.backoffLimit", GONE, "backoffLimit: missing"),
    ("RayJob", "spec.deletionStrategy", GONE, "stays for ever"),
    ("RayJob", "spec.submissionMode", "K8sJobMode", "not HTTPMode"),
    ("RayJob", f"{JOB}.workerGroupSpecs.0.template.spec.containers", [], "containers: missing"),
    ("StatefulSet", "spec.template.spec.containers.0.resources", GONE, "resources.limits"),
    # Pods by themselves.
    ("RayCluster", f"{RAY}.volumeMounts.0.name", "temp", "'temp' is no volume of the pod"),
    ("RayCluster", "spec.autoscalerOptions.volumeMounts.0.name", "hoem", "did you mean 'home'?"),
    ("RayCluster", f"{RAY}.volumeMounts.0.mountPath", "/home/ray", "given 2 times; keep one"),
    ("RayCluster", f"{RAY}.env.0.name", "HOME", "env: name 'HOME' is given 2 times; keep one"),
    ("StatefulSet", "spec.volumeClaimTemplates.0.metadata.name", "disk", "'data' is no volume"),
    # Nodes.
    ("RayCluster", f"{GPUS}.nodeSelector", {"synthray.io/gpu": "nvida"}, "did you mean 'nvidia'?"),
    ("RayCluster", f"{GPUS}.nodeSelector", {"synthray.io/gpus": "x"}, "'synthray.io/gpu'?"),
    ("RayCluster", f"{GPUS}.affinity", {"nodeAffinity": AFFINITY}, "'arm' is no value that nodes"),
]
PLACE = {"RayJob": "production/jobs", "RayService": "production/endpoint"}


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
        (f"{RAY}.image", "registry.corp/ml/synthray:0.0.7-cpu", f"take the tag {package}-cpu"),
        (f"{RAY}.image", f"registry.corp:5000/{package}-cpu/mirrored:0.0.7-cpu", "is not of"),
        (f"{WORKER}.template.metadata.labels.app.kubernetes.io/version", "0.0.9", "0.0.9, not"),
    ):
        tree = found("cpu", "RayCluster")
        spoil(tree, path, value)
        problems = versions.check_versions([tree], ray, package)
        assert any(told in problem for problem in problems), (path, problems)


def test_an_image_for_processors_is_noticed_where_a_gpu_is_asked_for() -> None:
    ray, package = versions.locked_ray(), versions.package_version()
    tree = found("gpu", "RayCluster")
    for tag, fits in (
        ("cpu", False),
        ("cuda", True),
        ("cuda-corp2", True),
        ("cuda@sha256:ab", True),
    ):
        image = f"registry.corp/ml/synthray:{package}-{tag}"
        spoil(tree, "spec.workerGroupSpecs.1.template.spec.containers.0.image", image)
        problems = versions.check_versions([tree], ray, package)
        assert bool(problems) != fits, problems
        assert all("cannot use the GPU" in problem for problem in problems)


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
