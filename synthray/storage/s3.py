"""S3, and what speaks its protocol: whole objects through boto3, random access through pyarrow."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as aws
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from urllib3.exceptions import HTTPError

from synthray.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    NotFoundError,
    StorageError,
    StorageFullError,
    SynthRayError,
    UsageError,
)
from synthray.storage.uri import FileInfo, S3Uri, s3_uri, wanted

ATTEMPTS = 5
CONNECT_SECONDS = 10
READ_SECONDS = 60
MULTIPART_BYTES = 64 * 1024**2
_DELETE_BATCH = 1000  # the protocol's limit

_MISSING = {"NoSuchKey", "404", "NotFound", "ResourceNotFound"}
_FULL = {
    "507",
    "EntityTooLarge",
    "InsufficientStorage",
    "MaxMessageLengthExceeded",
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_DENIED = {
    "401": "check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE)",
    "403": "check the credentials and what they may do in this bucket",
    "AccessDenied": "give these credentials the right to list, read, write and delete there",
    "Forbidden": "check the credentials and what they may do in this bucket",
    "ExpiredToken": "the credentials have expired: renew them",
    "InvalidToken": "check AWS_SESSION_TOKEN: it belongs to other credentials, or is damaged",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID or AWS_PROFILE: this server has no such key",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY: it does not belong to this key",
    "RequestTimeTooSkewed": "set this machine's clock: it differs from the server's",
}
_MOVED = {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}
# The answer was lost, not necessarily the request.
_UNCERTAIN = (aws.ReadTimeoutError, aws.ConnectionClosedError, aws.ResponseStreamingError)
_STREAM = (aws.HTTPClientError, aws.IncompleteReadError, aws.FlexibleChecksumError, HTTPError)
_ARROW_ERROR = re.compile(r"AWS Error (?:UNKNOWN \(HTTP status (\d+)\)|([A-Z][A-Z_0-9]+))")


# The connection: one client for all the threads of a process, new after a fork or when the
# environment changes.


class _Connection(NamedTuple):
    environment: frozenset[tuple[str, str]]
    client: Any
    session: Any
    filesystems: dict[Any, Any]  # by credentials and region

    @property
    def endpoint(self) -> str:
        return str(self.client.meta.endpoint_url)

    @property
    def on_aws(self) -> bool:
        host = urlsplit(self.endpoint).hostname or ""
        return re.fullmatch(r"s3[.-]([a-z0-9-]+\.)*amazonaws\.com(\.cn)?", host) is not None


_lock = threading.Lock()
_current: _Connection | None = None


def _forget() -> None:
    global _lock, _current
    _lock, _current = threading.Lock(), None


# Sockets must not be shared with the parent, and the parent may hold the lock at this moment.
os.register_at_fork(after_in_child=_forget)


def _connection() -> _Connection:
    global _current
    environment = frozenset((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    with _lock:
        if _current is None or _current.environment != environment:
            session = boto3.Session()
            config = Config(
                retries={"mode": "standard", "max_attempts": ATTEMPTS},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                max_pool_connections=32,
                tcp_keepalive=True,
            )
            try:
                client = session.client("s3", config=config)
            except ValueError as error:  # botocore's word on a malformed AWS_ENDPOINT_URL
                raise UsageError(
                    f"S3 cannot be used: {error}", "write AWS_ENDPOINT_URL as http(s)://host:port"
                ) from error
            _current = _Connection(environment, client, session, {})
        return _current


def _region(connection: _Connection, bucket: str) -> str:
    """Return the region of a bucket: boto3 follows redirects between regions, pyarrow does not."""
    if connection.on_aws:
        with contextlib.suppress(aws.ClientError):
            found = connection.client.head_bucket(Bucket=bucket).get("BucketRegion")
            if found:
                return str(found)
    return connection.client.meta.region_name or "us-east-1"


def filesystem(uri: str) -> tuple[Any, str]:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    at = s3_uri(uri)
    with errors(uri):
        connection = _connection()
        credentials = connection.session.get_credentials()
        if credentials is None:
            raise aws.NoCredentialsError()
        frozen = credentials.get_frozen_credentials()
        key = (frozen, at.bucket if connection.on_aws else "")
        made = connection.filesystems.get(key)
        if made is None:
            options: dict[str, Any] = {}
            if not connection.on_aws:
                address = urlsplit(connection.endpoint)
                options["scheme"] = address.scheme
                options["endpoint_override"] = address.netloc + address.path.rstrip("/")
                style = (connection.client.meta.config.s3 or {}).get("addressing_style")
                options["force_virtual_addressing"] = style == "virtual"
            bundle = connection.session._session.get_config_variable("ca_bundle")
            made = S3FileSystem(
                access_key=frozen.access_key,
                secret_key=frozen.secret_key,
                session_token=frozen.token,
                region=_region(connection, at.bucket),
                connect_timeout=CONNECT_SECONDS,
                request_timeout=READ_SECONDS,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
                tls_ca_file_path=bundle,
                **options,
            )
            with _lock:
                for old in [k for k in connection.filesystems if k[0] != frozen]:
                    del connection.filesystems[old]  # its credentials have been renewed
                connection.filesystems[key] = made
    return made, f"{at.bucket}/{at.key}".rstrip("/")


# Errors.


@contextlib.contextmanager
def errors(uri: str) -> Iterator[None]:
    """Translate the errors of boto3 and pyarrow in its body."""
    try:
        yield
    except (aws.ClientError, aws.BotoCoreError, Boto3Error, HTTPError, OSError) as error:
        raise translate(error, uri) from error


def translate(error: Exception, uri: str) -> SynthRayError:
    """Put an error of boto3, botocore or pyarrow into SynthRay's tree."""
    if isinstance(error, aws.ClientError):
        return _from_code(_code(error), str(error), uri)
    if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError)):
        return AccessDeniedError(
            f"{uri}: no complete S3 credentials were found ({error})",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if isinstance(error, (aws.CredentialRetrievalError, aws.ProfileNotFound, aws.SSOError)):
        return AccessDeniedError(f"{uri}: {error}", "check AWS_PROFILE and renew the login")
    if isinstance(error, aws.ParamValidationError):
        return UsageError(f"{uri}: {error}", "check the name of the bucket and the key")
    if isinstance(error, (aws.ConnectionError, aws.HTTPClientError, HTTPError)):
        return _unreachable(uri, str(error))
    if isinstance(error, FileNotFoundError):
        return _from_code("NoSuchKey", str(error), uri)
    if isinstance(error, OSError) and (found := _ARROW_ERROR.search(str(error))):
        status, name = found.groups()
        if name == "NETWORK_CONNECTION":
            return _unreachable(uri, str(error))
        # Arrow spells the server's NoSuchBucket as NO_SUCH_BUCKET.
        code = status or "".join(word.capitalize() for word in name.split("_"))
        return _from_code(code, str(error), uri)
    return StorageError(f"{uri}: {error}")


def _code(error: aws.ClientError) -> str:
    """Return the server's error code; where it is not one we know, the HTTP status if that is."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    known = code == "NoSuchBucket" or code in _MISSING | _FULL | _MOVED or code in _DENIED
    if not known and (status in _FULL or status in _DENIED):
        return status
    return code


def _from_code(code: str, text: str, uri: str) -> SynthRayError:
    bucket = s3_uri(uri).bucket
    if code == "NoSuchBucket":
        where = _endpoint()
        flag = f"--endpoint-url {where} " if where else ""
        return NotFoundError(
            f"{uri}: bucket {bucket} does not exist{f' at {where}' if where else ''}",
            f"check its name, or create it with: aws {flag}s3 mb s3://{bucket}",
        )
    if code in _MISSING:
        return NotFoundError(f"{uri} does not exist", "check the bucket, the key and the endpoint")
    if code in _DENIED:
        return AccessDeniedError(f"{uri}: {text}", _DENIED[code])
    if code in _FULL:
        return StorageFullError(f"{uri}: {text}", "free some space or raise the quota")
    if code in _MOVED:
        return StorageError(f"{uri}: {text}", "set AWS_REGION to the region of the bucket")
    return StorageError(f"{uri}: {text}")


def _unreachable(uri: str, text: str) -> StorageError:
    where = _endpoint() or "Amazon S3"
    return StorageError(
        f"{uri}: {where} does not answer ({text})",
        "check that it runs and that this machine reaches it; AWS_ENDPOINT_URL chooses it",
    )


def _endpoint() -> str:
    """Return the endpoint in use where it is not Amazon's."""
    connection = _current
    return "" if connection is None or connection.on_aws else connection.endpoint


def _object(uri: str) -> S3Uri:
    at = s3_uri(uri)
    if not at.key:
        raise UsageError(f"{uri} is a bucket, not an object", "write s3://bucket/key")
    return at


def _pause(attempt: int) -> None:
    """Wait at random, up to twice as long each time, so that rivals do not meet again."""
    time.sleep(random.uniform(0.05, min(5.0, 0.2 * 2**attempt)))


# The operations.


def sweep(uri: str) -> None:
    """Nothing to remove: an object is there as a whole or not at all."""


def reach(uri: str) -> None:
    """Raise unless the bucket exists and may be listed.

    Not HEAD: its errors have no body to say why. Not a PUT: some servers create the bucket then.
    """
    at = s3_uri(uri)
    with errors(uri):
        _connection().client.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix, MaxKeys=1)


