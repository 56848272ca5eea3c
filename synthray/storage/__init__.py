"""Local disk and S3 behind one set of functions.

A URI is a string: a local path, `file://…` or `s3://bucket/key`. Writes are of whole objects and
atomic: a reader sees the old bytes or the new ones, never a mixture. `create_once` has exactly one
winner. Every failure is a `StorageError` that names the URI and the remedy.

The S3 endpoint, credentials and region are found as the AWS SDK finds them (AWS_ENDPOINT_URL,
AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws/config, roles); there are no settings of our own, and
nothing to pickle into workers. boto3 is imported at the first `s3://` URI.
"""

from __future__ import annotations

import json
import uuid
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from synthray.errors import AlreadyExistsError, MissingDependencyError, StorageError
from synthray.storage import local
from synthray.storage.uri import FileInfo, absolute, join, scheme

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

__all__ = [
    "FileInfo",
    "absolute",
    "create_once",
    "delete",
    "delete_tree",
    "described",
    "exists",
    "filesystem",
    "is_remote",
    "join",
    "list_files",
    "open_input",
    "preflight",
    "read_bytes",
    "read_json",
    "sweep",
    "translate_errors",
    "write_bytes",
    "write_json",
]

Data = bytes | bytearray | memoryview


class _Backend(Protocol):
    """What the modules `local` and `s3` both offer."""

    def errors(self, uri: str) -> AbstractContextManager[None]: ...
    def exists(self, uri: str) -> bool: ...
    def list_files(
        self, uri: str, suffixes: tuple[str, ...] | None, hidden: bool
    ) -> list[FileInfo]: ...
    def read_bytes(self, uri: str) -> bytes: ...
    def open_input(self, uri: str) -> Any: ...
    def filesystem(self, uri: str) -> tuple[Any, str]: ...
    def write_bytes(self, uri: str, data: bytes | memoryview) -> None: ...
    def create_once(self, uri: str, data: bytes | memoryview) -> None: ...
    def delete(self, uri: str) -> None: ...
    def delete_tree(self, uri: str) -> None: ...
    def sweep(self, uri: str) -> None: ...
    def reach(self, uri: str) -> None: ...
    def described(self, uri: str) -> str: ...


def _backend(uri: str) -> _Backend:
    if scheme(uri) == "file":
        return local
    try:
        from synthray.storage import s3
    except ImportError as error:
        raise MissingDependencyError(
            f"{uri}: S3 needs the package boto3", "pip install boto3"
        ) from error
    return s3


def _flat(data: Data) -> bytes | memoryview:
    """Return the data as bytes or as a view of bytes, without a copy where possible."""
    if isinstance(data, bytes):
        return data
    view = memoryview(data)
    return view.cast("B") if view.c_contiguous else view.tobytes()


def is_remote(uri: str) -> bool:
    """Say whether a URI is on S3.

    Raises:
        UsageError: the URI is malformed or of an unknown scheme (so does every function here).
    """
    return scheme(uri) == "s3"


def exists(uri: str) -> bool:
    """Say whether there is a file, a folder, an object or a prefix; a missing bucket has none.

    Raises:
        AccessDeniedError: it may not be looked at.
        StorageError: the endpoint cannot be reached.
    """
    return _backend(uri).exists(uri)


def list_files(
    uri: str, suffixes: tuple[str, ...] | None = None, *, hidden: bool = False
) -> list[FileInfo]:
    """List the files under a URI, at any depth, sorted by URI in code point order.

    A URI that names one file gives that file. S3's folder markers, keys that end in `/`, are none.

    Args:
        suffixes: keep the names with one of these endings, in upper or lower case.
        hidden: also list names that begin with a dot, or lie in a folder that does.

    Raises:
        NotFoundError: no such folder, bucket or prefix.
        AccessDeniedError: it may not be listed.
        StorageError: the endpoint cannot be reached.
    """
    return _backend(uri).list_files(uri, suffixes, hidden)


def read_bytes(uri: str) -> bytes:
    """Read a whole file or object.

    Raises:
        NotFoundError: there is none, or no such bucket.
        AccessDeniedError: it may not be read.
        StorageError: it is a folder, or the endpoint cannot be reached.
    """
    return _backend(uri).read_bytes(uri)


