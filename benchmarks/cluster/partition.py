"""Hosts in network namespaces: each node behind a link of its own, which can be cut and mended."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.cluster.measuring import Watch
from cluster.local.nodes import Node, NodeType
from cluster.local.ray_cluster import LocalCluster

NETWORK = "10.203.77"
HEAD = 1


def missing() -> str | None:
    """Why this machine cannot do it; None: it can."""
    if os.geteuid():
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` (package iproute2)"
    probe = "srprobe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode:
        return "network namespaces are not permitted here"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return None


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts(LocalCluster):
    """Every node in a namespace of its own, all on one bridge; the driver beside the head."""

    def __init__(
        self, groups: Mapping[NodeType, int], environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(groups, environment=environment)
        self.address = f"{NETWORK}.{HEAD}:{self.address.rpartition(':')[2]}"
        self._bridge = f"srbr{os.getpid() % 10000}"
        self._namespaces: list[str] = []
        self.inside = ("ip", "netns", "exec", self._namespace(HEAD))

    def _namespace(self, host: int) -> str:
        return f"{self._bridge}h{host}"

    def _link(self, host: int) -> str:
        """The end of the host's cable that is at the bridge; at most 15 characters."""
        return f"{self._bridge}p{host}"

    def _add_host(self, host: int) -> str:
        if host == HEAD:
            ip("link", "add", self._bridge, "type", "bridge")
            ip("link", "set", self._bridge, "up")
        name, link = self._namespace(host), self._link(host)
        ip("netns", "add", name)
        self._namespaces.append(name)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", link, "master", self._bridge, "up")
        ip("-n", name, "addr", "add", f"{NETWORK}.{host}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def _launch(self, name: str, words: list[str], environment: Mapping[str, str]) -> Node:
        host = len(self._namespaces) + 1
        inside = ("ip", "netns", "exec", self._add_host(host))
        words = [*words, f"--node-ip-address={NETWORK}.{host}"]
        node = Node(name, words, {**self._environment, **environment}, self.place, inside)
        self.nodes.append(node)
        return node

    def cut(self, host: int) -> None:
        ip("link", "set", self._link(host), "down")

    def mend(self, host: int) -> None:
        ip("link", "set", self._link(host), "up")

    def stop(self) -> None:
        super().stop()
        for name in self._namespaces:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True)

    @staticmethod
    def cut_one_off(
        cluster: Hosts, watch: Watch, job: subprocess.Popen[bytes], share: Callable[[], float]
    ) -> dict[str, Any]:
        """When a third is written, one node falls silent; two thirds, and it is back."""
        while job.poll() is None and share() < 1 / 3:
            time.sleep(0.1)
        cut_off = HEAD + len(cluster.nodes) - 1
        cluster.cut(cut_off)
        cut_at, alone = watch.now(), cluster.nodes[-1].process
        while job.poll() is None and share() < 2 / 3:
            time.sleep(0.1)
        went_on = job.poll() is None
        cluster.mend(cut_off)
        return {
            "cut_at": round(cut_at, 1),
            "mended_at": round(watch.now(), 1),
            "went_on_while_cut": went_on,
            "cut_off_node_ended_before": alone.poll() is not None,
        }
