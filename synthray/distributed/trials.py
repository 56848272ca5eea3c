"""A trial of a search as Ray Tune runs it: an actor that trains all seeds of some settings."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from synthray.config import Config
from synthray.data.codec import Codec, Encoded
from synthray.errors import SynthRayError
from synthray.training.device import deterministic
from synthray.tuning.objective import WORST, SeedResult
from synthray.tuning.report import TrialRow
from synthray.tuning.space import settings_of
from synthray.tuning.trial import Lineage, Trial

CHECKPOINT_SECONDS = 10.0
"""What a lost trial has to train again, about."""


@dataclass(frozen=True)
class Job:
    """What every trial is given. lineage: for all of them, where nothing is sampled."""

    config: Config
    codec: Codec
    data: Encoded
    lineage: Lineage | None = None


class TrialActor(tune.Trainable):
    """One trial; its config has ``sampled`` values or none, and may have ``seeds`` of its own.

    Reports after every evaluation: ``step``, the score's figures, and the whole `TrialRow` as JSON.
    """

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        if job is None:
            raise RuntimeError("the trial was started without its job")
        cluster = job.config.cluster
        torch.set_num_threads(cluster.cpus_per_worker)
        deterministic()
        self._job = job
        self._device = "cuda" if cluster.gpus_per_worker else "cpu"
        self._place: Path | None = None
        self._asked = config
        self._start()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The same actor goes on with another trial."""
        self._asked = new_config
        self._start()
        return True

    def step(self) -> dict[str, Any]:
        if self._trial is not None:
            with self._given_up():
                self._trial.advance()
        row = self._row()
        found = row.score
        # A population's scheduler asks for its own.
        due = (
            self._job.config.tune.scheduler != "pbt"
            and time.monotonic() - self._saved >= CHECKPOINT_SECONDS
        )
        return {
            SHOULD_CHECKPOINT: due and row.ended == "running",
            "step": row.step,
            "done": row.ended != "running",
            "objective": found.objective,
            "lower": found.lower,
            "distance": found.distance,
            "spread": found.spread,
            "seconds": found.seconds,
            "row": row.model_dump(mode="json"),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._saved = time.monotonic()
        if self._trial is not None:
            self._trial.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        self._start(Path(checkpoint_dir))

    def cleanup(self) -> None:
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)

    def _start(self, saved: Path | None = None) -> None:
        """From nothing, or from a checkpoint: this trial's, or that of one it is to follow."""
        self.cleanup()
        self._saved = time.monotonic()
        # Among Ray's own files, which go when its cluster does.
        self._place = Path(tempfile.mkdtemp(dir=self.logdir))
        job, self._why = self._job, ""
        self._trial: Trial | None = None
        with self._given_up():
            config = job.config if job.lineage is None else job.lineage.applied(job.config)
            self._trial = Trial(
                config,
                job.codec,
                job.data,
                _seeds(job, self._asked),
                _settings(job, self._asked),
                self._place,
                saved,
                self._device,
            )

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """What fails here fails again: the trial ends, and says why."""
        try:
            yield
        except Exception as error:
            self._trial = None
            self._why = (
                error.what
                if isinstance(error, SynthRayError)
                else f"{type(error).__name__}: {error}"
            )

    def _row(self) -> TrialRow:
        number = number_of(self.trial_id, self._asked)
        if self._trial is None:
            return failed(self._job, number, self._asked, self._why)
        results = self._trial.results()
        ended = "gave up" if all(seed.why for seed in results) else "finished"
        return TrialRow(
            number=number,
            ended=ended if self._trial.over else "running",
            step=self._trial.step,
            lineage=self._trial.lineage,
            seeds=results,
        )


def number_of(trial_id: str, asked: Mapping[str, Any]) -> int:
    """A trial's number: what our searcher gave it, or where Ray's own counter stood. Not all have
    the first, for population-based training copies it with everything else.
    """
    return int(asked["number"]) if "number" in asked else int(trial_id.rpartition("_")[2])


def _seeds(job: Job, asked: Mapping[str, Any]) -> Sequence[int]:
    first, count = job.config.seed, job.config.tune.seeds
    seeds: Sequence[int] = asked.get("seeds") or range(first, first + count)
    return seeds


def _settings(job: Job, asked: Mapping[str, Any]) -> dict[str, Any]:
    return settings_of(job.config, asked.get("sampled", {}))


def failed(job: Job, number: int, asked: Mapping[str, Any], why: str) -> TrialRow:
    """The row of a trial that never trained."""
    never = {"step": 0, "verdict": "stopped", "coverage": 0.0, "distance": WORST, "seconds": 0.0}
    return TrialRow(
        number=number,
        ended="failed",
        step=0,
        lineage=Lineage(settings=_settings(job, asked)),
        seeds=[
            SeedResult(seed=seed, success=False, why=why, **never) for seed in _seeds(job, asked)
        ],
        why=why,
    )
