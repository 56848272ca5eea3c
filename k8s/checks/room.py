"""Whether a job's workers fit into the pods that its groups may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from k8s.checks.reading import GPU, Pod, limits_of

if TYPE_CHECKING:
    from synthray.config import ClusterConfig

_TOGETHER = ("adapt", "run", "train")
"""The stages whose workers must all be there at once; others do with fewer."""
_BY_ONE_CPU = ("evaluate", "generate")
"""The stages whose workers have one processor, whatever the config says."""


def check_room(cluster: ClusterConfig, stage: str, workers: Sequence[Pod]) -> Iterator[str]:
    """Workers that no pod can hold, or more of them than all pods together can.

    Ray would wait for such a worker until the job's deadline.
    """
    cpus, gpus = 1.0 if stage in _BY_ONE_CPU else cluster.cpus_per_worker, cluster.gpus_per_worker
    most_cpus = max((cpus_of(pod) for pod in workers), default=0)
    most_gpus = max((gpus_of(pod) for pod in workers), default=0)
    if gpus > most_gpus:
        yield (
            f"gpus_per_worker: {gpus:g}, and no worker pod has more than {most_gpus:g}; give a "
            f"group {GPU}, or set it to 0"
        )
    elif cpus > most_cpus:
        yield (
            f"cpus_per_worker: {cpus:g} are more than the {most_cpus:g} CPUs of the largest worker "
            f"pod; lower it, or raise the group's limits.cpu"
        )
    elif not any(_places(pod, cpus, gpus) for pod in workers):
        yield (
            f"cpus_per_worker, gpus_per_worker: no worker pod has both {cpus:g} CPUs and {gpus:g} "
            f"GPUs; lower cpus_per_worker to those of the pods with GPUs"
        )
    elif stage in _TOGETHER:
        least = cluster.min_workers or cluster.workers
        places = sum(_places(pod, cpus, gpus) * _most(pod) for pod in workers)
        if least > places:
            yield (
                f"workers: {least} are needed at once, of {cpus:g} CPUs and {gpus:g} GPUs, and all "
                f"worker pods together hold {places}; lower it, or raise the groups' maxReplicas"
            )


def _places(pod: Pod, cpus: float, gpus: float) -> int:
    """Workers that one pod can hold."""
    room = cpus_of(pod) // cpus
    return int(min(room, gpus_of(pod) // gpus) if gpus else room)


def _most(pod: Pod) -> int:
    group = pod.group or {}
    return int(group.get("maxReplicas", 0)) * int(group.get("numOfHosts", 1))


def cpus_of(pod: Pod) -> float:
    """The CPUs that Ray counts in a pod."""
    return _given(pod, "num-cpus", limits_of(pod.ray).get("cpu", "0"))


def gpus_of(pod: Pod) -> float:
    """The GPUs that Ray counts in a pod."""
    return _given(pod, "num-gpus", limits_of(pod.ray).get(GPU, "0"))


def _given(pod: Pod, parameter: str, limit: str) -> float:
    value = str(((pod.group or {}).get("rayStartParams") or {}).get(parameter, limit))
    return float(value[:-1]) / 1000 if value.endswith("m") else float(value)
