"""URIs as SynthRay reads them: local paths, `file://` and `s3://`.

S3 keys and local paths are taken literally, so `#`, `%`, `?` and spaces mean themselves. Only a
`file://` URI is percent-decoded, as its standard says.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from synthray.errors import UsageError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


class FileInfo(NamedTuple):
    """One file or object: its URI, in the form that was listed, and its size in bytes."""

    uri: str
    size: int


class S3Uri(NamedTuple):
    """A bucket and a key without leading or trailing slashes; the empty key is the bucket."""

    bucket: str
    key: str

    @property
    def prefix(self) -> str:
        """What the keys of this "folder" begin with."""
        return f"{self.key}/" if self.key else ""


def scheme(uri: str) -> str:
    """Return `"s3"` or `"file"`.

    Raises:
        UsageError: the URI is empty, or of another scheme.
    """
    if not uri or "\0" in uri:
        raise UsageError(f"{uri!r} is not a path or a URI", "name a local path or s3://bucket/key")
    match = _SCHEME.match(uri)
    name = match.group(1).lower() if match else "file"
    if name not in ("file", "s3"):
        raise UsageError(
            f"{uri}: SynthRay does not read or write {name}:// URIs",
            "use a local path, file:// or s3:// (with AWS_ENDPOINT_URL for other S3 servers)",
        )
    return name


def s3_uri(uri: str) -> S3Uri:
    """Split an `s3://bucket/key` URI.

    Raises:
        UsageError: there is no bucket in it.
    """
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not bucket:
        raise UsageError(f"{uri} names no bucket", "write s3://bucket/key")
    return S3Uri(bucket, key.strip("/"))


def local_path(uri: str) -> str:
    """Return the absolute path of a local path or `file://` URI; `~` is the home folder.

    Raises:
        UsageError: a `file://` URI names another host.
    """
    if not _SCHEME.match(uri):
        return os.path.abspath(os.path.expanduser(uri))
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in ("", "localhost") or not slash:
        raise UsageError(f"{uri} names the host {host!r}", "write file:///absolute/path")
    return os.path.abspath(unquote(slash + path))


def absolute(uri: str) -> str:
    """The same place named independently of the working directory, for other processes."""
    return uri if scheme(uri) == "s3" else local_path(uri)


def join(uri: str, *parts: str) -> str:
    """Append path parts to a URI.

    Parts are relative to the URI and are plain names: for `file://` they are percent-encoded here.

    Raises:
        UsageError: a part steps out of the URI with `..`, or the URI is malformed.
    """
    encode = scheme(uri) == "file" and bool(_SCHEME.match(uri))
    names = [name for part in parts for name in part.split("/") if name]
    if ".." in names:
        raise UsageError(f"{'/'.join(parts)} steps out of {uri}", "name something inside it")
    if not names:
        return uri
    tail = "/".join(quote(name) if encode else name for name in names)
    base = uri.rstrip("/")
    return f"file:///{tail}" if base == "file:" else f"{base}/{tail}"


def wanted(relative: str, suffixes: tuple[str, ...] | None, hidden: bool) -> bool:
    """Say whether a listing shows the file at this path relative to the listed folder."""
    if not hidden and any(name.startswith(".") for name in relative.split("/")):
        return False
    return suffixes is None or relative.lower().endswith(tuple(s.lower() for s in suffixes))
