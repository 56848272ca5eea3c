"""The endpoint on a real Ray Serve, with a real artifact: bytes, errors, streams, the end."""

from __future__ import annotations

import io
import socket
import tempfile
from collections.abc import Iterator

import httpx
import numpy as np
import pyarrow as pa
import pytest
import ray
import torch
from PIL import Image

from synthray import artifact as artifacts
from synthray import models, storage
from synthray.artifact import Artifact
from synthray.config import ModelConfig, ServeConfig
from synthray.data.image_codec import ImageCodec
from synthray.data.images import STRUCT
from synthray.data.schema import Column, Kind, Schema
from synthray.distributed.serve import running_endpoint
from synthray.errors import ClusterError
from synthray.sampling.virtual import VirtualDataset

pytestmark = pytest.mark.timeout(120)
TOKEN = "a-token-for-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    weights = {
        f"{name}.{key}": tensor
        for name, module in model.sampler_modules()
        for key, tensor in module.state_dict().items()
    }
    output = tmp_path_factory.mktemp("output")
    uri = str(output / "artifact")
    artifacts.save(uri, config, weights, codec, {"steps": 0})
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
    return ServeConfig(port=free_port(), cpus_per_replica=0.5, max_rows=100_000)


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


def test_a_busy_port_is_named(cluster: None, artifact_uri: str, client: httpx.Client) -> None:
    with (
        pytest.raises(ClusterError, match="Serve runs in this cluster already"),
        running_endpoint({"digits": artifact_uri}, ServeConfig()),
    ):
        pass