def exists(uri: str) -> bool:
    at = s3_uri(uri)
    with errors(uri):
        client = _connection().client
        if at.key and _head(client, at) is not None:
            return True
        try:
            page = client.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix, MaxKeys=1)
        except aws.ClientError as error:
            if _code(error) != "NoSuchBucket":
                raise
            return False
        return not at.key or bool(page.get("Contents"))


def _head(client: Any, at: S3Uri) -> int | None:
    """Return the size of an object, or None if there is no such object."""
    try:
        return int(client.head_object(Bucket=at.bucket, Key=at.key)["ContentLength"])
    except aws.ClientError as error:
        if _code(error) not in _MISSING:
            raise
        return None


def _objects(client: Any, at: S3Uri) -> Iterator[tuple[str, int]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=at.bucket, Prefix=at.prefix)
    for page in pages:
        for entry in page.get("Contents", ()):
            yield entry["Key"], entry["Size"]


def list_files(uri: str, suffixes: tuple[str, ...] | None, hidden: bool) -> list[FileInfo]:
    at = s3_uri(uri)
    with errors(uri):
        client = _connection().client
        listed = list(_objects(client, at))
        if listed or not at.key:
            return sorted(
                FileInfo(f"s3://{at.bucket}/{key}", size)
                for key, size in listed
                if not key.endswith("/") and wanted(key[len(at.prefix) :], suffixes, hidden)
            )
        size = _head(client, at)
    if size is None:
        raise NotFoundError(f"{uri}: nothing is stored there", "check the bucket and the prefix")
    return [FileInfo(uri, size)] if wanted(at.key, suffixes, hidden=True) else []


