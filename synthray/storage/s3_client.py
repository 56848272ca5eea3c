"""The S3 client: one for all the threads of a process, new after a fork or when the environment
changes.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as aws
from botocore.config import Config

from synthray.errors import UsageError

ATTEMPTS = 5
CONNECT_SECONDS = 10
READ_SECONDS = 60


class Connection(NamedTuple):
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

    def filesystem(self, bucket: str) -> Any:
        """pyarrow's, kept as long as the credentials are the same."""
        credentials = self.session.get_credentials()
        if credentials is None:
            raise aws.NoCredentialsError()
        frozen = credentials.get_frozen_credentials()
        key = (frozen, bucket if self.on_aws else "")
        made = self.filesystems.get(key)
        if made is None:
            made = self._make_filesystem(frozen, bucket)
            with _lock:
                for old in [k for k in self.filesystems if k[0] != frozen]:
                    del self.filesystems[old]  # its credentials have been renewed
                self.filesystems[key] = made
        return made

    def _make_filesystem(self, credentials: Any, bucket: str) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        options: dict[str, Any] = {}
        if not self.on_aws:
            address = urlsplit(self.endpoint)
            options["scheme"] = address.scheme
            options["endpoint_override"] = address.netloc + address.path.rstrip("/")
            style = (self.client.meta.config.s3 or {}).get("addressing_style")
            options["force_virtual_addressing"] = style == "virtual"
        return S3FileSystem(
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            session_token=credentials.token,
            region=self._region(bucket),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=READ_SECONDS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            tls_ca_file_path=self.session._session.get_config_variable("ca_bundle"),
            **options,
        )

    def _region(self, bucket: str) -> str:
        """Of a bucket: boto3 follows redirects between regions, pyarrow does not."""
        if self.on_aws:
            with contextlib.suppress(aws.ClientError):
                found = self.client.head_bucket(Bucket=bucket).get("BucketRegion")
                if found:
                    return str(found)
        return self.client.meta.region_name or "us-east-1"


_lock = threading.Lock()
_current: Connection | None = None


def _forget() -> None:
    global _lock, _current
    _lock, _current = threading.Lock(), None


# Sockets must not be shared with the parent, and the parent may hold the lock at this moment.
os.register_at_fork(after_in_child=_forget)


def connection() -> Connection:
    global _current
    environment = frozenset((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    with _lock:
        if _current is None or _current.environment != environment:
            # boto3 reads AWS_DEFAULT_REGION alone; other SDKs, and our manifests, AWS_REGION.
            session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
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
            _current = Connection(environment, client, session, {})
        return _current


def endpoint() -> str:
    """Return the endpoint in use where it is not Amazon's."""
    current = _current
    return "" if current is None or current.on_aws else current.endpoint
