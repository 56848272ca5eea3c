"""The processes of a cluster on this machine: found, measured, ended. Linux only.

Two things lead to them, whoever becomes their parent. All that a node starts inherits the words of
its environment, but workers hide theirs by setting a title; and all but the drivers of jobs belong
to the node's session. So a cluster is ended without touching any other Ray of the machine, as
`ray stop` would.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def found(words: Collection[str], sessions: Collection[int] = ()) -> list[int]:
    """The living processes with all these words in their environment, or of one of the sessions.

    Raises:
        ValueError: no word, or an empty one, which every process has.
    """
    if not words or not all(words):
        raise ValueError("found: needs words that only the processes in question have")
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = _fields(int(folder.name))[:4]
            environment = (folder / "environ").read_bytes()
        except OSError:  # gone since, or somebody else's
            continue
        marked = all(word.encode() in environment for word in words)
        if (marked or int(session) in sessions) and state != "Z":
            pids.append(int(folder.name))
    return [pid for pid in pids if pid != os.getpid()]


def end(words: Collection[str], sessions: Collection[int] = (), seconds: float = 10) -> None:
    """Kill until nothing is left: what is killed may have been starting something."""
    deadline = time.monotonic() + seconds
    while (pids := found(words, sessions)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def processor_seconds(pid: int) -> float:
    """User and system time of one process so far; 0 if it has ended."""
    try:
        fields = _fields(pid)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def title(pid: int) -> str:
    """Its command line, or what it calls itself; empty if it has ended."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return line.replace(b"\0", b" ").decode(errors="replace").strip()


def environment_of(pid: int) -> dict[str, str]:
    """The environment that it was started with; empty if it has ended."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in entries if "=" in entry)


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat from the state on; the name before may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except ProcessLookupError as error:
        raise FileNotFoundError from error
