"""The HTTP API on Ray Serve: replicas that load the artifacts and answer from them."""

from __future__ import annotations

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray import serve
from ray.exceptions import RayTaskError

from synthray.config import ServeConfig
from synthray.errors import ClusterError, SynthRayError, UsageError
from synthray.serving.app import create_app
from synthray.serving.loading import load_model

APP_NAME = "synthray"
_HEADROOM = 32
"""Requests beside those admitted, so that the page and /healthz answer under overload too, and a
request too many hears the API's own 503 instead of waiting in a proxy."""
_CONTROLLER = ("SERVE_CONTROLLER_ACTOR", "serve")


@serve.deployment
@serve.ingress()
class Endpoint:
    """One replica: the models in memory, and the API over them.

    The application is built here and not pickled: it holds locks and loaded models.
    """

    def __init__(
        self, model_uris: Mapping[str, str], settings: dict[str, Any], token: str | None
    ) -> None:
        # One block is computed at a time, on one thread: more would only wait for it.
        torch.set_num_threads(1)
        self._models = {name: load_model(uri) for name, uri in model_uris.items()}
        self._settings = ServeConfig.model_validate(settings)
        self._token = token

    def __serve_build_asgi_app__(self) -> Any:
        return create_app(self._models, self._settings, self._token)


def build_app(
    model_uris: Mapping[str, str], settings: ServeConfig, token: str | None = None
) -> serve.Application:
    """The Serve application: ``settings.replicas`` replicas, each with every model.

    Args:
        model_uris: artifacts by the names they are served under; local paths must be there on
            every node.
        token: the bearer token; none: what the environment variable ``settings.token_env`` holds.
    """
    endpoint = Endpoint.options(  # type: ignore[attr-defined]
        name=APP_NAME,
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.max_concurrent + settings.max_queued + _HEADROOM,
        ray_actor_options={"num_cpus": settings.cpus_per_replica},
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
    )
    token = token if token is not None else os.environ.get(settings.token_env) or None
    app: serve.Application = endpoint.bind(dict(model_uris), settings.model_dump(), token)
    return app


def deploy(model_uris: Mapping[str, str], settings: ServeConfig, token: str | None = None) -> str:
    """Start the endpoint, or replace a running one without a gap, and leave it running.

    Ray must be initialised. A Serve that runs already keeps its own host and port.

    Returns:
        the base URL, as seen from this machine.

    Raises:
        UsageError: the port is taken, or there is nothing to serve.
        ArtifactError, NotFoundError, StorageError: an artifact cannot be loaded.
        ClusterError: the endpoint did not become healthy within ``settings.start_seconds``.
    """
    if not model_uris:
        raise UsageError("no model to serve", "name one or more artifacts")
    if not _serve_runs():
        _check_port(settings.host, settings.port)
    _check_artifacts(dict(model_uris))
    # Streams may take as long as they need: a request timeout would cut them in the middle.
    http = {"host": settings.host, "port": settings.port, "request_timeout_s": None}
    serve.start(http_options=http, logging_config={"log_level": "WARNING"})
    url = _url(settings)
    try:
        serve.run(build_app(model_uris, settings, token), name=APP_NAME, route_prefix="/")
    except RuntimeError as error:
        raise ClusterError(
            f"the endpoint did not start: {error}", "the replica's log tells more"
        ) from error
    _wait_until_healthy(url, settings.start_seconds)
    return url


@contextmanager
def running_endpoint(
    model_uris: Mapping[str, str], settings: ServeConfig, token: str | None = None
) -> Iterator[str]:
    """The endpoint for as long as the block runs; yields its base URL. See `deploy`.

    Raises:
        ClusterError: Serve runs in this cluster already, and shutting it down is not ours to do.
    """
    if _serve_runs():
        raise ClusterError(
            "Ray Serve runs in this cluster already",
            "deploy to it with deploy(), or shut it down with: serve shutdown",
        )
    try:
        yield deploy(model_uris, settings, token)
    finally:
        serve.shutdown()


def _serve_runs() -> bool:
    name, namespace = _CONTROLLER
    try:
        ray.get_actor(name, namespace=namespace)
    except ValueError:
        return False
    return True


def _check_port(host: str, port: int) -> None:
    """Raises UsageError. Serve itself would retry a busy port for minutes without a word."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise UsageError(
            f"serve.host: {host!r} is no address of this machine: {error}",
            "use 127.0.0.1, or 0.0.0.0 for all interfaces",
        ) from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise UsageError(
                f"serve.port: {port} on {host} cannot be used: {error.strerror}",
                "choose another with serve.port=…, or stop what listens there",
            ) from error


def _check_artifacts(model_uris: dict[str, str]) -> None:
    """Load every artifact once where replicas run: Serve would hide what is wrong in its logs."""
    try:
        ray.get(_load_once.remote(model_uris))
    except RayTaskError as error:
        if isinstance(error.cause, SynthRayError):
            raise error.cause from None
        raise


@ray.remote(num_cpus=0, max_retries=1)
def _load_once(model_uris: dict[str, str]) -> None:
    for uri in model_uris.values():
        load_model(uri)


def _url(settings: ServeConfig) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _wait_until_healthy(url: str, seconds: float) -> None:
    # No proxy from the environment stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while True:
        try:
            with opener.open(f"{url}/healthz", timeout=5):
                return
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() > end:
                raise ClusterError(
                    f"{url} is not healthy after {seconds:g} seconds: {error}",
                    "the logs of Ray Serve tell more; serve.start_seconds allows more time",
                ) from error
        time.sleep(0.1)
