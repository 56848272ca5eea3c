"""A generated dataset: its plan, shards, receipts and manifest."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written import SETTINGS, files, small_artifact, write_dataset

from synthray import storage
from synthray.artifact import Artifact
from synthray.errors import OutputTakenError
from synthray.sampling import dataset
from synthray.sampling import virtual as virtual_module
from synthray.sampling.dataset import Plan, Receipt
from synthray.sampling.virtual import VirtualDataset


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return small_artifact(str(tmp_path_factory.mktemp("artifact")))


@pytest.fixture(scope="module")
def out(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("out"))
    write_dataset(artifact, place, SETTINGS)
    return place


# The plan.


@pytest.mark.parametrize(
    ("rows", "shard_rows", "expected"),
    [
        (1, 1024, [(0, 1)]),
        (1024, 1024, [(0, 1024)]),
        (1025, 1024, [(0, 1024), (1024, 1)]),
        (2500, 1024, [(0, 1024), (1024, 1024), (2048, 452)]),
        (100, 65536, [(0, 100)]),
    ],
)
def test_shards_cover_the_rows_once(rows: int, shard_rows: int, expected: Any) -> None:
    plan = Plan(digest="d", seed=0, rows=rows, shard_rows=shard_rows)
    assert [plan.range(shard) for shard in range(plan.shards)] == expected


# Bytes.


def test_the_layout_is_the_contracts(out: str) -> None:
    names = [f"/data/part-00000{i}.parquet" for i in range(3)]
    names += [f"/_synthray/receipts/00000{i}.json" for i in range(3)]
    names += ["/_synthray/plan.json", "/_synthray/manifest.json", "/README.md"]
    assert sorted(files(out)) == sorted(names)


def test_the_same_plan_gives_the_same_bytes_in_every_file(
    artifact: Artifact, out: str, tmp_path: Path
) -> None:
    write_dataset(artifact, str(tmp_path), SETTINGS)
    assert files(str(tmp_path)) == files(out)


def test_the_size_of_shards_changes_no_row(artifact: Artifact, out: str, tmp_path: Path) -> None:
    write_dataset(artifact, str(tmp_path), SETTINGS.model_copy(update={"shard_rows": 2048}))
    one, other = (pq.read_table(f"{place}/data") for place in (out, str(tmp_path)))
    assert one.equals(other)
    virtual = VirtualDataset(artifact, seed=5).rows(0, 2500)
    assert one.replace_schema_metadata(None).equals(virtual)


@pytest.mark.parametrize(
    ("limit", "value"), [("GROUP_ROWS", 4096), ("GROUP_BYTES", 4096 * 65)], ids=["rows", "bytes"]
)
def test_row_groups_are_bounded_whatever_the_size_of_the_shard(
    limit: str, value: int, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, limit, value)
    monkeypatch.setattr(virtual_module, "MOST_BYTES", 2 * 4 * 64 * 1024)  # two blocks at once
    data = dataset.shard_bytes(VirtualDataset(artifact, images="tensor"), 0, 9 * 1024)
    file = pq.ParquetFile(pa.BufferReader(data))
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [4096, 4096, 1024]


def test_numbers_are_stored_as_takes_least_room() -> None:
    """And come back as they were, of every kind that Parquet has."""
    few, many = pa.array([1, 2, None, 3] * 256), pa.array(range(0, 7 * 1024, 7))
    kinds: list[pa.DataType] = [pa.uint64(), pa.float32(), pa.float64(), pa.date32()]
    kinds += [pa.timestamp("us"), pa.time64("us"), pa.duration("ms"), pa.decimal128(21, 2)]
    columns = {
        f"{name} {kind}": (numbers.cast(pa.int32()) if kind == pa.date32() else numbers).cast(kind)
        for name, numbers in (("few", few), ("many", many))
        for kind in kinds
    }
    columns |= {"yes": pa.array([True, False] * 512), "none": pa.nulls(1024)}
    table, sink = pa.table(columns), pa.BufferOutputStream()
    dataset.write_parquet(sink, table.schema, iter([table]))
    file = pq.ParquetFile(pa.BufferReader(sink.getvalue()))
    assert file.read().equals(table)
    for index, name in enumerate(table.column_names):
        encodings = file.metadata.row_group(0).column(index).encodings
        assert ("RLE_DICTIONARY" in encodings) == name.startswith("few"), name
        whole = name.startswith("many") and not any(t in name for t in ("float", "double", "deci"))
        assert ("DELTA_BINARY_PACKED" in encodings) == whole, name


# Receipts.


def test_a_receipt_tells_its_files_rows_bytes_and_hash(out: str) -> None:
    for shard, rows in enumerate((1024, 1024, 452)):
        data = storage.read_bytes(dataset.shard_uri(out, shard))
        receipt = Receipt.model_validate(storage.read_json(dataset.receipt_uri(out, shard)))
        assert receipt == Receipt(
            shard=shard, rows=rows, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )


def test_the_receipt_comes_after_its_file(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    write_bytes = storage.write_bytes
    monkeypatch.setattr(
        storage, "write_bytes", lambda u, d: (order.append(u[-6:]), write_bytes(u, d))
    )
    plan = Plan.of(artifact.digest, SETTINGS)
    dataset.write_shard(VirtualDataset(artifact), plan, str(tmp_path), 0)
    assert order == ["arquet", "0.json"]


@pytest.mark.parametrize(
    "damage",
    [
        "none",
        "file gone",
        "truncated",
        "other bytes",
        "receipt gone",
        "receipt cut",
        "receipt empty",
        "receipt of another",
        "receipt of other rows",
    ],
)
def test_only_a_shard_with_its_very_bytes_is_taken_as_done(
    artifact: Artifact, tmp_path: Path, damage: str
) -> None:
    out = str(tmp_path)
    plan = write_dataset(artifact, out, SETTINGS)
    file, receipt = Path(dataset.shard_uri(out, 1)), Path(dataset.receipt_uri(out, 1))
    before = files(out)
    data = file.read_bytes()
    if damage == "file gone":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(data[:-1])
    elif damage == "other bytes":
        file.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    elif damage == "receipt gone":
        receipt.unlink()
    elif damage == "receipt cut":
        receipt.write_bytes(receipt.read_bytes()[:20])
    elif damage == "receipt empty":
        receipt.write_bytes(b"")
    elif damage == "receipt of another":
        file.write_bytes(Path(dataset.shard_uri(out, 0)).read_bytes())
        receipt.write_bytes(Path(dataset.receipt_uri(out, 0)).read_bytes())
    elif damage == "receipt of other rows":
        receipt.write_text(json.dumps(json.loads(receipt.read_text()) | {"rows": 7}))
    assert (dataset.verified(out, plan, 1) is not None) == (damage == "none")
    assert dataset.verified(out, plan, 0) is not None
    dataset.write_shard(VirtualDataset(artifact, plan.seed), plan, out, 1)
    assert files(out) == before


# Whose output it is.


@pytest.mark.parametrize(
    "changes",
    [{"rows": 9}, {"seed": 6}, {"shard_rows": 2048}, {"where": {"label": 1}}, {"images": "tensor"}],
)
def test_other_settings_are_refused_and_nothing_is_touched(
    artifact: Artifact, tmp_path: Path, changes: dict[str, Any]
) -> None:
    plan = write_dataset(artifact, str(tmp_path), SETTINGS)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    other = Plan.of(artifact.digest, SETTINGS.model_copy(update=changes))
    with pytest.raises(OutputTakenError) as caught:
        dataset.claim(str(tmp_path), other)
    (name,) = changes
    there, here = getattr(plan, name), getattr(other, name)
    assert f"{name} = {there!r} there, {here!r} here" in str(caught.value)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_the_same_settings_may_come_again(artifact: Artifact, tmp_path: Path) -> None:
    plan = Plan.of(artifact.digest, SETTINGS)
    dataset.claim(str(tmp_path), plan)
    dataset.claim(str(tmp_path), plan)
    assert list(files(str(tmp_path))) == ["/_synthray/plan.json"]


def test_of_many_claims_at_once_one_plan_wins(artifact: Artifact, tmp_path: Path) -> None:
    def claim(seed: int) -> bool:
        try:
            plan = Plan.of(artifact.digest, SETTINGS.model_copy(update={"seed": seed}))
            dataset.claim(str(tmp_path), plan)
        except OutputTakenError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 1


def test_data_that_no_plan_describes_is_not_written_over(
    artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.parquet").write_bytes(b"precious")
    with pytest.raises(OutputTakenError, match=r"no plan describes, such as .*mine\.parquet"):
        dataset.claim(str(tmp_path), Plan.of(artifact.digest, SETTINGS))
    assert files(str(tmp_path)) == {"/data/mine.parquet": b"precious"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"digest": "d", "new": 1}'])
def test_a_plan_that_cannot_be_read_is_refused(
    artifact: Artifact, tmp_path: Path, text: str
) -> None:
    storage.write_bytes(str(tmp_path / "_synthray" / "plan.json"), text.encode())
    with pytest.raises(OutputTakenError, match=r"plan\.json is not a plan"):
        dataset.claim(str(tmp_path), Plan.of(artifact.digest, SETTINGS))


# The commit.


def test_the_manifest_names_every_shard_with_its_hash(artifact: Artifact, out: str) -> None:
    manifest = dataset.read_manifest(out)
    assert manifest is not None
    assert manifest["rows"] == 2500 and manifest["plan"]["digest"] == artifact.digest
    assert list(manifest["columns"]) == ["image", "label", "odd|name"]
    for shard in manifest["shards"]:
        data = storage.read_bytes(storage.join(out, shard["file"]))
        assert hashlib.sha256(data).hexdigest() == shard["sha256"] and len(data) == shard["bytes"]


def test_commit_is_idempotent_and_never_overwrites(artifact: Artifact, tmp_path: Path) -> None:
    out = str(tmp_path)
    plan = write_dataset(artifact, out, SETTINGS)
    schema = artifact.codec.arrow_schema()
    receipts = {i: dataset.verified(out, plan, i) for i in range(3)}
    before = files(out)
    dataset.commit(out, plan, receipts, schema)  # type: ignore[arg-type]
    wrong = receipts | {1: receipts[1].model_copy(update={"sha256": "0" * 64})}  # type: ignore[union-attr]
    with pytest.raises(OutputTakenError, match=r"manifest\.json describes another dataset"):
        dataset.commit(out, plan, wrong, schema)  # type: ignore[arg-type]
    assert files(out) == before


def test_without_a_commit_there_is_no_manifest(artifact: Artifact, tmp_path: Path) -> None:
    dataset.claim(str(tmp_path), Plan.of(artifact.digest, SETTINGS))
    assert dataset.read_manifest(str(tmp_path)) is None
