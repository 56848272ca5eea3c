"""Tables of mixed columns on a real Ray: train, generate, serve, tune; and the whole of `run`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from people import people

from synthray import config as configs
from synthray.artifact import Artifact
from synthray.config import ClusterConfig, Config, GenerateConfig
from synthray.console import Screen
from synthray.data.prepare import open_data
from synthray.distributed import pipeline
from synthray.distributed import train as training
from synthray.distributed.cluster import connect
from synthray.distributed.generate import generate
from synthray.distributed.train import train
from synthray.distributed.tune import tune
from synthray.errors import ConfigError, SchemaError
from synthray.sampling.dataset import as_stored, shard_bytes
from synthray.sampling.virtual import VirtualDataset

pytestmark = pytest.mark.timeout(360)
RATE = "model.params.optimizer.lr"
CHECKED = {"range": {"column": "age", "min": 18, "max": 59}}
WISHES = {"where": {"plan": "c", "member": True}, "balance": {"sex": {"M": 0.5}}}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with connect(ClusterConfig(workers=2)):
            yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four chunks, with a column of text that cannot be learned."""
    place = tmp_path_factory.mktemp("source") / "people.parquet"
    rows = people(400)
    notes = pa.array([f"{n} is what was noted of somebody, at length" * 3 for n in range(400)])
    pq.write_table(rows.append_column("notes", notes), place, row_group_size=100)
    return str(place)


def settings(source: str, output: Path, **changes: Any) -> Config:
    tree = {
        "data": {"source": source, "conditions": ["sex"], "constraints": [CHECKED]},
        "model": {"name": "nade", "params": {"embedding": 8, "hidden": 8}},
        "train": {"steps": 12, "batch_size": 32, "eval_every": 6, "checkpoint_every": 6},
        "generate": {"rows": 2500, "shard_rows": 1024, "seed": 5},
        "output": str(output),
    }
    words = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return configs.parse(tree, words)


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def trained(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all stages leave that two workers ran, the table streaming through Ray Data."""
    output = tmp_path_factory.mktemp("trained")
    changes = {f"generate.{name}": wish for name, wish in WISHES.items()}
    two = {"data.stream": "always", "cluster.workers": 2}
    config = settings(source, output, **changes, **two)
    opened = pipeline.check_run(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "open_data", lambda *_: pytest.fail("opened a second time"))
        said: list[str] = []
        patch.setattr(Screen, "say", lambda _, line: said.append(line))
        pipeline.run_all(config, Screen(), opened)
    assert any("streams through Ray Data" in line for line in said)
    return output


def test_every_stage_in_order_and_the_endpoint_gives_the_rows_of_the_shards(trained: Path) -> None:
    served = pa.ipc.open_stream(io.BytesIO((trained / "served.arrow").read_bytes())).read_all()
    artifact = Artifact.load(str(trained / "artifact"))
    assert artifact.card["steps"] == 12
    assert served.equals(VirtualDataset(artifact, 5, **WISHES).rows(0, 2048))
    written = ds.dataset(trained / "synthetic" / "data").to_table()
    assert as_stored(written.slice(0, 2048)).equals(as_stored(served)) and len(written) == 2500
    report = json.loads((trained / "report.json").read_text())
    card = (trained / "synthetic" / "README.md").read_text()
    assert all(f"| {name} |" in card for name in report["scores"]) and report["scores"]
    assert "Not evaluated" not in card and "| `18 <= age <= 59` | 0 |" in card
    assert (trained / "report.html").stat().st_size > 10_000


def test_the_schema_is_inferred_on_the_cluster_and_is_that_of_one_process(
    source: str, trained: Path
) -> None:
    artifact = Artifact.load(str(trained / "artifact"))
    config = settings(source, trained)
    _, here = open_data(config.data, "bins")
    assert artifact.schema.names == here.schema.names == people(1).schema.names
    assert [column.kind for column in artifact.schema] == [column.kind for column in here.schema]
    assert artifact.card["left_out"] == ["notes"] and artifact.card["rows"] == 400


@pytest.mark.parametrize(
    ("workers", "shard_rows", "wishes"),
    [
        (1, 2048, {}),
        (2, 1024, {"where": {"born": "2020-02-01", "age": 40}, "balance": {"sex": {"M": 0.5}}}),
    ],
)
def test_shards_hold_the_bytes_of_the_virtual_dataset(
    source: str, trained: Path, tmp_path: Path, workers: int, shard_rows: int, wishes: Any
) -> None:
    uri, out = str(trained / "artifact"), str(tmp_path)
    wanted = GenerateConfig(rows=2500, shard_rows=shard_rows, seed=5, **wishes)
    config = settings(source, trained, **{"cluster.workers": workers})
    generate(uri, wanted, out, config, say=quiet)
    virtual = VirtualDataset(Artifact.load(uri), 5, **wishes)
    for index, start in enumerate(range(0, 2500, shard_rows)):
        written = (tmp_path / f"data/part-{index:06d}.parquet").read_bytes()
        assert written == bytes(shard_bytes(virtual, start, min(shard_rows, 2500 - start)))
    card = (tmp_path / "README.md").read_text()
    assert "| `18 <= age <= 59` | 0 |" in card and "cannot be learned: `notes`" in card
    assert ("`sex = M`: 0.5" in card) == bool(wishes)


def test_too_few_ids_are_told_before_anything_is_written(
    source: str, trained: Path, tmp_path: Path
) -> None:
    wanted, config = GenerateConfig(rows=200_000), settings(source, trained)
    with pytest.raises(SchemaError, match="100,000 ids, too few"):
        generate(str(trained / "artifact"), wanted, str(tmp_path), config, say=quiet)
    assert not list(tmp_path.iterdir())


def test_workers_train_with_differential_privacy(source: str, tmp_path: Path) -> None:
    private = {"train.privacy": {"epsilon": 3}, "data.rare": 10, "data.conditions": []}
    said: list[str] = []
    config = settings(source, tmp_path, **private, **{"cluster.workers": 2})
    train(config, say=said.append)
    assert any("covers the weights" in line for line in said)
    card = Artifact.load(str(tmp_path / "artifact")).card
    assert card["privacy"]["steps"] == card["steps"] == 12
    assert 2.9 < card["privacy"]["epsilon"] <= 3
    streamed = settings(source, tmp_path / "other", **private, **{"data.stream": "always"})
    with pytest.raises(ConfigError, match=r"data\.stream"):
        train(streamed, say=quiet)
    with pytest.raises(ConfigError, match="a search scores many trainings"):
        tune(settings(source, tmp_path / "other", **private), say=quiet)


def test_settings_are_searched_on_a_table(source: str, tmp_path: Path) -> None:
    searched = {"space": {RATE: [1e-3, 1e-2]}, "trials": 2, "seeds": 1, "scheduler": "none"}
    guard = {"train.guard": {"warm_up": 6}}
    found = tune(settings(source, tmp_path, tune=searched, **guard), say=quiet)
    assert {row.ended for row in found.trials} == {"finished"} and found.best.score.distance < 10
    # The first trial is that of the config itself.
    assert [RATE in row.lineage.settings for row in found.trials].count(True) == 1
    assert (tmp_path / "tune/best.yaml").exists()
