"""Writes ray_metrics.txt: the names that Ray exports while SynthRay trains, generates and serves.

    RAY_AUTH_MODE=disabled PYTHONPATH=.:tests python tests/references/write_ray_metrics.py

Dashboards and alerts are tested against them. Run it again when Ray's version changes.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import urllib.request
from pathlib import Path

import ray
import tiny

from synthray.config import parse
from synthray.distributed.generate import generate
from synthray.distributed.serve import running_endpoint
from synthray.distributed.train import train
from synthray.distributed.tune import tune


def scrape() -> set[str]:
    port = ray.nodes()[0]["MetricsExportPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return set(re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)[ {]", text, re.MULTILINE))


def main() -> None:
    place = Path(tempfile.mkdtemp(prefix="sr-"))
    tree = {
        "data": {"source": str(tiny.class_folders(place / "pets", each=40))},
        "model": {
            "name": "dcgan",
            "params": {"width": 4, "critic_width": 4, "latent_dim": 8},
        },
        "train": {
            "steps": 30,
            "batch_size": 16,
            "eval_every": 10,
            "guard": {"warm_up": 10},
        },
        "generate": {"rows": 4096, "shard_rows": 1024},
        "tune": {"space": {"train.batch_size": [8, 16]}, "trials": 2, "seeds": 1},
        "serve": {"port": 18_137, "cpus_per_replica": 0.5},
        "output": str(place / "out"),
    }
    config = parse(tree, where="references")
    # On a machine that is busy with other things too.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "600"
    found: set[str] = set()
    # With a dashboard, for its own metrics, and the autoscaler's with it.
    ray.init(
        num_cpus=4,
        object_store_memory=200 << 20,
        include_dashboard=True,
        dashboard_port=18_265,
        log_to_driver=False,
        _temp_dir=str(place / "ray"),
    )
    try:
        train(config)
        found |= scrape()
        generate(config.place("artifact"), config.generate, config.place("synthetic"), config)
        found |= scrape()
        tune(config)
        found |= scrape()
        with running_endpoint({"pets": config.place("artifact")}, config.serve) as url:
            for _ in range(3):
                address = f"{url}/v1/models/pets/rows?start=0&count=10"
                with urllib.request.urlopen(address, timeout=60) as answer:
                    answer.read()
            time.sleep(25)
            found |= scrape()
        time.sleep(15)
        found |= scrape()
    finally:
        ray.shutdown()
        shutil.rmtree(place, ignore_errors=True)
    head = f"# Names at a node's metrics port, Ray {ray.__version__}; see write_ray_metrics.py\n"
    names = sorted(name for name in found if "synthray" not in name)
    Path(__file__).with_name("ray_metrics.txt").write_text(head + "\n".join(names) + "\n")
    print(*sorted(name for name in found if "synthray" in name), sep="\n")


if __name__ == "__main__":
    main()
