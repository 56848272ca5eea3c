"""One trial: the same settings trained with several seeds, evaluation by evaluation."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field

from synthray.config import Change, Config, changed
from synthray.data.batches import MemoryBatches
from synthray.data.codec import Codec, Encoded
from synthray.errors import TrainingError
from synthray.rng import Rows
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.loop import Hooks, Training
from synthray.tuning.objective import WORST, SeedResult
from synthray.tuning.space import PARAMS

SUCCESSFUL = ("healthy", "recovered")
NEVER = 10**9
STATE = "trial.json"


class Lineage(BaseModel):
    """Which settings a trial has had: those at its start, and from which step others.

    Population-based training copies a trial with its lineage, so that the settings of the best
    trial can be followed again from the start.
    """

    settings: dict[str, Any] = Field(default_factory=dict)
    schedule: list[Change] = Field(default_factory=list)

    @property
    def now(self) -> dict[str, Any]:
        """The settings in force, by dotted path."""
        settings = dict(self.settings)
        for change in self.schedule:
            settings |= {PARAMS + path: value for path, value in change.set.items()}
        return settings

    def turned(self, step: int, settings: Mapping[str, Any]) -> Lineage:
        """The lineage that goes on with ``settings`` from ``step``."""
        if self.now == settings:
            return self
        if step == 0:
            return Lineage(settings=dict(settings))
        news = {
            path.removeprefix(PARAMS): value
            for path, value in settings.items()
            if self.now.get(path) != value
        }
        kept = [change for change in self.schedule if change.step < step]
        same = [change for change in self.schedule if change.step == step]
        merged = {path: value for change in same for path, value in change.set.items()} | news
        return Lineage(settings=self.settings, schedule=[*kept, Change(step=step, set=merged)])

    def applied(self, config: Config) -> Config:
        """The config that trains as this lineage did."""
        schedule = [change.model_dump(mode="json") for change in self.schedule]
        extra = {"train.schedule": schedule} if schedule else {}
        return changed(config, {**self.settings, **extra})


class _State(BaseModel):
    """What a checkpoint of a trial holds beside the checkpoints of its seeds."""

    step: int
    lineage: Lineage
    seconds: list[float]
    why: list[str]
    stopped: list[bool]


class Trial:
    """Trains ``seeds`` with the same settings.

    Args:
        config: what all trials have in common.
        settings: by dotted path, over it.
        folder: an empty one on the local disk, for checkpoints while training.
        saved: of `save`, to go on from; where settings differ from those saved, training goes on
            with the new ones (the step of population-based training).

    Raises:
        ConfigError: settings that do not work together.
    """

    def __init__(
        self,
        config: Config,
        codec: Codec,
        data: Encoded,
        seeds: Sequence[int],
        settings: Mapping[str, Any],
        folder: Path,
        saved: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        state = None
        if saved is not None:
            shutil.copytree(saved, folder, dirs_exist_ok=True)
            state = _State.model_validate_json((folder / STATE).read_text())
        self.step = state.step if state else 0
        lineage = state.lineage if state else Lineage(settings=dict(settings))
        self.lineage = lineage.turned(self.step, settings)
        # Checkpoints are written when `save` is called, not by the training.
        own: dict[str, Any] = {"train.checkpoint_every": NEVER}
        self._together = config.tune.scheduler == "pbt"
        if self._together:
            # A seed that collapses is replaced by a copy of a better one. What a return of the
            # guard would leave of the rates could not be told in a schedule.
            own["train.guard.max_recoveries"] = 0
        common = changed(self.lineage.applied(config), own)
        self.steps, self.every = common.train.steps, common.train.eval_every
        self._least = config.tune.coverage
        self._folder, self._seeds = folder, list(seeds)
        self._clock = time.process_time if str(device) == "cpu" else time.monotonic
        self._trainings = [
            _training(common.model_copy(update={"seed": seed}), codec, data, folder, device)
            for seed in seeds
        ]
        self._seconds = state.seconds if state else [0.0] * len(self._seeds)
        self._why = state.why if state else [""] * len(self._seeds)
        for training, stopped in zip(self._trainings, state.stopped if state else (), strict=False):
            training.stopped = stopped

    @property
    def over(self) -> bool:
        """Whether no seed has anything left to train. In a population, those that have wait for the
        others: they may go on as a copy.
        """
        if self.step >= self.steps or self._together:
            return self.step >= self.steps
        return all(
            why or training.stopped
            for why, training in zip(self._why, self._trainings, strict=True)
        )

    def advance(self) -> None:
        """Train every seed to the next evaluation."""
        self.step = min(self.step + self.every, self.steps)
        for index, training in enumerate(self._trainings):
            if self._why[index]:
                continue
            began = self._clock()
            try:
                training.advance(self.step)
            except TrainingError as error:
                self._why[index] = error.what
            self._seconds[index] += self._clock() - began

    def results(self) -> list[SeedResult]:
        """Where every seed stands."""
        return [self._result(index) for index in range(len(self._seeds))]

    def save(self, folder: Path) -> None:
        """Leave everything that going on needs in a folder."""
        for training in self._trainings:
            training.watch.store.save(training.checkpoint())
        state = _State(
            step=self.step,
            lineage=self.lineage,
            seconds=self._seconds,
            why=self._why,
            stopped=[training.stopped for training in self._trainings],
        )
        (self._folder / STATE).write_text(json.dumps(state.model_dump(mode="json")))
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)

    def _result(self, index: int) -> SeedResult:
        training, why = self._trainings[index], self._why[index]
        guard = training.watch.guard
        last = guard.state.evaluations[-1] if guard.state.evaluations else None
        verdict = "stopped" if why else guard.verdict()
        share = last.coverage / max(guard.state.floor, 1e-9) if last else 0.0
        course = [
            (int(entry["step"]), min(entry["distance"], WORST))
            for entry in training.history
            if "distance" in entry
        ]
        return SeedResult(
            seed=self._seeds[index],
            step=training.engine.step,
            verdict=verdict,
            coverage=share,
            distance=min(last.distance, WORST) if last else WORST,
            seconds=self._seconds[index],
            success=verdict in SUCCESSFUL and share >= self._least,
            why=why,
            course=course,
        )


def _training(
    config: Config, codec: Codec, data: Encoded, folder: Path, device: torch.device | str
) -> Training:
    batch = config.train.batch_size
    engine = new_engine(config, codec, Rows.all(batch), device)
    batches = MemoryBatches(data, batch, config.seed)
    # Nobody else writes there, and settings may change on the way: one name for all.
    store = CheckpointStore(str(folder / f"seed-{config.seed}"), "tune", keep=1)
    return Training(engine, codec, batches, store, Hooks())
