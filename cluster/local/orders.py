"""Orders to a local cluster that runs: add a node, kill one. They and the answers travel as files.

So a node belongs to the one who started the cluster, and ends with it.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.local.nodes import NodeType

if TYPE_CHECKING:
    from cluster.local.ray_cluster import LocalCluster

PLACE = "SYNTHRAY_LOCAL_CLUSTER"
"""The variable of env.sh that leads to the cluster."""
ANSWER_SECONDS = 30.0


class NoAnswerError(RuntimeError):
    """Nobody carries out the order."""


def give(words: Sequence[str], seconds: float = ANSWER_SECONDS) -> str:
    """Give an order to the cluster whose environment is loaded; returns its answer.

    Raises:
        NoAnswerError: there is none, or it does not answer.
    """
    place = Path(os.environ.get(PLACE, "none"))
    if not place.is_dir():
        raise NoAnswerError(
            f"{PLACE}: no local cluster at {place}; load the env.sh that a running one has printed"
        )
    order = place / f"order-{uuid.uuid4().hex}"
    answer = order.with_suffix(".told")
    draft = order.with_suffix(".draft")
    draft.write_text(" ".join(words))
    draft.rename(order)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer.exists():
            text = answer.read_text()
            answer.unlink()
            return text
        time.sleep(0.1)
    order.unlink(missing_ok=True)
    raise NoAnswerError(f"the cluster at {place} did not answer in {seconds:.0f} s")


def obey(cluster: LocalCluster, kinds: Mapping[str, NodeType]) -> Iterator[str]:
    """Carry out what has been ordered; gives the answers."""
    for order in sorted(cluster.place.glob("order-*")):
        if order.suffix:
            continue
        text = _carried_out(cluster, kinds, order.read_text().split())
        order.unlink()
        draft = order.with_suffix(".draft")
        draft.write_text(text)
        draft.rename(order.with_suffix(".told"))
        yield text


def _carried_out(cluster: LocalCluster, kinds: Mapping[str, NodeType], words: list[str]) -> str:
    match words:
        case ["add", name] if name in kinds and cluster.idle_seconds is None:
            return f"{cluster.add(kinds[name]).name} is starting"
        case ["add", _] if cluster.idle_seconds is not None:
            return "not added: here the autoscaler starts nodes"
        case ["kill", name]:
            there = cluster.workers()
            victims = [node for node in there if node == name or node.startswith(f"{name}-")]
            if victims:
                cluster.kill(victims[-1])
                return f"{victims[-1]} is killed"
            return f"not killed: no node {name}; there are {', '.join(there) or 'none'}"
    return f"not understood: {' '.join(words)}; use add {'|'.join(kinds)}, or kill NODE|TYPE"
