"""The command line: parse, call, print. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Annotated

import typer

from synthray.cli import jobs, learning, using, whole
from synthray.cli.shared import app, screen
from synthray.errors import SynthRayError
from synthray.version import __version__

__all__ = ["app", "jobs", "learning", "main", "using", "whole"]


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
            usual = "interrupted; the same command goes on from what is there"
            screen.say(f"synthray: {''.join(getattr(error, '__notes__', [usual]))}")
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
