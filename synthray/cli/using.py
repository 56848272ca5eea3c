"""Commands about what a trained model gives: datasets, rows, scores, an endpoint."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from synthray import config as configs
from synthray import storage
from synthray.cli.shared import (
    Address,
    Json,
    Overrides,
    Seed,
    app,
    balance_of,
    cluster_of,
    load,
    pipeline_of,
    print_result,
    refuse,
    screen,
    where_of,
    words,
)
from synthray.config import Config, GenerateConfig
from synthray.errors import UsageError


@app.command()
def generate(
    config: Annotated[str | None, typer.Argument(metavar="[CONFIG]")] = None,
    overrides: Overrides = None,
    artifact: Annotated[str | None, typer.Option(help="a trained artifact, without CONFIG")] = None,
    rows: Annotated[int | None, typer.Option(help="with --artifact")] = None,
    out: Annotated[str | None, typer.Option(help="with --artifact: where to write")] = None,
    seed: Annotated[int | None, typer.Option(help="with --artifact")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="with --artifact: hold col=value; may be repeated"),
    ] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option(help="with --artifact: shares, as of rows; may be repeated"),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="with --artifact: model replicas")] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Write a dataset of synthetic rows as Parquet; an interrupted one is completed."""
    options: dict[str, Any] = {"--rows": rows, "--out": out, "--seed": seed, "--where": where}
    options |= {"--balance": balance, "--workers": workers}
    if artifact:
        given = words(config, overrides)
        settings = _adhoc(artifact, rows, out, seed, where, balance, workers, address, given)
        source, place = storage.absolute(artifact), settings.output
    elif config:
        refuse(options, "--artifact", "with CONFIG write, say, generate.rows=1000")
        settings = load(config, overrides, address)
        source, place = settings.place("artifact"), settings.place("synthetic")
    else:
        raise UsageError("generate: neither CONFIG nor --artifact", "give one of them")
    pipeline = pipeline_of()
    with cluster_of(settings):
        plan = pipeline.run_generate(settings, screen, source, place)
    print_result(as_json, {"dataset": place, **plan.model_dump(mode="json")}, place)


@app.command()
def rows(
    artifact: Annotated[str, typer.Option(help="a trained artifact, local or s3://")],
    start: Annotated[int, typer.Option(help="the first row")] = 0,
    count: Annotated[int, typer.Option(help="how many")] = 10,
    seed: Seed = 0,
    where: Annotated[list[str] | None, typer.Option(help="hold col=value; may be repeated")] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option(help="shares to hit: col=0.5 or 'col={value: 0.5}'; may be repeated"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help=".parquet, .arrow, .csv or .jsonl file; none: JSON Lines on stdout"),
    ] = None,
    trust: Annotated[
        list[str] | None, typer.Option(help="family module:Class that the artifact may name")
    ] = None,
) -> None:
    """Any slice of the virtual dataset (artifact, seed)."""
    from synthray.artifact import Artifact
    from synthray.sampling.slices import write_slice
    from synthray.sampling.virtual import VirtualDataset

    found = Artifact.load(artifact, trust or ())
    virtual = VirtualDataset(found, seed, where_of(where), balance=balance_of(balance))
    write_slice(virtual, start, count, out)


