"""The training loop: steps, pictures, checkpoints, until the steps are done or a hook says stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from synthray.data.batches import Batches
from synthray.data.codec import Codec
from synthray.errors import NonFiniteError, TrainingError
from synthray.models.base import Batch
from synthray.training.asking import Asking, Wish
from synthray.training.averaging import agree, broadcast
from synthray.training.checkpoint import Checkpoint, CheckpointStore, Crew
from synthray.training.engine import Engine
from synthray.training.health import Watch
from synthray.training.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    terms: the losses of the last step; rows_per_second: global rows; seconds_left: at this speed;
    recoveries: the guard's returns to a healthy checkpoint so far.
    """

    step: int
    steps: int
    terms: dict[str, float]
    rows_per_second: float
    seconds_left: float
    recoveries: int = 0


@dataclass
class Hooks:
    """What the world around the loop wants to know.

    on_progress: often, cheap. on_eval: every ``train.eval_every`` steps, with the engine whose
    average to look at; True stops training. on_event: a line about what the guard did, or what
    differential privacy covers. ask: about every second, by every worker after the same step, for
    what is wished (see `Asking`).
    """

    on_progress: Callable[[Progress], None] = lambda _: None
    on_eval: Callable[[Progress, Engine], bool] = lambda *_: False
    on_event: Callable[[str], None] = lambda _: None
    ask: Callable[[], Wish] = lambda: Wish.NOTHING


@dataclass(frozen=True)
class Outcome:
    """How a training ended. history: one entry per evaluation; guard, privacy, crew: for the
    artifact's card; interrupted: it was asked to stop, left a checkpoint, and is to go on from it.
    """

    history: list[dict[str, float]]
    guard: dict[str, Any]
    privacy: dict[str, Any] | None = None
    crew: Crew = ()
    interrupted: bool = False


@dataclass
class Meter:
    """Speed since training began or resumed."""

    rows: int
    began: float = field(default_factory=time.monotonic)
    steps: int = 0

    def rate(self) -> float:
        return self.steps * self.rows / max(time.monotonic() - self.began, 1e-9)


