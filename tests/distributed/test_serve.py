"""The endpoint on a real Ray Serve, with a real artifact: bytes, errors, streams, the end."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import ray
import torch
import yaml
from PIL import Image
from ray.serve.schema import ServeDeploySchema

from cluster.local.ports import free_ports
from synthray import artifact as artifacts
from synthray import models, storage
from synthray.artifact import Artifact
from synthray.config import ModelConfig, ServeConfig
from synthray.data.image_codec import ImageCodec
from synthray.data.images import STRUCT
from synthray.data.schema import Column, Kind, Schema
from synthray.distributed.endpoint import application
from synthray.distributed.serve import running_endpoint
from synthray.errors import ArtifactError, ClusterError, NotFoundError, UsageError
from synthray.sampling.virtual import VirtualDataset

pytestmark = pytest.mark.timeout(240)
TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def artifact_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained generator of 8 x 8 digits: its bytes matter here, not its pictures."""
    random = np.random.default_rng(0)
    cells = []
    for _ in range(32):
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(out, "PNG")
        cells.append({"bytes": out.getvalue(), "path": None})
    labels = [str(index % 10) for index in range(32)]
    rows = pa.table({"image": pa.array(cells, STRUCT), "label": labels})
    label = Column(name="label", kind=Kind.categorical, condition=True)
    codec = ImageCodec(Schema(columns=(Column(name="image", kind=Kind.image), label)))
    spec = codec.fit([codec.partial(rows)])
    config = ModelConfig(name="gan")
    torch.manual_seed(0)
    model = models.build(config, spec)
    output = tmp_path_factory.mktemp("output")
    uri = str(output / "artifact")
    artifacts.save(uri, config, model.sampler_state(), codec, {"steps": 0})
    storage.write_json(str(output / "report.json"), {"scores": {"domain_frechet": 1.5}})
    return uri


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="sr") as folder:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=2,
            object_store_memory=100_000_000,
            _temp_dir=folder,
            include_dashboard=False,
            log_to_driver=False,
        )
        try:
            yield
        finally:
            ray.shutdown()


@pytest.fixture(scope="module")
def settings() -> ServeConfig:
    return ServeConfig(
        port=free_ports(1)[0],
        cpus_per_replica=0.5,
        max_rows=100_000,
        stall_seconds=5,
        max_concurrent=1,
    )


@pytest.fixture(scope="module")
def client(cluster: None, artifact_uri: str, settings: ServeConfig) -> Iterator[httpx.Client]:
    with (
        running_endpoint({"digits": artifact_uri}, settings, TOKEN) as url,
        httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=60,
            trust_env=False,
        ) as client,
    ):
        yield client
    check_that_serve_has_ended()


