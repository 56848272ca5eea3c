"""The application: routes and error handlers, put together."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack
from importlib.resources import files
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from synthray.config import ServeConfig
from synthray.errors import ConditionError, SchemaError, UsageError
from synthray.serving import openapi
from synthray.serving.answers import (
    PNG,
    ZIP,
    Answer,
    check_limit,
    negotiate,
    respond,
    row_limits,
)
from synthray.serving.guards import Admission, BodyLimit, bearer_route
from synthray.serving.models import ServedModel
from synthray.serving.problems import (
    Problem,
    ProblemsMiddleware,
    of_status,
    of_validation,
)
from synthray.serving.requests import RowsQuery, SampleBody, Slice, slice_of_body, slice_of_query

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
CLIENT_CLOSED_REQUEST = 499


async def until_sent() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left when the answer's last byte is sent, or its sending failed."""
    async with AsyncExitStack() as stack:
        yield stack


UntilSent = Annotated[AsyncExitStack, Depends(until_sent)]


def create_app(
    models: Mapping[str, ServedModel], settings: ServeConfig, token: str | None = None
) -> FastAPI:
    """The HTTP API over ``models``, by the names given.

    Args:
        models: at least one; names of letters, digits, '.', '_' and '-'.
        settings: limits of rows, body and concurrency.
        token: the bearer token that everything under /v1 asks for; none: open to all.

    Raises:
        UsageError: no model, a name that does not fit into a URL, an empty token.
    """
    check_names(models, token)
    app = FastAPI(
        title="SynthRay",
        summary="Rows of virtual datasets: endless, seeded, the same bytes every time.",
        version="1",
        # FastAPI's own documentation pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        # An address is right or wrong: some clients drop their token at a redirect.
        redirect_slashes=False,
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(ProblemsMiddleware)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    # More rows than a column has ids is a schema's error.
    for kind in (ConditionError, SchemaError):
        app.add_exception_handler(kind, _on_refusal)
    page = files("synthray.serving").joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/healthz", summary="Is the endpoint up?", tags=["service"])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.include_router(_model_routes(models, settings, token))
    openapi.install(app, secured=token is not None)
    return app


def _model_routes(
    models: Mapping[str, ServedModel], settings: ServeConfig, token: str | None
) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["models"], route_class=bearer_route(token))
    admission = Admission(settings.max_concurrent, settings.max_queued)
    # A thread for every request that is let in, apart from those that other work uses.
    threads = anyio.CapacityLimiter(settings.max_concurrent)
    cache_control = "public, no-cache" if token is None else "private, no-cache"

    def find(name: str) -> ServedModel:
        if name not in models:
            known = ", ".join(models)
            detail = f"no model named {name!r}; the models here are: {known}"
            raise Problem(404, "unknown-model", detail, known=list(models))
        return models[name]

    async def answer_with(
        request: Request, name: str, rows: Slice, field: str, until_sent: AsyncExitStack
    ) -> Response:
        model = models[name]
        media_type = negotiate(request, model)
        if media_type in (PNG, ZIP):
            rows = dataclasses.replace(rows, images="png")
        check_limit(rows.count, field, row_limits(model, settings)[media_type], media_type)
        answer = Answer(name, model, rows, media_type)
        headers = answer.headers
        if request.method == "GET":
            headers |= {"ETag": answer.etag, "Cache-Control": cache_control}
            if _holds(request.headers.getlist("if-none-match"), answer.etag):
                return Response(status_code=304, headers=headers)
        else:
            headers["Cache-Control"] = "no-store"
        await until_sent.enter_async_context(admission.slot())
        if await request.is_disconnected():
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return await respond(answer, headers, threads, settings.stall_seconds)

    @router.get("/models", summary="The models here", responses=openapi.problems(401))
    async def list_models() -> JSONResponse:
        return JSONResponse({"models": [_summary(name, m) for name, m in models.items()]})

    @router.get(
        "/models/{name}",
        summary="A model's schema, what can be held, card, digest and scores",
        responses=openapi.problems(401, 404),
    )
    async def show_model(name: str) -> JSONResponse:
        model = find(name)
        details = {
            "schema": model.schema.model_dump(mode="json"),
            "where": dict(model.ways),
            "card": _json_safe(model.card),
            "scores": _json_safe(model.scores),
            "max_rows": row_limits(model, settings),
        }
        return JSONResponse(_summary(name, model) | details)

    @router.post(
        "/models/{name}/sample",
        summary="Draw a batch of rows",
        responses=openapi.rows() | openapi.problems(401, 404, 406, 413, 415, 422, 503),
        response_class=Response,
    )
    async def sample(
        name: str, body: SampleBody, request: Request, until_sent: UntilSent
    ) -> Response:
        rows = slice_of_body(body, find(name))
        return await answer_with(request, name, rows, "body.rows", until_sent)

    @router.get(
        "/models/{name}/rows",
        summary="A range of rows, cacheable",
        responses=openapi.rows(304) | openapi.problems(401, 404, 406, 422, 503),
        response_class=Response,
    )
    async def rows(
        name: str,
        query: Annotated[RowsQuery, Query()],
        request: Request,
        until_sent: UntilSent,
    ) -> Response:
        rows = slice_of_query(query, find(name))
        return await answer_with(request, name, rows, "query.count", until_sent)

    return router


def check_names(models: Collection[str], token: str | None) -> None:
    """Raises: UsageError: no models, a name that does not fit into a URL, or an empty token."""
    if not models:
        raise UsageError("no model to serve", "name one or more artifacts")
    for name in models:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UsageError(
                f"model name {name!r} does not fit into a URL",
                "use letters, digits, '.', '_' and '-'",
            )
    if token is not None and not token.strip():
        raise UsageError("the bearer token is empty", "set a token, or none at all")


def _summary(name: str, model: ServedModel) -> dict[str, Any]:
    return {
        "name": name,
        "digest": model.digest,
        "family": model.card.get("family"),
        "href": f"/v1/models/{name}",
    }


def _holds(headers: list[str], etag: str) -> bool:
    """Whether If-None-Match lists the tag; the comparison is weak, as RFC 9110 wants it here."""
    tags = [tag.strip().removeprefix("W/") for header in headers for tag in header.split(",")]
    return "*" in tags or etag in tags


def _json_safe(value: Any) -> Any:
    """NaN and infinities, which JSON lacks, become null."""
    if isinstance(value, Mapping):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# Starlette hands each handler the exception that it is registered for, typed as any.
async def _on_problem(_: Request, problem: Any) -> Response:
    response: Response = problem.response()
    return response


async def _on_http_exception(_: Request, error: Any) -> Response:
    return of_status(error.status_code, str(error.detail), error.headers).response()


async def _on_validation_error(request: Request, error: Any) -> Response:
    return of_validation(error.errors(), request).response()


async def _on_refusal(_: Request, error: Any) -> Response:
    kind = "invalid-condition" if isinstance(error, ConditionError) else "too-many-rows"
    return Problem(422, kind, f"{error.what}; {error.remedy}").response()
