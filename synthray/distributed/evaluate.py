"""Evaluation on the cluster: reading, features and classifiers in tasks; the report on storage."""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import ray
import torch

from synthray import storage
from synthray.artifact import Artifact
from synthray.config import Config
from synthray.distributed.mapping import cluster_map
from synthray.errors import NotFoundError
from synthray.metrics.judging import judge
from synthray.metrics.report import report_html, report_json
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan, manifest_uri, read_manifest
from synthray.sampling.findings import look_at
from synthray.sampling.virtual import VirtualDataset
from synthray.version import __version__


def evaluate(
    config: Config,
    synthetic: str,
    report_uri: str,
    say: Callable[[str], None] = print,
    key: str | None = None,
) -> dict[str, Any]:
    """Judge the dataset at ``synthetic`` against the config's source; write the report.

    Ray must be connected.

    Args:
        report_uri: where the HTML goes; the JSON goes beside it.
        key: names what the report depends on, for who looks whether it is there already.

    Returns:
        the report as its JSON. Missed gates are told in it; `raise_if_missed` raises them.

    Raises:
        SourceError, SchemaError, ConditionError: data that cannot be compared.
    """
    report = judge(
        config,
        synthetic,
        compared=_compared(config, synthetic),
        environment=environment(),
        created=date.today().isoformat(),
        mapper=cluster_map,
        say=say,
    )
    tree = report_json(report) | ({} if key is None else {"evaluation": key})
    storage.write_bytes(report_uri, report_html(report).encode())
    storage.write_json(report_uri.removesuffix(".html") + ".json", tree)
    return tree


def refresh_card(config: Config, out: str, scores: dict[str, Any]) -> None:
    """Put the scores into the card of a dataset that this config generated."""
    manifest = read_manifest(out)
    if manifest is None:
        raise NotFoundError(f"no complete dataset at {out}", "generate it first")
    plan = Plan.model_validate(manifest["plan"])
    artifact = Artifact.load(config.place("artifact"), trust=[config.model.name])
    virtual = VirtualDataset(artifact, plan.seed, plan.where, balance=plan.balance)
    findings = look_at(virtual, plan, out)
    card = dataset_card(artifact, plan, config.generate.license, findings, scores)
    storage.write_bytes(storage.join(out, "README.md"), card.encode())


def _compared(config: Config, synthetic: str) -> dict[str, str | int]:
    compared: dict[str, str | int] = {"real": config.data.source, "synthetic": synthetic}
    if config.evaluate.holdout:
        compared["holdout"] = config.evaluate.holdout
    # Of a single file there is none, and nothing beneath it to read.
    manifest = read_manifest(synthetic) if storage.exists(manifest_uri(synthetic)) else None
    if manifest is not None:
        plan = Plan.model_validate(manifest["plan"])
        compared |= {"artifact": plan.digest, "seed": plan.seed, "rows": plan.rows}
    return compared


def environment() -> dict[str, str]:
    """Versions and machine, for a report."""
    return {
        "synthray": __version__,
        "torch": torch.__version__,
        "pyarrow": pa.__version__,
        "ray": ray.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
