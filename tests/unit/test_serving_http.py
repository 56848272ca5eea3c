"""Caching, the token, overload, broken streams, the page and the OpenAPI document."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from openapi_spec_validator import validate
from serving_fake import DIGEST, Watch, app_of, call

from synthray.serving import pacing

ROWS = "/v1/models/digits/rows"


class Exchange:
    """One request by hand: the answer's pieces as they come, and a client that can leave."""

    def __init__(self, app: Any, url: str) -> None:
        path, _, query = url.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"test")],
            "client": ("test", 1),
            "server": ("test", 80),
        }
        self.app = app
        self.gone = asyncio.Event()
        self.messages: list[Any] = []
        self.on_body: Callable[[], Any] | None = None

    async def run(self) -> None:
        await self.app(self.scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.body" and self.on_body is not None:
            await self.on_body()

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def whole(self) -> bool:
        return not self.messages[-1].get("more_body", False)


def test_a_get_can_be_cached() -> None:
    app = app_of()
    first = call(app, "GET", f"{ROWS}?count=5&seed=1")
    assert re.fullmatch(r'"[0-9a-f]{32}"', first.headers["etag"])
    assert first.headers["cache-control"] == "public, no-cache"
    assert first.headers["vary"] == "Accept"
    for tag in (first.headers["etag"], "W/" + first.headers["etag"], '"x", *'):
        again = call(app, "GET", f"{ROWS}?count=5&seed=1", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    other = call(app, "GET", f"{ROWS}?count=5&seed=1", headers={"If-None-Match": '"other"'})
    assert other.content == first.content


def test_a_cached_answer_costs_no_computing() -> None:
    watch = Watch()
    app = app_of(watch)
    tag = call(app, "GET", f"{ROWS}?count=5").headers["etag"]
    call(app, "GET", f"{ROWS}?count=5", headers={"If-None-Match": tag})
    assert len(watch.made) == 1


def test_other_rows_and_other_types_have_other_tags() -> None:
    urls = [
        f"{ROWS}?count=5&seed=1",
        f"{ROWS}?count=6&seed=1",
        f"{ROWS}?count=5&seed=2",
        f"{ROWS}?count=5&seed=1&start=1",
        f"{ROWS}?count=5&seed=1&where=label=1",
        f"{ROWS}?count=5&seed=1&images=tensor",
    ]
    app = app_of()
    tags = {call(app, "GET", url).headers["etag"] for url in urls}
    tags |= {
        call(app, "GET", urls[0], headers={"Accept": kind}).headers["etag"]
        for kind in ("application/json", "application/zip", "image/png")
    }
    assert len(tags) == len(urls) + 3


def test_a_sample_tells_its_seed_and_where_to_find_it_again() -> None:
    app = app_of()
    body = {"rows": 4, "start": 2, "where": {"label": 3}}
    first = call(app, "POST", "/v1/models/digits/sample", json=body)
    assert first.headers["synthray-digest"] == DIGEST
    assert (first.headers["synthray-start"], first.headers["synthray-rows"]) == ("2", "4")
    assert "etag" not in first.headers
    seed = int(first.headers["synthray-seed"])
    again = call(app, "POST", "/v1/models/digits/sample", json=body | {"seed": seed})
    found = call(app, "GET", first.headers["content-location"])
    assert first.content == again.content == found.content
    fresh = call(app, "POST", "/v1/models/digits/sample", json=body)
    assert int(fresh.headers["synthray-seed"]) != seed


def test_models_are_listed_and_described() -> None:
    app = app_of()
    listed = call(app, "GET", "/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["digits", "people"]
    told = call(app, "GET", listed[0]["href"]).json()
    assert told["digest"] == DIGEST
    assert told["card"] == {"family": "fake", "loss": None}
    assert told["scores"] == {"frechet": 1.5}
    assert told["schema"]["columns"][1]["values"] == list(range(10))
    assert told["max_rows"]["image/png"] == 400


def test_the_token_guards_everything_under_v1() -> None:
    app = app_of(token="sesame")
    for url in ("/", "/healthz", "/openapi.json"):
        assert call(app, "GET", url).status_code == 200
    for header in (None, "Bearer no", "Basic sesame", "Bearer", "sesame", "Bearer s\xe9same"):
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        for method, url in [("GET", "/v1/models"), ("POST", "/v1/models/digits/sample")]:
            response = call(app, method, url, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith('Bearer realm="synthray"')
            assert response.headers["content-type"] == "application/problem+json"
    right = {"Authorization": "bearer sesame"}
    response = call(app, "GET", f"{ROWS}?count=1", headers=right)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "private, no-cache"


def test_overload_is_told_and_passes() -> None:
    watch = Watch(hold=threading.Event())
    app = app_of(watch, max_concurrent=1, max_queued=1)

    async def scene() -> None:
        working, waiting, refused = (Exchange(app, f"{ROWS}?count=3000") for _ in range(3))
        first = asyncio.create_task(working.run())
        assert await asyncio.to_thread(watch.held.wait, 10)
        second = asyncio.create_task(waiting.run())
        await asyncio.sleep(0.05)
        await refused.run()
        assert refused.status == 503
        headers = dict(refused.messages[0]["headers"])
        assert int(headers[b"retry-after"]) > 0
        assert headers[b"content-type"] == b"application/problem+json"
        healthy = Exchange(app, "/healthz")
        await healthy.run()
        assert healthy.status == 200
        assert watch.hold is not None
        watch.hold.set()
        await asyncio.gather(first, second)
        assert working.whole and waiting.whole
        late = Exchange(app, f"{ROWS}?count=1")
        await late.run()
        assert late.status == 200

    asyncio.run(scene())


def test_a_client_that_leaves_stops_the_computing_and_frees_its_place() -> None:
    watch = Watch()
    app = app_of(watch, max_concurrent=1, max_queued=0)

    async def scene() -> None:
        for _ in range(3):
            leaving = Exchange(app, f"{ROWS}?count=1000000")

            async def leave(exchange: Exchange = leaving) -> None:
                exchange.gone.set()
                await asyncio.sleep(0)

            leaving.on_body = leave
            await asyncio.wait_for(leaving.run(), 10)
            assert not leaving.whole
        staying = Exchange(app, f"{ROWS}?count=1")
        await staying.run()
        assert staying.status == 200

    asyncio.run(scene())
    assert len(watch.made) < 20
    assert watch.closed == 4


def test_a_client_that_stalls_is_cut_off() -> None:
    watch = Watch()
    app = app_of(watch, stall_seconds=0.05)

    async def scene() -> None:
        stalling = Exchange(app, f"{ROWS}?count=1000000")

        async def stall() -> None:
            await asyncio.sleep(5)

        stalling.on_body = stall
        with pytest.raises(TimeoutError):
            await stalling.run()

    began = time.monotonic()
    asyncio.run(scene())
    assert time.monotonic() - began < 4
    assert watch.closed == 1


def test_computing_keeps_pace_with_the_client() -> None:
    watch = Watch()
    app = app_of(watch)

    async def scene() -> None:
        slow = Exchange(app, f"{ROWS}?count=6144")
        seen: list[int] = []

        async def look() -> None:
            await asyncio.sleep(0.02)
            seen.append(len(watch.made))

        slow.on_body = look
        await slow.run()
        assert seen[:6] == [1, 2, 3, 4, 5, 6]

    asyncio.run(scene())


@pytest.mark.parametrize("fail_at", [1, 2])
def test_an_error_in_mid_stream_breaks_the_answer(fail_at: int) -> None:
    app = app_of(Watch(fail_at=fail_at))

    async def scene() -> None:
        broken = Exchange(app, f"{ROWS}?count=9000")
        with pytest.raises(RuntimeError, match="the block broke"):
            await broken.run()
        assert broken.status == 200
        assert not broken.whole

    asyncio.run(scene())


def test_an_unexpected_error_shows_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "synthray.serving.problems"):
        response = call(app_of(Watch(fail_at=0)), "GET", f"{ROWS}?count=5")
    assert response.status_code == 500
    document = response.json()
    assert "secret" not in response.text
    assert document["instance"] in caplog.text
    assert "secret: the block broke" in caplog.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    response = call(app_of(), "GET", "/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    links = re.findall(r"(?:src|href)=[\"']?(https?:)?//", response.text)
    assert not links


@pytest.mark.parametrize("token", [None, "sesame"])
def test_the_openapi_document_is_valid_and_tells_the_problems(token: str | None) -> None:
    document = call(app_of(token=token), "GET", "/openapi.json").json()
    validate(document)
    sample = document["paths"]["/v1/models/{name}/sample"]["post"]
    assert {"401", "404", "406", "413", "415", "422", "503"} <= set(sample["responses"])
    assert list(sample["responses"]["422"]["content"]) == ["application/problem+json"]
    assert "application/vnd.apache.arrow.stream" in sample["responses"]["200"]["content"]
    assert ("security" in sample) == (token is not None)
    parameters = document["paths"]["/v1/models/{name}/rows"]["get"]["parameters"]
    count = next(p for p in parameters if p["name"] == "count")
    assert count["schema"]["type"] == "integer"


async def settled(size: Callable[[], int]) -> int:
    """The size once it has passed the window and stopped growing, or after 30 seconds."""
    last, still = -1, 0
    for _ in range(300):
        await asyncio.sleep(0.1)
        now = size()
        still = still + 1 if now == last and now > pacing.WINDOW_BYTES else 0
        last = now
        if still == 10:
            break
    return last


def test_behind_a_proxy_computing_keeps_a_window_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy buffers without limit, as Ray Serve's does; the client takes nothing for a time."""
    monkeypatch.setattr(pacing, "WINDOW_BYTES", 1_000_000)
    watch = Watch()
    app = app_of(watch)
    buffered: list[Any] = []

    async def scene() -> None:
        taking = asyncio.Event()

        async def proxied(scope: Any, receive: Any, send: Any) -> None:
            arrived: asyncio.Queue[Any] = asyncio.Queue()

            async def forward() -> None:
                while True:
                    message = await arrived.get()
                    await send(message)
                    if message["type"].endswith("body") and not message["more_body"]:
                        return

            async def take(message: Any) -> None:
                buffered.append(message)
                arrived.put_nowait(message)

            await asyncio.gather(app(scope, receive, take), forward())

        slow = Exchange(pacing.TellTaken(proxied), f"{ROWS}?count=100000")
        slow.on_body = taking.wait
        running = asyncio.create_task(slow.run())
        ahead = await settled(lambda: sum(len(message.get("body", b"")) for message in buffered))
        assert 1_000_000 < ahead < 1_300_000
        taking.set()
        await running
        assert slow.whole

    asyncio.run(scene())
    assert len(watch.made) == 98
