"""The stages of a run in order; each sees what is already there and does the rest."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import socket
import urllib.request
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from synthray import artifact_files, storage
from synthray.adapting import adapting
from synthray.artifact import Artifact
from synthray.config import Config
from synthray.console import Screen
from synthray.data.image_codec import ImageCodec
from synthray.data.prepare import open_data
from synthray.data.source import open_source
from synthray.distributed.evaluate import evaluate, refresh_card
from synthray.distributed.generate import generate
from synthray.distributed.serve import direct_opener, running_endpoint, serve_until_interrupted
from synthray.distributed.train import Opened, train
from synthray.distributed.tune import tune
from synthray.errors import ClusterError, NotFoundError
from synthray.metrics.evaluation import check_settings
from synthray.metrics.gates import GateResult, raise_if_missed
from synthray.metrics.tables.evaluation import check_table_settings
from synthray.models import check_params, coding
from synthray.sampling.card import guard_told
from synthray.sampling.dataset import Plan, as_stored, read_manifest
from synthray.tracking import check as check_trackers
from synthray.tracking import tracking
from synthray.tuning.report import Tuning

__all__ = [
    "check_run",
    "evaluate",
    "raise_missed",
    "run_adapt",
    "run_all",
    "run_evaluate",
    "run_generate",
    "run_serve_check",
    "run_train",
    "run_tune",
    "serve_until_interrupted",
]

SERVED_ROWS = 2048


def run_train(config: Config, screen: Screen, opened: Opened | None = None) -> str:
    """Train; returns the artifact's digest.

    Args:
        opened: the config's data, where it has been opened already.
    """
    with screen.bar("training", "steps") as bar:
        digest = train(config, bar.training, screen.say, opened)
    place = config.place("artifact")
    verdict = guard_told(artifact_files.read_manifest(place).card)
    screen.say(f"artifact {digest[:16]}… at {place}; the guard: {verdict}")
    return digest


def run_adapt(config: Config, base: str, screen: Screen) -> str:
    """Adapt the artifact at ``base`` to the config's data; returns the adapted one's digest."""
    return run_train(adapting(config, base), screen)


def run_tune(config: Config, screen: Screen) -> Tuning:
    """Search the config's space; see `synthray.distributed.tune`."""
    with screen.bar("tuning", "steps") as bar:
        return tune(config, bar, screen.say)


def run_generate(
    config: Config, screen: Screen, artifact: str | None = None, out: str | None = None
) -> Plan:
    """Generate the dataset; returns its plan."""
    place = out or config.place("synthetic")
    with screen.bar("generating", "rows") as bar:
        plan = generate(
            artifact or config.place("artifact"), config.generate, place, config, bar, screen.say
        )
    screen.say(f"{plan.rows:,} rows in {plan.shards} shards at {place}")
    return plan


def run_evaluate(config: Config, screen: Screen) -> dict[str, Any]:
    """Evaluate the dataset under ``output``, unless the same evaluation is there already.

    Returns:
        the report as its JSON; see `raise_missed`.
    """
    out, place = config.place("synthetic"), config.place("report.html")
    key = _evaluation_key(config, out)
    try:
        report = dict(storage.read_json(config.place("report.json")))
    except NotFoundError:
        report = {}
    if report.get("evaluation") == key:
        screen.say(f"{place} is already there")
        return report
    report = evaluate(config, out, place, screen.say, key)
    refresh_card(config, out, report["scores"])
    _track(config, report["scores"], screen)
    screen.say(f"report at {place}")
    return report


def _track(config: Config, scores: dict[str, Any], screen: Screen) -> None:
    """Add the report's scores to what trackers know of the training."""
    artifact = Artifact.load(config.place("artifact"), trust=[config.model.name])
    name = str(artifact.card.get("fingerprint"))
    with tracking(config, name, screen.say, training=False) as trackers:
        values = {name: score["value"] for name, score in scores.items()}
        trackers.report({k: float(v) for k, v in values.items() if v is not None})


