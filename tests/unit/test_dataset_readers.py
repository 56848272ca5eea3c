"""A generated dataset in the eyes of those that do not know SynthRay, and its card."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import tiny
import yaml
from people import save_people
from PIL import Image
from written import SETTINGS, small_artifact, write_dataset

from synthray import storage
from synthray.artifact import Artifact
from synthray.config.constraints import Between, Bounds
from synthray.data.constraints import Violation, Violations
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan, as_stored
from synthray.sampling.findings import Findings
from synthray.sampling.virtual import VirtualDataset


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return small_artifact(str(tmp_path_factory.mktemp("artifact")))


@pytest.fixture(scope="module")
def out(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("out"))
    write_dataset(artifact, place, SETTINGS)
    return place


def pixels(cells: list[dict[str, Any]]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in cells])


# Readers that do not know SynthRay.


def test_pyarrow_pandas_and_duckdb_read_the_same_rows(artifact: Artifact, out: str) -> None:
    expected = VirtualDataset(artifact, seed=5).rows(0, 2500).to_pylist()
    assert ds.dataset(f"{out}/data").to_table().to_pylist() == expected
    assert pd.read_parquet(f"{out}/data").to_dict("records") == expected
    found = duckdb.sql(f"from read_parquet('{out}/data/*.parquet')")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    assert rows == expected
    counts = duckdb.sql(f"select label, count(*) from '{out}/data/*.parquet' group by 1 order by 1")
    assert [label for label, _ in counts.fetchall()] == [0, 1, 2]


def test_tensors_are_read_by_pyarrow_pandas_and_duckdb(artifact: Artifact, tmp_path: Path) -> None:
    write_dataset(artifact, str(tmp_path), SETTINGS.model_copy(update={"images": "tensor"}))
    table = ds.dataset(str(tmp_path / "data")).to_table()
    expected = pixels(VirtualDataset(artifact, seed=5).rows(0, 2500)["image"].to_pylist())
    tensors = table["image"].combine_chunks()
    assert tensors.type == pa.fixed_shape_tensor(pa.uint8(), (8, 8, 1))
    assert np.array_equal(tensors.to_numpy_ndarray()[..., 0], expected)
    frame = pd.read_parquet(tmp_path / "data")
    assert np.array_equal(np.stack(frame["image"].to_numpy()).reshape(-1, 8, 8), expected)
    cells = duckdb.sql(f"select image from '{tmp_path}/data/*.parquet'").fetchall()
    assert np.array_equal(np.array([cell for (cell,) in cells]).reshape(-1, 8, 8), expected)


def test_hugging_face_datasets_shows_the_images(
    artifact: Artifact, out: str, tmp_path: Path
) -> None:
    names = sorted(str(path) for path in Path(out, "data").glob("*.parquet"))
    loaded = datasets.Dataset.from_parquet(names, cache_dir=str(tmp_path))
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded.features["label"] == datasets.Value("int64")
    assert loaded.num_rows == 2500
    expected = VirtualDataset(artifact, seed=5).rows(1024, 1)["image"].to_pylist()
    shown = loaded[1024]["image"]
    assert isinstance(shown, Image.Image)
    assert np.array_equal(np.asarray(shown), pixels(expected)[0])


def test_numbers_are_read_in_their_types_by_all(tmp_path: Path) -> None:
    rows = tiny.ring()
    half = pa.array(rows["x"].to_numpy().astype(np.float16))
    made = tiny.vector_codec(rows.append_column("half", half), "mode")
    settings = {"generator_widths": [16], "latent_dim": 8}
    tiny.save_artifact(str(tmp_path / "artifact"), made, "gan", settings)
    artifact, out = Artifact.load(str(tmp_path / "artifact")), str(tmp_path / "out")
    write_dataset(artifact, out, SETTINGS)
    expected = VirtualDataset(artifact, seed=5).rows(0, 2500)
    assert ds.dataset(f"{out}/data").to_table().equals(expected)
    assert pd.read_parquet(f"{out}/data").to_dict("records") == expected.to_pylist()
    names = sorted(str(path) for path in Path(out, "data").glob("*.parquet"))
    loaded = datasets.Dataset.from_parquet(names, cache_dir=str(tmp_path / "cache"))
    types = {name: feature.dtype for name, feature in loaded.features.items()}
    assert types == {"x": "float64", "y": "float32", "n": "int16", "mode": "int64"} | {
        "half": "float16"
    }
    card = storage.read_bytes(f"{out}/README.md").decode()
    assert "| `x` | continuous |  |" in card and "| `mode` | integer | 0, 1, 2" in card
    assert "Not evaluated yet" in card


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, str]:
    """A table of every kind of column, some of it held, balanced and constrained."""
    place = tmp_path_factory.mktemp("table")
    bounds = Between(range=Bounds(column="age", min=18, max=59))
    artifact = save_people(str(place / "artifact"), "sex", constraints=(bounds,))
    wishes = {"where": {"plan": "a|b"}, "balance": {"sex": {"M": 0.5}, "member": {"true": 0.9}}}
    write_dataset(artifact, str(place / "out"), SETTINGS.model_copy(update=wishes))
    return artifact, str(place / "out")


def test_columns_of_every_kind_are_read_by_all(table: tuple[Artifact, str], tmp_path: Path) -> None:
    artifact, out = table
    balance = {"sex": {"M": 0.5}, "member": {"true": 0.9}}
    expected = VirtualDataset(artifact, 5, {"plan": "a|b"}, balance=balance).rows(0, 2500)
    found = ds.dataset(f"{out}/data").to_table()
    assert as_stored(found).equals(as_stored(expected))
    assert {field.name: field.type for field in found.schema} == {
        field.name: field.type for field in expected.schema
    } | {"joined": pa.timestamp("ms")}  # Parquet has no seconds
    assert found.select(["plan"]).equals(expected.select(["plan"]))
    rows = expected.to_pylist()

    frame = pd.read_parquet(f"{out}/data")
    assert frame["joined"].dt.to_pydatetime().tolist() == [row["joined"] for row in rows]
    for name in ("age", "weight", "sex", "city", "plan", "member", "born", "signed", "id"):
        read = [None if pd.isna(cell) else cell for cell in frame[name]]
        assert read == [row[name] for row in rows]

    names = ", ".join(name for name in found.schema.names if name != "seen")  # needs pytz
    query = duckdb.sql(f"select {names} from '{out}/data/*.parquet'")
    cells = [dict(zip(query.columns, row, strict=True)) for row in query.fetchall()]
    assert cells == [{k: v for k, v in row.items() if k != "seen"} for row in rows]

    files = sorted(str(path) for path in Path(out, "data").glob("*.parquet"))
    loaded = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path))
    types = {name: feature.dtype for name, feature in loaded.features.items()}
    assert types == {
        "id": "string",
        "age": "int16",
        "paid": "decimal128(10, 2)",
        "weight": "float32",
        "sex": "string",
        "city": "large_string",
        "plan": "string",
        "member": "bool",
        "born": "date32",
        "joined": "timestamp[ms]",
        "seen": "timestamp[us, tz=UTC]",
        "signed": "string",
    }
    assert loaded[1030] == rows[1030]


# The card.


def test_the_card_of_a_table_tells_what_holds_in_it(table: tuple[Artifact, str]) -> None:
    artifact, out = table
    card = storage.read_bytes(f"{out}/README.md").decode()
    assert "| held | `plan = a\\|b` |" in card
    assert "| balanced | `sex = M`: 0.5, `member = true`: 0.9 |" in card
    assert "| sorted out | nothing |" in card
    assert "| `id` | id | made anew, unique, like " in card
    assert re.search(r"\| `age` \| integer \| 18 to 5\d \|", card)
    assert "checked in the first 1,024 rows" in card and "| `18 <= age <= 59` | 0 |" in card
    assert "Left out" not in card and "`synthray rows" not in card
    known = artifact.manifest.card | {"left_out": ["notes|"]}
    manifest = artifact.manifest.model_copy(update={"card": known})
    plan = Plan(digest="d", seed=0, rows=9, shard_rows=1024)
    broken = Findings(Violations((Violation("a < b", 9, 2),)), "a = 1", 0.0314)
    text = dataset_card(Artifact(manifest, artifact.model, artifact.codec), plan, "MIT", broken)
    assert "Left out, for they cannot be learned: `notes\\|`." in text
    assert "checked in all 9 rows" in text and "| `a < b` | 2 |" in text
    assert "| sorted out | `a = 1`: 3.14% of the first rows drawn had it |" in text


def test_the_card_tells_what_was_sorted_out(tmp_path: Path) -> None:
    artifact = save_people(str(tmp_path / "artifact"), family="tvae")
    settings = SETTINGS.model_copy(update={"rows": 1500, "where": {"sex": "F"}})
    plan = write_dataset(artifact, str(tmp_path / "out"), settings)
    virtual = VirtualDataset(artifact, plan.seed, plan.where)
    virtual.block(0)
    card = storage.read_bytes(str(tmp_path / "out/README.md")).decode()
    assert f"| sorted out | `sex = 'F'`: {virtual.acceptance:.2%} of the first" in card


def test_the_card_begins_with_valid_yaml_and_names_everything(out: str, artifact: Artifact) -> None:
    text = storage.read_bytes(f"{out}/README.md").decode()
    empty, head, body = text.split("---\n", 2)
    assert empty == ""
    assert yaml.safe_load(head) == {
        "license": "unspecified",
        "tags": ["synthetic", "synthray"],
        "configs": [{"config_name": "default", "data_files": "data/*.parquet"}],
    }
    for words in (artifact.digest, "| seed | 5 |", "`dcgan`", "2,500 rows", "`noise`"):
        assert words in body


def test_names_and_values_with_bars_keep_the_table_whole(out: str, artifact: Artifact) -> None:
    body = storage.read_bytes(f"{out}/README.md").decode()
    assert "| `odd\\|name` | categorical | x\\|y, z |" in body
    plan = Plan(digest="d", seed=0, rows=1, shard_rows=1024, where={"odd|name": "x|y"})
    card = dataset_card(artifact, plan, "a: b\n---", Findings())
    assert "| held | `odd\\|name = x\\|y` |" in card
    head = card.split("---\n")[1]
    assert yaml.safe_load(head)["license"].startswith("a: b")


def test_scores_are_shown_beside_their_floor(artifact: Artifact) -> None:
    plan = Plan(digest="d", seed=0, rows=1, shard_rows=1024)
    scores = {"frechet_domain": {"value": 12.345678, "floor": 1.5}, "recall": {"value": None}}
    text = dataset_card(artifact, plan, "MIT", Findings(), scores)
    assert "| frechet_domain | 12.35 | 1.5 |" in text and "| recall | – | – |" in text
