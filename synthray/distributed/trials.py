"""A trial of a search as Ray Tune runs it: an actor that trains all seeds of some settings."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune

from synthray.config import Config
from synthray.data.codec import Codec, Encoded
from synthray.errors import SynthRayError
from synthray.tuning.objective import WORST, SeedResult
from synthray.tuning.report import TrialRow
from synthray.tuning.space import settings_of
from synthray.tuning.trial import Lineage, Trial


@dataclass(frozen=True)
class Job:
    """What every trial is given. lineage: for all of them, where nothing is sampled."""

    config: Config
    codec: Codec
    data: Encoded
    lineage: Lineage | None = None


class TrialActor(tune.Trainable):
    """One trial; its config has a ``number``, and ``sampled`` values or none, and ``seeds`` or not.

    Reports after every evaluation: ``step``, the score's figures, and the whole `TrialRow` as JSON.
    """

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        if job is None:
            raise RuntimeError("the trial was started without its job")
        cluster = job.config.cluster
        torch.set_num_threads(cluster.cpus_per_worker)
        torch.use_deterministic_algorithms(True, warn_only=True)
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
            self._trial.advance()
        row = self._row()
        found = row.score
        return {
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
        self._place = Path(tempfile.mkdtemp(prefix="synthray-trial-"))
        job, self._why, self._trial = self._job, "", None
        try:
            config = job.config if job.lineage is None else job.lineage.applied(job.config)
            self._trial = Trial(
                config,
                job.codec,
                job.data,
                self._seeds(),
                settings_of(job.config, self._asked.get("sampled", {})),
                self._place,
                saved,
                self._device,
            )
        except SynthRayError as error:
            self._why = error.what  # Trying again is no use: the trial has failed.

    def _seeds(self) -> Sequence[int]:
        first, count = self._job.config.seed, self._job.config.tune.seeds
        seeds: Sequence[int] = self._asked.get("seeds") or range(first, first + count)
        return seeds

    def _row(self) -> TrialRow:
        number = int(self._asked["number"])
        if self._trial is None:
            settings = settings_of(self._job.config, self._asked.get("sampled", {}))
            return TrialRow(
                number=number,
                ended="failed",
                step=0,
                lineage=Lineage(settings=settings),
                seeds=[given_up(seed, self._why) for seed in self._seeds()],
                why=self._why,
            )
        results = self._trial.results()
        ended = "gave up" if all(seed.why for seed in results) else "finished"
        return TrialRow(
            number=number,
            ended=ended if self._trial.over else "running",
            step=self._trial.step,
            lineage=self._trial.lineage,
            seeds=results,
        )


def given_up(seed: int, why: str) -> SeedResult:
    """The result of a seed that never trained."""
    return SeedResult(
        seed=seed,
        step=0,
        verdict="stopped",
        coverage=0.0,
        distance=WORST,
        seconds=0.0,
        success=False,
        why=why,
    )