def raise_missed(report: dict[str, Any]) -> None:
    """Raises: GateError: the report, as its JSON, tells of gates that were missed."""
    raise_if_missed([GateResult(**gate) for gate in report["gates"]])


def _evaluation_key(config: Config, out: str) -> str:
    """What the report depends on: the dataset, the real data, the settings."""
    manifest = read_manifest(out)
    if manifest is None:
        raise NotFoundError(f"no complete dataset at {out}", "generate it first")
    parts = [
        manifest["shards"],
        config.data.model_dump(mode="json"),
        config.evaluate.model_dump(mode="json"),
        config.seed,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def run_serve_check(config: Config, screen: Screen) -> None:
    """Serve the artifact, fetch a batch over HTTP into served.arrow, compare it with the dataset.

    Raises:
        ClusterError: the endpoint's rows are not those of the dataset.
    """
    place = config.place("served.arrow")
    rows = min(SERVED_ROWS, config.generate.rows, config.serve.max_rows)
    expected = _first_rows(config.place("synthetic"), rows)
    if _same_rows(place, expected):
        screen.say(f"{place} is already there")
        return
    settings = config.endpoint.model_copy(update={"port": _free_port(), "host": "127.0.0.1"})
    token = secrets.token_hex(32)
    with running_endpoint({"model": config.place("artifact")}, settings, token) as url:
        body = {
            "rows": rows,
            "start": 0,
            "seed": config.generate.seed,
            "where": config.generate.where,
            "balance": config.generate.balance,
            "images": config.generate.images,
        }
        data = _post(f"{url}/v1/models/model/sample", body, token)
    storage.write_bytes(place, data)
    if not _same_rows(place, expected):
        raise ClusterError(
            f"the endpoint's rows in {place} are not those of the dataset",
            "report this: both must be the same bytes",
        )
    screen.say(f"{rows:,} rows fetched over HTTP into {place}: the same as in the dataset")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _post(url: str, body: dict[str, object], token: str) -> bytes:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with direct_opener().open(request, timeout=300) as response:
            return bytes(response.read())
    except OSError as error:
        raise ClusterError(f"{url} did not answer: {error}", "see the endpoint's log") from error


def _first_rows(out: str, rows: int) -> pa.Table:
    filesystem, path = storage.filesystem(storage.join(out, "data"))
    return ds.dataset(path, filesystem=filesystem, format="parquet").head(rows)


def _same_rows(place: str, expected: pa.Table) -> bool:
    try:
        data = storage.read_bytes(place)
    except NotFoundError:
        return False
    try:
        served = pa.ipc.open_stream(io.BytesIO(data)).read_all()
    except pa.ArrowInvalid:
        return False
    return as_stored(served).equals(as_stored(expected))


def check_run(config: Config) -> Opened:
    """Tell what would stop a later stage before the first one begins; Ray need not be connected.

    Returns:
        the opened data, so that nobody has to look through a table a second time.

    Raises:
        ConfigError, SourceError, SchemaError, StorageError, UsageError.
    """
    check_trackers(config)
    check_params(config.model)
    opened = open_data(config.data, coding(config.model))
    codec = opened[1]
    held = config.evaluate.holdout is not None
    if isinstance(codec, ImageCodec):
        check_settings(config.evaluate, labelled=bool(codec.schema.conditions))
    else:
        check_table_settings(config.evaluate, codec.schema, held)
    if config.evaluate.holdout is not None:
        open_source(config.evaluate.holdout, "evaluate.holdout")
    return opened


def run_all(config: Config, screen: Screen, opened: Opened | None = None) -> None:
    """Every stage in order. A missed gate is told at the end, when everything else is done.

    Args:
        opened: of `check_run`.
    """
    screen.say("— train")
    run_train(config, screen, opened)
    screen.say("— generate")
    run_generate(config, screen)
    screen.say("— evaluate")
    report = run_evaluate(config, screen)
    screen.say("— serve")
    run_serve_check(config, screen)
    raise_missed(report)
