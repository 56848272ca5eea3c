"""Adult (UCI, 1996, CC BY 4.0) as Parquet: 32,561 training and 16,281 test rows."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.tabular.environments import CACHE, ROOT
from examples.datasets import ADULT_NUMBERS as NUMBERS
from examples.datasets import prepare

__all__ = ["NUMBERS", "TARGET", "adult"]
TARGET = "income"


def adult() -> tuple[Path, Path]:
    """The training and the test file, written on the first use."""
    cache = Path(os.environ.get("SYNTHRAY_CACHE") or ROOT / ".cache" / "synthray")
    prepare("adult", CACHE / "adult", cache)
    train, test = (CACHE / "adult" / split / "part-0.parquet" for split in ("train", "test"))
    return train, test
