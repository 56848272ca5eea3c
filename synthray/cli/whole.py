"""Commands about everything: the whole run, here or as a job; the families; this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from synthray import models
from synthray.cli.jobs import Dashboard
from synthray.cli.shared import (
    Address,
    ConfigPath,
    Overrides,
    app,
    cluster_of,
    load,
    on_ray,
    pipeline_of,
    screen,
)


@app.command()
def run(config: ConfigPath, overrides: Overrides = None, address: Address = None) -> None:
    """Every stage in order: train, generate, evaluate, serve a batch. Skips what is done."""
    settings = load(config, overrides, address)
    pipeline = pipeline_of()
    opened = pipeline.check_run(settings)
    with cluster_of(settings):
        pipeline.run_all(settings, screen, opened)
    print(settings.output)


@app.command()
def submit(
    stage: Annotated[
        str, typer.Argument(help="train, tune, adapt, generate, evaluate, serve, pipeline")
    ],
    config: ConfigPath,
    address: Dashboard,
    overrides: Overrides = None,
    base: Annotated[str | None, typer.Option(help="with adapt: the artifact to adapt")] = None,
    wait: Annotated[bool, typer.Option(help="follow the log until the job ends")] = True,
) -> None:
    """Submit a stage to a Ray cluster as a job, or attach to the one that runs; an interrupted one
    goes on.
    """
    settings = load(config, overrides, None)
    print(on_ray("submit").submit_job(stage, settings, address, wait, screen.say, base))


@app.command(name="models")
def list_models() -> None:
    """The families, and where each is defined."""
    for name, place in sorted(models.available().items()):
        summary = (sys.modules[models.family(name).__module__].__doc__ or "").strip().split("\n")[0]
        print(f"{name:10} {summary}  [{place}]")


@app.command()
def doctor(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG|URI", help="what to try on storage: a config's places, or a URI"
        ),
    ] = None,
) -> None:
    """What this machine has: versions, processors, optional packages; what storage lets it do."""
    from synthray.diagnosis import lines, storage_lines

    for line in lines():
        print(line)
    for line in storage_lines(target) if target else ():
        print(line)
