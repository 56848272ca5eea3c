"""The training loop: steps, pictures, checkpoints, until the steps are done or a hook says stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from synthray import models, rng
from synthray.config import Config
from synthray.data.batches import Batches
from synthray.data.codec import Codec
from synthray.errors import NonFiniteError, TrainingError
from synthray.models.base import Batch, GenerativeModel
from synthray.rng import Rows
from synthray.training.averaging import agree
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.health import Watch


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    terms: the losses of the last step; rows_per_second: global rows; seconds_left: at this speed.
    """

    step: int
    steps: int
    terms: dict[str, float]
    rows_per_second: float
    seconds_left: float


@dataclass
class Hooks:
    """What the world around the loop wants to know.

    on_progress: often, cheap. on_eval: every ``train.eval_every`` steps, with the engine whose
    average to look at; True stops training. on_event: a line about what the guard did.
    """

    on_progress: Callable[[Progress], None] = lambda _: None
    on_eval: Callable[[Progress, Engine], bool] = lambda *_: False
    on_event: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Outcome:
    """How a training ended. history: one entry per evaluation; guard: for the artifact's card."""

    history: list[dict[str, float]]
    guard: dict[str, Any]


@dataclass
class Meter:
    """Speed since training began or resumed."""

    rows: int
    began: float = field(default_factory=time.monotonic)
    steps: int = 0

    def rate(self) -> float:
        return self.steps * self.rows / max(time.monotonic() - self.began, 1e-9)


def check_model(config: Config, codec: Codec) -> None:
    """Build the config's model without memory for its weights, to see whether it fits the data.

    Raises:
        ConfigError: the family does not model such rows, or not with such settings.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        models.build(config.model, codec.spec)


def new_engine(
    config: Config,
    codec: Codec,
    rows: Rows,
    device: torch.device | str = "cpu",
    prepare: Callable[[GenerativeModel], None] = lambda _: None,
) -> Engine:
    """An engine at step 0; the first weights are a function of the config's seed.

    Args:
        prepare: given the new model, such as `synthray.adapting.adopt_base`.
    """
    initial = rng.stream(config.seed, "weights").integers(2**63 - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(initial))
        model = models.build(config.model, codec.spec)
    prepare(model)
    return Engine(model, config.train, seed=config.seed, rows=rows, device=device)


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

    Every worker runs this; rank 0 alone writes and reports.

    Raises:
        TrainingError: values that are not finite, or a collapse that the guard could not mend.
    """
    watch = Watch(engine, codec, store, rank, hooks.on_event)
    history: list[dict[str, float]] = []
    checkpoint = store.latest()
    if checkpoint is not None:
        engine.load_state(checkpoint.tensors, checkpoint.step)
        history = checkpoint.history
    if not agree(engine.step, engine.device):
        # A worker of an earlier group can still have been writing. Whoever runs the workers
        # starts them again.
        raise RuntimeError("the workers found different checkpoints")
    watch.resume(checkpoint)
    watch.prepare(batches)
    meter = Meter(engine.rows.total)
    while engine.step < engine.config.steps:
        try:
            stopped = _until_fault(engine, codec, batches, watch, hooks, meter, history)
        except (NonFiniteError, _Fault) as error:
            cause = error if isinstance(error, NonFiniteError) else None
            history[:] = watch.go_back(error.what, cause)
            continue
        if stopped:
            break
    return Outcome(history, watch.finish())


class _Fault(TrainingError):
    """The guard found training collapsed."""


def _until_fault(
    engine: Engine,
    codec: Codec,
    batches: Batches,
    watch: Watch,
    hooks: Hooks,
    meter: Meter,
    history: list[dict[str, float]],
) -> bool:
    """Train on to the end; whether somebody asked to stop before it."""
    config = engine.config
    source = batches.start_at(engine.step)
    while engine.step < config.steps:
        encoded = next(source)
        x = codec.scale(torch.from_numpy(encoded.x).to(engine.device))
        batch = Batch(x, torch.from_numpy(encoded.cond).to(engine.device))
        watch.offer(batch)
        terms = engine.train_step(batch)
        watch.step(terms, batch)
        meter.steps += 1
        last = engine.step == config.steps
        evaluate = last or engine.step % config.eval_every == 0
        progress = _progress(engine, terms, meter) if evaluate or meter.steps % 10 == 0 else None
        if progress is not None and watch.rank == 0:
            hooks.on_progress(progress)
        stop = False
        if evaluate and progress is not None:
            scores, fault = watch.evaluate(last=last)
            progress = replace(progress, terms=progress.terms | scores)
            history.append({"step": engine.step, **progress.terms})
            if fault is not None:
                raise _Fault(fault)
            watch.keep_if_best(history)
            stop = hooks.on_eval(progress, engine) or watch.guard.enough()
        if watch.rank == 0 and (last or stop or engine.step % config.checkpoint_every == 0):
            watch.store.save(watch.checkpoint(history))
        if stop:
            return True
    return False


def _progress(engine: Engine, terms: dict[str, torch.Tensor], meter: Meter) -> Progress:
    rate = meter.rate()
    left = (engine.config.steps - engine.step) * engine.rows.total / max(rate, 1e-9)
    values = {name: float(term) for name, term in terms.items()}
    return Progress(engine.step, engine.config.steps, values, rate, left)