@app.command()
def evaluate(
    config: Annotated[str | None, typer.Argument(metavar="[CONFIG]")] = None,
    overrides: Overrides = None,
    real: Annotated[str | None, typer.Option(help="without CONFIG")] = None,
    synthetic: Annotated[str | None, typer.Option(help="without CONFIG")] = None,
    holdout: Annotated[str | None, typer.Option(help="real data that training never saw")] = None,
    report: Annotated[
        str | None, typer.Option(help="the page, report.html; a .json goes beside it")
    ] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Score synthetic against real data, with the real-against-real floor; write the report."""
    if real and synthetic:
        tree = {"data": {"source": real}, "output": ".", "cluster": {"address": address}}
        tree["evaluate"] = {"holdout": holdout}
        settings = configs.parse(tree, words(config, overrides), "evaluate")
    elif config:
        options = {"--real": real, "--synthetic": synthetic}
        refuse(options, "both of --real and --synthetic", "give both, without CONFIG")
        options = {"--holdout": holdout, "--report": report}
        refuse(options, "--real and --synthetic", "with CONFIG write evaluate.holdout=URI")
        settings = load(config, overrides, address)
    else:
        raise UsageError("evaluate: no CONFIG", "give one, or --real and --synthetic")
    pipeline = pipeline_of()
    with cluster_of(settings):
        if synthetic:
            scores = pipeline.evaluate(settings, synthetic, report or "report.html", screen.say)
        else:
            scores = pipeline.run_evaluate(settings, screen)
    print_result(as_json, scores, _score_lines(scores))
    pipeline.raise_missed(scores)


@app.command()
def serve(
    targets: Annotated[list[str], typer.Argument(metavar="ARTIFACT...|CONFIG [KEY=VALUE]...")],
    port: Annotated[int | None, typer.Option()] = None,
    host: Annotated[str | None, typer.Option()] = None,
    address: Address = None,
) -> None:
    """Serve artifacts over HTTP until interrupted. A model is named by its folder, or NAME=URI."""
    chosen = {k: v for k, v in (("port", port), ("host", host)) if v is not None}
    if configs.is_config(targets[0]):
        overrides = [*targets[1:], *(f"serve.{k}={v}" for k, v in chosen.items())]
        settings = load(targets[0], overrides, address)
        uris = {"model": settings.place("artifact")}
    else:
        tree = {"data": {"source": "."}, "output": ".", "serve": chosen}
        settings = configs.parse(tree | {"cluster": {"address": address}}, [], "serve")
        uris = _named(targets)
    pipeline = pipeline_of()
    with cluster_of(settings):
        pipeline.serve_until_interrupted(uris, settings.endpoint, screen.say)


def _adhoc(
    artifact: str,
    rows: int | None,
    out: str | None,
    seed: int | None,
    where: list[str] | None,
    balance: list[str] | None,
    workers: int | None,
    address: str | None,
    overrides: list[str],
) -> Config:
    if rows is None or out is None:
        raise UsageError("generate --artifact: --rows and --out are missing", "give both")
    generate: dict[str, Any] = GenerateConfig().model_dump()
    generate |= {"where": where_of(where), "balance": balance_of(balance)}
    tree: dict[str, Any] = {
        "data": {"source": artifact},
        "cluster": {"workers": 1 if workers is None else workers, "address": address},
        "train": {"batch_size": 2 * (workers or 1)},
        "generate": generate | {"rows": rows, "seed": seed or 0},
        "output": out,
    }
    return configs.parse(tree, overrides, "generate")


def _named(targets: list[str]) -> dict[str, str]:
    named = {}
    for target in targets:
        name, equals, uri = target.partition("=")
        if not equals:
            parts = [part for part in target.rstrip("/").split("/") if part != "artifact"]
            name, uri = parts[-1] if parts else "model", target
        if name in named:
            raise UsageError(f"two models are named {name!r}", "name them: NAME=ARTIFACT")
        named[name] = uri
    return named


def _score_lines(report: dict[str, Any]) -> str:
    utility = report.get("utility") or {}
    rows = dict(report.get("scores", {}))
    if utility:
        accuracy = {"value": utility["tstr"]["accuracy"], "floor": utility["trtr"]["accuracy"]}
        rows["accuracy trained on it"] = accuracy
    width = max(22, *map(len, rows)) if rows else 22
    lines = [f"{'score':{width}} {'value':>10} {'real/real':>10}"]
    for name, score in rows.items():
        cells = [score.get(key) for key in ("value", "floor")]
        shown = [f"{c:>10.4g}" if isinstance(c, int | float) else f"{'–':>10}" for c in cells]
        lines.append(f"{name:{width}} {' '.join(shown)}")
    return "\n".join(lines)
