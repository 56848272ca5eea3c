"""The application that a config file of Ray Serve names: `k8s/overlays/*/endpoint/serve.yaml`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError
from ray import serve

from synthray.config import ServeConfig
from synthray.config.problems import config_error, explain
from synthray.config.strict import Strict
from synthray.distributed.serve import bind_app
from synthray.serving.app import check_names


class EndpointArgs(Strict):
    """The ``args`` of the application in the file."""

    models: dict[str, str] = Field(description="artifacts by the names they are served under")
    serve: ServeConfig = ServeConfig()


def application(args: dict[str, Any]) -> serve.Application:
    """``import_path: synthray.distributed.endpoint:application`` with ``args``: see `EndpointArgs`.

    The file says host and port, and may say the number of replicas; of ``args.serve`` only limits,
    reservations, trust and the token's variable count. Replicas read the bearer token from their
    own environment: it is in no file, and not in the state that Serve's controller keeps.

    Raises:
        ConfigError: ``args`` are not those.
        UsageError: nothing to serve, or a name that does not fit into a URL.
    """
    try:
        found = EndpointArgs.model_validate(args)
    except ValidationError as error:
        problems = explain(error, EndpointArgs, "args.")
        raise config_error("the Serve application", problems) from error
    check_names(found.models, None)
    return bind_app(found.models, found.serve, None)
