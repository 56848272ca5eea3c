"""A family whose training kills its own process when told to, for the tests of what survives."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from synthray.models.base import Batch, Loss
from synthray.models.gan import GAN
from synthray.rng import BatchRandom

FOLDER = "SYNTHRAY_TEST_ORDERS"
"""The environment variable with the folder of orders: `kill`, the step (counted in a process)
before whose end to die, once; `nap`, seconds to sleep in each step; `starts`, a line a start."""


class Mortal(GAN):
    """The classic GAN, with orders."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.orders = Path(os.environ[FOLDER])
        self.steps = 0

    def loss(self, phase: str, batch: Batch, rng: BatchRandom) -> Loss:
        if phase == "generator":
            self.obey()
        return super().loss(phase, batch, rng)

    def obey(self) -> None:
        if self.steps == 0:
            with (self.orders / "starts").open("a") as file:
                file.write(f"{os.getpid()}\n")
        self.steps += 1
        nap, kill = self.orders / "nap", self.orders / "kill"
        if nap.exists():
            time.sleep(float(nap.read_text()))
        try:
            if int(kill.read_text()) != self.steps:
                return
            kill.unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
