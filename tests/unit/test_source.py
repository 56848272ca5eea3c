"""Sources: what is found at a URI, in which order, and what is refused before any work."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import class_folders, noise, png, save_artifact, struct
from written import write_dataset

from synthray import storage
from synthray.artifact import Artifact
from synthray.config import DataConfig, GenerateConfig
from synthray.data import folder_source
from synthray.data.codec import Encoded
from synthray.data.inference import infer_image_schema
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.data.schema import Kind
from synthray.data.source import Source, open_source
from synthray.errors import SchemaError, SourceError
from synthray.sampling.virtual import VirtualDataset

PICTURE = png(noise(8, 8))


def rows(source: Source) -> pa.Table:
    return pa.concat_tables(chunk.read() for chunk in source.chunks)


def table(count: int = 4, **columns: Any) -> pa.Table:
    cells: list[bytes | None] = [png(noise(8, 8, seed=i)) for i in range(count)]
    return pa.table({"image": struct(cells), **columns})


def refusal(uri: Path | str, corrections: dict[str, dict[str, object]] | None = None) -> str:
    with pytest.raises((SourceError, SchemaError)) as caught:
        infer_image_schema(open_source(str(uri)), corrections or {})
    assert caught.value.exit_code == 2 and caught.value.remedy
    return str(caught.value)


# Folders.


def test_class_folders_give_images_with_their_labels(tmp_path: Path) -> None:
    source = open_source(str(class_folders(tmp_path)))
    assert source.rows == 6
    found = rows(source)
    assert found.schema.equals(source.schema)
    assert found["label"].to_pylist() == ["cat"] * 3 + ["dog"] * 3
    assert found["image"][0].as_py()["path"] == "cat/0.png"
    assert found["image"][0].as_py()["bytes"] == (tmp_path / "cat" / "0.png").read_bytes()


def test_nested_folders_are_labelled_by_the_innermost(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test")
    found = rows(open_source(str(tmp_path)))
    assert found["label"].to_pylist() == (["cat"] * 3 + ["dog"] * 3) * 2
    assert found["image"][0].as_py()["path"] == "test/cat/0.png"


def test_a_flat_folder_and_a_single_class_have_no_labels(tmp_path: Path) -> None:
    class_folders(tmp_path, classes=("cat",))
    assert open_source(str(tmp_path)).schema.names == ["image"]
    assert open_source(str(tmp_path / "cat")).schema.names == ["image"]


def test_one_image_alone_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    assert rows(open_source(str(tmp_path / "a.png"))).num_rows == 1


def test_loose_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    (class_folders(tmp_path) / "stray.png").write_bytes(PICTURE)
    message = refusal(tmp_path)
    assert "loose images such as stray.png" in message


def test_other_and_hidden_files_beside_the_images_are_left_alone(tmp_path: Path) -> None:
    class_folders(tmp_path)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"x")
    (tmp_path / "dog" / "LOUD.JPG").write_bytes(PICTURE)
    assert open_source(str(tmp_path)).rows == 7


def test_a_file_uri_gives_the_same_rows_and_plain_labels(tmp_path: Path) -> None:
    class_folders(tmp_path, classes=("a b", "a!", "ä#1", "a%41"))
    by_path, by_uri = open_source(str(tmp_path)), open_source(tmp_path.as_uri())
    assert rows(by_uri).equals(rows(by_path))
    assert set(rows(by_uri)["label"].to_pylist()) == {"a b", "a!", "ä#1", "a%41"}


def test_the_order_is_a_function_of_the_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_source, "FILES_PER_CHUNK", 4)
    class_folders(tmp_path, classes=("a", "b", "c"))
    expected = open_source(str(tmp_path)).chunks
    assert [len(chunk.files) for chunk in expected] == [4, 4, 1]
    listed = storage.list_files(str(tmp_path))
    for seed in range(3):
        random.Random(seed).shuffle(listed)
        monkeypatch.setattr(storage, "list_files", lambda uri: listed)
        assert open_source(str(tmp_path)).chunks == expected


# Nothing there, or nothing of use.


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/nowhere does not exist" in refusal(tmp_path / "nowhere")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    assert f"data.source: {tmp_path} holds no files" in refusal(tmp_path)


def test_a_folder_of_other_files_says_what_would_do(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    message = refusal(tmp_path)
    assert "holds 1 files, none of them an image or a table" in message and ".png" in message


def test_tables_without_rows_are_no_source(tmp_path: Path) -> None:
    pq.write_table(table().slice(0, 0), tmp_path / "a.parquet")
    assert "holds no rows" in refusal(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "footer"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: str) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    broken = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"hello",
        "footer": whole[:-60] + b"\xff" * 40 + whole[-20:],
    }[damage]
    (tmp_path / "b.parquet").write_bytes(broken)
    assert "b.parquet is not a Parquet file, or damaged" in refusal(tmp_path)


def test_damage_inside_a_parquet_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    pq.write_table(table(200, n=np.arange(200)), tmp_path / "a.parquet", compression="zstd")
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    whole[4:-footer] = b"\x55" * (len(whole) - footer - 4)
    (tmp_path / "a.parquet").write_bytes(whole)
    source = open_source(str(tmp_path))
    with pytest.raises(SourceError, match=r"a\.parquet is not a Parquet file, or damaged"):
        rows(source)


# Parquet.


def test_row_groups_become_chunks_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        pq.write_table(table(5, name=[name] * 5), tmp_path / f"{name}.parquet", row_group_size=2)
    source = open_source(str(tmp_path))
    assert (source.rows, len(source.chunks)) == (10, 6)
    assert rows(source)["name"].to_pylist() == ["a"] * 5 + ["b"] * 5


def test_files_of_other_columns_or_types_are_refused(tmp_path: Path) -> None:
    pq.write_table(table(n=[1, 2, 3, 4]), tmp_path / "a.parquet")
    pq.write_table(table(m=[1, 2, 3, 4]), tmp_path / "b.parquet")
    assert "b.parquet has the columns" in refusal(tmp_path)
    pq.write_table(table(n=["1", "2", "3", "4"]), tmp_path / "b.parquet")
    message = refusal(tmp_path)
    assert "'n': 'string'" in message and "'n': 'int64'" in message


def test_a_dictionary_in_one_file_and_plain_text_in_another_are_one_table(tmp_path: Path) -> None:
    plain = pa.array(["x", "y", "x", "y"])
    pq.write_table(table(n=plain), tmp_path / "a.parquet")
    pq.write_table(table(n=plain.dictionary_encode()), tmp_path / "b.parquet")
    assert open_source(str(tmp_path)).rows == 8


def test_a_tensor_column_is_an_image_column(tmp_path: Path) -> None:
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(noise(4, 8, 8, 3))
    pq.write_table(pa.table({"picture": tensors, "n": [0, 1, 0, 1]}), tmp_path / "a.parquet")
    source = open_source(str(tmp_path))
    assert source.image_columns == ["picture"]
    assert infer_image_schema(source, {}).names == ["picture", "n"]


def test_only_discrete_columns_stay_beside_the_image(tmp_path: Path) -> None:
    columns = {"x": [0.5] * 4, "n": [1] * 4, "ok": [True] * 4, "s": ["a"] * 4, "l": [[1]] * 4}
    pq.write_table(table(**columns), tmp_path / "a.parquet")
    schema = infer_image_schema(open_source(str(tmp_path)), {})
    assert schema.names == ["image", "n", "ok", "s"]
    assert [column.kind for column in schema] == [Kind.image] + [Kind.categorical] * 3


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"n": [1, 2]}, "no image column among ['n']"), (None, "2 image columns among ['a', 'b']")],
)
def test_no_image_column_or_two_are_refused(tmp_path: Path, columns: Any, words: str) -> None:
    images = struct([PICTURE, PICTURE])
    pq.write_table(pa.table(columns or {"a": images, "b": images}), tmp_path / "a.parquet")
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        ({"lable": {"kind": "categorical"}}, "no column named 'lable'\n  → did you mean 'label'?"),
        ({"zzz": {}}, "no column named 'zzz'\n  → the columns are: image, label, x"),
        ({"label": {"knid": "categorical"}}, "data.schema.label.knid: unknown key"),
        ({"label": {"kind": "continuous"}}, "data.schema.label.kind: 'continuous' beside images"),
        ({"image": {"kind": "categorical"}}, "data.schema.image.kind: 'categorical'"),
        ({"x": {"kind": "categorical"}}, "a column of double cannot be categorical"),
    ],
)
def test_a_correction_that_does_not_fit_is_refused(
    tmp_path: Path, corrections: dict[str, dict[str, object]], words: str
) -> None:
    pq.write_table(table(label=["a"] * 4, x=[0.5] * 4), tmp_path / "a.parquet")
    assert words in refusal(tmp_path, corrections)
    right: dict[str, dict[str, object]] = {
        "label": {"kind": "categorical"},
        "image": {"kind": "image"},
    }
    infer_image_schema(open_source(str(tmp_path)), right)


def test_a_condition_that_is_no_column_is_refused(tmp_path: Path) -> None:
    config = DataConfig(source=str(class_folders(tmp_path)), conditions=["lable"])
    with pytest.raises(SchemaError, match="no column named 'lable'"):
        open_data(config)
    config = DataConfig(source=str(tmp_path), conditions=["image"])
    with pytest.raises(SchemaError, match="'image' is image, not categorical"):
        open_data(config)


# What SynthRay generated is a source again.


@pytest.mark.parametrize("images", ["png", "tensor"])
@pytest.mark.parametrize("part", ["", "data"])
def test_a_generated_dataset_is_a_source(tmp_path: Path, images: Any, part: str) -> None:
    out = str(tmp_path / "out")
    save_artifact(str(tmp_path / "artifact"))
    artifact = Artifact.load(str(tmp_path / "artifact"))
    settings = GenerateConfig(rows=1500, shard_rows=1024, images=images)
    write_dataset(artifact, out, settings)

    source, codec = open_data(DataConfig(source=storage.join(out, part)))
    assert source.rows == 1500
    fit_codec(source, codec, map)
    assert codec.spec.shape == (1, 8, 8) and codec.schema.names == ["image", "label"]
    encoded: Encoded = encode_all(source, codec, map)
    again = VirtualDataset(artifact, images="tensor").rows(0, 1500)
    pixels = again["image"].combine_chunks().to_numpy_ndarray().transpose(0, 3, 1, 2)
    assert np.array_equal(encoded.x, pixels)
