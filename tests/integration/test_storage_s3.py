"""Storage on a real S3 server, directly and through a proxy that loses or spoils answers."""

from __future__ import annotations

import http.client
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from cluster.local.s3 import S3Server
from synthray import storage
from synthray.diagnosis import storage_lines
from synthray.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    NotFoundError,
    StorageError,
    StorageFullError,
    UsageError,
)
from synthray.storage import s3

ODD_NAMES = ["with space", "hash#1", "100%41", "q?x=1", "träümé-日本", "plus+&=;"]


def parquet(rows: int = 1000) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": range(rows)}), sink)
    return bytes(sink.getvalue())


# The whole of it, as `synthray doctor` sees it.


def doctor(uri: str) -> list[str]:
    """Its lines, the last of which may be the error."""
    found = []
    try:
        for line in storage_lines(uri):
            found.append(line)
    except StorageError as error:
        found.append(f"{type(error).__name__}: {error}")
    return found


def test_the_doctor_tells_what_s3_lets_it_do_and_leaves_no_object(
    s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    facts, may = doctor(f"{s3_bucket}/out")
    assert f"S3 at {s3_server.endpoint}, region eu-north-1" in facts
    assert "credentials: env" in facts
    assert may.endswith("may be listed, written, written just once, and deleted")
    assert storage.list_files(s3_bucket, hidden=True) == []
    assert "NotFoundError" in doctor("s3://nowhere-at-all/out")[-1]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "check AWS_SECRET_ACCESS_KEY" in doctor(s3_bucket)[-1]


# Objects.


@pytest.mark.parametrize("name", ODD_NAMES)
def test_round_trip_of_odd_names(s3_bucket: str, name: str) -> None:
    uri = storage.join(s3_bucket, "deep", name, f"{name}.parquet")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, memoryview(parquet()))
    assert storage.read_bytes(uri) == parquet()
    assert storage.exists(uri) and storage.exists(storage.join(s3_bucket, "deep", name))
    assert storage.list_files(s3_bucket) == [storage.FileInfo(uri, len(parquet()))]
    with storage.open_input(uri) as file:
        assert pq.read_table(file).num_rows == 1000
    storage.delete(uri)
    storage.delete(uri)
    assert not storage.exists(uri)


def test_json(s3_bucket: str) -> None:
    uri = storage.join(s3_bucket, "x.json")
    storage.write_json(uri, {"b": 1, "a": "é"})
    assert storage.read_bytes(uri) == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    assert storage.read_json(uri) == {"a": "é", "b": 1}


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_multipart(s3_bucket: str, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setattr(s3, "MULTIPART_BYTES", 24 * 1024**2)
    data = bytes(range(256)) * (25 * 4096)
    uri = storage.join(s3_bucket, "big")
    storage.write_bytes(uri, kind(data))
    assert storage.read_bytes(uri) == data


def test_pyarrow_reads_and_writes(s3_bucket: str) -> None:
    uri = storage.join(s3_bucket, "a #1%")
    files, path = storage.filesystem(uri)
    pq.write_table(pa.table({"x": range(10)}), f"{path}/written.parquet", filesystem=files)
    storage.write_bytes(storage.join(uri, "put.parquet"), parquet(5))
    assert ds.dataset(path, filesystem=files).count_rows() == 15
    assert storage.filesystem(uri)[0] is files
    missing = storage.join(s3_bucket, "gone.parquet")
    with pytest.raises(NotFoundError, match=r"gone\.parquet"), storage.translate_errors(missing):
        pq.read_table(storage.filesystem(missing)[1], filesystem=files)


def test_list_more_than_a_page(s3_bucket: str) -> None:
    uris = [storage.join(s3_bucket, "many", f"{i % 7}", f"part-{i}.bin") for i in range(1200)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda uri: storage.write_bytes(uri, b"1"), uris))
    prefix = storage.join(s3_bucket, "many")
    assert storage.list_files(prefix) == [storage.FileInfo(uri, 1) for uri in sorted(uris)]
    storage.delete_tree(prefix)
    assert not storage.exists(prefix)


