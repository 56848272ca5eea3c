"""Comparing objects with the schemas that an API server would hold them against."""

from __future__ import annotations

import json
import lzma
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate

from k8s.checks.other_kinds import OTHERS
from k8s.checks.rendering import ROOT, Document

KUBERNETES = "1.34"
"""The oldest version that the manifests are for; the namespace's pod security names it too."""


def check_schema(tree: Document) -> list[str]:
    """What the API server would not take: unknown kinds and fields, missing ones, wrong types."""
    version, kind = str(tree.get("apiVersion")), str(tree.get("kind"))
    if version == "ray.io/v1" and kind in _crds():
        return _told(_crds()[kind], tree)
    if (version, kind) in OTHERS:
        return _told(jsonschema.Draft202012Validator(dict(OTHERS[version, kind])), tree)
    return list(_of_kubernetes(json.dumps(tree)))


@cache
def _of_kubernetes(text: str) -> tuple[str, ...]:
    """Kept by the text: the library reads its schemas anew each time, and overlays repeat."""
    tree = json.loads(text)
    try:
        kubernetes_validate.validate(tree, KUBERNETES, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return (f"{tree.get('apiVersion')} {tree.get('kind')}: no such kind",)
    except kubernetes_validate.ValidationError as error:
        return (f"{'.'.join(map(str, error.path)) or 'the object'}: {error.message}",)
    return ()


def _told(validator: jsonschema.Draft202012Validator, tree: Document) -> list[str]:
    return [f"{error.json_path[2:]}: {error.message}" for error in validator.iter_errors(tree)]


@cache
def _crds() -> dict[str, jsonschema.Draft202012Validator]:
    packed = (ROOT / "k8s" / "crds" / "schemas.json.xz").read_bytes()
    found = json.loads(lzma.decompress(packed))
    return {kind: jsonschema.Draft202012Validator(_strict(node)) for kind, node in found.items()}


def _strict(node: Any) -> Any:
    """A definition's OpenAPI schema as JSON Schema in which unknown fields are errors.

    The API server drops fields that it does not know; a misspelt one would be lost in silence. It
    fills in defaults before it looks for what is required.
    """
    if not isinstance(node, dict):
        return node
    made = {key: value for key, value in node.items() if not key.startswith("x-kubernetes")}
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
        made.pop("anyOf", None)
    fields = node.get("properties")
    if fields is not None:
        made["properties"] = {key: _strict(value) for key, value in fields.items()}
        given = [key for key in node.get("required", ()) if "default" not in fields.get(key, {})]
        made["required"] = given
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    elif "additionalProperties" in node:
        made["additionalProperties"] = _strict(node["additionalProperties"])
    if "items" in node:
        made["items"] = _strict(node["items"])
    return made
