"""Commands about models: look at data, train, search, adapt."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from synthray import storage
from synthray.cli.shared import (
    Address,
    ConfigPath,
    Json,
    Overrides,
    app,
    cluster_of,
    load,
    pipeline_of,
    print_result,
    screen,
)
from synthray.errors import UsageError


@app.command()
def init(
    source: Annotated[
        str, typer.Argument(help="images, Parquet, CSV or JSON Lines; local or s3://")
    ],
    output: Annotated[str, typer.Option("-o", help="the config to write")] = "synthray.yaml",
    force: Annotated[bool, typer.Option(help="overwrite an existing config")] = False,
) -> None:
    """Look at a source, infer its schema, and write a commented config."""
    from synthray.starter import starter_config

    if storage.exists(output) and not force:
        raise UsageError(f"{output} exists", "choose another name with -o, or --force")
    starter = starter_config(source, screen.say)
    storage.write_bytes(output, starter.text.encode())
    after = "more rows" if starter.command is None else f"synthray {starter.command} {output}"
    screen.say(f"wrote {output}; next: {after}")


@app.command()
def train(
    config: ConfigPath, overrides: Overrides = None, address: Address = None, as_json: Json = False
) -> None:
    """Train the config's model; an interrupted training goes on."""
    settings = load(config, overrides, address)
    pipeline = pipeline_of()
    with cluster_of(settings):
        digest = pipeline.run_train(settings, screen)
    print_result(as_json, {"artifact": settings.place("artifact"), "digest": digest}, digest)


@app.command()
def tune(
    config: ConfigPath, overrides: Overrides = None, address: Address = None, as_json: Json = False
) -> None:
    """Search tune.space for settings that train stably; an interrupted search goes on."""
    from synthray.tuning.report import shown

    settings = load(config, overrides, address)
    pipeline = pipeline_of()
    with cluster_of(settings):
        tuning = pipeline.run_tune(settings, screen)
    for line in shown(settings, tuning):
        screen.say(line)
    place = settings.place("tune", "best.yaml")
    print_result(as_json, {"config": place, **tuning.model_dump(mode="json")}, place)
    taken = storage.exists(settings.place("artifact", "artifact.json"))
    elsewhere = " output=ANOTHER (this one has an artifact of other settings)" if taken else ""
    screen.say(f"next: synthray train {shlex.quote(place)}{elsewhere}")


@app.command()
def adapt(
    config: ConfigPath,
    base: Annotated[str, typer.Option(help="the trained artifact to adapt, local or s3://")],
    overrides: Overrides = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Adapt a trained artifact to the config's data (AD-GAN); an interrupted run goes on."""
    settings = load(config, overrides, address)
    pipeline = pipeline_of()
    with cluster_of(settings):
        digest = pipeline.run_adapt(settings, base, screen)
    print_result(as_json, {"artifact": settings.place("artifact"), "digest": digest}, digest)
