"""Counting and timing what the HTTP API answers, for Prometheus."""

from __future__ import annotations

import re
import time
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synthray.distributed.metrics import Meters


class Metered:
    """ASGI middleware: counts requests for rows, and times them to their last byte."""

    _ROUTE = re.compile(r"/v1/models/([^/]+)/(?:rows|sample)/?$")

    def __init__(self, app: ASGIApp, models: Collection[str]) -> None:
        self._app, self._models = app, models
        self._meters = Meters("serve")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._ROUTE.search(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        # Only names of ours: what clients make up would be series without end.
        model = found[1] if found[1] in self._models else "unknown"
        began, status, rows = time.monotonic(), 500, 0

        async def noted(message: Message) -> None:
            nonlocal status, rows
            if message["type"] == "http.response.start":
                status = message["status"]
                rows = int(Headers(raw=message["headers"]).get("synthray-rows", 0))
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._meters.add("requests", model=model, code=str(status))
            self._meters.observe("seconds", time.monotonic() - began, model=model)
            if status == 200:
                self._meters.add("rows", rows, model=model)
            if status == 503:
                self._meters.add("refused", model=model)
