"""Policy: what an object of ours needs to be run, found and ended well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from k8s.checks.reading import GPU, Pod, cluster_of, environment, job_of, limits_of, pods_of
from k8s.checks.rendering import Document

LABELS = tuple(f"app.kubernetes.io/{name}" for name in ("name", "part-of", "component", "version"))
_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_MARKET = "ray.io/market-type"
_SPOT_TAINT = "synthray.io/spot"


def check_operations(tree: Document) -> list[str]:
    """Labels, limits, what Ray counts, grace at the end, bounds of jobs."""
    problems = [f"metadata.{told}" for told in _labels(tree["metadata"])]
    if tree["kind"] != "Namespace" and not tree["metadata"].get("namespace"):
        problems.append("metadata.namespace: missing")
    found = cluster_of(tree)
    for pod in pods_of(tree):
        told = [*_labels(pod.template.get("metadata") or {}), *_pod(pod)]
        if found is not None:
            told += [*_ray_pod(pod)]
        problems += [f"{pod.path}.{each}" for each in told]
    if found is not None:
        path, cluster = found
        if cluster.get("enableInTreeAutoscaling"):
            options = cluster.get("autoscalerOptions") or {}
            problems += [f"{path}.autoscalerOptions.{told}" for told in _limits(options)]
    job = job_of(tree)
    if job is not None:
        problems += [f"{job[0]}.{told}" for told in _job(job[1])]
    return problems


def _labels(metadata: dict[str, Any]) -> Iterator[str]:
    missing = [name for name in LABELS if not (metadata.get("labels") or {}).get(name)]
    if missing:
        yield f"labels: {', '.join(missing)} missing"


def _limits(container: dict[str, Any]) -> Iterator[str]:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    missing = [name for name in _RESOURCES if name not in limits]
    if missing:
        yield f"resources.limits: {', '.join(missing)} missing"
    # Ray counts the limits; what is not requested too may not be there.
    if requests != limits:
        yield "resources: requests and limits are not the same"


def _pod(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        yield from (f"{container['name']}.{told}" for told in _limits(container))


def _ray_pod(pod: Pod) -> Iterator[str]:
    group = pod.group or {}
    ray = pod.ray
    if not ray:
        return
    limits = limits_of(ray)
    if not limits.get("cpu", "1").isdecimal():
        yield f"resources.limits.cpu: {limits['cpu']!r}; Ray counts whole processors"
    if pod.is_head and (group.get("rayStartParams") or {}).get("num-cpus") != "0":
        yield "rayStartParams.num-cpus: the head takes work; set it to '0'"
    if not pod.is_head:
        yield from _replicas(group)
    variables = environment(ray)
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    drain = _seconds(variables, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", 30)
    if not drain < grace:
        yield f"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S: {drain} s are not less than {grace} of grace"
    if not 30 <= _seconds(variables, "RAY_JOB_STOP_WAIT_TIME_S", 3) <= grace:
        yield "RAY_JOB_STOP_WAIT_TIME_S: too short for a checkpoint, or longer than the grace"
    yield from _placement(pod, limits)


def _replicas(group: dict[str, Any]) -> Iterator[str]:
    if "maxReplicas" not in group:
        yield "maxReplicas: missing, and so without bound"
        return
    least, most = group.get("minReplicas", 0), group["maxReplicas"]
    replicas = group.get("replicas", least)
    if not least <= replicas <= most:
        told = f"{replicas} is not between minReplicas {least} and maxReplicas {most}"
        yield f"replicas: {told}; change one of them"


def _seconds(variables: dict[str, dict[str, Any]], name: str, default: int) -> float:
    return float(variables.get(name, {}).get("value", default))


def _placement(pod: Pod, limits: dict[str, Any]) -> Iterator[str]:
    """A pod for tainted nodes tolerates the taint and asks for such a node; no other pod does."""
    taints = {each.get("key") for each in pod.spec.get("tolerations") or ()}
    selector = pod.spec.get("nodeSelector") or {}
    if GPU in limits and not (GPU in taints and selector):
        yield f"tolerations, nodeSelector: a GPU is asked for without {GPU}, or from any node"
    spot = ((pod.group or {}).get("labels") or {}).get(_MARKET) == "spot"
    if spot != (_SPOT_TAINT in taints and _SPOT_TAINT in selector):
        yield f"tolerations, nodeSelector: {_SPOT_TAINT} and the label {_MARKET} disagree"


def _job(job: dict[str, Any]) -> Iterator[str]:
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds", "backoffLimit"):
        if key not in job:
            yield f"{key}: missing"
    if not job.get("deletionStrategy") and not job.get("shutdownAfterJobFinishes"):
        yield "deletionStrategy: missing, and so its cluster stays for ever"
    if job.get("deletionStrategy"):
        yield from _ends(job["deletionStrategy"])
    # A submitter's pod would be KubeRay's own, which the level `restricted` refuses.
    if job.get("submissionMode") != "HTTPMode":
        yield "submissionMode: not HTTPMode"


_ENDS = ({"jobStatus": "SUCCEEDED"}, {"jobStatus": "FAILED"}, {"jobDeploymentStatus": "Failed"})
"""Every way in which a job ends; the last where it never ran, or ran into a deadline."""


def _ends(strategy: dict[str, Any]) -> Iterator[str]:
    rules = strategy.get("deletionRules") or ()
    for end in _ENDS:
        policies = {
            rule["policy"] for rule in rules if end.items() <= (rule.get("condition") or {}).items()
        }
        if rules and not policies & {"DeleteCluster", "DeleteSelf"}:
            ((key, value),) = end.items()
            yield (
                f"deletionStrategy.deletionRules: none for {key}: {value}, and so the cluster of "
                f"such a job stays for ever; add one of policy DeleteCluster"
            )
