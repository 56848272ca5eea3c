"""RFC 9457 problem documents: the only shape in which this API tells an error."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:synthray:problem:"

_HINTS = {
    404: "nothing is at this address; /openapi.json lists what there is",
    405: "this address does not take that method; the header Allow names those it takes",
}

logger = logging.getLogger(__name__)


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="where it stands: 'body.rows', 'query.start', 'header.accept'")
    message: str


class ProblemDocument(BaseModel):
    """An RFC 9457 problem document; some types carry further members, such as ``known``."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="names the kind of problem, for programs")
    title: str
    status: int
    detail: str
    instance: str = Field(description="names this one occurrence; the server's log holds it too")
    errors: list[FieldError] = []


class Problem(Exception):
    """An error to be answered as a problem document.

    Args:
        status: the HTTP status.
        kind: the last part of the document's ``type``.
        detail: what is wrong, naming field and value, and what to do about it.
        errors: the fields at fault.
        headers: further response headers.
        members: further members of the document, such as ``known``.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.members = members
        self.instance = f"urn:uuid:{uuid.uuid4()}"

    def document(self) -> dict[str, Any]:
        return {
            "type": TYPE_PREFIX + self.kind,
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
            "errors": [error.model_dump() for error in self.errors],
            **self.members,
        }

    def response(self) -> Response:
        # ASCII escapes: a lone surrogate in an echoed value has no UTF-8 form.
        body = json.dumps(self.document(), ensure_ascii=True, allow_nan=False).encode()
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(body, self.status, headers=headers, media_type=MEDIA_TYPE)


def bad_field(kind: str, field: str, detail: str, **members: Any) -> Problem:
    """A 422 about a single field."""
    return Problem(422, kind, detail, errors=[FieldError(field=field, message=detail)], **members)


def of_status(status: int, detail: str | None, headers: Mapping[str, str] | None) -> Problem:
    """The problem for an HTTP status that the framework raised (404, 405, a bad body …)."""
    phrase = HTTPStatus(status).phrase
    kind = phrase.lower().replace(" ", "-")
    if detail in (None, phrase):
        detail = _HINTS.get(status, phrase)
    return Problem(status, kind, str(detail), headers=headers)


def of_validation(details: Sequence[Mapping[str, Any]], request: Request) -> Problem:
    """The problem for a request that does not fit its model; every field at fault is named."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    whole_body = any(tuple(detail["loc"]) == ("body",) for detail in details)
    if whole_body and media != "application/json" and request.method == "POST":
        return Problem(
            415,
            "unsupported-media-type",
            f"the body is {media or 'of no named type'}; send JSON with "
            "'Content-Type: application/json'",
            headers={"Accept": "application/json"},
        )
    errors = [FieldError(field=_place(d), message=_message(d)) for d in details]
    told = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(422, "invalid-request", told, errors=errors)


def _place(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "json_invalid" and detail["loc"][0] == "body":
        return "body"  # its loc is a place in the text
    return ".".join(str(part) for part in detail["loc"])


def _message(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "json_invalid":
        return f"not valid JSON: {detail.get('ctx', {}).get('error', '')}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if detail["type"] in ("missing", "extra_forbidden"):
        return message
    shown = repr(detail.get("input"))
    return f"{message} (got {shown if len(shown) <= 80 else shown[:77] + '…'})"


class ProblemsMiddleware:
    """Answers what nothing else caught: a 500 that names the log entry and shows no trace.

    Once the answer has begun there is no way to tell an error, so it is raised on: the server
    then breaks the connection, and no client takes half an answer for a whole one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Problem as problem:
            if started:
                raise
            await problem.response()(scope, receive, send)
        except Exception:
            if started:
                raise
            unknown = Problem(
                500,
                "internal-error",
                "the server failed on this request; its log tells more under the 'instance' id",
            )
            logger.exception("%s %s: %s", scope["method"], scope["path"], unknown.instance)
            await unknown.response()(scope, receive, send)
