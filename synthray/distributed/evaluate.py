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
from synthray.data.codec import Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.data.source import open_source
from synthray.distributed.mapping import cluster_map
from synthray.errors import NotFoundError, SchemaError
from synthray.metrics.evaluation import Subjects, check_columns, evaluate_images
from synthray.metrics.gates import raise_if_missed
from synthray.metrics.report import Report, report_html, report_json
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan, read_manifest
from synthray.version import __version__


def evaluate(
    config: Config, synthetic: str, report_uri: str, say: Callable[[str], None] = print
) -> Report:
    """Judge the dataset at ``synthetic`` against the config's source; write the report.

    Ray must be connected.

    Args:
        report_uri: where the HTML goes; the JSON goes beside it.

    Raises:
        SourceError, SchemaError, ConditionError: data that cannot be compared.
        GateError: a gate was missed; the report has been written.
    """
    settings = config.evaluate
    source, codec = open_data(config.data)
    if not isinstance(codec, ImageCodec):
        raise SchemaError("data.modality: evaluation knows images", "give a source of images")
    fit_codec(source, codec, cluster_map)
    real = encode_all(source, codec, cluster_map)
    holdout = (
        None if settings.holdout is None else _read(settings.holdout, codec, "evaluate.holdout")
    )
    generated = _read(synthetic, codec, "synthetic")
    say(
        f"{len(real):,} real, {len(generated):,} synthetic rows; features {settings.features}; "
        f"epochs of a classifier: {settings.epochs}"
    )
    report = evaluate_images(
        Subjects(real, generated, holdout),
        codec,
        settings,
        seed=config.seed,
        compared=_compared(config, synthetic),
        environment=environment(),
        created=date.today().isoformat(),
        mapper=cluster_map,
    )
    write_report(report, report_uri)
    raise_if_missed(report.gates)
    return report


def write_report(report: Report, uri: str) -> None:
    """The page at ``uri`` and its numbers beside it, as .json."""
    storage.write_bytes(uri, report_html(report).encode())
    storage.write_json(uri.removesuffix(".html") + ".json", report_json(report))


def refresh_card(config: Config, artifact_uri: str, out: str, scores: dict[str, Any]) -> None:
    """Put the scores into the card of a dataset that this config generated."""
    manifest = read_manifest(out)
    if manifest is None:
        raise NotFoundError(f"no complete dataset at {out}", "generate it first")
    plan = Plan.model_validate(manifest["plan"])
    card = dataset_card(
        Artifact.load(artifact_uri, trust=[config.model.name]),
        plan,
        config.generate.license,
        scores,
    )
    storage.write_bytes(storage.join(out, "README.md"), card.encode())


def _read(uri: str, codec: ImageCodec, field: str) -> Encoded:
    source = open_source(uri, field)
    check_columns(uri, source.schema.names, codec)
    return encode_all(source, codec, cluster_map)


def _compared(config: Config, synthetic: str) -> dict[str, str | int]:
    compared: dict[str, str | int] = {"real": config.data.source, "synthetic": synthetic}
    if config.evaluate.holdout:
        compared["holdout"] = config.evaluate.holdout
    manifest = read_manifest(synthetic)
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
