"""Finding the processes that a test has started, to kill them or to see them gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from cluster.local.processes import end, found


def with_path(folder: Path) -> str:
    """PYTHONPATH with another folder, for processes that are to find modules of tests."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def own_processes(name: str) -> list[int]:
    """The descendants of this process whose command line begins so."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # gone since
            continue
        parents[int(folder.name)] = int(stat[1])

    def ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return [pid for pid in names if names[pid].startswith(name.encode()) and ours(pid)]


def marked(mark: str) -> list[int]:
    """The processes with this word in their environment."""
    return found([mark])


def end_all(mark: str) -> None:
    """Kill the processes with this word in their environment."""
    end([mark])


def until(
    condition: Callable[[], bool], seconds: float = 120, otherwise: str = "waited in vain"
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
