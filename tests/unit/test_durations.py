"""Durations: learned as whole numbers of their unit, and given back as what they were."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthray
from synthray.data import arrow_types
from synthray.data.plain_rows import plain_rows
from synthray.errors import ConditionError
from synthray.sampling.dataset import write_parquet

pytestmark = pytest.mark.usefixtures("one_thread")


def trips(rows: int = 400) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "took": pa.array(random.integers(-50, 10**6, rows), pa.duration("s")),
            "few": pa.array(random.integers(0, 5, rows) * 1500, pa.duration("ms")),
            "rest": pa.array(
                random.integers(0, 60, rows) * 10, pa.duration("ns"), mask=random.random(rows) < 0.3
            ),
            "same": pa.array([7] * rows, pa.duration("us")),
            "kind": pa.array(random.choice(["a", "b"], rows)),
            "at": pa.array(random.integers(0, 5, rows) * 3600, pa.int32()).cast(pa.time32("s")),
        }
    )


@pytest.fixture(scope="module")
def fitted() -> synthray.Artifact:
    joint = {"constraints": [{"combinations": ["kind", "few", "at"]}]}
    return synthray.fit(trips(), train={"steps": 10, "batch_size": 64}, data=joint)


def test_durations_come_back_as_they_were(fitted: synthray.Artifact, tmp_path: Path) -> None:
    rows, real = fitted.sample(2000), trips()
    assert rows.schema == real.schema and fitted.card["left_out"] == []
    took = rows["took"].cast(pa.int64()).to_numpy()
    assert -50 <= took.min() < 10**5 and 9 * 10**5 < took.max() < 10**6
    assert set(rows["few"].to_pylist()) == set(real["few"].to_pylist())
    assert 0.15 < rows["rest"].null_count / 2000 < 0.45
    assert rows["same"].unique().to_pylist() == [dt.timedelta(microseconds=7)]
    write_parquet(str(tmp_path / "rows.parquet"), rows.schema, iter([rows]))
    written = pq.read_table(tmp_path / "rows.parquet").drop_columns(["at"])
    assert written.equals(rows.drop_columns(["at"]))


def test_durations_are_held_by_number_and_by_pythons_own(fitted: synthray.Artifact) -> None:
    for value in (500, "500", np.timedelta64(500, "ns")):
        found = fitted.sample(20, where={"rest": value})["rest"]  # type: ignore[dict-item]
        assert set(found.cast(pa.int64()).to_pylist()) == {500}
    for value in (3000, dt.timedelta(seconds=3)):
        found = fitted.sample(20, where={"few": value})["few"]  # type: ignore[dict-item]
        assert set(found.to_pylist()) == {dt.timedelta(seconds=3)}
    with pytest.raises(ConditionError, match="is no value of type duration"):
        fitted.sample(1, where={"took": "an hour"})


def test_durations_are_whole_numbers_in_json(fitted: synthray.Artifact) -> None:
    row = next(plain_rows(fitted.sample(1)))
    assert row["same"] == 7 and row["few"] in {0, 1500, 3000, 4500, 6000}


@pytest.mark.parametrize("kind", [pa.time32("s"), pa.time64("ns"), pa.duration("ms"), pa.date32()])
def test_text_of_any_type_is_read_again(kind: pa.DataType) -> None:
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    cells = pa.array([0, None, 86_399], width).view(kind)
    assert arrow_types.from_text(cells.cast(pa.string()), kind).equals(cells)
