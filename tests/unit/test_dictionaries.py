"""Categories of dictionary types: their order, and those that no row has, come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthray

SIZES = ["small", "medium", "large", "huge"]
"""In an order that is not the alphabet's; no row is huge."""
FEW: dict[str, Any] = {"train": {"steps": 2}}


def frame(rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(0)
    size = random.choice(SIZES[:3], rows)
    letter = pd.Series(size).map({"small": "S", "medium": "M", "large": "L"})
    return pd.DataFrame(
        {
            "size": pd.Categorical(size, SIZES, ordered=True),
            "letter": pd.Categorical(letter, ["S", "M", "L"], ordered=True),
            "place": pd.Categorical(random.choice(["b", "a"], rows), ["z", "b", "a"]),
            "stars": pd.Categorical(random.choice([3, 1, 2], rows), [3, 2, 1, 0], ordered=True),
            "x": random.normal(size=rows),
        }
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"conditions": ["size", "stars"]},
        {"constraints": [{"combinations": ["size", "letter"]}]},
    ],
    ids=["plain", "conditions", "constraints"],
)
def test_pandas_categories_come_back_as_they_were(data: dict[str, Any], tmp_path: Path) -> None:
    given = frame()
    artifact = synthray.fit(given, output=str(tmp_path), data=data, **FEW)
    for again in (artifact, synthray.load(f"{tmp_path}/artifact")):
        sampled = again.sample(200, frame="pandas")
        assert sampled.dtypes.to_dict() == given.dtypes.to_dict()
        assert sampled["size"].cat.ordered and set(sampled["size"].dropna()) <= set(SIZES[:3])
        # Nothing is said of an order that has no meaning, which may tell which row came first.
        assert sampled["place"].cat.categories.tolist() == ["a", "b", "z"]


def test_rare_categories_are_listed_nowhere(tmp_path: Path) -> None:
    given = frame()
    given.loc[:4, "letter"] = "L"
    given["letter"] = given["letter"].cat.add_categories(["XXL"])
    given.loc[5:7, "letter"] = "XXL"
    artifact = synthray.fit(given, output=str(tmp_path), data={"rare": 20}, **FEW)
    sampled = artifact.sample(200)
    assert sampled["letter"].cat.categories.tolist() == ["S", "M", "L"]
    assert sampled["size"].cat.categories.tolist() == SIZES[:3]
    assert "XXL" not in (tmp_path / "artifact" / "codec.json").read_text()


def test_shards_with_dictionaries_of_their_own_are_one_column(tmp_path: Path) -> None:
    """Row groups list what they have; the first to list a value says where it stands."""
    kind = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    words = [["low", "mid"] * 50, ["high", "mid"] * 50]
    for index, part in enumerate(words):
        cells = pa.array(part).dictionary_encode().cast(kind)
        pq.write_table(
            pa.table({"level": cells, "x": np.arange(100.0)}), tmp_path / f"{index}.parquet"
        )
    artifact = synthray.fit(str(tmp_path), output=str(tmp_path / "out"), **FEW)
    level = artifact.sample(100, frame="arrow")["level"].combine_chunks()
    assert level.type == kind
    assert level.dictionary.to_pylist() == ["low", "mid", "high"]
