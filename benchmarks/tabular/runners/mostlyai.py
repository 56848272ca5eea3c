"""MOSTLY AI's engine (TabularARGN, 2501.12012) with its own defaults, stopped by time.

It is stopped between two steps, through its callback of progress. It learns from 80 % of the rows
and keeps the epoch that is best on the others; it may stop early.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mostlyai import engine

from benchmarks.tabular.runners.measuring import Budget, Clock, Draw, Request, main


def learn(request: Request, clock: Clock) -> tuple[Draw, dict[str, Any]]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(request.threads)
    engine.set_random_state(request.seed)
    workspace = Path(request.out) / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    engine.split(pd.read_parquet(request.train), model_type="TABULAR", workspace_dir=workspace)
    engine.analyze(workspace_dir=workspace)
    engine.encode(workspace_dir=workspace)
    clock.lap("preparation")
    budget = Budget(request)

    def stop(**_: Any) -> dict[str, bool]:
        return {"stopExecution": budget.spent > 1}

    engine.train(
        max_epochs=request.params["epochs"],
        update_progress=stop,
        device="cpu",
        workspace_dir=workspace,
    )
    clock.lap("training")
    (messages,) = workspace.rglob("progress-messages.csv")
    last = pd.read_csv(messages).iloc[-1]

    def draw(rows: int) -> Any:
        engine.generate(sample_size=rows, device="cpu", workspace_dir=workspace)
        return pd.read_parquet(workspace / "SyntheticData")

    return draw, {"epochs": float(last["epoch"]), "row_epochs": int(last["samples"])}


if __name__ == "__main__":
    main(learn)
