"""The OpenAPI document: media types of rows, problem responses, the bearer scheme."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from synthray.serving.answers import ARROW, CSV, JSON, NDJSON, PARQUET, PNG, SUFFIXES, ZIP
from synthray.serving.problems import MEDIA_TYPE, ProblemDocument

_DESCRIPTIONS = {
    ARROW: "Arrow IPC stream; without its end-of-stream mark it was cut",
    PARQUET: "Parquet, a row group for every block of 1,024 rows",
    JSON: 'one object; its "rows" are objects, images as {"bytes": base64 PNG, "path"}',
    NDJSON: "one object a line",
    CSV: "a header, then a line a row, missing cells empty; not of models with images",
    PNG: "a contact sheet of the first image column",
    ZIP: "a PNG for every row, and labels.csv",
}

_REASONS = {
    401: "the token is missing or wrong",
    404: "no such model",
    406: "nothing that Accept allows is on offer",
    413: "the request's body is too large",
    415: "the request's body is not JSON",
    422: "a field, a condition or a range is wrong; 'errors' names the fields",
    503: "overloaded; Retry-After says when to come again",
}

_ROW_HEADERS = {
    "SynthRay-Digest": "the artifact's SHA-256",
    "SynthRay-Seed": "the seed, also when the server chose it",
    "SynthRay-Start": "the first row's number",
    "SynthRay-Rows": "how many rows",
    "SynthRay-Acceptance": "where rows are sorted out: the share of the first ones drawn that stay",
    "Content-Location": "where the same rows can be had again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problem documents."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def rows(*further: int) -> dict[int | str, dict[str, Any]]:
    """The successful responses of a route that answers with rows."""
    binary = {"type": "string", "format": "binary"}
    content: dict[str, dict[str, Any]] = {
        kind: {"schema": binary | {"description": _DESCRIPTIONS[kind]}} for kind in SUFFIXES
    }
    content[JSON] = {
        "schema": {"type": "object", "description": _DESCRIPTIONS[JSON], "required": ["rows"]}
    }
    headers = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in _ROW_HEADERS.items()
    }
    found: dict[int | str, dict[str, Any]] = {
        200: {"description": "the rows", "content": content, "headers": headers}
    }
    if 304 in further:
        found[304] = {"description": "the client's copy is still right"}
    return found


def install(app: FastAPI, *, secured: bool) -> None:
    """Make ``app`` describe itself with the problem schema and, when secured, the bearer scheme."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, secured)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _document(app: FastAPI, secured: bool) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    components = document.setdefault("components", {})
    schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    components.setdefault("schemas", {}).update(schema.pop("$defs", {}), ProblemDocument=schema)
    if secured:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            if path.startswith("/v1/"):
                for operation in operations.values():
                    operation["security"] = [{"bearer": []}]
    return document
