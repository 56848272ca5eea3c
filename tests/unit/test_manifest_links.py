"""Every way to spoil what manifests say of each other is noticed, and told with the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import spoiled

from k8s.checks import available
from k8s.checks.companions import companions
from k8s.checks.objects import check_folder
from k8s.checks.rendering import OVERLAYS, ROOT, Document
from k8s.checks.versions import package_version

HEAD = "spec.rayClusterSpec.headGroupSpec.template.spec"
WORKER = "spec.rayClusterConfig.workerGroupSpecs.0.template.spec"
SERVING = f"{WORKER}.containers.0"
PROBE = f"{SERVING}.readinessProbe.httpGet.port"
STATE = "spec.gcsFaultToleranceOptions"
LINKS: list[tuple[str, str, str, Any, str]] = [
    # Selectors of pods and of namespaces.
    ("cpu", "NetworkPolicy/ray-nodes", "spec.podSelector.matchLabels", {"app": "x"}, "label 'app'"),
    (
        "cpu",
        "NetworkPolicy/clients",
        "spec.podSelector.matchLabels",
        {"app.kubernetes.io/component": "endpont"},
        "component=endpont; did you mean 'endpoint'?",
    ),
    (
        "production",
        "NetworkPolicy/to-redis",
        "spec.egress.0.to.0.podSelector",
        {"matchLabels": {"app.kubernetes.io/component": "reddis"}},
        "spec.egress[0].to.podSelector: matches no pod",
    ),
    (
        "cpu",
        "NetworkPolicy/clients",
        "spec.ingress.0.from.0.namespaceSelector.matchLabels",
        {"synthray.io/clients": "true"},
        "did you mean 'synthray.io/client'?",
    ),
    (
        "cpu",
        "PodDisruptionBudget/interactive-head",
        "spec.selector.matchLabels",
        {"ray.io/node-type": "hed"},
        "ray.io/node-type=hed; did you mean 'head'?",
    ),
    (
        "production",
        "PodMonitor/ray-heads",
        "spec.selector.matchLabels",
        {"ray.io/nodetype": "head"},
        "did you mean 'ray.io/node-type'?",
    ),
    ("production", "Service/redis", "spec.selector", {"app": "redis"}, "none has a label 'app'"),
    (
        "cpu/endpoint",
        "RayService/endpoint",
        f"{WORKER}.topologySpreadConstraints.0.labelSelector.matchLabels",
        {"ray.io/node-type": "head"},
        "matches no pod",
    ),
    # Ports and paths.
    (
        "production",
        "PodMonitor/ray-workers",
        "spec.podMetricsEndpoints.0.port",
        "metric",
        "no container has port 'metric'; did you mean 'metrics'?",
    ),
    (
        "cpu",
        "NetworkPolicy/clients",
        "spec.ingress.0.ports.0.port",
        8001,
        "port 8001; known: 1",
    ),
    ("production", "NetworkPolicy/to-redis", "spec.egress.0.ports.0.port", 6380, "port 6380"),
    ("production", "Service/redis", "spec.ports.0.targetPort", "rediss", "did you mean 'redis'?"),
    (
        "cpu/endpoint",
        "RayService/endpoint",
        f"{SERVING}.readinessProbe.httpGet.path",
        "/-/health",
        "'/-/health' is none that Ray or SynthRay answers; did you mean '/-/healthz'?",
    ),
    (
        "cpu/endpoint",
        "RayService/endpoint",
        PROBE,
        8080,
        "8080, and /-/healthz is answered at serve, 8000",
    ),
    (
        "cpu/endpoint",
        "RayService/endpoint",
        f"{SERVING}.readinessProbe.httpGet.port",
        81,
        "port 81",
    ),
    # Names that lead elsewhere.
    (
        "cpu/jobs",
        "RayJob/train",
        f"{HEAD}.containers.0.envFrom.1.secretRef.name",
        "synthray-s33",
        "did you mean 'synthray-s3'?",
    ),
    (
        "cpu/jobs",
        "RayJob/train",
        f"{HEAD}.imagePullSecrets",
        [{"name": "registry"}],
        "Secret 'registry' is neither here nor told of in k8s/README.md",
    ),
    (
        "production",
        "RayCluster/interactive",
        f"{STATE}.redisPassword.valueFrom.secretKeyRef.key",
        "pasword",
        "'pasword' is no key of synthray-redis; did you mean 'password'?",
    ),
    (
        "production",
        "RayCluster/interactive",
        f"{STATE}.redisAddress",
        "rediss:6379",
        "'rediss:6379': no Service 'rediss' is here; did you mean 'redis'?",
    ),
    (
        "production",
        "RayCluster/interactive",
        f"{STATE}.redisAddress",
        "rediss://redis.synthray.svc:6380",
        "Service 'redis' has no port 6380",
    ),
    (
        "cpu",
        "ConfigMap/synthray-storage",
        "data.AWS_ENDPOINT_URL",
        "http://minio:9000",
        "no Service 'minio' is here",
    ),
    (
        "cpu/jobs",
        "RayJob/train",
        f"{HEAD}.serviceAccountName",
        "head",
        "ServiceAccount/head is not",
    ),
    (
        "cpu",
        "ServiceAccount/synthray-worker",
        "automountServiceAccountToken",
        True,
        "True, and pods that are no heads have this account; set it to false",
    ),
    # Commands of jobs.
    ("cpu/jobs", "RayJob/train", "spec.entrypoint", "synthray trian x", "did you mean 'train'?"),
    ("cpu/jobs", "RayJob/train", "spec.entrypoint", "synthray serve x", "'serve' is no stage"),
    ("cpu/jobs", "RayJob/train", "spec.entrypoint", "python train.py", "does not run synthray"),
    ("cpu/jobs", "RayJob/train", "spec.entrypoint", "synthray 'train", "is no command line"),
    ("cpu/jobs", "RayJob/train", "spec.entrypoint", "synthray train c --jsn", "--jsn"),
    (
        "cpu/jobs",
        "RayJob/train",
        "spec.entrypoint",
        "synthray train /etc/synthray/conf.yaml",
        "no such key; did you mean 'config.yaml'?",
    ),
    (
        "cpu/jobs",
        "RayJob/train",
        "spec.entrypoint",
        "synthray train /etc/synthrya/config.yaml",
        "no volume is mounted there",
    ),
    (
        "cpu/jobs",
        "RayJob/train",
        "spec.entrypoint",
        "synthray train /etc/synthray/config.yaml train.stops=$STEPS train.step=3",
        "train.step: unknown key",
    ),
    ("cpu/jobs", "RayJob/train", "spec.entrypoint", "synthray train", "synthray train --help"),
    # Room for their workers.
    (
        "production/jobs",
        "RayJob/train",
        "spec.rayClusterSpec.workerGroupSpecs",
        [],
        "gpus_per_worker: 1, and no worker pod has more than 0",
    ),
]


@pytest.mark.parametrize(("folder", "name", "path", "value", "told"), LINKS)
def test_a_link_to_nothing_is_noticed(
    folder: str, name: str, path: str, value: Any, told: str
) -> None:
    problems = spoiled(folder, name, path, value)
    told_of = [problem for problem in problems if problem.startswith(f"{name}: ")]
    assert any(told in problem for problem in told_of), problems


def test_without_synthray_and_ray_the_rest_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    available.part.cache_clear()
    for name in available.PARTS:
        monkeypatch.setitem(sys.modules, name, None)
    assert len(available.notes()) == 3
    assert "ray.serve.schema cannot be imported here" in available.notes()[1]
    assert check_folder(OVERLAYS / "cpu" / "jobs")[1] == []
    problems = spoiled("cpu/jobs", "RayJob/train", "spec.entrypoint", "synthray trian x")
    assert any("'trian'" in problem for problem in problems)
    available.part.cache_clear()


def test_checking_imports_neither_torch_nor_ray() -> None:
    code = "import sys, k8s.checks.objects; print({'torch', 'ray', 'synthray'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_an_overlay_of_ones_own_is_judged_beside_ours(tmp_path: Path) -> None:
    production = OVERLAYS / "production"
    (tmp_path / "jobs").mkdir()
    image = {"name": "ghcr.io/synthray/synthray", "newName": "registry.corp/ml/synthray"}
    for folder, base, tag in (
        (tmp_path, production, f"{package_version()}-cuda"),
        (tmp_path / "jobs", production / "jobs", "0.0.7-cuda"),
    ):
        tree: Document = {"images": [{**image, "newTag": tag}]}
        tree["resources"] = [os.path.relpath(base, folder.resolve())]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(tree))
    assert companions(tmp_path) == {tmp_path.resolve() / "jobs", production / "endpoint"}
    assert companions(production / "jobs") == {production, production / "endpoint"}
    assert check_folder(tmp_path)[1] == []
    problems = check_folder(tmp_path / "jobs")[1]
    assert problems
    assert all("synthray:0.0.7-cuda is not of version" in problem for problem in problems)


def test_make_leaves_an_environment_of_others_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    other = tmp_path / "elsewhere" / "bin"
    other.mkdir(parents=True)
    (other / "python").touch(mode=0o755)
    (tmp_path / ".venv").symlink_to(other.parent)
    command = ["make", "-n", "-C", str(tmp_path), "manifests", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "k8s.checks" in done.stdout
    assert "pip install" not in done.stdout
