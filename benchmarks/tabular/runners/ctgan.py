"""CTGAN and TVAE (1907.00503) of the package ctgan, with its own defaults, stopped by time.

The package trains a fixed number of epochs; its progress bar over them is replaced by one that
ends when the next epoch would go beyond the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ctgan.synthesizers.ctgan
import ctgan.synthesizers.tvae
import numpy as np
import pandas as pd
import torch

from benchmarks.tabular.runners.measuring import Budget, Clock, Draw, Request, main


def learn(request: Request, clock: Clock) -> tuple[Draw, dict[str, Any]]:
    torch.set_num_threads(request.threads)
    torch.manual_seed(request.seed)
    np.random.seed(request.seed)
    table = pd.read_parquet(request.train)
    discrete = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    table[discrete] = table[discrete].fillna("?")
    done = 0

    class Epochs:
        """Stands in for tqdm."""

        def __init__(self, epochs: range, **_: Any) -> None:
            self.epochs = epochs

        def __iter__(self) -> Iterator[int]:
            nonlocal done
            clock.lap("preparation")
            budget = Budget(request)
            for epoch in self.epochs:
                if epoch and budget.spent * (epoch + 1) / epoch > 1:
                    break
                yield epoch
                done = epoch + 1

    module = {"CTGAN": ctgan.synthesizers.ctgan, "TVAE": ctgan.synthesizers.tvae}
    name = request.params["model"]
    module[name].tqdm = Epochs
    model = getattr(module[name], name)(enable_gpu=False, epochs=request.params["epochs"])
    model.set_random_state(request.seed)
    model.fit(table, discrete)
    clock.lap("training")
    return model.sample, {"epochs": done, "row_epochs": done * len(table)}


if __name__ == "__main__":
    main(learn)
