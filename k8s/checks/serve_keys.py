"""The keys of a config of Ray Serve. Serve drops those that it does not know, in silence."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from k8s.checks.available import part
from k8s.checks.hints import hint

if TYPE_CHECKING:
    from pydantic import BaseModel


def check_keys(config: Mapping[str, Any]) -> list[str]:
    """Unknown keys and values that do not fit; nothing where Ray is not installed."""
    schema = part("ray.serve.schema")
    if schema is None:
        return []
    problems = [*_unknown(config, schema.ServeDeploySchema, "")]
    return problems or [*_values(config, schema.ServeDeploySchema, "")] or [*_scaling(config)]


def _values(tree: Mapping[str, Any], model: type[BaseModel], path: str) -> Iterator[str]:
    from pydantic import ValidationError

    try:
        model.model_validate(tree)
    except ValidationError as error:
        for detail in error.errors():
            key = ".".join(map(str, detail["loc"])) or "the whole"
            message = detail["msg"].removeprefix("Value error, ")
            yield f"{path}{key}: {message} (got {detail['input']!r}); correct it"


def _unknown(tree: Any, model: type[BaseModel], path: str) -> Iterator[str]:
    if not isinstance(tree, Mapping):
        return
    fields = model.model_fields
    for key, value in tree.items():
        at = f"{path}{key}"
        if key not in fields:
            yield f"{at}: unknown key; {hint(key, fields)}"
            continue
        inner = _model_in(fields[key].annotation)
        if inner is None:
            continue
        for index, each in enumerate(value if isinstance(value, list) else ()):
            yield from _unknown(each, inner, f"{at}[{index}].")
        yield from _unknown(value, inner, f"{at}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone, in a list, or instead of nothing."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is dict:
        return None
    return next(filter(None, map(_model_in, typing.get_args(annotation))), None)


def _scaling(config: Mapping[str, Any]) -> Iterator[str]:
    """The schema of a deployment takes any mapping for this one."""
    from ray.serve.config import AutoscalingConfig

    for index, application in enumerate(config.get("applications") or ()):
        for number, deployment in enumerate(application.get("deployments") or ()):
            tree = deployment.get("autoscaling_config")
            if isinstance(tree, Mapping):
                at = f"applications[{index}].deployments[{number}].autoscaling_config."
                yield from _values(tree, AutoscalingConfig, at)
