"""A run in Weights & Biases: what we tell it, and nothing that it would collect by itself."""

from __future__ import annotations

import io
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from PIL import Image

from synthray import storage
from synthray.config import WandbConfig
from synthray.tracking.run import Ending, Run

CODES = {"finished": 0, "failed": 1, "killed": 255}


class Wandb:
    """Logs to one run, which an interrupted training goes on with.

    Its own files lie under OUTPUT/logs/wandb/, or in a temporary folder where that is on S3.
    """

    def __init__(self, run: Run, settings: WandbConfig) -> None:
        self._run, self._settings = run, settings
        self._remote = storage.is_remote(run.place)
        self._notes = 0

    def begin(self, first: int | None) -> None:
        known = self._run.recall("wandb")
        name = known or secrets.token_hex(8)
        self._folder = (
            Path(tempfile.mkdtemp(prefix="synthray-wandb-"))
            if self._remote
            else Path(storage.absolute(self._run.place))
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._wandb: Any = wandb.init(
            project=self._settings.project,
            entity=self._settings.entity,
            id=name,
            name=self._run.name,
            resume="allow",
            dir=str(self._folder),
            config=self._run.parameters() | {"fingerprint": self._run.fingerprint},
            allow_val_change=True,
            # In a thread of a driver that has its own screen and its own signals.
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                disable_job_creation=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
                # Less than what a tracker gets at the end.
                init_timeout=20,
                finish_timeout=20,
            ),
        )
        if known is None:
            self._run.remember("wandb", name)
        # Steps of a resumed training can be lower than those told before.
        self._wandb.define_metric("step")
        self._wandb.define_metric("*", step_metric="step")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._wandb.log({"step": step, **values})

    def picture(self, step: int, png: bytes) -> None:
        with Image.open(io.BytesIO(png)) as image:
            self._wandb.log({"step": step, "samples": wandb.Image(image)})

    def note(self, step: int, line: str) -> None:
        self._notes += 1
        self._wandb.summary[f"event.step-{step:09}.{self._notes}"] = line

    def facts(self, facts: Mapping[str, str]) -> None:
        self._wandb.summary.update(dict(facts))

    def end(self, ending: Ending) -> None:
        self._wandb.finish(exit_code=CODES[ending])
        if self._remote:
            shutil.rmtree(self._folder, ignore_errors=True)
