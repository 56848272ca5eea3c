"""Sending what a thread computes, block by block, to a client that may go away or stall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import anyio
from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from synthray.serving.pacing import Pace


class Pieces:
    """An iterator of bytes whose steps run in worker threads."""

    def __init__(self, pieces: Iterator[bytes], threads: anyio.CapacityLimiter) -> None:
        self._pieces = pieces
        self._threads = threads

    async def next(self) -> bytes | None:
        """The next piece that is not empty; none at the end."""
        return await to_thread.run_sync(self._step, limiter=self._threads)

    async def close(self) -> None:
        """Stop computing. A step that runs is waited for: a block cannot be left half-way."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(close, limiter=self._threads)

    def _step(self) -> bytes | None:
        return next((piece for piece in self._pieces if piece), None)


class StreamedResponse(Response):
    """An answer that is computed while it is sent, and no faster than the client takes it.

    When the client goes away, computing stops. When a piece cannot be computed, or the client
    takes none for ``stall_seconds``, the error is raised on and the server breaks the connection:
    an answer is whole or visibly broken, never silently short.
    """

    def __init__(
        self,
        first: bytes,
        rest: Pieces,
        headers: Mapping[str, str],
        media_type: str,
        stall_seconds: float,
    ) -> None:
        super().__init__(None, headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        pace = Pace(scope)
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (message := await receive())["type"] != "http.disconnect":
                    pace.heard(message)
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            try:
                await self._send_all(send, pace)
            except Exception as error:
                # Kept aside: out of a task group it would come wrapped in an ExceptionGroup.
                failure = error
            finally:
                await self._rest.close()
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _send_all(self, send: Send, pace: Pace) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        piece: bytes | None = self._first
        while piece is not None:
            with anyio.fail_after(self._stall_seconds):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                pace.sent(len(piece))
                await pace.keep()
            piece = await self._rest.next()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
