"""Errors of boto3, botocore and pyarrow in SynthRay's tree, with what to do about them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import botocore.exceptions as aws
from boto3.exceptions import Boto3Error
from urllib3.exceptions import HTTPError

from synthray.errors import (
    AccessDeniedError,
    NotFoundError,
    StorageError,
    StorageFullError,
    SynthRayError,
    UsageError,
)
from synthray.storage.s3_client import endpoint
from synthray.storage.uri import s3_uri

MISSING = {"NoSuchKey", "404", "NotFound", "ResourceNotFound"}
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
_ARROW_ERROR = re.compile(r"AWS Error (?:UNKNOWN \(HTTP status (\d+)\)|([A-Z][A-Z_0-9]+))")


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
        return from_code(code_of(error), str(error), uri)
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
        return from_code("NoSuchKey", str(error), uri)
    if isinstance(error, OSError) and (found := _ARROW_ERROR.search(str(error))):
        status, name = found.groups()
        if name == "NETWORK_CONNECTION":
            return _unreachable(uri, str(error))
        # Arrow spells the server's NoSuchBucket as NO_SUCH_BUCKET.
        code = status or "".join(word.capitalize() for word in name.split("_"))
        return from_code(code, str(error), uri)
    return StorageError(f"{uri}: {error}")


def code_of(error: aws.ClientError) -> str:
    """Return the server's error code; where it is not one we know, the HTTP status if that is."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    known = code == "NoSuchBucket" or code in MISSING | _FULL | _MOVED or code in _DENIED
    if not known and (status in _FULL or status in _DENIED):
        return status
    return code


def from_code(code: str, text: str, uri: str) -> SynthRayError:
    bucket = s3_uri(uri).bucket
    if code == "NoSuchBucket":
        where = endpoint()
        flag = f"--endpoint-url {where} " if where else ""
        return NotFoundError(
            f"{uri}: bucket {bucket} does not exist{f' at {where}' if where else ''}",
            f"check its name, or create it with: aws {flag}s3 mb s3://{bucket}",
        )
    if code in MISSING:
        return NotFoundError(f"{uri} does not exist", "check the bucket, the key and the endpoint")
    if code in _DENIED:
        return AccessDeniedError(f"{uri}: {text}", _DENIED[code])
    if code in _FULL:
        return StorageFullError(f"{uri}: {text}", "free some space or raise the quota")
    if code in _MOVED:
        return StorageError(f"{uri}: {text}", "set AWS_REGION to the region of the bucket")
    return StorageError(f"{uri}: {text}")


def _unreachable(uri: str, text: str) -> StorageError:
    where = endpoint() or "Amazon S3"
    return StorageError(
        f"{uri}: {where} does not answer ({text})",
        "check that it runs and that this machine reaches it; AWS_ENDPOINT_URL chooses it",
    )
