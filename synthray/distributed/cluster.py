"""Getting a Ray cluster: a running one by its address, or a private one on this machine."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray
import ray._private.worker
from ray.exceptions import RayError

from synthray.config import ClusterConfig
from synthray.console import without_lines
from synthray.errors import ClusterError

OBJECT_STORE_BYTES = 1 << 30
ANSWER_SECONDS = 10
SPARE_CPUS = 1
"""A private cluster has one more than there are: tasks that feed the workers must find a place."""
NOISE = (
    # Ray Data, about every pool of actors that it starts.
    "ray-project/ray/issues/53727",
    # Once a second where a token is refused; our own error follows.
    "Failed to get cluster ID from GCS server",
)
"""Native lines that tell people nothing they could act on."""


@contextmanager
def connect(config: ClusterConfig) -> Iterator[None]:
    """Be connected to Ray within the block.

    With ``cluster.address``, or inside a Ray job, that cluster is used and left as it was. Else a
    private cluster starts on this machine, and everything of it is gone at the end.

    Raises:
        ClusterError: the address does not answer.
    """
    address = _address(config)
    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    cluster = _running(address) if address else _private(config)
    with without_lines(NOISE), in_short(), cluster:
        yield


@contextmanager
def in_short() -> Iterator[None]:
    """Within the block, what Ray tells of its nodes is a plain line on stderr.

    It would go to stdout, in colour, with the end of a lost raylet's log, once from each of its
    agents. Nothing else takes this way, for workers' output stays with them.
    """
    told: set[str] = set()
    before = ray._private.worker.print_to_stdstream

    def tell(data: dict[str, Any], ignore_prefix: bool) -> None:
        for message in data["lines"]:
            line = (str(message).strip().splitlines() or [""])[0].partition("Last 20 lines")[0]
            line = " ".join(line.split())
            if line and line not in told:
                told.add(line)
                print(f"Ray: {line}", file=sys.stderr, flush=True)

    ray._private.worker.print_to_stdstream = tell
    try:
        yield
    finally:
        ray._private.worker.print_to_stdstream = before


def _address(config: ClusterConfig) -> str | None:
    """Of the running cluster to use; none: a private one."""
    return config.address or os.environ.get("RAY_ADDRESS")


@contextmanager
def without_spare(config: ClusterConfig) -> Iterator[None]:
    """Keep the spare processor of a private cluster from work that would not leave it free."""
    if _address(config):
        yield
        return
    holder = _Holder.options(num_cpus=SPARE_CPUS).remote()  # type: ignore[attr-defined]
    ray.get(holder.held.remote())
    try:
        yield
    finally:
        ray.kill(holder)


@ray.remote
class _Holder:
    def held(self) -> bool:
        return True


@cache
def _token() -> str:
    """One token for the life of this process, for Ray keeps the first that it sees."""
    return secrets.token_hex(32)


def first_line(error: Exception) -> str:
    """What Ray says at length, in short."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _knock(address: str) -> None:
    """Raises OSError where nothing listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()


@contextmanager
def _running(address: str) -> Iterator[None]:
    try:
        with _starting(
            f"cluster.address: no Ray cluster answers at {address}",
            "start one, correct the address, or leave it out for a local cluster; a cluster with "
            "token authentication needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN",
        ):
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _private(config: ClusterConfig) -> Iterator[None]:
    _sweep()
    # Short, for the length of socket names is limited.
    place = tempfile.mkdtemp(prefix=f"sr-{os.getpid()}-")
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    if not before["RAY_AUTH_MODE"]:
        # Ray then protects a cluster that it starts by a token; with one of ours in the
        # environment it does not leave one in the home directory, which would change how other
        # clusters of the same user start.
        os.environ["RAY_AUTH_TOKEN"] = _token()
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # Nobody takes this machine away with notice; the watcher would be one more process.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    cpus = max(len(os.sched_getaffinity(0)), config.workers * config.cpus_per_worker) + SPARE_CPUS
    try:
        with _starting(
            "a private Ray could not be started on this machine",
            "see `synthray doctor`, or name a running cluster with --address",
        ):
            ray.init(
                # Without it Ray would join the last cluster that anybody started here.
                address="local",
                num_cpus=cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=place,
            )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _starting(what: str, remedy: str) -> Iterator[None]:
    """Around ray.init: its errors become one of ours, and SIGTERM keeps its handler; Ray's own
    would end the process and leave its folder.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except (OSError, RayError, RuntimeError, ValueError) as error:
        raise ClusterError(f"{what}: {first_line(error)}", remedy) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _sweep() -> None:
    """Remove what private clusters left whose process was killed: about a megabyte each."""
    for folder in Path(tempfile.gettempdir()).glob("sr-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)
