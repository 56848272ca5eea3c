"""The guard at work: it looks on while training runs, and returns to a healthy checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from synthray import rng
from synthray.data.batches import Batches
from synthray.data.codec import Codec, Encoded
from synthray.errors import CollapseError, TrainingError, UsageError
from synthray.metrics.quick import MIN_ROWS, QuickJudge, shrunk
from synthray.models.adgan import AdGAN
from synthray.models.base import Batch
from synthray.models.rpgan import RpGAN
from synthray.rng import BatchRandom, Rows
from synthray.training.averaging import broadcast
from synthray.training.checkpoint import Checkpoint, CheckpointStore, Crew, joined
from synthray.training.engine import Engine
from synthray.training.guard import Guard, GuardState
from synthray.training.settings import Relief

log = logging.getLogger(__name__)
SAMPLE_BATCH = 250
"""Rows drawn at a time to be judged."""
NOISE = 1.0
"""About the distance of noise without structure, see `QuickJudge`."""
SCORES = ("coverage", "distance")
"""What an evaluation adds to the terms of the losses."""


class Watch:
    """One training's guard: its judge, its state, and the healthy checkpoint it returns to.

    Every worker holds one. Rank 0 draws and judges samples, and tells the others; all come to the
    same decision.

    Args:
        say: given a line about what was done; called by rank 0.
    """

    def __init__(
        self,
        engine: Engine,
        codec: Codec,
        store: CheckpointStore,
        rank: int,
        say: Callable[[str], None],
    ) -> None:
        self.engine, self.codec, self.store, self.rank, self.say = engine, codec, store, rank, say
        self.config = engine.config.guard
        self.crew: Crew = ()
        self.guard = Guard(self.config)
        self._rows: list[Batch] = []
        self._cond: Tensor | None = None
        self._judge: QuickJudge | None = None
        self._blind = False  # whether real rows are too much alike to judge by

    @property
    def on(self) -> bool:
        """Whether there is anything to judge by. With differential privacy real rows may not."""
        private = self.engine.mechanism is not None
        return self.config.enabled and not private and self.codec.spec.rows >= MIN_ROWS

    @property
    def state(self) -> GuardState:
        return self.guard.state

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Take up the state of a checkpoint, and the settings that earlier returns left."""
        self.crew = joined(checkpoint, self.engine.rows.workers)
        if checkpoint is not None:
            self.guard.state = GuardState.model_validate(checkpoint.guard)
            self._relieve()
        if self.on and self.rank == 0 and checkpoint is None:
            self._save_healthy([])

    def prepare(self, batches: Batches) -> None:
        """Draw the rows to judge by. Rows that stream are taken as they come instead."""
        if self.on and self.rank == 0 and batches.exact:
            source: Iterator[Encoded] = batches.start_at(0)
            while self._judge is None and not self._blind:
                encoded = next(source)
                x = self.codec.scale(torch.from_numpy(encoded.x))
                self.offer(Batch(x, torch.from_numpy(encoded.cond)))
        adapts = isinstance(self.engine.model, AdGAN)
        if self.on and adapts and batches.exact and self.engine.step == 0:
            scores = self._scores()
            if scores is not None:
                self.guard.begin(scores)

    def offer(self, batch: Batch) -> None:
        """Real rows, until there are enough to judge by."""
        if not self.on or self.rank != 0 or self._judge is not None or self._blind:
            return
        self._rows.append(Batch(self._seen(batch.x), batch.cond.cpu()))
        total = min(self.config.rows, self.codec.spec.rows)
        if sum(map(len, self._rows)) >= total:
            real = torch.cat([part.x for part in self._rows])[:total]
            self._cond = torch.cat([part.cond for part in self._rows])[:total]
            self._rows = []
            try:
                self._judge = QuickJudge(real, self.engine.seed)
            except UsageError:
                self._blind = True
                alike = "most rows of the data are alike: the guard has nothing to judge samples by"
                if alike not in self.state.events:  # a training that goes on has said so
                    self.state.events.append(alike)
                    self.say(alike)

    def step(self, terms: dict[str, Tensor], batch: Batch) -> None:
        """Look on after a step."""
        if not self.on:
            return
        if "critic_sign" in terms:
            self.guard.step({"critic_sign": float(terms["critic_sign"])})
        if self.engine.step % self.config.look_every == 0:
            told = self.engine.diagnose(batch)
            self.guard.look({name: float(value) for name, value in told.items()})

    def evaluate(self, *, last: bool) -> tuple[dict[str, float], str | None]:
        """Judge the average's samples: (scores for the history, what is wrong or None).

        The best evaluation so far leaves a healthy checkpoint.
        """
        scores = self._scores() if self.on else None
        if scores is None:
            return {}, None
        return scores, self.guard.judge(self.engine.step, scores, last=last)

    def _scores(self) -> dict[str, float] | None:
        """Of the average's samples, the same for all workers; None: nothing to judge by yet."""
        mine = [-1.0, -1.0, 1.0]
        if self.rank == 0 and self._judge is not None:
            told = self._judge.score(self._samples(self._judge.rows))
            mine = [*(told[name] for name in SCORES), self._judge.floor["coverage"]]
        *found, self.state.floor = broadcast(mine, self.engine.device)
        return None if found[0] < 0 else dict(zip(SCORES, found, strict=True))

    def keep_if_best(self, history: list[dict[str, float]]) -> None:
        """Leave a healthy checkpoint if the evaluation just made is the best one."""
        best = self.state.best
        if self.rank == 0 and best is not None and best.step == self.engine.step:
            self._save_healthy(history)

    def go_back(self, why: str, cause: TrainingError | None = None) -> list[dict[str, float]]:
        """Return to the healthy checkpoint with gentler settings; gives its history.

        Raises:
            TrainingError: the bounded number of returns is used up.
        """
        at, done = self.engine.step, self.state.recoveries
        if not self.on or done >= self.config.max_recoveries:
            if cause is not None:
                raise cause
            tried = (
                f"; {done} returns to a healthy checkpoint with lower learning rates did not help"
            )
            raise CollapseError(
                f"training collapsed at step {at:,}: {why}{tried if done else ''}", self._remedy()
            ) from cause
        healthy = self.store.healthy()
        self.engine.load_state(healthy.tensors, healthy.step)
        self.crew = joined(healthy, self.engine.rows.workers)
        self.guard.returned(healthy.step, why, at)
        self._relieve()
        if self.rank == 0:
            log.warning("%s", self.state.events[-1])
            self.say(self.state.events[-1])
            self._save_healthy(healthy.history)
            # This removes newer ones: they are those of the collapse.
            self.store.save(self.checkpoint(healthy.history))
        return healthy.history

    def _remedy(self) -> str:
        ways = ["change the learning rates under model.params"]
        if isinstance(self.engine.model, AdGAN):
            ways.append("give more rows or a base that is closer to them")
        else:
            ways.insert(0, "search for settings that train with `synthray tune`")
            if not isinstance(self.engine.model, RpGAN) and len(self.codec.spec.shape) == 3:
                ways.append("choose the family rpgan")
        return ", ".join(ways[:-1]) + f", or {ways[-1]}"

    def finish(self) -> dict[str, Any]:
        """The verdict, for the artifact's card; what the user should know of it is said."""
        if not self.on:
            off = not self.config.enabled or self.engine.mechanism is not None
            return {"verdict": "off" if off else "unjudged"}
        state, verdict = self.state, self.guard.verdict()
        if verdict == "rising":
            end = state.evaluations[-1]
            event = (
                f"step {self.engine.step:,}: samples cover {end.coverage:.3f} of the data, real "
                f"rows {state.floor:.3f}, at a distance of {end.distance:.2g}, and they were "
                "getting better: train longer"
            )
            if end.distance >= NOISE:
                event += "; noise is no farther away, so look at the learning rates too"
            state.events.append(event)
            if self.rank == 0:
                self.say(event)
        return {
            "verdict": verdict,
            "recoveries": state.recoveries,
            "events": list(state.events),
            "coverage_of_real": state.floor,
        } | ({"last": state.evaluations[-1].model_dump()} if state.evaluations else {})

    def checkpoint(self, history: list[dict[str, float]]) -> Checkpoint:
        """Everything that going on from here needs."""
        engine, state = self.engine, self.state.model_dump(mode="json")
        return Checkpoint(engine.step, engine.state(), list(history), state, self.crew)

    def _save_healthy(self, history: list[dict[str, float]]) -> None:
        self.store.save_healthy(self.checkpoint(history))

    def _relieve(self) -> None:
        done, config = self.state.recoveries, self.config
        self.engine.relief = Relief(config.slow_down**done, config.penalise**done)

    @torch.no_grad()
    def _samples(self, rows: int) -> Tensor:
        engine, spec = self.engine, self.codec.spec
        parts = []
        for start in range(0, rows, SAMPLE_BATCH):
            count = min(SAMPLE_BATCH, rows - start)
            stream = rng.stream(engine.seed, "guard", start)
            random = BatchRandom(stream, Rows.all(count), engine.device)
            cond = None
            if spec.conditions and self._cond is not None:
                cond = self._cond[start : start + count].to(engine.device)
            parts.append(self._seen(engine.ema.model.sample(count, random, cond)))
        return torch.cat(parts)

    def _seen(self, x: Tensor) -> Tensor:
        """Rows as the judge sees them: those of a table as points."""
        layout = self.codec.spec.layout
        return shrunk(x if layout is None else layout.features(x))
