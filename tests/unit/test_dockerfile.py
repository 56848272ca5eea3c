"""What the image promises, by its Dockerfile: pinned, not root, healthy, the same versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from synthray.version import __version__

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster" / "Dockerfile").read_text()
Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """(NAME, the rest), with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, _, rest in found]


def stages(text: str) -> dict[str, tuple[str, list[Instruction]]]:
    """Name → what it is made from, and its instructions."""
    made: dict[str, tuple[str, list[Instruction]]] = {}
    own: list[Instruction] = []
    for name, rest in instructions(text):
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            own = []
            made[stage or base] = (base, own)
        else:
            own.append((name, rest))
    return made


def whole(stage: str, text: str = TEXT) -> list[Instruction]:
    """A stage's instructions after those of the stages that it is made from."""
    base, own = stages(text)[stage]
    return (whole(base, text) if base in stages(text) else []) + own


def problems(text: str) -> list[str]:
    """What breaks the policy."""
    found = []
    arguments = dict(rest.partition("=")[::2] for name, rest in instructions(text) if name == "ARG")
    image = arguments.get("PYTHON_IMAGE", "")
    if not re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-[a-z]+", image):
        found.append(f"the base image {image!r} is not pinned to a patch release")
    for stage, (base, _) in stages(text).items():
        if base not in stages(text) and base != "${PYTHON_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}":
            found.append(f"{stage} is made from {base}, which cannot be pinned by its digest")
    for stage in ("cpu", "cuda"):
        steps = whole(stage, text)
        users = [rest for name, rest in steps if name == "USER"]
        if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            found.append(f"{stage} does not end as a numbered user who is not root")
        if "HEALTHCHECK" not in {name for name, _ in steps}:
            found.append(f"{stage} has no health check")
        if any(name == "RUN" and "pip install" in rest for name, rest in steps):
            found.append(f"{stage} installs with pip where it runs")
        if {"ENTRYPOINT", "ADD"} & {name for name, _ in steps}:
            found.append(f"{stage} has an entry point, or adds what it cannot know")
    for name, rest in instructions(text):
        if name == "RUN" and any("-c constraints.txt" not in part for part in pips(rest)):
            found.append(f"without constraints: {rest}")
        if any("--index-url" in part and "--no-deps" not in part for part in pips(rest)):
            found.append(f"an index of one package is to have all that it needs: {rest}")
    return found


def pips(command: str) -> list[str]:
    return [part for part in re.split(r"&&|;", command) if "pip install" in part]


def test_the_image_keeps_the_policy() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("python:3.11.14-slim-bookworm", "python:latest"), "not pinned"),
        (("USER 1000:1000", "USER root"), "not root"),
        (("USER 1000:1000\n", ""), "not root"),
        (("HEALTHCHECK", "LABEL"), "no health check"),
        (("pip install -c constraints.txt torch", "pip install torch"), "without constraints"),
        (("--no-deps ", ""), "index of one package"),
        (("} AS runtime", "} AS other\nFROM debian:12 AS runtime"), "cannot be pinned"),
    ],
)
def test_what_breaks_the_policy_is_found(change: tuple[str, str], reason: str) -> None:
    assert change[0] in TEXT
    assert any(reason in problem for problem in problems(TEXT.replace(*change)))


def test_versions_are_those_of_the_constraints_and_the_package() -> None:
    pinned = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    arguments = [rest for name, rest in instructions(TEXT) if name == "ARG"]
    versions = {rest for rest in arguments if rest.startswith("RAY_VERSION")}
    assert versions == {f"RAY_VERSION={pinned['ray']}"}
    assert set(re.findall(r"synthray:([\d.]+)-", TEXT)) == {__version__}
    for name in ("aws", "gcp"):
        found = re.findall(
            r"synthray:([\w.]+)-(\w+)", (ROOT / "cluster" / f"{name}.yaml").read_text()
        )
        assert set(found) == {(__version__, "cpu"), (__version__, "cuda")}


def test_the_image_has_what_runs_on_ray_and_the_context_has_what_it_copies() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for stage in ("build-cpu", "build-cuda"):
        (asked,) = re.findall(r"'\.\[(.+?)\]'", str(whole(stage)))
        assert set(asked.split(",")) == set(extras) - {"serve", "test", "dev"}
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for name, rest in instructions(TEXT)
        if name == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert copied == kept and all((ROOT / name).exists() for name in kept)


def test_probes_and_ray_up_find_their_tools_and_nothing_is_written_outside_tmp() -> None:
    steps = whole("cpu")
    installed = next(rest for name, rest in steps if "apt-get install" in rest)
    assert {"wget", "rsync"} <= set(installed.split())
    settings = " ".join(rest for name, rest in steps if name == "ENV")
    assert "PATH=/opt/synthray/bin:" in settings and "HOME=/home/ray" in settings
    for name in ("MPLCONFIGDIR", "XDG_CACHE_HOME"):
        assert f"{name}=/tmp/" in settings