def read_bytes(uri: str) -> bytes:
    at = _object(uri)
    attempt = 0
    while True:
        attempt += 1
        with errors(uri):
            response = _connection().client.get_object(Bucket=at.bucket, Key=at.key)
            try:
                with contextlib.closing(response["Body"]) as body:
                    return bytes(body.read())
            except _STREAM:  # the SDK retries requests, not a body that breaks off
                if attempt == ATTEMPTS:
                    raise
        _pause(attempt)


def open_input(uri: str) -> Any:
    at = _object(uri)
    files, path = filesystem(uri)
    try:
        return files.open_input_file(path)
    except OSError:
        # Arrow asks with HEAD, whose errors have no body: let boto3 find out what is wrong.
        with errors(uri):
            _connection().client.get_object(Bucket=at.bucket, Key=at.key, Range="bytes=0-0")
            return files.open_input_file(path)


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    at = _object(uri)
    with errors(uri):
        client = _connection().client
        if len(data) < MULTIPART_BYTES:
            client.put_object(Bucket=at.bucket, Key=at.key, Body=bytes(data))
            return
        config = TransferConfig(
            multipart_threshold=MULTIPART_BYTES, multipart_chunksize=MULTIPART_BYTES // 4
        )
        client.upload_fileobj(_stream(data), at.bucket, at.key, Config=config)


