"""What people see: native code's noise is dropped, everything else passes; the bar fits."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest
from rich.console import Console

from synthray.console import Screen
from synthray.training.loop import Progress

SCRIPT = """
import os, sys
from synthray.console import Screen, without_lines

screen = Screen()
before = sys.stderr
with without_lines(["issues/53727"]):
    os.write(2, b"E actor: see issues/53727 for more\\n")
    os.write(2, b"E something is really wrong\\n")
    screen.say("ours")
    {middle}
assert sys.stderr is before
os.write(2, b"issues/53727 afterwards\\n")
"""


def run(middle: str = "pass") -> tuple[int, set[str]]:
    command = [sys.executable, "-c", SCRIPT.replace("{middle}", middle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == ""
    return done.returncode, set(done.stderr.splitlines())


def test_only_the_lines_named_are_dropped_and_only_within() -> None:
    code, told = run()
    assert code == 0
    assert told == {"E something is really wrong", "ours", "issues/53727 afterwards"}


def test_an_error_within_comes_out_with_all_that_was_said_before() -> None:
    code, told = run("raise ValueError('broken')")
    assert code == 1
    assert {"E something is really wrong", "ours", "ValueError: broken"} <= told


def test_a_process_that_outlives_the_block_does_not_hold_it_up() -> None:
    code, told = run("import subprocess; child = subprocess.Popen(['sleep', '3'])")
    assert code == 0
    assert {"E something is really wrong", "issues/53727 afterwards"} <= told


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_count_of_steps_is_seen_on_any_terminal(width: int) -> None:
    screen, shown = Screen(), io.StringIO()
    screen.console = Console(file=shown, force_terminal=True, width=width, highlight=False)
    terms = {"loss_critic": 1.382, "critic_real": -0.087, "critic_fake": 0.1, "loss_gen": 2.0}
    with screen.bar("training", "steps") as bar:
        bar.training(Progress(2310, 4000, terms, 455.0, 65.0))
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    lines = [line for line in plain.replace("\r", "\n").split("\n") if line.strip()]
    assert all("training" in line and "2310/4000" in line for line in lines if "rows/s" in line)
    assert any("rows/s" in line for line in lines)
    assert all(len(line) <= width for line in lines)