def test_list_files(s3_bucket: str, s3_server: S3Server) -> None:
    for name in ["a/x.PNG", "a-b/x", "a.txt", ".hidden/x", "_meta/x.json", "ab/x"]:
        storage.write_bytes(storage.join(s3_bucket, name), b"")
    client = s3_server.client()
    client.put_object(Bucket=s3_bucket[5:], Key="marker/", Body=b"")
    client.close()

    def listed(*parts: str, **options: Any) -> list[str]:
        found = storage.list_files(storage.join(s3_bucket, *parts), **options)
        return [info.uri.removeprefix(f"{s3_bucket}/") for info in found]

    assert listed() == ["_meta/x.json", "a-b/x", "a.txt", "a/x.PNG", "ab/x"]
    assert listed(hidden=True)[0] == ".hidden/x"
    assert listed("a") == ["a/x.PNG"]
    assert listed(suffixes=(".png", ".json")) == ["_meta/x.json", "a/x.PNG"]
    assert listed("a.txt") == ["a.txt"]
    with pytest.raises(NotFoundError, match="nothing is stored there"):
        listed("missing")


def test_empty_bucket(s3_bucket: str) -> None:
    assert storage.list_files(s3_bucket) == []
    assert storage.exists(s3_bucket)
    with pytest.raises(UsageError, match="not an object"):
        storage.write_bytes(s3_bucket, b"")


def test_delete_tree_spares_its_neighbours(s3_bucket: str) -> None:
    for name in ["t/a", "t/.hidden", "t2", "t-3/x"]:
        storage.write_bytes(storage.join(s3_bucket, name), b"")
    storage.delete_tree(storage.join(s3_bucket, "t"))
    left = [info.uri for info in storage.list_files(s3_bucket, hidden=True)]
    assert left == [f"{s3_bucket}/t-3/x", f"{s3_bucket}/t2"]


# Create once.


def test_create_once_among_threads(s3_bucket: str) -> None:
    uri = storage.join(s3_bucket, "once")
    barrier = threading.Barrier(16)

    def create(caller: int) -> bool:
        barrier.wait()
        try:
            storage.create_once(uri, bytes([caller]) * 50_000)
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert won.count(True) == 1
    assert storage.read_bytes(uri) == bytes([won.index(True)]) * 50_000


def test_create_once_refuses_equal_bytes_of_another(s3_bucket: str) -> None:
    uri = storage.join(s3_bucket, "once")
    storage.create_once(uri, b"same")
    with pytest.raises(AlreadyExistsError, match="once exists already"):
        storage.create_once(uri, b"same")


# Refusals.


def use_everything(uri: str) -> list[Callable[[], object]]:
    return [
        lambda: storage.read_bytes(uri),
        lambda: storage.open_input(uri),
        lambda: storage.list_files(uri),
        lambda: storage.write_bytes(uri, b""),
        lambda: storage.create_once(uri, b""),
        lambda: storage.preflight(uri),
    ]


@pytest.mark.usefixtures("s3_bucket")
def test_missing_bucket(s3_server: S3Server) -> None:
    uri = "s3://no-such-bucket/key"
    for use in use_everything(uri):
        with pytest.raises(NotFoundError, match="bucket no-such-bucket does not exist") as caught:
            use()
        assert f"aws --endpoint-url {s3_server.endpoint} s3 mb s3://no-such-bucket" in str(
            caught.value
        )
        assert caught.value.__cause__ is not None
    assert not storage.exists(uri)
    storage.delete(uri)
    storage.delete_tree(uri)


