"""What cannot be had of the data is told before anything trains; without a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from people import people

from synthray import config as configs
from synthray.distributed import train as training
from synthray.errors import ConditionError


@pytest.mark.parametrize(
    ("generate", "told"),
    [
        (
            {"balance": {"city": {"Rom": 0.5}}},
            r"balance: .*data\.constraints\.0 \(combinations of city, plan\) settles it",
        ),
        ({"balance": {"age": {400: 0.5}}}, r"age = '400' is not among what the column holds"),
        ({"where": {"id": "P-00001"}}, r"where: column 'id' is an id, and ids are made anew"),
    ],
)
def test_wishes_that_cannot_be_met_are_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generate: dict[str, Any], told: str
) -> None:
    pq.write_table(people(200), tmp_path / "people.parquet")
    tree = {
        "data": {
            "source": str(tmp_path / "people.parquet"),
            "constraints": [{"combinations": ["city", "plan"]}],
        },
        "model": {"name": "nade"},
        "train": {"batch_size": 64},
        "generate": generate,
        "output": str(tmp_path / "out"),
    }
    monkeypatch.setattr(training, "cluster_map", map)
    with pytest.raises(ConditionError, match=told):
        training.prepare(configs.parse(tree), lambda _: None)
