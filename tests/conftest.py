"""Fixtures for all tests: a real S3 server with a fresh bucket, the command line."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from cluster.local.s3 import S3Server

if os.environ.get("SYNTHRAY_TEST_WITHOUT_RAY"):
    # Importing Ray now raises ImportError, as on a machine that does not have it.
    sys.modules["ray"] = None  # type: ignore[assignment]

# Before Ray is first imported: it reads the mode once.
os.environ["RAY_AUTH_MODE"] = "disabled"
# Tests are no usage; and the actor that counts it is a process in every cluster.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running SeaweedFS. If it does not start, the tests fail: they are not skipped."""
    server = S3Server(tmp_path_factory.mktemp("seaweedfs"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def s3_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket as `s3://bucket-…`, with the environment that leads to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    client = s3_server.client()
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    try:
        yield f"s3://{bucket}"
    finally:
        client.delete_bucket(Bucket=bucket)  # SeaweedFS deletes what is in it
        client.close()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For small networks: more threads would only wait for each other on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `synthray …` in this process; gives (exit code, stdout, stderr)."""

    from synthray import cli

    def call(*words: object) -> tuple[int, str, str]:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        monkeypatch.setattr(sys, "argv", ["synthray", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        return code, out, err

    return call
