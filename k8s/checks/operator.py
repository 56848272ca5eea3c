"""What KubeRay's operator refuses though the schemas allow it.

Mirrors the rules that concern us of ray-operator/controllers/ray/utils/validation.go and of the
definitions' x-kubernetes-validations, KubeRay 1.7 (Apache-2.0).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from k8s.checks.reading import Pod, cluster_of, environment, job_of, pods_of
from k8s.checks.rendering import Document

_LONGEST = {"RayCluster": 53, "RayService": 47, "RayJob": 47, "RayCronJob": 36}
_MODES = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
_UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
_DELETION_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
_OF_REDIS = ("redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace")


def check_operator(tree: Document) -> list[str]:
    """What the operator would refuse; nothing for kinds that are not its own."""
    found = cluster_of(tree)
    if found is None:
        return []
    problems = [*_name(tree)]
    path, cluster = found
    problems += [f"{path}.{told}" for told in _cluster(cluster)]
    problems += [told for pod in pods_of(tree) for told in _pod(pod, cluster)]
    job = job_of(tree)
    if job is not None:
        problems += [f"{job[0]}.{told}" for told in _job(job[1])]
    if tree["kind"] == "RayService":
        problems += [f"spec.{told}" for told in _service(tree["spec"], cluster)]
    if tree["kind"] == "RayCronJob":
        problems += [f"spec.{told}" for told in _cron(tree["spec"])]
    return problems


def _name(tree: Document) -> Iterator[str]:
    name, longest = tree["metadata"]["name"], _LONGEST[tree["kind"]]
    if len(name) > longest:
        yield f"metadata.name: {len(name)} characters are more than {longest}"
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"metadata.name: {name!r} is no DNS-1035 label"


def _scales(cluster: dict[str, Any]) -> bool:
    return bool(cluster.get("enableInTreeAutoscaling"))


def _cluster(cluster: dict[str, Any]) -> Iterator[str]:
    auth = cluster.get("authOptions") or {}
    if auth.get("mode") == "token" and not cluster.get("rayVersion"):
        yield "rayVersion: missing, and tokens need it"
    if auth.get("enableK8sTokenAuth") and auth.get("secretName"):
        yield "authOptions: enableK8sTokenAuth and secretName exclude each other"
    state = cluster.get("gcsFaultToleranceOptions")
    if state is not None:
        if state.get("backend", "redis") == "rocksdb":
            for key in _OF_REDIS:
                if key in state:
                    yield f"gcsFaultToleranceOptions.{key}: not with backend rocksdb"
        elif "storage" in state:
            yield "gcsFaultToleranceOptions.storage: only with backend rocksdb"
    if (cluster.get("autoscalerOptions") or {}).get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds: negative"


def _pod(pod: Pod, cluster: dict[str, Any]) -> Iterator[str]:
    group = pod.group or {}
    if not pod.spec.get("containers"):
        yield f"{pod.path}.template.spec.containers: missing"
        return
    parameters = group.get("rayStartParams") or {}
    if group.get("resources") and parameters.keys() & {"num-cpus", "num-gpus", "memory"}:
        yield f"{pod.path}: resources stand both in rayStartParams and in resources"
    if "labels" in parameters:
        yield f"{pod.path}.rayStartParams.labels: use the group's labels"
    variables = environment(pod.ray)
    options = cluster.get("autoscalerOptions") or {}
    if pod.is_head and "RAY_enable_autoscaler_v2" in variables and options.get("version"):
        yield f"{pod.path}: RAY_enable_autoscaler_v2 beside autoscalerOptions.version"
    second = options.get("version") == "v2"
    if second and _scales(cluster) and pod.spec.get("restartPolicy", "Never") != "Never":
        yield f"{pod.path}.template.spec.restartPolicy: must be Never with autoscaler v2"
    least, most = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)
    if least < 0 or least > most:
        yield f"{pod.path}: minReplicas {least} and maxReplicas {most} do not go together"
    if "idleTimeoutSeconds" in group and not second:
        yield f"{pod.path}.idleTimeoutSeconds: only with autoscaler v2"


def _job(job: dict[str, Any]) -> Iterator[str]:
    selects, ends = bool(job.get("clusterSelector")), bool(job.get("shutdownAfterJobFinishes"))
    mode, retries = job.get("submissionMode", "K8sJobMode"), job.get("backoffLimit", 0)
    if mode not in _MODES:
        yield f"submissionMode: {mode!r} is none of {', '.join(_MODES)}"
    if bool(job.get("rayClusterSpec")) == selects:
        yield "rayClusterSpec: one of rayClusterSpec and clusterSelector must be there"
    if retries and (selects or mode == "InteractiveMode"):
        yield "backoffLimit: not with clusterSelector or InteractiveMode"
    if retries < 0:
        yield "backoffLimit: negative"
    if mode == "SidecarMode" and ("submitterPodTemplate" in job or "submitterConfig" in job):
        yield "submissionMode: SidecarMode takes no submitter of ours"
    if job.get("activeDeadlineSeconds", 1) <= 0:
        yield "activeDeadlineSeconds: must be positive"
    if job.get("suspend") and not ends:
        yield "suspend: only with shutdownAfterJobFinishes"
    if job.get("ttlSecondsAfterFinished", 0) > 0 and not ends:
        yield "ttlSecondsAfterFinished: only with shutdownAfterJobFinishes"
    strategy = job.get("deletionStrategy")
    if strategy is not None:
        scales = _scales(job.get("rayClusterSpec") or {})
        yield from (f"deletionStrategy.{told}" for told in _deletion(strategy, ends, scales))


def _deletion(strategy: dict[str, Any], ends: bool, scales: bool) -> Iterator[str]:
    rules = strategy.get("deletionRules") or []
    if not rules:
        if not ("onSuccess" in strategy and "onFailure" in strategy):
            yield "deletionRules: missing"
        return
    if ends:
        yield "deletionRules: not with shutdownAfterJobFinishes"
    if "onSuccess" in strategy or "onFailure" in strategy:
        yield "deletionRules: not with onSuccess or onFailure"
    times: dict[str, dict[str, int]] = {}
    count = Counter[tuple[str, str]]()
    for index, rule in enumerate(rules):
        condition = rule.get("condition") or {}
        kinds = [key for key in ("jobStatus", "jobDeploymentStatus") if key in condition]
        if len(kinds) != 1:
            yield f"deletionRules[{index}]: exactly one of jobStatus and jobDeploymentStatus"
            continue
        if scales and rule["policy"] == "DeleteWorkers":
            yield f"deletionRules[{index}]: DeleteWorkers does not go with autoscaling"
        when = f"{kinds[0]} {condition[kinds[0]]}"
        count[when, rule["policy"]] += 1
        times.setdefault(when, {})[rule["policy"]] = condition.get("ttlSeconds", 0)
    for (when, policy), number in count.items():
        if number > 1:
            yield f"deletionRules: {policy} for {when} stands there twice"
    for when, policies in times.items():
        seconds = [policies[policy] for policy in _DELETION_ORDER if policy in policies]
        if seconds != sorted(seconds):
            yield f"deletionRules: for {when}, workers go before the cluster, it before the job"


def _service(spec: dict[str, Any], cluster: dict[str, Any]) -> Iterator[str]:
    strategy = spec.get("upgradeStrategy") or {}
    kind = strategy.get("type", "NewCluster")
    if kind not in _UPGRADES:
        yield f"upgradeStrategy.type: {kind!r} is none of {', '.join(_UPGRADES)}"
    if kind != "NewClusterWithIncrementalUpgrade":
        return
    if not _scales(cluster):
        yield "upgradeStrategy: incremental upgrades need the autoscaler"
    options = strategy.get("clusterUpgradeOptions")
    if options is None:
        yield "upgradeStrategy.clusterUpgradeOptions: missing"
        return
    step, surge = options.get("stepSizePercent", 0), options.get("maxSurgePercent", 100)
    if not 0 <= step <= surge <= 100:
        yield f"upgradeStrategy: stepSizePercent {step} must be at most maxSurgePercent {surge}"
    if options.get("intervalSeconds", 0) <= 0:
        yield "upgradeStrategy.clusterUpgradeOptions.intervalSeconds: must be positive"


def _cron(spec: dict[str, Any]) -> Iterator[str]:
    schedule = str(spec.get("schedule"))
    if "TZ" in schedule or not (schedule.startswith("@") or len(schedule.split()) == 5):
        yield f"schedule: {schedule!r} is no cron schedule; the time zone has a field of its own"
