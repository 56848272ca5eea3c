"""A Ray cluster of several raylets on one machine, with token authentication."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ray.util import get_node_ip_address

from cluster.local.nodes import (
    OBJECT_STORE_BYTES,
    Node,
    NodeType,
    clean_environment,
    node_mark,
    worker_words,
)
from cluster.local.ports import free_ports
from cluster.local.processes import end, environment_of, found, title
from cluster.local.scaling import AUTOSCALED_HEAD, HEAD_ID, write_scaling

HEAD_PORTS = (
    "--port",
    "--ray-client-server-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--metrics-export-port",
    "--runtime-env-agent-port",
    "--node-manager-port",
    "--object-manager-port",
)

STARTS = 3
"""Of a node: `ray start` gives its raylet 30 s to come up, too few on a very busy machine."""


class LocalClusterError(RuntimeError):
    """A node did not start; the message ends with its log."""


class LocalCluster:
    """A head without processors of its own, and workers: started at once, or on demand.

    Nothing is left at the end, and no process is touched but those that it started: they carry its
    mark in their environment.
    """

    def __init__(
        self,
        groups: Mapping[NodeType, int],
        idle_seconds: float | None = None,
        dashboard_port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            groups: nodes of each type; where the autoscaler works, the most of them.
            idle_seconds: after which the autoscaler gives a node back; None: no autoscaler.
            dashboard_port: 0 for a free one; None: no dashboard, and no jobs.
            environment: more of it for the nodes and the clients, such as S3's.
        """
        self.groups, self.idle_seconds = dict(groups), idle_seconds
        # Short, for the length of socket names is limited.
        self.place = Path(tempfile.mkdtemp(prefix="src-"))
        self.mark = f"SYNTHRAY_CLUSTER={uuid.uuid4().hex}"
        self.token = self.place / "token"
        self.token.touch(mode=0o600)
        self.token.write_text(secrets.token_hex(32))
        self.nodes: list[Node] = []
        self.inside: tuple[str, ...] = ()
        """Before a command that is to reach the nodes, where they have a network of their own."""
        ports = free_ports(len(HEAD_PORTS) + 1)
        self._ports = dict(zip(HEAD_PORTS, ports, strict=False))
        self.address = f"{get_node_ip_address()}:{self._ports['--port']}"
        self._dashboard = dashboard_port is not None
        self.url = f"http://127.0.0.1:{dashboard_port or ports[-1]}" if self._dashboard else None
        name, _, value = self.mark.partition("=")
        self._given = dict(environment or {})
        self._environment = clean_environment(self.access | {name: value})

    @property
    def access(self) -> dict[str, str]:
        """The environment in which clients use this cluster."""
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}
        jobs = {"RAY_API_SERVER_ADDRESS": self.url} if self.url else {}
        return own | jobs | self._given

    def start(self, seconds: float = 300) -> None:
        """Start the head, and the workers where no autoscaler does; wait until they are there.

        Raises:
            LocalClusterError: a node ended, or was not there in time.
        """
        self._start_head()
        self._wait(self.nodes, seconds)
        if self.idle_seconds is None:
            for kind, count in self.groups.items():
                for _ in range(count):
                    self.add(kind)
            self._wait(self.nodes, seconds)
        if self.url:
            self._wait_for_jobs(seconds)

    def _start_head(self) -> None:
        words = [f"{name}={port}" for name, port in self._ports.items()]
        words += ["--head", f"--temp-dir={self.place}", "--num-cpus=0", "--num-gpus=0"]
        words += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
        words += [f"--include-dashboard={str(self._dashboard).lower()}"]
        if self.url:
            words += [f"--dashboard-port={self.url.rpartition(':')[2]}"]
        more, environment = self._scaling()
        self._launch(HEAD_ID, [*words, *more], environment)

    def _scaling(self) -> tuple[list[str], dict[str, str]]:
        """Of the head, for its autoscaler: words of `ray start`, and environment."""
        if self.idle_seconds is None:
            return [], {}
        file = write_scaling(self.place, self.address, self.groups, self.idle_seconds)
        return [f"--autoscaling-config={file}"], AUTOSCALED_HEAD

    def _launch(self, name: str, words: list[str], environment: Mapping[str, str]) -> Node:
        node = Node(name, words, {**self._environment, **environment}, self.place)
        self.nodes.append(node)
        return node

    def add(self, kind: NodeType) -> Node:
        """Start one more node, without waiting for it."""
        name = f"{kind.name}-{uuid.uuid4().hex[:8]}"
        words = worker_words(self.address, kind)
        return self._launch(name, words, {"RAY_NODE_TYPE_NAME": kind.name})

    @property
    def _sessions(self) -> set[int]:
        return {node.process.pid for node in self.nodes}

    def processes(self) -> dict[int, str]:
        """All that this cluster runs now: process ids and titles."""
        return {pid: title(pid) for pid in found({self.mark}, self._sessions)}

    def workers(self) -> list[str]:
        """The names of the worker nodes whose raylet runs, whoever started them."""
        names = []
        for pid, words in self.processes().items():
            if "raylet/raylet " in words:
                names.append(environment_of(pid).get("RAY_CLOUD_INSTANCE_ID", ""))
        return sorted(name for name in names if name not in ("", HEAD_ID))

    def kill(self, name: str) -> None:
        """End the worker node with this name as a host that loses its power would."""
        end({self.mark, node_mark(name)})

    def check(self) -> None:
        """
        Raises:
            LocalClusterError: the head has ended.
        """
        if self.nodes[0].process.poll() is not None:
            raise self._failed(self.nodes[0], "has ended")

    def _failed(self, node: Node, what: str) -> LocalClusterError:
        log = node.log.read_text(errors="replace")[-3000:]
        name = "the head" if node.name == HEAD_ID else f"node {node.name}"
        return LocalClusterError(f"{name} {what}. Its log:\n{log}")

    def _wait(self, nodes: list[Node], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        attempts = {node.name: STARTS for node in nodes}
        for node in nodes:
            while not node.started:
                ended = node.process.poll() is not None
                attempts[node.name] -= ended
                if time.monotonic() > deadline or not attempts[node.name]:
                    raise self._failed(node, _not_started(STARTS - attempts[node.name]))
                if ended:
                    node.launch()
                time.sleep(0.05)

    def _wait_for_jobs(self, seconds: float) -> None:
        """The dashboard answers a little later than the head."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            try:
                self.ask("/api/jobs/")
                return
            except OSError:
                time.sleep(0.1)
        raise LocalClusterError(f"the dashboard at {self.url} did not answer in {seconds:.0f} s")

    def ask(self, path: str) -> Any:
        """GET a JSON document of the dashboard."""
        token = self.token.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)
        with opener.open(request, timeout=10) as response:
            return json.load(response)

    def stop(self) -> None:
        """End every process of this cluster, and remove its folder."""
        for node in reversed(self.nodes):
            node.process.terminate()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(n.process.poll() is None for n in self.nodes):
            time.sleep(0.05)
        end({self.mark}, self._sessions)
        for node in self.nodes:
            node.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def __enter__(self) -> LocalCluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _not_started(ended: int) -> str:
    """Of a node that has ended so often while it was starting."""
    tried = f"in {ended} attempts" if ended >= STARTS else f"in time, at attempt {ended + 1}"
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    text = f"did not start {tried}; the load of this machine is {load:.0f} on {cores} cores"
    return f"{text}: too busy for a start, so try again when it is less" if load > cores else text
