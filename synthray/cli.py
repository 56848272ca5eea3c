"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from synthray import config as configs
from synthray import models, storage
from synthray.config import Config, GenerateConfig
from synthray.console import Screen
from synthray.errors import MissingDependencyError, SynthRayError, UsageError
from synthray.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train generative models and turn them into synthetic data at any scale, on Ray.",
)
screen = Screen()

ConfigPath = Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file, local or s3://")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="such as train.steps=100")
]
Address = Annotated[
    str | None, typer.Option(help="a running Ray cluster; none: a local one, started and stopped")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Seed = Annotated[int, typer.Option(help="of the virtual dataset")]


def main() -> None:
    """The entry point: exit codes 0 done, 1 failed, 2 bad usage or config, 3 a gate was missed."""
    try:
        app()
    except SynthRayError as error:
        screen.say(f"synthray: {error}")
        if os.environ.get("SYNTHRAY_DEBUG"):
            traceback.print_exc()
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def init(
    source: Annotated[str, typer.Argument(help="folder of images, or Parquet; local or s3://")],
    output: Annotated[Path, typer.Option("-o", help="the config to write")] = Path("synthray.yaml"),
    force: Annotated[bool, typer.Option(help="overwrite an existing config")] = False,
) -> None:
    """Look at a source, infer its schema, and write a commented config."""
    from synthray.starter import starter_config

    if output.exists() and not force:
        raise UsageError(f"{output} exists", "choose another name with -o, or --force")
    text = starter_config(source, screen.say)
    storage.write_bytes(str(output), text.encode())
    screen.say(f"wrote {output}; next: synthray run {output}")


@app.command()
def train(
    config: ConfigPath, overrides: Overrides = None, address: Address = None, as_json: Json = False
) -> None:
    """Train the config's model; an interrupted training goes on."""
    settings = _load(config, overrides, address)
    pipeline = _pipeline()
    with _cluster(settings):
        digest = pipeline.run_train(settings, screen)
    _result(as_json, {"artifact": settings.place("artifact"), "digest": digest}, digest)


@app.command()
def generate(
    config: Annotated[str | None, typer.Argument(metavar="[CONFIG]")] = None,
    overrides: Overrides = None,
    artifact: Annotated[str | None, typer.Option(help="a trained artifact, without CONFIG")] = None,
    rows: Annotated[int | None, typer.Option(help="with --artifact")] = None,
    out: Annotated[str | None, typer.Option(help="with --artifact: where to write")] = None,
    seed: Seed = 0,
    where: Annotated[list[str] | None, typer.Option(help="col=value, may be repeated")] = None,
    workers: Annotated[int, typer.Option(help="model replicas, with --artifact")] = 1,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Write a dataset of synthetic rows as Parquet; an interrupted one is completed."""
    if artifact:
        settings = _adhoc(artifact, rows, out, seed, where, workers, address, config, overrides)
    elif config:
        settings = _load(config, overrides, address)
    else:
        raise UsageError("generate: neither CONFIG nor --artifact", "give one of them")
    place = out or settings.place("synthetic")
    pipeline = _pipeline()
    with _cluster(settings):
        plan = pipeline.run_generate(settings, screen, artifact, place)
    _result(as_json, {"dataset": place, **plan.model_dump(mode="json")}, place)


@app.command()
def rows(
    artifact: Annotated[str, typer.Option(help="a trained artifact, local or s3://")],
    start: Annotated[int, typer.Option(help="the first row")] = 0,
    count: Annotated[int, typer.Option(help="how many")] = 10,
    seed: Seed = 0,
    where: Annotated[list[str] | None, typer.Option(help="col=value, may be repeated")] = None,
    out: Annotated[
        str | None, typer.Option(help=".parquet, .arrow or .jsonl file; none: JSON Lines on stdout")
    ] = None,
) -> None:
    """Any slice of the virtual dataset (artifact, seed)."""
    from synthray.artifact import Artifact
    from synthray.sampling.slices import write_slice
    from synthray.sampling.virtual import VirtualDataset

    virtual = VirtualDataset(Artifact.load(artifact), seed, _where(where))
    write_slice(virtual, start, count, out)


@app.command()
def evaluate(
    config: Annotated[str | None, typer.Argument(metavar="[CONFIG]")] = None,
    overrides: Overrides = None,
    real: Annotated[str | None, typer.Option(help="without CONFIG")] = None,
    synthetic: Annotated[str | None, typer.Option(help="without CONFIG")] = None,
    holdout: Annotated[str | None, typer.Option(help="real data that training never saw")] = None,
    report: Annotated[str, typer.Option(help="the page; a .json goes beside it")] = "report.html",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Score synthetic against real data, with the real-against-real floor; write the report."""
    pipeline = _pipeline()
    if config:
        settings = _load(config, overrides, address)
        with _cluster(settings):
            pipeline.run_evaluate(settings, screen)
        place = settings.place("report.json")
    elif real and synthetic:
        tree = {"data": {"source": real}, "output": ".", "cluster": {"address": address}}
        tree["evaluate"] = {"holdout": holdout}
        settings = configs.parse(tree, overrides or [], "evaluate")
        with _cluster(settings):
            pipeline.evaluate(settings, synthetic, report, screen.say)
        place = report.removesuffix(".html") + ".json"
    else:
        raise UsageError("evaluate: no CONFIG", "give one, or --real and --synthetic")
    scores = storage.read_json(place)
    _result(as_json, scores, _score_lines(scores))


@app.command()
def serve(
    targets: Annotated[list[str], typer.Argument(metavar="ARTIFACT...|CONFIG")],
    port: Annotated[int | None, typer.Option()] = None,
    host: Annotated[str | None, typer.Option()] = None,
    address: Address = None,
) -> None:
    """Serve artifacts over HTTP until interrupted. A model is named NAME=ARTIFACT, or by its folder."""
    
    chosen = {k: v for k, v in (("port", port), ("host", host)) if v is not None}
    if len(targets) == 1 and targets[0].endswith((".yaml", ".yml")):
        settings = _load(targets[0], [f"serve.{k}={v}" for k, v in chosen.items()], address)
        uris = {"model": settings.place("artifact")}
    else:
        tree = {"data": {"source": "."}, "output": ".", "serve": chosen}
        settings = configs.parse(tree | {"cluster": {"address": address}}, [], "serve")
        uris = _named(targets)
    with _cluster(settings):
        pipeline.serve_until_interrupted(uris, settings.serve, screen.say)


@app.command()
def run(config: ConfigPath, overrides: Overrides = None, address: Address = None) -> None:
    """Every stage in order: train, generate, evaluate, serve a batch. Skips what is done."""
    settings = _load(config, overrides, address)
    pipeline = _pipeline()
    with _cluster(settings):
        pipeline.run_all(settings, screen)
    print(settings.output)


@app.command()
def submit(
    stage: Annotated[str, typer.Argument(help="train, generate, evaluate, serve or pipeline")],
    config: ConfigPath,
    address: Annotated[str, typer.Option(help="the cluster's dashboard, http://HOST:8265")],
    overrides: Overrides = None,
    wait: Annotated[bool, typer.Option(help="follow the log until the job ends")] = True,
) -> None:
    """Submit a stage to a Ray cluster as a job; the same as `ray job submit -- python jobs/…`."""
    from synthray.distributed.submit import submit_job

    _load(config, overrides, None)
    print(submit_job(stage, config, overrides or [], address, wait, screen.say))


@app.command(name="models")
def list_models() -> None:
    """The families, and where each is defined."""
    for name, place in sorted(models.available().items()):
        summary = (sys.modules[models.family(name).__module__].__doc__ or "").strip().split("\n")[0]
        print(f"{name:10} {summary}  [{place}]")


@app.command()
def doctor() -> None:
    """What this machine has: versions, processors, optional packages."""
    from synthray.diagnosis import lines

    for line in lines():
        print(line)


def _load(uri: str, overrides: list[str] | None, address: str | None) -> Config:
    extra = [f"cluster.address={address}"] if address else []
    return configs.load(uri, [*(overrides or []), *extra])


def _adhoc(
    artifact: str,
    rows: int | None,
    out: str | None,
    seed: int,
    where: list[str] | None,
    workers: int,
    address: str | None,
    config: str | None,
    overrides: list[str] | None,
) -> Config:
    if rows is None or out is None:
        raise UsageError("generate --artifact: --rows and --out are missing", "give both")
    generate: dict[str, Any] = GenerateConfig().model_dump()
    tree: dict[str, Any] = {
        "data": {"source": artifact},
        "cluster": {"workers": workers, "address": address},
        "train": {"batch_size": 2 * workers},
        "generate": generate | {"rows": rows, "seed": seed, "where": _where(where)},
        "output": out,
    }
    return configs.parse(tree, [*([config] if config else []), *(overrides or [])], "generate")


def _where(items: list[str] | None) -> dict[str, str]:
    pairs = [item.partition("=") for item in items or []]
    for name, equals, value in pairs:
        if not name or not equals or not value:
            raise UsageError(f"--where {name}{equals}{value}: not col=value", "e.g. label=3")
    return {name: value for name, _, value in pairs}


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


def _pipeline() -> Any:
    try:
        from synthray.distributed import pipeline
    except ImportError as error:
        raise MissingDependencyError(
            f"this command runs on Ray: {error}", "pip install 'synthray[ray]'"
        ) from error
    return pipeline


def _cluster(config: Config) -> Any:
    from synthray.distributed.cluster import connect

    return connect(config.cluster)


def _result(as_json: bool, tree: Any, line: str) -> None:
    print(json.dumps(tree, indent=2, sort_keys=True) if as_json else line)


def _score_lines(report: dict[str, Any]) -> str:
    lines = [f"{'score':22} {'value':>10} {'real/real':>10}"]
    for name, score in report.get("scores", {}).items():
        cells = [score.get(key) for key in ("value", "floor")]
        shown = [f"{c:>10.4g}" if isinstance(c, int | float) else f"{'–':>10}" for c in cells]
        lines.append(f"{name:22} {' '.join(shown)}")
    return "\n".join(lines)
