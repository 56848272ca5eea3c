"""Kinds whose definitions are not here, the Prometheus operator's and the Gateway API's: the parts
that we use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}


def _object(required: str = "", **fields: Schema) -> Schema:
    """Of these fields alone; ``required`` names some of them."""
    made: Schema = {"type": "object", "properties": fields, "additionalProperties": False}
    return made | {"required": required.split()}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def _kind(version: str, kind: str, spec: Schema) -> tuple[tuple[str, str], Schema]:
    fields = {"apiVersion": {"const": version}, "kind": {"const": kind}}
    return (version, kind), _object("spec", **fields, metadata={"type": "object"}, spec=spec)


MONITORING, GATEWAY = "monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"
OTHERS: Mapping[tuple[str, str], Schema] = dict(
    [
        _kind(
            MONITORING,
            "PodMonitor",
            _object(
                "selector podMetricsEndpoints",
                selector=_object(matchLabels=LABELS),
                podTargetLabels=_list(TEXT),
                podMetricsEndpoints=_list(_object("port", port=TEXT, path=TEXT, interval=TEXT)),
            ),
        ),
        _kind(
            MONITORING,
            "PrometheusRule",
            _object(
                "groups",
                groups=_list(
                    _object(
                        "name rules",
                        name=TEXT,
                        interval=TEXT,
                        rules=_list(
                            _object(
                                "alert expr",
                                **{"alert": TEXT, "expr": TEXT, "for": TEXT},
                                labels=LABELS,
                                annotations=LABELS,
                            )
                        ),
                    )
                ),
            ),
        ),
        _kind(
            GATEWAY,
            "Gateway",
            _object(
                "gatewayClassName listeners",
                gatewayClassName=TEXT,
                listeners=_list(
                    _object(
                        "name port protocol",
                        name=TEXT,
                        port=PORT,
                        protocol={"enum": ["HTTP", "HTTPS", "TLS"]},
                        hostname=TEXT,
                        tls=_object(
                            "certificateRefs",
                            mode={"enum": ["Terminate", "Passthrough"]},
                            certificateRefs=_list(_object("name", name=TEXT)),
                        ),
                    )
                ),
            ),
        ),
        _kind(
            GATEWAY,
            "HTTPRoute",
            _object(
                "parentRefs rules",
                parentRefs=_list(_object("name", name=TEXT, sectionName=TEXT)),
                hostnames=_list(TEXT),
                rules=_list(
                    _object("backendRefs", backendRefs=_list(_object("name", name=TEXT, port=PORT)))
                ),
            ),
        ),
    ]
)
"""By version and kind; strict, so that a misspelt field is found."""
