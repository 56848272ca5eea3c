"""Prometheus beside a local cluster, by the configuration in cluster/monitoring, where both are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from cluster.local.ports import free_ports

CONFIG = Path(__file__).parents[1] / "monitoring" / "prometheus.yaml"
DEFAULT_FOLDER = "/tmp/ray/"
"""Where the configuration expects Ray's list of nodes."""


@contextmanager
def prometheus(place: Path) -> Iterator[str | None]:
    """Run Prometheus within the block; its address, or None where it cannot be.

    Args:
        place: the folder that Ray keeps for this cluster; what is scraped stays in it.
    """
    program = shutil.which("prometheus")
    if program is None or not CONFIG.exists():
        yield None
        return
    tree = yaml.safe_load(CONFIG.read_text().replace(DEFAULT_FOLDER, f"{place}/"))
    tree["rule_files"] = [str(CONFIG.parent / name) for name in tree.get("rule_files", [])]
    file = place / "prometheus.yaml"
    file.write_text(yaml.safe_dump(tree))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = [program, f"--config.file={file}", f"--storage.tsdb.path={place / 'prometheus'}"]
    command += [f"--web.listen-address={address}"]
    if guard := shutil.which("setpriv"):
        command = [guard, "--pdeathsig", "TERM", *command]
    with (place / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()
