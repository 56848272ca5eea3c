"""Commands about the jobs on a cluster: which there are, how they do, what they say, their end."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from synthray.cli.shared import Json, app, on_ray, print_result, screen

Dashboard = Annotated[
    str,
    typer.Option(help="the cluster's dashboard, http://HOST:8265", envvar="RAY_API_SERVER_ADDRESS"),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="what `synthray submit` printed")]

commands = typer.Typer(no_args_is_help=True, help="The jobs that were submitted to a cluster.")
app.add_typer(commands, name="jobs")


def _jobs(address: str) -> Any:
    return on_ray("jobs").Jobs(address)


@commands.command(name="list")
def list_jobs(address: Dashboard, as_json: Json = False) -> None:
    """The jobs, the oldest first: id, status, start, output."""
    found = _jobs(address).listed()
    print_result(as_json, [asdict(job) for job in found], "\n".join(job.line for job in found))


@commands.command()
def status(job: JobId, address: Dashboard, as_json: Json = False) -> None:
    """How a job does: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    found = _jobs(address).status(job)
    print_result(as_json, asdict(found), found.status)


@commands.command()
def logs(
    job: JobId,
    address: Dashboard,
    follow: Annotated[bool, typer.Option(help="until it ends, with its exit code")] = False,
) -> None:
    """What a job has logged."""
    jobs = _jobs(address)
    if follow:
        jobs.follow(job, print)
    else:
        print(jobs.logs(job), end="")


@commands.command()
def stop(job: JobId, address: Dashboard) -> None:
    """End a job, a training with a checkpoint; submitted again, it goes on from there."""
    found = _jobs(address).stop(job, screen.say)
    print(found.status)
