"""Keeping pace with a client that sits behind a buffering proxy.

A server such as uvicorn holds its application back while the client takes nothing. Ray Serve's
proxy does not: it takes all that a replica sends, so a slow client of a long answer would fill the
cluster's memory. Here the proxy tells the replica what the client has taken, as messages on the
ASGI ``receive`` channel, and the replica keeps at most a window of bytes ahead.
"""

from __future__ import annotations

import asyncio

import anyio
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TAKEN = "synthray.taken"
"""The type of the messages: ``bytes`` of a body were taken by the client's side."""
HEADER = b"synthray-paced"
"""Set by the proxy on a request: such messages will come."""
WINDOW_BYTES = 4 * 1024 * 1024


class TellTaken:
    """Middleware of the proxy: after each piece of a stream is sent, tells the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inbox: asyncio.Queue[Message] = asyncio.Queue()

        async def fill() -> None:
            while True:
                message = await receive()
                inbox.put_nowait(message)
                if message["type"] == "http.disconnect":
                    return

        async def tell(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and message.get("more_body"):
                inbox.put_nowait({"type": TAKEN, "bytes": len(message.get("body", b""))})

        headers = [pair for pair in scope["headers"] if pair[0] != HEADER] + [(HEADER, b"1")]
        filling = asyncio.create_task(fill())
        try:
            await self._app({**scope, "headers": headers}, inbox.get, tell)
        finally:
            filling.cancel()


class Pace:
    """The application's side: how far it is ahead of the client.

    Without a proxy that tells, nothing is ever waited for here: the server itself holds back.
    """

    def __init__(self, scope: Scope) -> None:
        self._told = any(name == HEADER for name, _ in scope["headers"])
        self._ahead = 0
        self._moved = anyio.Event()

    def sent(self, size: int) -> None:
        self._ahead += size

    def heard(self, message: Message) -> None:
        if message["type"] == TAKEN:
            self._ahead -= message["bytes"]
            self._moved.set()

    async def keep(self) -> None:
        """Wait until the client is within the window."""
        while self._told and self._ahead > WINDOW_BYTES:
            self._moved = anyio.Event()
            await self._moved.wait()


def proxy_middlewares() -> list[Middleware]:
    """What Ray Serve's proxy asks for, by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH."""
    return [Middleware(TellTaken)]