class Training:
    """One training under way, from the newest checkpoint of its store if that has one.

    Every worker holds one; rank 0 alone writes and reports.
    """

    def __init__(
        self,
        engine: Engine,
        codec: Codec,
        batches: Batches,
        store: CheckpointStore,
        hooks: Hooks,
        *,
        rank: int = 0,
    ) -> None:
        self.engine, self.codec, self.batches, self.hooks = engine, codec, batches, hooks
        self.watch = Watch(engine, codec, store, rank, hooks.on_event)
        self.history: list[dict[str, float]] = []
        self.stopped = self.interrupted = False
        checkpoint = store.latest()
        if checkpoint is not None:
            engine.load_state(checkpoint.tensors, checkpoint.step)
            self.history = checkpoint.history
        if not agree(engine.step, engine.device):
            # A worker of an earlier group can still have been writing. Whoever runs the workers
            # starts them again.
            raise RuntimeError("the workers found different checkpoints")
        self.end = engine.config.steps
        self.ledger: Ledger | None = None
        if engine.mechanism is not None:
            self.ledger = self._open_ledger(store)
        self.watch.resume(checkpoint)
        self._tell_crew()
        self.watch.prepare(batches)
        self.asking = Asking(hooks.ask, engine.device)
        self.meter = Meter(engine.rows.total)

    def advance(self, until: int) -> None:
        """Train up to step ``until``, or to where a hook or the guard's patience stops it.

        Raises:
            TrainingError: values that are not finite, or a collapse that the guard could not mend.
        """
        until = min(until, self.end)
        while self.engine.step < until and not self.stopped:
            try:
                self._until_fault(until)
            except (NonFiniteError, _Fault) as error:
                cause = error if isinstance(error, NonFiniteError) else None
                self.history = self.watch.go_back(error.what, cause)

    def finish(self) -> Outcome:
        """How it ended; with the guard's verdict, and what was spent of a privacy budget."""
        crew = self.watch.crew
        if self.interrupted:
            return Outcome(self.history, {}, None, crew, interrupted=True)
        mechanism, privacy = self.engine.mechanism, None
        if mechanism is not None and self.ledger is not None:
            privacy = mechanism.account.statement(self.ledger.spent)
        return Outcome(self.history, self.watch.finish(), privacy, crew)

    def checkpoint(self) -> Checkpoint:
        """Everything that going on from here needs."""
        return self.watch.checkpoint(self.history)

    def _tell_crew(self) -> None:
        """Where other workers have taken steps before, what that does to exactness."""
        crew = self.watch.crew
        if len(crew) > 1 and crew[-1][0] == self.engine.step and self.watch.rank == 0:
            self.hooks.on_event(
                f"workers: {crew[-1][1]} from step {self.engine.step:,} on, {crew[-2][1]} before. "
                "The batch is the same one, in other shares: the weights agree with those of an "
                "unchanged number of workers within float tolerance, not bit for bit"
            )

    def _open_ledger(self, store: CheckpointStore) -> Ledger:
        """Settle where training has to end, and tell what the budget covers.

        Raises:
            TrainingError: earlier attempts have spent the budget, and left nothing.
        """
        engine, rank = self.engine, self.watch.rank
        ledger = Ledger(store, engine.config.steps, writes=rank == 0)
        ledger.spent = int(broadcast([ledger.spent], engine.device)[0])
        self.end = engine.step + ledger.left
        if self.end == 0:
            raise TrainingError(
                f"train.privacy: {ledger.spent:,} steps were begun in {store.uri}, the whole "
                "budget, and no checkpoint is left of them",
                "choose another output; what was spent here and what is spent there add up",
            )
        lines = [PRIVATE]
        if self.end < engine.config.steps:
            lines.append(
                f"{ledger.spent - engine.step:,} steps since the last checkpoint were lost, and "
                f"have spent their part of the privacy budget: training ends at step {self.end:,}"
            )
        for line in lines if rank == 0 else []:
            log.warning("%s", line)
            self.hooks.on_event(line)
        return ledger

    def _until_fault(self, until: int) -> None:
        engine, config = self.engine, self.engine.config
        source = self.batches.start_at(engine.step)
        while engine.step < until and not self.stopped:
            encoded = next(source)
            x = self.codec.scale(torch.from_numpy(encoded.x).to(engine.device))
            batch = Batch(x, torch.from_numpy(encoded.cond).to(engine.device))
            self.watch.offer(batch)
            if self.ledger is not None:
                self.ledger.take()
            terms = engine.train_step(batch)
            self.watch.step(terms, batch)
            self.meter.steps += 1
            evaluate = engine.step == self.end or engine.step % config.eval_every == 0
            if evaluate or self.meter.steps % 10 == 0:
                progress = self._progress(terms)
                if self.watch.rank == 0:
                    self.hooks.on_progress(progress)
                if evaluate:
                    self._evaluate(progress)
            self._save_if_due(self._heard())

    def _heard(self) -> Wish:
        """What is wished after a step. The last step and a hook's stop are the end anyway."""
        wish = self.asking.after_step()
        if wish is Wish.STOP and not self.stopped and self.engine.step < self.end:
            self.stopped = self.interrupted = True
        return wish

    def _evaluate(self, progress: Progress) -> None:
        """Raises: _Fault."""
        engine, watch = self.engine, self.watch
        scores, fault = watch.evaluate(last=engine.step == self.end)
        progress = replace(progress, terms=progress.terms | scores)
        self.history.append({"step": engine.step, **progress.terms})
        if fault is not None:
            raise _Fault(fault)
        watch.keep_if_best(self.history)
        self.stopped = self.hooks.on_eval(progress, engine) or watch.guard.enough()

    def _save_if_due(self, wish: Wish) -> None:
        step, config = self.engine.step, self.engine.config
        due = step == self.end or step % config.checkpoint_every == 0 or wish > Wish.NOTHING
        if self.watch.rank == 0 and (due or self.stopped):
            self.watch.store.save(self.checkpoint())
            if self.ledger is not None:
                self.ledger.settle()

    def _progress(self, terms: dict[str, torch.Tensor]) -> Progress:
        engine, rate = self.engine, self.meter.rate()
        left = (self.end - engine.step) * engine.rows.total / max(rate, 1e-9)
        values = {name: float(term) for name, term in terms.items()}
        returns = self.watch.state.recoveries
        return Progress(engine.step, engine.config.steps, values, rate, left, returns)


def train(
    engine: Engine,
    codec: Codec,
    batches: Batches,
    store: CheckpointStore,
    hooks: Hooks,
    *,
    rank: int = 0,
) -> Outcome:
    """Train ``engine`` to ``train.steps``, from the newest checkpoint of ``store`` if it has one.

    Raises:
        TrainingError: values that are not finite, or a collapse that the guard could not mend.
    """
    training = Training(engine, codec, batches, store, hooks, rank=rank)
    training.advance(engine.config.steps)
    return training.finish()


PRIVATE = (
    "differential privacy: it covers the weights; the values, ranges and bins that the codec "
    "lists, and the number of rows, are published as they are (docs/privacy.md). The guard is off, "
    "losses of real rows are not shown, and no other run gives these weights again"
)


class _Fault(TrainingError):
    """The guard found training collapsed."""
