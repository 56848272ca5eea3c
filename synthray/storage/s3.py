"""S3, and what speaks its protocol: whole objects through boto3, random access through pyarrow."""

from __future__ import annotations

import contextlib
import io
import random
import time
import uuid
from collections.abc import Iterator
from typing import Any, NoReturn

import botocore.exceptions as aws
from boto3.s3.transfer import TransferConfig
from urllib3.exceptions import HTTPError

from synthray.errors import AlreadyExistsError, NotFoundError, UsageError
from synthray.storage.s3_client import ATTEMPTS, connection
from synthray.storage.s3_errors import MISSING, code_of, errors, from_code
from synthray.storage.uri import FileInfo, S3Uri, s3_uri, wanted

MULTIPART_BYTES = 64 * 1024**2
_DELETE_BATCH = 1000  # the protocol's limit
# The answer was lost, not necessarily the request.
_UNCERTAIN = (aws.ReadTimeoutError, aws.ConnectionClosedError, aws.ResponseStreamingError)
_STREAM = (aws.HTTPClientError, aws.IncompleteReadError, aws.FlexibleChecksumError, HTTPError)


def filesystem(uri: str) -> tuple[Any, str]:
    at = s3_uri(uri)
    with errors(uri):
        made = connection().filesystem(at.bucket)
    return made, f"{at.bucket}/{at.key}".rstrip("/")


def _object(uri: str) -> S3Uri:
    at = s3_uri(uri)
    if not at.key:
        raise UsageError(f"{uri} is a bucket, not an object", "write s3://bucket/key")
    return at


def _pause(attempt: int) -> None:
    """Wait at random, up to twice as long each time, so that rivals do not meet again."""
    time.sleep(random.uniform(0.05, min(5.0, 0.2 * 2**attempt)))


def sweep(uri: str) -> None:
    """Nothing to remove: an object is there as a whole or not at all."""


def reach(uri: str) -> None:
    """Raise unless the bucket exists and may be listed.

    Not HEAD: its errors have no body to say why. Not a PUT: some servers create the bucket then.
    """
    at = s3_uri(uri)
    with errors(uri):
        connection().client.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix, MaxKeys=1)


def described(uri: str) -> str:
    with errors(uri):
        current = connection()
        found = current.session.get_credentials()
    where = "Amazon S3" if current.on_aws else current.endpoint
    region = current.client.meta.region_name or "none set"
    return f"S3 at {where}, region {region}, credentials: {found.method if found else 'none found'}"


def exists(uri: str) -> bool:
    at = s3_uri(uri)
    with errors(uri):
        client = connection().client
        if at.key and _head(client, at) is not None:
            return True
        try:
            page = client.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix, MaxKeys=1)
        except aws.ClientError as error:
            if code_of(error) != "NoSuchBucket":
                raise
            return False
        return not at.key or bool(page.get("Contents"))


def _head(client: Any, at: S3Uri) -> int | None:
    """Return the size of an object, or None if there is no such object."""
    try:
        return int(client.head_object(Bucket=at.bucket, Key=at.key)["ContentLength"])
    except aws.ClientError as error:
        if code_of(error) not in MISSING:
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
        client = connection().client
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
            response = connection().client.get_object(Bucket=at.bucket, Key=at.key)
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
            connection().client.get_object(Bucket=at.bucket, Key=at.key, Range="bytes=0-0")
            return files.open_input_file(path)


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    at = _object(uri)
    with errors(uri):
        client = connection().client
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
        client = connection().client
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
        _delete(connection().client, at)


def _delete(client: Any, at: S3Uri) -> None:
    try:
        client.delete_object(Bucket=at.bucket, Key=at.key)
    except aws.ClientError as error:
        if code_of(error) not in MISSING | {"NoSuchBucket"}:
            raise


def delete_tree(uri: str) -> None:
    at = s3_uri(uri)
    if not at.key:
        raise UsageError(f"{uri} is a whole bucket", "name a prefix inside it")
    with errors(uri):
        client = connection().client
        _delete(client, at)
        try:
            keys = [key for key, _ in _objects(client, at)]
        except aws.ClientError as error:
            if code_of(error) != "NoSuchBucket":
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
                raise from_code(failed["Code"], text, uri)