def _stream(data: bytes | memoryview) -> Any:
    if isinstance(data, bytes):
        return io.BytesIO(data)  # shares the bytes
    import pyarrow as pa

    return pa.BufferReader(data)


def create_once(uri: str, data: bytes | memoryview) -> None:
    """Create with If-None-Match; a token in the metadata tells our object from an equal one."""
    at = _object(uri)
    token = uuid.uuid4().hex
    body = bytes(data)
    with errors(uri):
        client = _connection().client
        for attempt in range(1, 2 * ATTEMPTS + 1):
            try:
                client.put_object(
                    Bucket=at.bucket,
                    Key=at.key,
                    Body=body,
                    IfNoneMatch="*",
                    Metadata={"synthray-writer": token},
                )
                return
            except aws.ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 409:  # another conditional write is under way: its end decides
                    if attempt == 2 * ATTEMPTS:
                        raise
                elif status == 412 or status >= 500:
                    resent = status >= 500 or error.response["ResponseMetadata"]["RetryAttempts"]
                    _settle(client, at, token, body if resent else None, error)
                    return
                else:
                    raise
            except _UNCERTAIN as error:
                _settle(client, at, token, body, error)
                return
            _pause(attempt)


def _settle(client: Any, at: S3Uri, token: str, body: bytes | None, error: Exception) -> None:
    """Return if the object is ours; raise AlreadyExistsError, or the error if there is none.

    Args:
        body: what we wrote, where it may have arrived although the answer says otherwise. It is
            compared only if the server keeps no metadata, which tells more.
    """
    try:
        response = client.get_object(Bucket=at.bucket, Key=at.key)
    except (aws.ClientError, aws.BotoCoreError) as second:
        if _status(error) == 412:
            _taken(at, error)
        raise error from second
    with contextlib.closing(response["Body"]) as stream:
        writer = response["Metadata"].get("synthray-writer")
        ours = writer == token if writer else body is not None and stream.read() == body
    if not ours:
        _taken(at, error)


def _taken(at: S3Uri, error: Exception) -> NoReturn:
    raise AlreadyExistsError(
        f"s3://{at.bucket}/{at.key} exists already", "somebody else created it first"
    ) from error


def _status(error: Exception) -> int:
    if not isinstance(error, aws.ClientError):
        return 0
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def delete(uri: str) -> None:
    at = _object(uri)
    with errors(uri):
        _delete(_connection().client, at)


def _delete(client: Any, at: S3Uri) -> None:
    try:
        client.delete_object(Bucket=at.bucket, Key=at.key)
    except aws.ClientError as error:
        if _code(error) not in _MISSING | {"NoSuchBucket"}:
            raise


def delete_tree(uri: str) -> None:
    at = s3_uri(uri)
    if not at.key:
        raise UsageError(f"{uri} is a whole bucket", "name a prefix inside it")
    with errors(uri):
        client = _connection().client
        _delete(client, at)
        try:
            keys = [key for key, _ in _objects(client, at)]
        except aws.ClientError as error:
            if _code(error) != "NoSuchBucket":
                raise
            return
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = [{"Key": key} for key in keys[start : start + _DELETE_BATCH]]
            answer = client.delete_objects(
                Bucket=at.bucket, Delete={"Objects": batch, "Quiet": True}
            )
            for failed in answer.get("Errors", ()):
                # AWS reports refusals here, one per key, under status 200.
                text = f"{failed['Key']}: {failed.get('Message') or failed['Code']}"
                raise _from_code(failed["Code"], text, uri)
