"""A stand-in for Kubernetes' API server: TLS, one RayCluster, its pods; and for KubeRay's operator.

It answers the requests that Ray's KubeRay provider sends (`ray kuberay-autoscaler`), with the
errors that a real server gives: 404 for what there is not, 422 for a patch that does not fit. A
loop does what the operator does: as many pods in each group as ``replicas`` says, first without
those that ``workersToDelete`` names. What a pod is, the caller says.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

NAMESPACE = "default"


class Pod(Protocol):
    """Something that runs under a name."""

    name: str

    @property
    def alive(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    def stop(self) -> None: ...


class KubeApi:
    """Serves a RayCluster at https://127.0.0.1:PORT, and keeps its pods as its spec says."""

    def __init__(
        self, folder: Path, cluster: dict[str, Any], head: str, start_pod: Callable[[str, str], Pod]
    ) -> None:
        """
        Args:
            folder: for the certificate, which clients trust, and its key.
            cluster: the RayCluster; every worker group has ``scaleStrategy``, as a patch of it
                must find it there.
            head: the name of the head's pod.
            start_pod: given the group's name and the pod's.
        """
        self.cluster, self.head, self._start_pod = cluster, head, start_pod
        self.pods: dict[str, tuple[str, Pod]] = {}
        self.patches: list[dict[str, Any]] = []
        self.lock = threading.RLock()
        self.certificate = _certificate(folder)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "api.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Of `ray kuberay-autoscaler`; the client certificate stands for a service account."""
        own, key = str(self.certificate), str(self.certificate.with_suffix(".key"))
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT_HTTPS": str(self.port),
            "RAY_KUBERAY_CA_CERT_PATH": own,
            "RAY_KUBERAY_CLIENT_CERT_PATH": own,
            "RAY_KUBERAY_CLIENT_KEY_PATH": key,
            "RAY_HEAD_POD_NAME": self.head,
            "NO_PROXY": "127.0.0.1",
        }

    def reconcile(self) -> None:
        """What the operator does, once. To be called by one thread, which lives on."""
        with self.lock:
            for group in self.cluster["spec"]["workerGroupSpecs"]:
                self._reconcile(group)

    def _reconcile(self, group: dict[str, Any]) -> None:
        name = group["groupName"]
        for pod in group["scaleStrategy"].get("workersToDelete", []):
            if pod in self.pods:
                self.pods.pop(pod)[1].stop()
        mine = [pod for pod, (owner, _) in self.pods.items() if owner == name]
        for pod in mine:
            if not self.pods[pod][1].alive:
                del self.pods[pod]
        mine = [pod for pod in mine if pod in self.pods]
        for _ in range(group["replicas"] - len(mine)):
            pod = f"{self.cluster['metadata']['name']}-{name}-{uuid.uuid4().hex[:5]}"
            self.pods[pod] = (name, self._start_pod(name, pod))

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at a path of the API; None: there is none."""
        name = self.cluster["metadata"]["name"]
        with self.lock:
            if path == f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters/{name}":
                return self.cluster
            if path == f"/api/v1/namespaces/{NAMESPACE}/pods/{self.head}":
                return self._pod(self.head, "headgroup", True)
            if path == f"/api/v1/namespaces/{NAMESPACE}/pods":
                items = [self._pod(self.head, "headgroup", True)]
                items += [self._pod(n, g, pod.ready) for n, (g, pod) in self.pods.items()]
                return {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items}
        return None

    def _pod(self, name: str, group: str, ready: bool) -> dict[str, Any]:
        labels = {
            "ray.io/cluster": self.cluster["metadata"]["name"],
            "ray.io/node-type": "head" if name == self.head else "worker",
            "ray.io/group": group,
        }
        state = {"running": {}} if ready else {"waiting": {"reason": "ContainerCreating"}}
        return {
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels, "resourceVersion": "1"},
            "spec": {"containers": [{"name": "ray-worker", "resources": {}}]},
            "status": {"containerStatuses": [{"name": "ray-worker", "state": state}]},
        }

    def patch(self, operations: list[dict[str, Any]]) -> bool:
        """Apply a JSON patch (RFC 6902, `replace` alone) to the RayCluster, whole or not at all."""
        with self.lock:
            changed = json.loads(json.dumps(self.cluster))
            for operation in operations:
                *way, last = operation["path"].strip("/").split("/")
                place: Any = changed
                for step in way:
                    place = place[int(step)] if isinstance(place, list) else place.get(step, {})
                if operation["op"] != "replace" or last not in place:
                    return False
                place[last] = operation["value"]
            self.cluster = changed
            self.patches += operations
        return True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(api: KubeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = api.get(unquote(urlsplit(self.path).path))
            self._answer(200 if found else 404, found or {"kind": "Status", "reason": "NotFound"})

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = api.get(unquote(urlsplit(self.path).path))
            if found is None or found.get("kind") != "RayCluster":
                self._answer(404, {"kind": "Status", "reason": "NotFound"})
            elif api.patch(body):
                self._answer(200, api.cluster)
            else:
                self._answer(422, {"kind": "Status", "reason": "Invalid"})

        def _answer(self, code: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, by the machine's openssl."""
    certificate, key = folder / "api.crt", folder / "api.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=kube", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate
