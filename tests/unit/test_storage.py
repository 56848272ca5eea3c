"""Storage on the local disk."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthray import storage
from synthray.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    NotFoundError,
    StorageError,
    StorageFullError,
    UsageError,
)

ODD_NAMES = ["with space", "hash#1", "100%41", "q?x=1", "träümé-日本", "plus+&=;", "a'b\"c"]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# URIs.


@pytest.mark.parametrize(
    ("uri", "parts", "expected"),
    [
        ("s3://b", ["k"], "s3://b/k"),
        ("s3://b/", ["/data/", "part 1.parquet"], "s3://b/data/part 1.parquet"),
        ("s3://b/x//", ["a/b"], "s3://b/x/a/b"),
        ("out", ["a", "", "b"], "out/a/b"),
        ("/", ["a"], "/a"),
        ("out/", [], "out/"),
        ("file:///tmp/x", ["50% #1"], "file:///tmp/x/50%25%20%231"),
        ("file:///", ["a"], "file:///a"),
    ],
)
def test_join(uri: str, parts: list[str], expected: str) -> None:
    assert storage.join(uri, *parts) == expected


def test_join_stays_inside() -> None:
    with pytest.raises(UsageError, match="steps out"):
        storage.join("s3://b/out", "../other")


def test_is_remote() -> None:
    assert storage.is_remote("s3://b/k")
    assert not storage.is_remote("file:///tmp/x")
    assert not storage.is_remote("relative/path")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "not a path"),
        ("a\0b", "not a path"),
        ("gs://b/k", "gs://"),
        ("s3a://b/k", "s3a://"),
        ("s3:///k", "no bucket"),
        ("file://elsewhere/x", "elsewhere"),
    ],
)
def test_malformed_uris(uri: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        storage.read_bytes(uri)


def test_file_uris(tmp_path: Path) -> None:
    folder = tmp_path / "50% #1"
    storage.write_bytes((folder / "x y").as_uri(), b"1")
    assert (folder / "x y").read_bytes() == b"1"
    (listed,) = storage.list_files(folder.as_uri())
    assert listed.uri == (folder / "x y").as_uri()
    assert storage.read_bytes(listed.uri) == b"1"


def test_local_use_imports_neither_boto3_nor_pyarrow() -> None:
    code = (
        "import sys, synthray.storage as s; s.exists('.');"
        "print([m for m in ('boto3', 'botocore', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Reading and writing.


@pytest.mark.parametrize("name", ODD_NAMES)
def test_round_trip_of_odd_names(tmp_path: Path, name: str) -> None:
    uri = storage.join(str(tmp_path), "deep", name, name)
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert storage.read_bytes(uri) == b"two"
    assert storage.exists(uri)
    assert storage.list_files(str(tmp_path)) == [storage.FileInfo(uri, 3)]
    storage.delete(uri)
    assert not storage.exists(uri)
    storage.delete(uri)


@pytest.mark.parametrize(
    "data",
    [b"", bytearray(b"abc"), memoryview(b"abcdef")[::2], memoryview(pa.array([1, 2]).buffers()[1])],
)
def test_writes_all_kinds_of_buffers(tmp_path: Path, data: Any) -> None:
    uri = str(tmp_path / "x")
    storage.write_bytes(uri, data)
    assert storage.read_bytes(uri) == bytes(data)


def test_relative_and_home_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    storage.write_bytes("here", b"1")
    storage.write_bytes("~/there", b"2")
    assert (tmp_path / "here").read_bytes() == b"1"
    assert (tmp_path / "home" / "there").read_bytes() == b"2"


def test_published_files_have_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    storage.write_bytes(str(tmp_path / "written"), b"")
    storage.create_once(str(tmp_path / "created"), b"")
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_json(tmp_path: Path) -> None:
    uri = str(tmp_path / "x.json")
    storage.write_json(uri, {"b": [1, None], "a": "é"})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": "é",\n  "b": [\n    1,\n    null\n  ]\n}\n'
    assert storage.read_json(uri) == {"a": "é", "b": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(uri, math.nan)
    assert storage.read_json(uri) == {"a": "é", "b": [1, None]}
    storage.write_bytes(uri, b'{"a": ')
    with pytest.raises(StorageError, match=r"x\.json is not valid JSON"):
        storage.read_json(uri)
    storage.write_bytes(uri, b"\xff\xfe\xff")
    with pytest.raises(StorageError, match=r"x\.json is not valid JSON"):
        storage.read_json(uri)


def test_parquet_through_open_input_and_filesystem(tmp_path: Path) -> None:
    table = pa.table({"x": range(1000)})
    uri = str(tmp_path / "50% t.parquet")
    files, path = storage.filesystem(uri)
    pq.write_table(table, path, filesystem=files)
    with storage.open_input(uri) as file:
        assert file.seekable()
        assert pq.read_table(file).equals(table)
    storage.write_bytes(uri, b"not parquet")
    with pytest.raises(NotFoundError), storage.translate_errors(uri):
        pq.read_table(str(tmp_path / "gone"), filesystem=files)


# Listing.


def test_list_files(tmp_path: Path) -> None:
    for name in ["b/2.PNG", "b/1.png", "a-b/x.csv", "a/x.csv", "é.csv", "Z.csv", "_meta/m.json"]:
        storage.write_bytes(storage.join(str(tmp_path), name), b"12")
    for name in [".hidden.csv", ".git/x.csv"]:
        storage.write_bytes(storage.join(str(tmp_path), name), b"")
    top = str(tmp_path)

    def listed(**options: Any) -> list[str]:
        return [os.path.relpath(info.uri, top) for info in storage.list_files(top, **options)]

    everything = ["Z.csv", "_meta/m.json", "a-b/x.csv", "a/x.csv", "b/1.png", "b/2.PNG", "é.csv"]
    assert listed() == everything
    assert listed(suffixes=(".png",)) == ["b/1.png", "b/2.PNG"]
    assert listed(suffixes=(".nothing",)) == []
    assert listed(hidden=True) == [".git/x.csv", ".hidden.csv", *everything]
    one = str(tmp_path / "Z.csv")
    assert storage.list_files(one) == [storage.FileInfo(one, 2)]
    assert storage.list_files(f"{top}/") == storage.list_files(top)


def test_list_files_of_nothing(tmp_path: Path) -> None:
    assert storage.list_files(str(tmp_path)) == []
    with pytest.raises(NotFoundError, match="missing"):
        storage.list_files(str(tmp_path / "missing"))


def test_list_files_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "real" / "x"), b"1")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(tmp_path / "real")
    (top / "circle").symlink_to(top)
    (top / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(top / "fifo")
    assert storage.list_files(str(top)) == [storage.FileInfo(str(top / "link" / "x"), 1)]


# Deleting.


def test_delete_tree(tmp_path: Path) -> None:
    tree = str(tmp_path / "tree")
    for name in ["a/b", ".hidden", "c"]:
        storage.write_bytes(storage.join(tree, name), b"")
    storage.write_bytes(str(tmp_path / "tree2"), b"")
    storage.delete_tree(tree)
    assert names(tmp_path) == ["tree2"]
    storage.delete_tree(tree)
    storage.delete_tree(str(tmp_path / "tree2"))
    assert names(tmp_path) == []


def test_delete_tree_of_a_link_keeps_its_target(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "real" / "x"), b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    storage.delete_tree(str(tmp_path / "link"))
    assert (tmp_path / "real" / "x").exists()
    assert not (tmp_path / "link").is_symlink()


def test_delete_tree_refuses_everything() -> None:
    with pytest.raises(UsageError, match="root"):
        storage.delete_tree("/")
    with pytest.raises(UsageError, match="whole bucket"):
        storage.delete_tree("s3://bucket/")


def test_delete_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="folder"):
        storage.delete(str(tmp_path))


# Create once.


def race(create: Callable[[int], bool], callers: int = 16) -> list[int]:
    """Let threads create the same thing at the same moment; return who won."""
    barrier = Barrier(callers)

    def one(caller: int) -> bool:
        barrier.wait()
        return create(caller)

    with ThreadPoolExecutor(callers) as pool:
        return [caller for caller, won in enumerate(pool.map(one, range(callers))) if won]


def payload(caller: int) -> bytes:
    return bytes([caller]) * 100_000


def created(uri: str, caller: int) -> bool:
    try:
        storage.create_once(uri, payload(caller))
    except AlreadyExistsError:
        return False
    return True


@pytest.fixture(params=["links", "no links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the file system's hard links, and as on one that has none."""
    if request.param == "no links":

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
def test_create_once_among_threads(tmp_path: Path) -> None:
    for turn in range(5):
        uri = str(tmp_path / f"once-{turn}")
        (winner,) = race(lambda caller, uri=uri: created(uri, caller))  # type: ignore[misc]
        assert storage.read_bytes(uri) == payload(winner)
    assert names(tmp_path) == [f"once-{turn}" for turn in range(5)]


