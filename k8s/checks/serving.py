"""Endpoints: serveConfigV2, which KubeRay passes on as text, and the port that it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from k8s.checks.available import part
from k8s.checks.hints import hint
from k8s.checks.reading import Pod, pods_of
from k8s.checks.rendering import ROOT, Document, name_of
from k8s.checks.room import cpus_of
from k8s.checks.selectors import chosen, targets_of
from k8s.checks.serve_keys import check_keys

PORT = 8000
"""Where Serve listens if nobody says otherwise."""


def check_serving(trees: Sequence[Document], around: Sequence[Document] = ()) -> list[str]:
    """Broken YAML, unknown keys, applications that there are not, ports that nothing leads to.

    Args:
        around: what is applied beside these objects.
    """
    problems = []
    for tree in trees:
        if tree["kind"] == "RayService":
            told = _service(tree, [*trees, *around])
            problems += [f"{name_of(tree)}: {each}" for each in told]
    return problems


def _service(tree: Document, objects: Sequence[Document]) -> Iterator[str]:
    at = "spec.serveConfigV2"
    try:
        config = yaml.safe_load(tree["spec"].get("serveConfigV2") or "")
    except yaml.YAMLError as error:
        yield f"{at}: not valid YAML: {error}; correct the line named"
        return
    if not isinstance(config, dict) or not config.get("applications"):
        yield f"{at}: holds no applications; write them as in overlays/cpu/endpoint/serve.yaml"
        return
    told = list(check_keys(config))
    yield from (f"{at}.{each}" for each in told)
    if told:
        return
    workers = [pod for pod in pods_of(tree) if not pod.is_head]
    for index, application in enumerate(config["applications"]):
        found = [*_import_path(application), *_args(application, workers)]
        yield from (f"{at}.applications[{index}].{each}" for each in found)
    options = config.get("http_options") or {}
    if options.get("host") != "0.0.0.0":
        told_host = options.get("host", "127.0.0.1, Serve's own")
        yield f"{at}.http_options.host: {told_host}, which no other pod reaches; set it to 0.0.0.0"
    port = options.get("port", PORT)
    yield from (f"{at}.http_options.port: {each}" for each in _port(port, tree, objects))


def _import_path(application: Mapping[str, Any]) -> Iterator[str]:
    """The image has no code but SynthRay, which is looked at here without importing it."""
    path = str(application.get("import_path"))
    module, _, name = path.replace(":", ".").rpartition(".")
    file = _file_of(module)
    if not re.fullmatch(r"[\w.]+[:.]\w+", path) or file is None:
        known = ("synthray.distributed.endpoint:application",)
        yield f"import_path: {path!r}: the image has no module {module!r}; {hint(path, known)}"
        return
    names = _names_in(file)
    if name not in names:
        yield f"import_path: {path!r}: {module} has no {name!r}; {hint(name, names)}"


def _file_of(module: str) -> Path | None:
    if module.partition(".")[0] != "synthray":
        return None
    path = ROOT.joinpath(*module.split("."))
    found = (path.with_suffix(".py"), path / "__init__.py")
    return next((each for each in found if each.exists()), None)


def _names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"}


def _args(application: Mapping[str, Any], workers: Sequence[Pod]) -> Iterator[str]:
    endpoint = part("synthray.distributed.endpoint")
    if endpoint is None or application["import_path"] != f"{endpoint.__name__}:application":
        return
    from pydantic import ValidationError

    from synthray.config import explain
    from synthray.distributed.serve import APP_NAME
    from synthray.errors import SynthRayError
    from synthray.serving.app import check_names

    for deployment in application.get("deployments") or ():
        if deployment.get("name") != APP_NAME:
            told = f"the application has no deployment {deployment.get('name')!r}"
            yield f"deployments.name: {told}; {hint(deployment.get('name'), [APP_NAME])}"
    try:
        args = endpoint.EndpointArgs.model_validate(application.get("args") or {})
        check_names(args.models, None)
    except ValidationError as error:
        yield from explain(error, endpoint.EndpointArgs, "args.")
        return
    except SynthRayError as error:
        yield f"args.models: {error.what}; {error.remedy}"
        return
    needed, most = args.serve.cpus_per_replica, max(map(cpus_of, workers), default=0)
    if needed > most:
        yield (
            f"args.serve.cpus_per_replica: {needed:g} are more than the {most:g} CPUs of the "
            f"largest worker pod; lower it, or raise the group's limits.cpu"
        )


def _port(port: int, tree: Document, objects: Sequence[Document]) -> Iterator[str]:
    """Containers name the port, from which KubeRay's Service takes it, and a policy opens it."""
    for pod in pods_of(tree):
        named = {each["containerPort"] for each in pod.ray.get("ports") or () if _is_serve(each)}
        if named != {port}:
            found = ", ".join(map(str, named)) or "none"
            yield f"{port}, and the port `serve` of {pod.path} is {found}; make them the same"
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    if not policies:
        return
    own = [target for target in targets_of([tree]) if target.pod and not target.pod.is_head]
    opened = {
        each.get("port")
        for policy in policies
        if chosen(policy["spec"].get("podSelector") or {}, own)
        for rule in policy["spec"].get("ingress") or ()
        for each in rule.get("ports") or ()
    }
    if port not in opened and "serve" not in opened:
        told = "is opened by no NetworkPolicy for the endpoint's workers"
        yield f"{port} {told}; {hint(port, opened)}"


def _is_serve(port: Mapping[str, Any]) -> bool:
    return port.get("name") == "serve"
