"""Nodes on one machine: each a `ray start` process of its own, with its own raylet and workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

RAY = (sys.executable, "-m", "ray.scripts.scripts")
OBJECT_STORE_BYTES = 100 << 20  # a node; shards and checkpoints do not pass through it
ANY_PORT = ("--min-worker-port=0", "--max-worker-port=0")  # of workers: whatever is free
HEAD_TYPE = "ray.head.default"

# When a node counts as lost. A killed raylet is seen after 7 s, by Ray's own settings after 15. A
# host that falls silent is declared dead after a minute by Ray's own, and after seven its tasks run
# elsewhere; these take half a minute, and do not mistake a busy machine for a dead one.
NODE_LOSS = {
    "RAY_health_check_initial_delay_ms": "6000",
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_timeout_ms": "6000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "15000",
    "RAY_grpc_client_keepalive_timeout_ms": "9000",
}


@dataclass(frozen=True)
class NodeType:
    """What each node of a group offers."""

    name: str
    cpus: int
    gpus: int = 0
    market: str = "on-demand"

    @property
    def labels(self) -> dict[str, str]:
        return {"ray.io/node-group": self.name, "ray.io/market-type": self.market}

    @property
    def resources(self) -> dict[str, int]:
        """As the autoscaler counts them."""
        gpus = {"GPU": self.gpus} if self.gpus else {}
        return {"CPU": self.cpus, "object_store_memory": OBJECT_STORE_BYTES} | gpus


class Node:
    """One `ray start --block`; all that it starts has its name in the environment."""

    def __init__(
        self,
        name: str,
        words: Iterable[str],
        environment: Mapping[str, str],
        folder: Path,
        inside: Iterable[str] = (),
    ) -> None:
        """
        Args:
            words: of `ray start`, after it.
            folder: where its log goes.
            inside: a command before it, such as `ip netns exec NAME`.
        """
        self.name = name
        self.log = folder / f"{name}.log"
        command = [*inside, *RAY, "start", "--block", *ANY_PORT, *words]
        if guard := shutil.which("setpriv"):
            # Whoever started it may be killed: it then stops as if asked to.
            command = [guard, "--pdeathsig", "TERM", *command]
        self._command = command
        self._environment = {**environment, "RAY_CLOUD_INSTANCE_ID": name}
        self.launch()

    def launch(self) -> None:
        """Also once more, after it has ended."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is for the one who started the nodes.
                start_new_session=True,
            )

    @property
    def started(self) -> bool:
        return "Ray runtime started" in self.log.read_text(errors="replace")


def node_mark(name: str) -> str:
    """The word in the environment of all that the node with this name starts."""
    return f"RAY_CLOUD_INSTANCE_ID={name}"


def worker_words(address: str, kind: NodeType) -> list[str]:
    """Of `ray start` for a worker; ports that every node would have are left to chance."""
    return [
        f"--address={address}",
        f"--num-cpus={kind.cpus}",
        f"--num-gpus={kind.gpus}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--labels=" + ",".join(f"{name}={value}" for name, value in kind.labels.items()),
        "--dashboard-agent-listen-port=0",
    ]


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with nothing of another Ray in it, and with what a node needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    own = {"PATH": path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**kept, **own, **NODE_LOSS, **extra}