def read_json(uri: str) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: it is not JSON; and all that `read_bytes` raises.
    """
    data = read_bytes(uri)
    try:
        return json.loads(data)
    except ValueError as error:
        raise StorageError(
            f"{uri} is not valid JSON: {error}", "it is damaged, or not the file you meant"
        ) from error


def open_input(uri: str) -> pa.NativeFile:
    """Open a file or object for random access, for Parquet say.

    Reads from what is returned raise pyarrow's errors: wrap them in `translate_errors`.

    Raises:
        NotFoundError: there is none, or no such bucket.
        AccessDeniedError: it may not be read.
        StorageError: it is a folder, or the endpoint cannot be reached.
    """
    return _backend(uri).open_input(uri)


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """Return a pyarrow file system and the path in it, for pyarrow's own readers and writers.

    It uses the endpoint, the credentials and the region that boto3 finds. Take a new one for each
    piece of work: credentials that expire do so in it too.

    Raises:
        AccessDeniedError: there are no credentials for S3.
    """
    return _backend(uri).filesystem(uri)


def translate_errors(uri: str) -> AbstractContextManager[None]:
    """Give a `with` block in which the errors of pyarrow, boto3 and the OS become `StorageError`s.

    For work that others do on a URI: `with translate_errors(uri): pq.read_table(…)`.
    """
    return _backend(uri).errors(uri)


def write_bytes(uri: str, data: Data) -> None:
    """Write a whole file or object, atomically, replacing what was there.

    Local folders are created, and the bytes are on the disk on return. Killed in the middle, a
    local write can leave a hidden `.synthray-*.tmp`, and a large S3 write an unfinished multipart
    upload (a lifecycle rule removes those); readers see neither.

    Raises:
        NotFoundError: no such bucket.
        AccessDeniedError: it may not be written.
        StorageFullError: no space is left, or the object is larger than the server takes.
        StorageError: a folder is in the way, or the endpoint cannot be reached.
    """
    _backend(uri).write_bytes(uri, _flat(data))


def write_json(uri: str, obj: Any) -> None:
    """Write JSON that compares well: sorted keys, two spaces, a newline at the end.

    Raises:
        TypeError, ValueError: the object is not JSON (NaN and infinities are not).
        StorageError: as `write_bytes`.
    """
    text = json.dumps(obj, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(uri, f"{text}\n".encode())


def create_once(uri: str, data: Data) -> None:
    """Write a file or object that must not exist yet; one of any number of callers wins.

    A request that the SDK sent twice counts as won if the first one won. After another error than
    `AlreadyExistsError` the object may or may not exist: read it to know.

    Raises:
        AlreadyExistsError: it exists.
        NotFoundError, AccessDeniedError, StorageFullError, StorageError: as `write_bytes`.
    """
    _backend(uri).create_once(uri, _flat(data))


def delete(uri: str) -> None:
    """Delete one file or object; a missing one is fine.

    Raises:
        AccessDeniedError: it may not be deleted.
        StorageError: it is a folder, or the endpoint cannot be reached.
    """
    _backend(uri).delete(uri)


def delete_tree(uri: str) -> None:
    """Delete a folder or prefix with all that is in it, hidden or not; a missing one is fine.

    Raises:
        UsageError: the URI is a whole bucket or the root of the file system.
        AccessDeniedError: something may not be deleted.
        StorageError: the endpoint cannot be reached.
    """
    _backend(uri).delete_tree(uri)


def sweep(uri: str) -> None:
    """Remove the hidden files that writers left which were killed in the middle.

    A writer that is still alive fails, as if it had been killed too. On S3 there are none.

    Raises:
        StorageError: as `list_files` and `delete`.
    """
    _backend(uri).sweep(uri)


def described(uri: str) -> str:
    """What stands behind a URI, for people: the endpoint, the region, where credentials come from.

    Nothing is asked of the storage itself.

    Raises:
        AccessDeniedError: credentials cannot be had, for a profile or a role that is not there.
    """
    return _backend(uri).described(uri)


def preflight(uri: str) -> None:
    """Prove, before long work, that an output location can be written and commits exactly once.

    Creates a small hidden file under the URI, tries to create it again, and deletes it.

    Raises:
        NotFoundError: no such bucket.
        AccessDeniedError: credentials are missing, wrong or too weak.
        StorageFullError: no space is left.
        StorageError: the endpoint cannot be reached, or it overwrites where it should refuse.
    """
    backend = _backend(uri)
    backend.reach(uri)
    probe = join(uri, f".synthray-preflight-{uuid.uuid4().hex}")
    try:
        create_once(probe, b"SynthRay was here to see whether it can write.\n")
    except StorageError as error:
        # The user never named the probe.
        raise type(error)(
            f"{uri} cannot be written: {error.what.replace(probe, uri)}", error.remedy
        ) from error
    try:
        create_once(probe, b"This must be refused.\n")
    except AlreadyExistsError:
        pass
    else:
        raise StorageError(
            f"{uri}: the server overwrites objects that should be created only once",
            "use an S3 server that honours If-None-Match on PUT",
        )
    finally:
        delete(probe)
