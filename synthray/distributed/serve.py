"""The HTTP API on Ray Serve: replicas that load the artifacts and answer from them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve.schema import ApplicationStatus

from synthray import storage
from synthray.config import ServeConfig
from synthray.distributed.metered import Metered
from synthray.errors import ClusterError, SynthRayError, UsageError
from synthray.serving.app import check_names, create_app
from synthray.serving.loading import load_model

APP_NAME = "synthray"
_HEADROOM = 32
"""Requests beside those admitted, so that the page and /healthz answer under overload too, and a
request too many hears the API's own 503 instead of waiting in a proxy."""
_PROXY_ENVIRONMENT = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "synthray.serving.pacing.proxy_middlewares"
}
"""The proxies inherit the controller's environment; see `synthray.serving.pacing`."""
_SHUTDOWN_SECONDS = 30
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
        self._settings = ServeConfig.model_validate(settings)
        trust = self._settings.trust
        self._models = {name: load_model(uri, trust) for name, uri in model_uris.items()}
        self._token = token if token is not None else _token_of(self._settings)

    def __serve_build_asgi_app__(self) -> Any:
        app = create_app(self._models, self._settings, self._token)
        app.add_middleware(Metered, models=self._models)
        return app


def build_app(
    model_uris: Mapping[str, str], settings: ServeConfig, token: str | None = None
) -> serve.Application:
    """The Serve application: ``settings.replicas`` replicas, each with every model.

    Args:
        model_uris: artifacts by the names they are served under; local paths must be there on
            every node.
        token: the bearer token; none: what the environment variable ``settings.token_env`` holds,
            here or else where a replica runs.
    """
    return bind_app(model_uris, settings, token if token is not None else _token_of(settings))


def bind_app(
    model_uris: Mapping[str, str], settings: ServeConfig, token: str | None
) -> serve.Application:
    """As `build_app`, but without a token replicas read it from their own environment only."""
    endpoint = Endpoint.options(  # type: ignore[attr-defined]
        name=APP_NAME,
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.max_concurrent + settings.max_queued + _HEADROOM,
        ray_actor_options={"num_cpus": settings.cpus_per_replica},
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
    )
    app: serve.Application = endpoint.bind(_absolute(model_uris), settings.model_dump(), token)
    return app


def _token_of(settings: ServeConfig) -> str | None:
    return os.environ.get(settings.token_env) or None


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
    check_names(model_uris, token)
    ours = not _serve_runs()
    if ours:
        _check_port(settings.host, settings.port)
    _check_artifacts(_absolute(model_uris), settings.trust)
    try:
        _start(build_app(model_uris, settings, token), settings)
    except BaseException:
        if ours:
            _shut_down()
        raise
    return _url(settings)


def _start(app: serve.Application, settings: ServeConfig) -> None:
    # Its notes on every start are not for the readers of our own output.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(
        # Streams may take as long as they need: a request timeout would cut them in the middle.
        http_options={"host": settings.host, "port": settings.port, "request_timeout_s": None},
        controller_options={"runtime_env": {"env_vars": _PROXY_ENVIRONMENT}},
        logging_config={"log_level": "WARNING"},
    )
    # serve.run() would wait without end for a CPU that is not there.
    target = serve.RunTarget(app, name=APP_NAME, route_prefix="/")
    serve.run_many([target], wait_for_applications_running=False)
    end = time.monotonic() + settings.start_seconds
    while (told := _status())[0] != ApplicationStatus.RUNNING:
        if told[0] in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
            raise ClusterError(f"the endpoint did not start: {told[1]}", "mend what it says")
        if time.monotonic() > end:
            raise ClusterError(
                f"the endpoint is not running after {settings.start_seconds:g} seconds: {told[1]}",
                "free serve.cpus_per_replica CPUs for each replica, or raise serve.start_seconds",
            )
        time.sleep(0.1)
    _wait_until_healthy(_url(settings), end)


def _status() -> tuple[ApplicationStatus, str]:
    """How the application is, and what it and its deployments have to say."""
    app = serve.status().applications.get(APP_NAME)
    if app is None:
        return ApplicationStatus.NOT_STARTED, "not deployed yet"
    messages = [app.message, *(deployment.message for deployment in app.deployments.values())]
    return app.status, " ".join(message for message in messages if message)


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
        _shut_down()


def serve_until_interrupted(
    model_uris: Mapping[str, str], settings: ServeConfig, say: Callable[[str], None]
) -> None:
    """Serve until the process is interrupted or asked to end; see `running_endpoint`."""
    with running_endpoint(model_uris, settings) as url:
        for name in model_uris:
            say(f"serving {name} at {url}/v1/models/{name}")
        say(f"a page to try it: {url}   (Ctrl-C ends it)")
        try:
            signal.pause()
        except (KeyboardInterrupt, SystemExit):
            say("stopping")


def _absolute(model_uris: Mapping[str, str]) -> dict[str, str]:
    """For replicas, which have another working directory."""
    return {name: storage.absolute(uri) for name, uri in model_uris.items()}


def _serve_runs() -> bool:
    name, namespace = _CONTROLLER
    try:
        ray.get_actor(name, namespace=namespace)
    except ValueError:
        return False
    return True


def _shut_down() -> None:
    """End Serve's processes: replicas, proxies, controller."""
    name, namespace = _CONTROLLER
    if _serve_runs():
        # serve.shutdown() waits inside the actor that is killed, which Ray reports on stdout.
        controller = ray.get_actor(name, namespace=namespace)
        ray.get(controller.graceful_shutdown.remote(wait=False), timeout=_SHUTDOWN_SECONDS)
        end = time.monotonic() + _SHUTDOWN_SECONDS
        while _serve_runs() and time.monotonic() < end:
            time.sleep(0.05)
    serve.shutdown()


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


def _check_artifacts(model_uris: dict[str, str], trust: tuple[str, ...]) -> None:
    """Load every artifact once where replicas run: Serve would hide what is wrong in its logs."""
    try:
        ray.get(_load_once.remote(model_uris, trust))
    except RayTaskError as error:
        if isinstance(error.cause, SynthRayError):
            raise error.cause from None
        raise


@ray.remote(num_cpus=0, max_retries=1)
def _load_once(model_uris: dict[str, str], trust: tuple[str, ...]) -> None:
    for uri in model_uris.values():
        load_model(uri, trust)


def _url(settings: ServeConfig) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def direct_opener() -> urllib.request.OpenerDirector:
    """Opens URLs of this machine: no proxy from the environment stands between it and itself."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _wait_until_healthy(url: str, end: float) -> None:
    opener = direct_opener()
    while True:
        try:
            with opener.open(f"{url}/healthz", timeout=5):
                return
        except OSError as error:
            if time.monotonic() > end:
                raise ClusterError(
                    f"{url} is not healthy after serve.start_seconds: {error}",
                    "the logs of Ray Serve tell more",
                ) from error
        time.sleep(0.1)
