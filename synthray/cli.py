"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
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
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="such as train.steps=100")
]
Address = Annotated[
    str | None, typer.Option(help="a running Ray cluster; none: a local one, started and stopped")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Seed = Annotated[int, typer.Option(help="of the virtual dataset")]


def main() -> None:
    """The entry point: exit codes 0 done, 1 failed, 2 bad usage or config, 3 a gate was missed;
    130 and 143 after Ctrl-C and SIGTERM.
    """
    asked: list[int] = []

    def end(number: int, _: object) -> None:
        asked.append(number)
        raise SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        app()
    except (SystemExit, SynthRayError) as error:
        code = error.code if isinstance(error, SystemExit) else error.exit_code
        # First of all: Ray makes exit code 1 of whatever a handler raises while it waits.
        if asked and code:
            screen.say("synthray: interrupted; the same command goes on from what is there")
            sys.exit(128 + asked[0])
        if isinstance(error, SystemExit):
            raise
        screen.say(f"synthray: {error}")
        if os.environ.get("SYNTHRAY_DEBUG"):
            traceback.print_exc()
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    if debug:
        os.environ["SYNTHRAY_DEBUG"] = "1"
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def init(
    source: Annotated[str, typer.Argument(help="folder of images, or Parquet; local or s3://")],
    output: Annotated[str, typer.Option("-o", help="the config to write")] = "synthray.yaml",
    force: Annotated[bool, typer.Option(help="overwrite an existing config")] = False,
) -> None:
    """Look at a source, infer its schema, and write a commented config."""
    from synthray.starter import starter_config

    if storage.exists(output) and not force:
        raise UsageError(f"{output} exists", "choose another name with -o, or --force")
    starter = starter_config(source, screen.say)
    storage.write_bytes(output, starter.text.encode())
    screen.say(f"wrote {output}; next: synthray {starter.command} {output}")


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
def tune(
    config: ConfigPath, overrides: Overrides = None, address: Address = None, as_json: Json = False
) -> None:
    """Search tune.space for settings that train stably; an interrupted search goes on."""
    from synthray.tuning.report import shown

    settings = _load(config, overrides, address)
    pipeline = _pipeline()
    with _cluster(settings):
        tuning = pipeline.run_tune(settings, screen)
    for line in shown(settings, tuning):
        screen.say(line)
    place = settings.place("tune", "best.yaml")
    _result(as_json, {"config": place, **tuning.model_dump(mode="json")}, place)
    screen.say(f"next: synthray train {place}")


@app.command()
def adapt(
    config: ConfigPath,
    base: Annotated[str, typer.Option(help="the trained artifact to adapt, local or s3://")],
    overrides: Overrides = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Adapt a trained artifact to the config's data (AD-GAN); an interrupted run goes on."""
    settings = _load(config, overrides, address)
    pipeline = _pipeline()
    with _cluster(settings):
        digest = pipeline.run_adapt(settings, base, screen)
    _result(as_json, {"artifact": settings.place("artifact"), "digest": digest}, digest)


@app.command()
def generate(
    config: Annotated[str | None, typer.Argument(metavar="[CONFIG]")] = None,
    overrides: Overrides = None,
    artifact: Annotated[str | None, typer.Option(help="a trained artifact, without CONFIG")] = None,
    rows: Annotated[int | None, typer.Option(help="with --artifact")] = None,
    out: Annotated[str | None, typer.Option(help="with --artifact: where to write")] = None,
    seed: Annotated[int | None, typer.Option(help="with --artifact")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="with --artifact: col=value, may be repeated")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="with --artifact: model replicas")] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Write a dataset of synthetic rows as Parquet; an interrupted one is completed."""
    options = {"--rows": rows, "--out": out, "--seed": seed, "--where": where, "--workers": workers}
    if artifact:
        settings = _adhoc(
            artifact, rows, out, seed, where, workers, address, _words(config, overrides)
        )
        source, place = storage.absolute(artifact), settings.output
    elif config:
        _refuse(options, "--artifact", "with CONFIG write, say, generate.rows=1000")
        settings = _load(config, overrides, address)
        source, place = settings.place("artifact"), settings.place("synthetic")
    else:
        raise UsageError("generate: neither CONFIG nor --artifact", "give one of them")
    pipeline = _pipeline()
    with _cluster(settings):
        plan = pipeline.run_generate(settings, screen, source, place)
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
    trust: Annotated[
        list[str] | None, typer.Option(help="family module:Class that the artifact may name")
    ] = None,
) -> None:
    """Any slice of the virtual dataset (artifact, seed)."""
    from synthray.artifact import Artifact
    from synthray.sampling.slices import write_slice
    from synthray.sampling.virtual import VirtualDataset

    virtual = VirtualDataset(Artifact.load(artifact, trust or ()), seed, _where(where))
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
        settings = configs.parse(tree, _words(config, overrides), "evaluate")
    elif config:
        options = {"--real": real, "--synthetic": synthetic}
        _refuse(options, "both of --real and --synthetic", "give both, without CONFIG")
        options = {"--holdout": holdout, "--report": report}
        _refuse(options, "--real and --synthetic", "with CONFIG write evaluate.holdout=URI")
        settings = _load(config, overrides, address)
    else:
        raise UsageError("evaluate: no CONFIG", "give one, or --real and --synthetic")
    pipeline = _pipeline()
    with _cluster(settings):
        if synthetic:
            scores = pipeline.evaluate(settings, synthetic, report or "report.html", screen.say)
        else:
            scores = pipeline.run_evaluate(settings, screen)
    _result(as_json, scores, _score_lines(scores))
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
    if targets[0].endswith((".yaml", ".yml")):
        overrides = [*targets[1:], *(f"serve.{k}={v}" for k, v in chosen.items())]
        settings = _load(targets[0], overrides, address)
        uris = {"model": settings.place("artifact")}
    else:
        tree = {"data": {"source": "."}, "output": ".", "serve": chosen}
        settings = configs.parse(tree | {"cluster": {"address": address}}, [], "serve")
        uris = _named(targets)
    pipeline = _pipeline()
    with _cluster(settings):
        pipeline.serve_until_interrupted(uris, settings.endpoint, screen.say)


@app.command()
def run(config: ConfigPath, overrides: Overrides = None, address: Address = None) -> None:
    """Every stage in order: train, generate, evaluate, serve a batch. Skips what is done."""
    settings = _load(config, overrides, address)
    pipeline = _pipeline()
    pipeline.check_run(settings)
    with _cluster(settings):
        pipeline.run_all(settings, screen)
    print(settings.output)


@app.command()
def submit(
    stage: Annotated[
        str, typer.Argument(help="train, tune, adapt, generate, evaluate, serve, pipeline")
    ],
    config: ConfigPath,
    address: Annotated[str, typer.Option(help="the cluster's dashboard, http://HOST:8265")],
    overrides: Overrides = None,
    base: Annotated[str | None, typer.Option(help="with adapt: the artifact to adapt")] = None,
    wait: Annotated[bool, typer.Option(help="follow the log until the job ends")] = True,
) -> None:
    """Submit a stage to a Ray cluster as a job; the same as `ray job submit -- python jobs/…`."""
    settings = _load(config, overrides, None)
    print(_on_ray("submit").submit_job(stage, settings, address, wait, screen.say, base))


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


def _words(config: str | None, overrides: list[str] | None) -> list[str]:
    """All positional words, where the first is no config but an override too."""
    return [*([config] if config else []), *(overrides or [])]


def _refuse(options: dict[str, Any], with_what: str, remedy: str) -> None:
    """Options that would be ignored are errors."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: only with {with_what}", remedy)


