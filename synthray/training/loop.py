"""The training loop: steps, pictures, checkpoints, until the steps are done or a hook says stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from synthray import models, rng
from synthray.config import Config
from synthray.data.batches import Batches
from synthray.data.codec import Codec
from synthray.models.base import Batch
from synthray.rng import Rows
from synthray.training.averaging import agree
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine


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
    average to look at; True stops training.
    """

    on_progress: Callable[[Progress], None] = lambda _: None
    on_eval: Callable[[Progress, Engine], bool] = lambda *_: False


@dataclass
class Meter:
    """Speed since training began or resumed."""

    rows: int
    began: float = field(default_factory=time.monotonic)
    steps: int = 0

    def rate(self) -> float:
        return self.steps * self.rows / max(time.monotonic() - self.began, 1e-9)


def new_engine(
    config: Config, codec: Codec, rows: Rows, device: torch.device | str = "cpu"
) -> Engine:
    """An engine at step 0; the first weights are a function of the config's seed."""
    initial = rng.stream(config.seed, "weights").integers(2**63 - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(initial))
        model = models.build(config.model, codec.spec)
    return Engine(model, config.train, seed=config.seed, rows=rows, device=device)


def train(
    engine: Engine,
    codec: Codec,
    batches: Batches,
    store: CheckpointStore,
    hooks: Hooks,
    *,
    rank: int = 0,
) -> list[dict[str, float]]:
    """Train ``engine`` to ``train.steps``, from the newest checkpoint of ``store`` if it has one.

    Every worker runs this; rank 0 alone writes and reports.

    Returns:
        the reported losses, one entry per evaluation.
    """
    config = engine.config
    history: list[dict[str, float]] = []
    checkpoint = store.latest()
    if checkpoint is not None:
        engine.load_state(checkpoint.tensors, checkpoint.step)
        history = checkpoint.history
    if not agree(engine.step, engine.device):
        # A worker of an earlier group can still have been writing. Whoever runs the workers
        # starts them again.
        raise RuntimeError("the workers found different checkpoints")
    meter = Meter(engine.rows.total)
    source = batches.start_at(engine.step)
    while engine.step < config.steps:
        encoded = next(source)
        x = codec.scale(torch.from_numpy(encoded.x).to(engine.device))
        batch = Batch(x, torch.from_numpy(encoded.cond).to(engine.device))
        terms = engine.train_step(batch)
        meter.steps += 1
        last = engine.step == config.steps
        evaluate = last or engine.step % config.eval_every == 0
        if rank == 0 and (evaluate or meter.steps % 10 == 0):
            progress = _progress(engine, terms, meter)
            hooks.on_progress(progress)
        stop = False
        if evaluate:
            if rank == 0:
                history.append({"step": engine.step, **progress.terms})
            stop = hooks.on_eval(_progress(engine, terms, meter), engine)
        if rank == 0 and (last or stop or engine.step % config.checkpoint_every == 0):
            store.save(engine.step, engine.state(), history)
        if stop:
            break
    return history


def _progress(engine: Engine, terms: dict[str, torch.Tensor], meter: Meter) -> Progress:
    rate = meter.rate()
    left = (engine.config.steps - engine.step) * engine.rows.total / max(rate, 1e-9)
    values = {name: float(term) for name, term in terms.items()}
    return Progress(engine.step, engine.config.steps, values, rate, left)
