"""SDV's Gaussian copula with its own defaults. It draws the same rows on every seed."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import sdv.metadata
import sdv.single_table
import torch

from benchmarks.tabular.runners.measuring import Clock, Draw, Request, main


def learn(request: Request, clock: Clock) -> tuple[Draw, dict[str, Any]]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(request.threads)
    table = pd.read_parquet(request.train)
    columns = {}
    for name in table.columns:
        numeric = pd.api.types.is_numeric_dtype(table[name])
        columns[name] = {"sdtype": "numerical" if numeric else "categorical"}
    tables = {"tables": {"table": {"columns": columns}}}
    model = sdv.single_table.GaussianCopulaSynthesizer(sdv.metadata.Metadata.load_from_dict(tables))
    processed = model.preprocess({"table": table})
    clock.lap("preparation")
    model.fit_processed_data(processed)
    clock.lap("training")

    def draw(rows: int) -> Any:
        (made,) = model.sample(rows).values()
        return made

    return draw, {"epochs": 1, "row_epochs": len(table)}


if __name__ == "__main__":
    main(learn)
