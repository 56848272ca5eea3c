"""MOSTLY AI's engine (TabularARGN, 2501.12012) with its own defaults, and its own stop by time.

It learns from 80 % of the rows and keeps the epoch that is best on the others; it may stop early.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mostlyai import engine

from benchmarks.tabular.runners.measuring import Clock, Draw, Request, main


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
    engine.train(
        max_training_time=request.seconds / 60,
        max_epochs=request.params["epochs"],
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