def test_missing_object(s3_bucket: str) -> None:
    uri = storage.join(s3_bucket, "missing")
    for read in (storage.read_bytes, storage.read_json, storage.open_input):
        with pytest.raises(NotFoundError, match="missing does not exist"):
            read(uri)


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("AWS_ACCESS_KEY_ID", "nobody", "AWS_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", None, "AWS_ACCESS_KEY_ID"),
        ("AWS_PROFILE", "unheard-of", "AWS_PROFILE"),
    ],
)
def test_wrong_credentials(
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str | None,
    remedy: str,
) -> None:
    uri = storage.join(s3_bucket, "x")
    storage.write_bytes(uri, b"1")
    if value is None:
        monkeypatch.delenv(variable)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv(variable, value)
    for use in use_everything(uri):
        with pytest.raises(AccessDeniedError, match=uri) as caught:
            use()
        assert remedy in caught.value.remedy
        assert "secret" not in str(caught.value)


def test_read_only_key(
    s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = storage.join(s3_bucket, "x")
    storage.write_bytes(uri, b"1")
    for name, value in s3_server.env(s3_server.reader).items():
        monkeypatch.setenv(name, value)
    assert storage.read_bytes(uri) == b"1"
    assert len(storage.list_files(s3_bucket)) == 1
    uses: list[Callable[[], object]] = [
        lambda: storage.write_bytes(uri, b""),
        lambda: storage.create_once(storage.join(s3_bucket, "new"), b""),
        lambda: storage.delete(uri),
        lambda: storage.preflight(s3_bucket),
    ]
    for use in uses:
        with pytest.raises(AccessDeniedError, match=s3_bucket):
            use()
    assert storage.read_bytes(uri) == b"1"


def test_unreachable_endpoint(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for use in use_everything(storage.join(s3_bucket, "x")):
        with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:9 does not answer"):
            use()
    with (
        pytest.raises(StorageError, match="does not answer"),
        storage.translate_errors(s3_bucket),
    ):
        files, path = storage.filesystem(s3_bucket)
        files.get_file_info(f"{path}/x")


def test_malformed_endpoint(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9")
    with pytest.raises(UsageError, match=r"AWS_ENDPOINT_URL"):
        storage.exists(s3_bucket)


def test_pyarrow_refusals_are_translated(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    files, path = storage.filesystem(s3_bucket)
    with pytest.raises(AccessDeniedError), storage.translate_errors(s3_bucket):
        files.open_input_file(f"{path}/x")


# Preflight, processes, crashes.


def test_preflight_leaves_no_object(s3_bucket: str) -> None:
    storage.preflight(s3_bucket)
    storage.preflight(storage.join(s3_bucket, "out"))
    assert storage.list_files(s3_bucket, hidden=True) == []


def _read_both_ways(uri: str) -> tuple[bytes, bytes]:
    with storage.open_input(uri) as file:
        return storage.read_bytes(uri), file.read()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_works_in_child_processes(s3_bucket: str, method: str) -> None:
    uri = storage.join(s3_bucket, "x")
    storage.write_bytes(uri, b"1")
    assert _read_both_ways(uri) == (b"1", b"1")
    with multiprocessing.get_context(method).Pool(2) as pool:
        read = pool.map_async(_read_both_ways, [uri, uri], chunksize=1)
        assert read.get(timeout=60) == [(b"1", b"1")] * 2
        pool.close()
        pool.join()
    assert _read_both_ways(uri) == (b"1", b"1")


def test_objects_outlive_a_killed_server(s3_bucket: str, s3_server: S3Server) -> None:
    uri = storage.join(s3_bucket, "x")
    storage.create_once(uri, b"1")
    s3_server.kill()
    s3_server.start()
    assert storage.read_bytes(uri) == b"1"
    with pytest.raises(AlreadyExistsError):
        storage.create_once(uri, b"2")


# Lost and spoiled answers.


class Proxy:
    """Forwards to the server; each request takes the next fault, and none when they are used up.

    `lose`: forward, then hang up instead of answering. `halve`: forward, then break off the body of
    the answer. A number: do not forward, answer with that status.
    """

    def __init__(self, server: S3Server) -> None:
        self.faults: list[str | int] = []
        self.requests: list[str] = []
        proxy = self
        target = server.endpoint.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy.requests.append(self.command)
                fault = proxy.faults.pop(0) if proxy.faults else None
                self.close_connection = True
                if isinstance(fault, int):
                    self.reply(fault, {}, b"")
                    return
                upstream = http.client.HTTPConnection(target, timeout=30)
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
                    upstream.request(self.command, self.path, body, headers)
                    response = upstream.getresponse()
                    content = response.read()
                finally:
                    upstream.close()
                if fault != "lose":
                    half = content[: len(content) // 2] if fault == "halve" else content
                    self.reply(response.status, dict(response.getheaders()), half, len(content))

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

            def reply(
                self, status: int, headers: dict[str, str], body: bytes, length: int = 0
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def proxy(s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server that the environment leads to."""
    proxy = Proxy(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    yield proxy
    proxy.close()


def test_create_once_whose_answer_was_lost_is_won(s3_bucket: str, proxy: Proxy) -> None:
    proxy.faults = ["lose"]
    storage.create_once(storage.join(s3_bucket, "once"), b"mine")
    assert proxy.requests == ["PUT", "PUT", "GET"]
    assert storage.read_bytes(storage.join(s3_bucket, "once")) == b"mine"


def test_create_once_whose_answers_were_all_lost_is_won(
    s3_bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    proxy.faults = ["lose"]
    storage.create_once(storage.join(s3_bucket, "once"), b"mine")


def test_create_once_that_was_resent_to_an_object_of_another_is_lost(
    s3_bucket: str, proxy: Proxy
) -> None:
    uri = storage.join(s3_bucket, "once")
    storage.create_once(uri, b"same")
    proxy.faults = ["lose"]
    with pytest.raises(AlreadyExistsError):
        storage.create_once(uri, b"same")


def test_create_once_goes_on_after_a_conflict(s3_bucket: str, proxy: Proxy) -> None:
    proxy.faults = [409, 409]
    storage.create_once(storage.join(s3_bucket, "once"), b"mine")
    assert proxy.requests == ["PUT"] * 3


def test_create_once_gives_up(
    s3_bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    for faults, error in (
        ([409] * 2, StorageError),
        ([507], StorageFullError),
        ([403], AccessDeniedError),
    ):
        proxy.faults = list(faults)
        with pytest.raises(error):
            storage.create_once(storage.join(s3_bucket, "once"), b"mine")
        assert not storage.exists(storage.join(s3_bucket, "once"))


def test_full_server(s3_bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    proxy.faults = [507]
    with pytest.raises(StorageFullError, match="x"):
        storage.write_bytes(storage.join(s3_bucket, "x"), b"1")


def test_broken_off_answers_are_read_again(s3_bucket: str, proxy: Proxy) -> None:
    uri = storage.join(s3_bucket, "x")
    data = bytes(range(256)) * 100
    storage.write_bytes(uri, data)
    proxy.faults = ["halve", "halve"]
    assert storage.read_bytes(uri) == data
    proxy.faults = ["halve"] * s3.ATTEMPTS
    with pytest.raises(StorageError, match="does not answer"):
        storage.read_bytes(uri)


def test_errors_of_the_server_are_tried_again(s3_bucket: str, proxy: Proxy) -> None:
    proxy.faults = [503]
    storage.write_bytes(storage.join(s3_bucket, "x"), b"1")
    assert proxy.requests == ["PUT", "PUT"]


def test_preflight_finds_a_server_that_overwrites(s3_bucket: str, proxy: Proxy) -> None:
    proxy.requests.clear()
    pass_list, put, put_again = 200, 200, 200
    proxy.faults = [pass_list, put, put_again]
    with pytest.raises(StorageError, match="If-None-Match"):
        storage.preflight(s3_bucket)
