"""The local disk: atomic whole-file writes, create-once, listing."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import Any

from synthray.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    NotFoundError,
    StorageError,
    StorageFullError,
    UsageError,
)
from synthray.storage.uri import FileInfo, join, local_path, wanted

# Names of files that are being written.
_PREFIX, _SUFFIX = ".synthray-", ".tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
# What link() says where hard links do not exist (FAT, some FUSE and SMB mounts).
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL)


def translate(error: OSError, uri: str) -> StorageError:
    """Put an operating system error into SynthRay's tree."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOENT or isinstance(error, FileNotFoundError):
        return NotFoundError(f"{uri} does not exist", "check the path and the working folder")
    if error.errno == errno.ENOTDIR:
        return StorageError(
            f"{uri}: a file stands where a folder is needed ({_in_the_way(error.filename)})",
            "move that file away or choose another path",
        )
    if error.errno == errno.EISDIR:
        return StorageError(f"{uri} is a folder, not a file", "name a file inside it")
    if error.errno in _DENIED:
        return AccessDeniedError(
            f"{uri}: {reason}", "check the owner and mode of the path, and its mount"
        )
    if error.errno in _FULL:
        return StorageFullError(f"{uri}: {reason}", "free some space or choose another disk")
    return StorageError(f"{uri}: {reason}")


@contextlib.contextmanager
def errors(uri: str) -> Iterator[None]:
    """Translate the operating system errors of its body."""
    try:
        yield
    except OSError as error:
        raise translate(error, uri) from error


def exists(uri: str) -> bool:
    with errors(uri):
        try:
            os.stat(local_path(uri))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def list_files(uri: str, suffixes: tuple[str, ...] | None, hidden: bool) -> list[FileInfo]:
    path = local_path(uri)
    with errors(uri):
        top = os.stat(path)
        if stat.S_ISDIR(top.st_mode):
            found = _walk(path, "", ((top.st_dev, top.st_ino),))
            return sorted(
                FileInfo(join(uri, name), size)
                for name, size in found
                if wanted(name, suffixes, hidden)
            )
    named = wanted(os.path.basename(path), suffixes, hidden=True)
    return [FileInfo(uri, top.st_size)] if named else []


def _walk(
    folder: str, prefix: str, ancestors: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, int]]:
    """Yield (relative path, size) of the regular files; links are followed, but not in circles."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                info = entry.stat()
            except FileNotFoundError:  # gone since, or a broken link
                continue
            name = prefix + entry.name
            if stat.S_ISREG(info.st_mode):
                yield name, info.st_size
            elif stat.S_ISDIR(info.st_mode) and (info.st_dev, info.st_ino) not in ancestors:
                inside = (*ancestors, (info.st_dev, info.st_ino))
                try:
                    yield from _walk(entry.path, f"{name}/", inside)
                except FileNotFoundError:  # the folder is gone since
                    continue


def read_bytes(uri: str) -> bytes:
    with errors(uri), open(local_path(uri), "rb") as file:
        return file.read()


def open_input(uri: str) -> Any:
    import pyarrow as pa

    with errors(uri):
        return pa.OSFile(local_path(uri), "rb")


def filesystem(uri: str) -> tuple[Any, str]:
    from pyarrow.fs import LocalFileSystem

    return LocalFileSystem(), local_path(uri)


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    path = local_path(uri)
    with errors(uri):
        with _temporary(path, data) as temporary:
            os.replace(temporary, path)
        _sync_folder(os.path.dirname(path))


def create_once(uri: str, data: bytes | memoryview) -> None:
    path = local_path(uri)
    taken = AlreadyExistsError(f"{uri} exists already", "somebody else created it first")
    with errors(uri), _temporary(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            # A network file system can answer a resent request with "exists" though we made it.
            if os.path.lexists(path) and os.path.samestat(os.lstat(temporary), os.lstat(path)):
                return
            raise taken from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not _rename_once(temporary, path):
                raise taken from error
        _sync_folder(os.path.dirname(path))


def _rename_once(temporary: str, path: str) -> bool:
    """Rename unless the target exists, without hard links: one process at a time looks and acts.

    Writing into a file opened with O_EXCL would show readers half of it, and a lock file would
    outlive a killed process. A lock on the folder itself does neither; it holds among the
    processes of one machine.
    """
    import fcntl

    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(path):
            return False
        os.rename(temporary, path)
        return True
    finally:
        os.close(folder)


def _in_the_way(path: str | None) -> str | None:
    """The file on the way to a path."""
    while path and not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


@contextlib.contextmanager
def _temporary(path: str, data: bytes | memoryview) -> Iterator[str]:
    """Write a hidden file beside `path`, safe on disk; what is left of it at the end is removed."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:  # must not read as "somebody else created it"
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", folder) from error
    temporary = os.path.join(folder, f"{_PREFIX}{uuid.uuid4().hex}{_SUFFIX}")
    # Not tempfile: its files are private to the owner, and other users read what we publish.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Make a new name survive a power cut, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def delete(uri: str) -> None:
    with errors(uri), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(local_path(uri))


def delete_tree(uri: str) -> None:
    path = local_path(uri)
    if path == os.path.dirname(path):
        raise UsageError(f"{uri} is the root of the file system", "name a folder inside it")
    with errors(uri), contextlib.suppress(FileNotFoundError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            delete(uri)


def sweep(uri: str) -> None:
    """Remove what `_temporary` could not."""
    try:
        found = list_files(uri, (_SUFFIX,), hidden=True)
    except NotFoundError:
        return
    for file in found:
        if os.path.basename(file.uri).startswith(_PREFIX):
            delete(file.uri)


def reach(uri: str) -> None:
    """Nothing to prove before the first write."""


def described(uri: str) -> str:
    return "local disk"
