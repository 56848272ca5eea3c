"""What stands before the API: the bearer token, the size of a body, the number of requests."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthray.serving.problems import Problem

RETRY_AFTER_SECONDS = 2


def bearer_route(token: str | None) -> type[APIRoute]:
    """A route class that lets only holders of ``token`` in; without one, everybody.

    It checks before the body is parsed, and hangs on the routes themselves: no spelling of a
    path, and no prefix that a proxy strips, leads around it.
    """
    secret = None if token is None else token.encode()

    class BearerRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                if secret is not None:
                    _check_token(request.headers.get("authorization"), secret)
                return await handler(request)

            return guarded

    return BearerRoute


def _check_token(header: str | None, secret: bytes) -> None:
    challenge = 'Bearer realm="synthray"'
    if header is None:
        raise Problem(
            401,
            "token-missing",
            "this endpoint needs a token: send 'Authorization: Bearer TOKEN'",
            headers={"WWW-Authenticate": challenge},
        )
    scheme, _, given = header.partition(" ")
    # compare_digest takes the same time however much of a wrong token is right.
    right = hmac.compare_digest(given.strip().encode(), secret)
    if scheme.lower() != "bearer" or not right:
        raise Problem(
            401,
            "token-invalid",
            "the token is not the one that this endpoint was started with",
            headers={"WWW-Authenticate": challenge + ', error="invalid_token"'},
        )


class BodyLimit:
    """Reads a request's body, up to a limit, before anything else looks at it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if "content-length" not in headers and "transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_bytes:
            await self._too_large().response()(scope, receive, send)
            return
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                await self._too_large().response()(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, replay, send)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "body-too-large",
            f"the request's body is larger than {self._max_bytes} bytes (serve.max_body_bytes)",
            headers={"Connection": "close"},
            max_body_bytes=self._max_bytes,
        )


class Admission:
    """At most ``concurrent`` requests work, ``queued`` more wait their turn, the rest hear 503."""

    def __init__(self, concurrent: int, queued: int) -> None:
        self._slots = anyio.Semaphore(concurrent)
        self._queued = queued
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Raises:
            Problem: 503, the queue is full.
        """
        if self._slots.value == 0 and self._waiting >= self._queued:
            raise Problem(
                503,
                "overloaded",
                f"every worker is busy and {self._waiting} requests wait already; "
                f"try again in {RETRY_AFTER_SECONDS} seconds",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