def _adhoc(
    artifact: str,
    rows: int | None,
    out: str | None,
    seed: int | None,
    where: list[str] | None,
    workers: int | None,
    address: str | None,
    overrides: list[str],
) -> Config:
    if rows is None or out is None:
        raise UsageError("generate --artifact: --rows and --out are missing", "give both")
    generate: dict[str, Any] = GenerateConfig().model_dump()
    tree: dict[str, Any] = {
        "data": {"source": artifact},
        "cluster": {"workers": 1 if workers is None else workers, "address": address},
        "train": {"batch_size": 2 * (workers or 1)},
        "generate": generate | {"rows": rows, "seed": seed or 0, "where": _where(where)},
        "output": out,
    }
    return configs.parse(tree, overrides, "generate")


def _where(items: list[str] | None) -> dict[str, str]:
    fixed: dict[str, str] = {}
    for item in items or []:
        name, _, value = item.partition("=")
        if not name or not value:
            raise UsageError(f"--where {item}: not col=value", "e.g. label=3")
        if name in fixed:
            raise UsageError(f"--where {name}: given more than once", "fix a column to one value")
        fixed[name] = value
    return fixed


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
    return _on_ray("pipeline")


def _cluster(config: Config) -> Any:
    return _on_ray("cluster").connect(config.cluster)


def _on_ray(name: str) -> Any:
    """A module of `synthray.distributed`, imported on use: the other commands work without Ray."""
    try:
        return importlib.import_module(f"synthray.distributed.{name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"this command runs on Ray: {error}", "pip install 'synthray[ray]'"
        ) from error


def _result(as_json: bool, tree: Any, line: str) -> None:
    print(json.dumps(tree, indent=2, sort_keys=True) if as_json else line)


def _score_lines(report: dict[str, Any]) -> str:
    lines = [f"{'score':22} {'value':>10} {'real/real':>10}"]
    utility = report.get("utility") or {}
    rows = dict(report.get("scores", {}))
    if utility:
        accuracy = {"value": utility["tstr"]["accuracy"], "floor": utility["trtr"]["accuracy"]}
        rows["accuracy trained on it"] = accuracy
    for name, score in rows.items():
        cells = [score.get(key) for key in ("value", "floor")]
        shown = [f"{c:>10.4g}" if isinstance(c, int | float) else f"{'–':>10}" for c in cells]
        lines.append(f"{name:22} {' '.join(shown)}")
    return "\n".join(lines)