def serve_processes() -> list[str]:
    """Ray Serve's processes among the descendants of this one."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (folder / "status").read_text()
            parents[int(folder.name)] = int(status.split("PPid:")[1].split()[0])
            names[int(folder.name)] = (folder / "cmdline").read_text()

    def ours(process: int) -> bool:
        while process in parents and process != os.getpid():
            process = parents[process]
        return process == os.getpid()

    actors = ("ServeReplica", "ServeController", "ProxyActor")
    return [
        name for process, name in names.items() if any(a in name for a in actors) and ours(process)
    ]


def check_that_serve_has_ended() -> None:
    end = time.monotonic() + 30
    while (left := serve_processes()) and time.monotonic() < end:
        time.sleep(0.1)  # an actor that was ended takes a moment to be gone
    assert not left


# These come first: they need a cluster in which Serve does not run yet.
def test_a_busy_port_is_named(cluster: None, artifact_uri: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = ServeConfig(port=taken.getsockname()[1])
        with (
            pytest.raises(UsageError, match=f"serve.port: {settings.port}"),
            running_endpoint({"digits": artifact_uri}, settings),
        ):
            pass
    check_that_serve_has_ended()


def test_a_corrupt_or_missing_artifact_is_told(
    cluster: None, artifact_uri: str, tmp_path: Path
) -> None:
    copy = tmp_path / "artifact"
    shutil.copytree(artifact_uri, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    settings = ServeConfig(port=free_ports(1)[0])
    for uri, error in [(copy, ArtifactError), (tmp_path / "none", NotFoundError)]:
        with pytest.raises(error), running_endpoint({"digits": str(uri)}, settings):
            pass
    check_that_serve_has_ended()


def test_a_replica_that_finds_no_cpu_is_told(cluster: None, artifact_uri: str) -> None:
    settings = ServeConfig(port=free_ports(1)[0], cpus_per_replica=99, start_seconds=3)
    with (
        pytest.raises(ClusterError, match="not running after 3 seconds"),
        running_endpoint({"digits": artifact_uri}, settings),
    ):
        pass
    check_that_serve_has_ended()


def table_of(response: httpx.Response) -> pa.Table:
    assert response.status_code == 200, response.text
    with pa.ipc.open_stream(response.content) as reader:
        return reader.read_all()


@pytest.mark.parametrize("images", ["png", "tensor"])
def test_served_rows_are_those_of_the_virtual_dataset(
    client: httpx.Client, artifact_uri: str, images: str
) -> None:
    query = {"start": 1000, "count": 3000, "seed": 7, "images": images, "where": "label=3"}
    got = table_of(client.get("/v1/models/digits/rows", params=query))
    rows = VirtualDataset(
        Artifact.load(artifact_uri), seed=7, where={"label": "3"}, images=images
    ).rows(1000, 3000)
    assert got.equals(rows)


def test_a_model_tells_its_digest_and_scores(client: httpx.Client, artifact_uri: str) -> None:
    told = client.get("/v1/models/digits").json()
    assert told["digest"] == Artifact.load(artifact_uri).digest
    assert told["scores"] == {"domain_frechet": 1.5}


def test_errors_come_through_as_problems(client: httpx.Client) -> None:
    for path, status in [
        ("/v1/models/faces/rows?count=1", 404),
        ("/v1/models/digits/rows?count=0", 422),
        ("/v1/models/digits/rows?count=1&where=label=x", 422),
        ("/nothing", 404),
    ]:
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/models", headers={"Authorization": "Bearer no"}).status_code == 401


def test_a_client_that_leaves_frees_its_place(client: httpx.Client) -> None:
    for _ in range(20):
        with client.stream("GET", "/v1/models/digits/rows", params={"count": 100_000}) as response:
            next(response.iter_raw())
    assert client.get("/v1/models/digits/rows?count=5").status_code == 200


def test_a_client_that_takes_nothing_is_cut_off(
    client: httpx.Client, settings: ServeConfig
) -> None:
    """Seen only where the proxy tells the replica what is taken: else it would buffer it all."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        slow.connect(("127.0.0.1", settings.port))
        slow.sendall(
            f"GET /v1/models/digits/rows?count=100000 HTTP/1.1\r\nHost: test\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        assert slow.recv(12) == b"HTTP/1.1 200"
        # There is one place: the next answer waits until this client has been given up.
        next_answer = client.get("/v1/models/digits/rows?count=5", timeout=90)
        assert next_answer.status_code == 200
        tail = b""
        while piece := slow.recv(65_536):
            tail = (tail + piece)[-100:]
    assert not tail.endswith(b"0\r\n\r\n")


def test_a_second_serve_is_refused(client: httpx.Client, artifact_uri: str) -> None:
    with (
        pytest.raises(ClusterError, match="Serve runs in this cluster already"),
        running_endpoint({"digits": artifact_uri}, ServeConfig()),
    ):
        pass
    assert client.get("/healthz").status_code == 200


# Last: it takes over the Serve that runs.
def test_the_config_file_of_the_manifests_deploys(
    client: httpx.Client, artifact_uri: str, settings: ServeConfig
) -> None:
    """As KubeRay does it; only models, port and reservations are this machine's."""
    file = Path(__file__).parents[2] / "k8s/overlays/cpu/endpoint/serve.yaml"
    tree = yaml.safe_load(file.read_text())
    app = tree["applications"][0]
    app["name"], app["route_prefix"] = "file", "/file"
    app["args"]["models"] = {"digits": artifact_uri}
    app["args"]["serve"] = {"cpus_per_replica": 0.25}
    app["runtime_env"] = {"env_vars": {"SYNTHRAY_SERVE_TOKEN": TOKEN}}  # a Secret's, there
    del tree["http_options"]  # Serve runs, and keeps its own
    controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    ray.get(controller.apply_config.remote(ServeDeploySchema.model_validate(tree)))
    told = "/file/v1/models/digits/rows?count=3&seed=7"
    end = time.monotonic() + 60
    while (answer := client.get(told)).status_code == 404 and time.monotonic() < end:
        time.sleep(0.2)
    rows = VirtualDataset(Artifact.load(artifact_uri), seed=7).rows(0, 3)
    assert table_of(answer).equals(rows)
    assert client.get(told, headers={"Authorization": "Bearer no"}).status_code == 401


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"models": {"digits": "s3://x/a"}, "serve": {"replica": 2}}, "serve.replica: unknown key"),
        ({"model": {}}, "args.models: missing"),
        ({"models": {}}, "no model to serve"),
    ],
)
def test_wrong_args_of_a_config_file_are_told(args: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        application(args)
