"""Jobs: a command that SynthRay has, and a config that it takes and that the pods have room for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from k8s.checks.available import part
from k8s.checks.hints import hint
from k8s.checks.reading import Pod, environment, job_of, pods_of
from k8s.checks.rendering import Document, name_of
from k8s.checks.room import check_room

STAGES = ("adapt", "evaluate", "generate", "run", "train", "tune")
"""The commands of `synthray` that compute on a cluster and come to an end."""
_PLACEHOLDER = re.compile(r"\$\([^)]*\)|\$\{[^}]*\}|\$\w+")
"""What a shell, or whoever applies the manifests, puts a value in for."""
_HIDDEN = "-placeholder-"
_TEXTS = ("output", "data.source")
"""The keys that must be there, and of which a placeholder is a value as good as any."""


def check_configs(trees: Sequence[Document], around: Sequence[Document] = ()) -> list[str]:
    """Entrypoints, and the configs that they name.

    Args:
        around: what is applied beside these objects.
    """
    maps = {tree["metadata"]["name"]: tree for tree in (*trees, *around) if "data" in tree}
    problems = []
    for tree in trees:
        job = job_of(tree)
        if job is not None:
            path, spec = job
            entry = str(spec.get("entrypoint", ""))
            told = _job(entry, list(pods_of(tree)), maps)
            problems += [f"{name_of(tree)}: {each.replace('@', path, 1)}" for each in told]
    return problems


def _job(entry: str, pods: Sequence[Pod], maps: Mapping[str, Document]) -> Iterator[str]:
    """Problems, with ``@`` for the path of the job."""
    at = "@.entrypoint"
    try:
        words = shlex.split(_PLACEHOLDER.sub(_HIDDEN, entry))
    except ValueError as error:
        yield f"{at}: {entry!r} is no command line: {error}"
        return
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    if words[:1] != ["synthray"]:
        yield f"{at}: {entry!r} does not run synthray; write: synthray STAGE CONFIG"
    elif words[1:2] == [] or words[1] not in STAGES:
        stage = words[1] if len(words) > 1 else ""
        yield f"{at}: {stage!r} is no stage of synthray; {hint(stage, STAGES)}"
    else:
        yield from _command(at, words[1:], pods, maps)


def _command(
    at: str, words: Sequence[str], pods: Sequence[Pod], maps: Mapping[str, Document]
) -> Iterator[str]:
    cli = part("synthray.cli")
    # Without SynthRay's own reading of its words: what must be the config, and the overrides.
    uri = next((word for word in words[1:] if word.endswith(".yaml") or word[:4] == "env:"), None)
    overrides = [word for word in words[1:] if "=" in word and word[0] != "-"]
    if cli is not None:
        from typer.main import get_command

        command = get_command(cli.app).commands[words[0]]  # type: ignore[attr-defined]
        try:
            context = command.make_context(words[0], list(words[1:]))
        except Exception as error:  # a UsageError of click's, or of the copy that typer brings
            told = getattr(error, "message", error)
            yield f"{at}: synthray {words[0]}: {told} See: synthray {words[0]} --help"
            return
        uri = context.params.get("config")
        overrides = list(context.params.get("overrides") or ())
    # An artifact may stand for the config; its first word is an override then.
    if uri is None or _HIDDEN in uri or "=" in uri:
        return
    head = next((pod for pod in pods if pod.is_head), None)
    if head is None:
        return
    where, text, told = _config_text(uri, head, maps)
    if told:
        yield f"{at}: {told}"
    if text is not None:
        workers = [pod for pod in pods if not pod.is_head]
        yield from _config(where, text, overrides, words[0], workers)


def _config_text(
    uri: str, head: Pod, maps: Mapping[str, Document]
) -> tuple[str, str | None, str | None]:
    """Where a config is, its text, and what is wrong; no text where it is not in these objects."""
    if uri.startswith("env:"):
        name = uri.removeprefix("env:")
        variable = environment(head.ray).get(name)
        if variable is None:
            told = f"{uri}: the head's container has no variable {name}"
            return uri, None, f"{told}; {hint(name, environment(head.ray))}"
        reference = (variable.get("valueFrom") or {}).get("configMapKeyRef")
        if reference is None:
            return uri, variable.get("value"), None
        return _of_map(reference["name"], reference["key"], maps)
    if "://" in uri:
        return uri, None, None
    path = PurePosixPath(uri)
    mounts = head.ray.get("volumeMounts") or ()
    over = [mount for mount in mounts if path.is_relative_to(mount["mountPath"])]
    if not over:
        return uri, None, f"{uri}: no volume is mounted there; mount the ConfigMap of the config"
    mount = max(over, key=lambda each: len(each["mountPath"]))
    volumes = {volume["name"]: volume for volume in head.spec.get("volumes") or ()}
    source = (volumes.get(mount["name"]) or {}).get("configMap")
    if source is None:
        return uri, None, None
    inside = str(mount.get("subPath") or path.relative_to(mount["mountPath"]))
    keys = {item["path"]: item["key"] for item in source.get("items") or ()}
    return _of_map(source["name"], keys.get(inside, inside), maps)


def _of_map(
    name: str, key: str, maps: Mapping[str, Document]
) -> tuple[str, str | None, str | None]:
    where = f"ConfigMap/{name} {key}"
    if name not in maps:
        return where, None, None  # told by references.py
    data = maps[name]["data"]
    return where, data.get(key), None if key in data else f"{where}: no such key; {hint(key, data)}"


def _config(
    where: str, text: str, overrides: Sequence[str], stage: str, workers: Sequence[Pod]
) -> Iterator[str]:
    if part("synthray.cli") is None:
        try:
            yaml.safe_load(text)
        except yaml.YAMLError as error:
            yield f"{where}: not valid YAML: {error}; correct the line named"
        return
    from synthray import config as configs
    from synthray.config.plain_yaml import read_yaml
    from synthray.errors import SynthRayError

    try:
        tree = _without_placeholders(read_yaml(text), "")
        given = [each for each in overrides if _is_known(each)]
        config = configs.parse(tree, given, where=where)
    except yaml.YAMLError as error:
        yield f"{where}: not valid YAML: {error}; correct the line named"
    except SynthRayError as error:
        yield str(error)
    else:
        if config.cluster.address:
            told = f"{config.cluster.address!r}; a job has a cluster of its own: take the key away"
            yield f"{where}: cluster.address: {told}"
        problems = check_room(config.cluster, stage, workers)
        yield from (f"{where}: cluster.{problem}" for problem in problems)


def _without_placeholders(node: Any, path: str) -> Any:
    """Keys whose values are told later are left to their defaults, but for those that have none."""
    if not isinstance(node, dict):
        return node
    found = {}
    for key, value in node.items():
        at = f"{path}.{key}" if path else str(key)
        hidden = isinstance(value, str) and _PLACEHOLDER.fullmatch(value)
        if not hidden or at in _TEXTS:
            found[key] = _without_placeholders(value, at)
    return found


def _is_known(override: str) -> bool:
    key, _, value = override.partition("=")
    return _HIDDEN not in value or key in _TEXTS