def _create_in_process(uri: str, callers: int, caller: int) -> bool:
    # Meet at a folder: a spawned process has no other common object here.
    Path(uri).parent.joinpath(f".ready-{caller}").touch()
    while len(list(Path(uri).parent.glob(".ready-*"))) < callers:
        time.sleep(0.001)
    return created(uri, caller)


def test_create_once_among_processes(tmp_path: Path) -> None:
    uri = str(tmp_path / "once")
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        won = pool.starmap(_create_in_process, [(uri, 4, c) for c in range(4)], chunksize=1)
        pool.close()
        pool.join()
    (winner,) = [caller for caller, mine in enumerate(won) if mine]
    assert storage.read_bytes(uri) == payload(winner)


@pytest.mark.usefixtures("links")
def test_create_once_leaves_what_is_there(tmp_path: Path) -> None:
    uri = str(tmp_path / "once")
    storage.create_once(uri, b"first")
    with pytest.raises(AlreadyExistsError, match="once exists already"):
        storage.create_once(uri, b"second")
    assert storage.read_bytes(uri) == b"first"
    assert names(tmp_path) == ["once"]


def test_create_once_that_was_resent_is_won(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS can make the link, lose the answer, and then say that the link exists."""
    link = os.link

    def link_twice(source: str, target: str) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    storage.create_once(str(tmp_path / "once"), b"1")
    assert names(tmp_path) == ["once"]


# Failures.


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB; without the right to mount one, a limit on the size of files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield disk
        subprocess.run(["umount", str(disk)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    yield disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_keeps_the_old_and_leaves_nothing(tiny_disk: Path) -> None:
    uri = str(tiny_disk / "x")
    storage.write_bytes(uri, b"old")
    too_much = bytes(1_000_000)
    for write in (storage.write_bytes, storage.create_once):
        target = uri if write is storage.write_bytes else str(tiny_disk / "new")
        with pytest.raises(StorageFullError, match=target) as caught:
            write(target, too_much)
        assert isinstance(caught.value.__cause__, OSError)
        assert names(tiny_disk) == ["x"]
    assert storage.read_bytes(uri) == b"old"


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    storage.write_bytes(str(tmp_path / "x"), b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes(str(tmp_path / "x"), b"new")
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_missing_file(tmp_path: Path) -> None:
    uri = str(tmp_path / "missing")
    for read in (storage.read_bytes, storage.read_json, storage.open_input):
        with pytest.raises(NotFoundError, match="missing does not exist"):
            read(uri)
    assert not storage.exists(uri)


def test_folder_in_the_way(tmp_path: Path) -> None:
    for use in (storage.read_bytes, storage.open_input):
        with pytest.raises(StorageError, match=str(tmp_path)):
            use(str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder"):
        storage.write_bytes(str(tmp_path / "folder"), b"")
    assert names(tmp_path) == ["folder"]


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for below in ("b", "b/c"):
        uri = str(tmp_path / "a" / below)
        assert not storage.exists(uri)
        storage.delete(uri)
        for write in (storage.write_bytes, storage.create_once):
            with pytest.raises(
                StorageError, match="a file stands where a folder is needed"
            ) as caught:
                write(uri, b"")
            assert not isinstance(caught.value, AlreadyExistsError)
        with pytest.raises(StorageError):
            storage.preflight(uri)


@pytest.fixture
def nobody() -> Iterator[None]:
    """Run as a user who owns nothing: modes of files do not bind root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield
    os.seteuid(user)


def test_permission_denied(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    storage.write_bytes(str(tmp_path / "x"), b"old")
    (tmp_path / "x").chmod(0)
    tmp_path.chmod(0o500)
    request.getfixturevalue("nobody")
    uri = str(tmp_path / "x")
    uses: list[Callable[[], object]] = [
        lambda: storage.read_bytes(uri),
        lambda: storage.open_input(uri),
        lambda: storage.write_bytes(uri, b"new"),
        lambda: storage.create_once(storage.join(str(tmp_path), "y"), b"new"),
        lambda: storage.preflight(str(tmp_path)),
    ]
    for use in uses:
        with pytest.raises(AccessDeniedError, match="Permission denied"):
            use()


def test_read_only_file_system(tiny_disk: Path) -> None:
    if not os.path.ismount(tiny_disk):
        pytest.skip("this machine does not let us mount")
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    uses: list[Callable[[], object]] = [
        lambda: storage.write_bytes(str(tiny_disk / "x"), b""),
        lambda: storage.preflight(str(tiny_disk / "out")),
    ]
    for use in uses:
        with pytest.raises(AccessDeniedError, match="Read-only file system"):
            use()


# Preflight.


def test_preflight_leaves_no_file(tmp_path: Path) -> None:
    storage.preflight(str(tmp_path / "new" / "out"))
    assert storage.list_files(str(tmp_path), hidden=True) == []


def test_preflight_finds_what_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", os.replace)
    with pytest.raises(StorageError, match="created only once"):
        storage.preflight(str(tmp_path))
    assert names(tmp_path) == []


def test_a_folder_that_vanishes_while_it_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept.txt").write_text("x")
    (tmp_path / "gone").mkdir()
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("gone"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [Path(file.uri).name for file in storage.list_files(str(tmp_path))] == ["kept.txt"]


def test_a_sweep_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in (".synthray-a.tmp", "deep/.synthray-b.tmp", "deep/mine.tmp", ".synthray-c", "d"):
        (tmp_path / name).write_bytes(b"x")
    storage.sweep(str(tmp_path))
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == [".synthray-c", "d", "deep/mine.tmp"]
    storage.sweep(str(tmp_path / "missing"))


def test_preflight_names_the_output_and_not_its_probe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for uri in (str(tmp_path / "file" / "out"), "/proc/nowhere"):
        with pytest.raises(StorageError, match=f"^{uri} cannot be written: ") as caught:
            storage.preflight(uri)
        assert ".synthray-" not in str(caught.value)
        if "file" in uri:
            assert f"({tmp_path / 'file'})" in str(caught.value)
