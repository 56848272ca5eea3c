"""Rows of numbers on a real Ray, as people run it: init, train, generate, rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FEW = ("train.steps=4", "train.eval_every=2", "train.checkpoint_every=2", "train.batch_size=16")


def synthray(folder: Path, *words: str) -> str:
    settings = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "synthray", *words],
        cwd=folder,
        env=settings | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_from_parquet_of_numbers_to_a_dataset(tmp_path: Path) -> None:
    pq.write_table(tiny.ring(200), tmp_path / "ring.parquet", row_group_size=50)
    synthray(tmp_path, "init", "ring.parquet", "-o", "ring.yaml")
    settings = (*FEW, "model.name=rpgan", "data.conditions=[mode]", "output=out")
    told = synthray(tmp_path, "train", "ring.yaml", *settings)
    assert f"encoded to (3,), {200 * 3 * 4 / 1e9:.3g} GB" in told
    words = ("--artifact", "out/artifact", "--start", "1000", "--count", "40", "--out", "s.parquet")
    synthray(tmp_path, "rows", *words)
    slice_ = pq.read_table(tmp_path / "s.parquet").replace_schema_metadata(None)
    assert slice_.num_rows == 40 and slice_.schema.equals(tiny.ring().schema)
    synthray(tmp_path, "generate", "ring.yaml", *settings, "generate.rows=1500")
    rows = ds.dataset(tmp_path / "out/synthetic/data").to_table().replace_schema_metadata(None)
    assert rows.num_rows == 1500 and slice_.equals(rows.slice(1000, 40))
