"""The guard: what counts as collapse, what does not, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthray.config import Config, GuardConfig
from synthray.data.batches import MemoryBatches
from synthray.data.codec import DataSpec, Encoded
from synthray.errors import CollapseError, NonFiniteError, TrainingError
from synthray.models import build
from synthray.rng import Rows
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.guard import Guard, GuardState
from synthray.training.loop import Hooks, Outcome, train
from synthray.training.settings import gentler

pytestmark = pytest.mark.usefixtures("one_thread")

GOOD = [(0.02, 9.0), (0.1, 3.0), (0.4, 1.0), (0.6, 0.5), (0.8, 0.2), (0.85, 0.1), (0.86, 0.09)]
"""(coverage, distance) of a training that goes well: it begins with nothing covered."""


def judged(course: list[tuple[float, float]], sign: float = 0.6, **settings: Any) -> list[Any]:
    """What the guard says, evaluation by evaluation, 500 steps apart."""
    guard, said = Guard(GuardConfig(**settings)), []
    for index, (coverage, distance) in enumerate(course):
        guard.step({"critic_sign": sign})
        step, last = 500 * (index + 1), index == len(course) - 1
        scores = {"coverage": coverage, "distance": distance}
        said.append(guard.judge(step, scores, last=last))
    return said


# --- what counts -------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [0.6, 1.0])
def test_a_training_that_gets_better_is_left_alone(sign: float) -> None:
    assert judged(GOOD, sign) == [None] * len(GOOD)


def test_noise_about_a_good_level_is_no_collapse() -> None:
    random = np.random.default_rng(0)
    level = [(0.8 + 0.1 * u, 0.02 + 0.03 * u) for u in random.random(60)]
    assert judged(GOOD + level, sign=0.99) == [None] * (len(GOOD) + 60)


def test_lost_coverage_with_a_worse_distance_is_collapse() -> None:
    assert "coverage fell to 0.050" in judged([*GOOD, (0.05, 2.0)])[-1]


def test_a_distance_that_rises_for_a_third_is_collapse() -> None:
    climb = [(0.7, 0.15), (0.6, 0.2), (0.5, 0.3), (0.4, 0.5)]
    said = judged(GOOD + climb)
    assert any(why is not None and "distance rises" in why for why in said)
    assert judged([*GOOD, (0.7, 0.15)])[-1] is None


def test_a_winning_critic_counts_where_nothing_is_covered_and_nothing_gets_better() -> None:
    flat = [(0.05, 3.0), (0.05, 3.1), (0.05, 3.05), (0.05, 3.1), (0.05, 3.08)]
    assert any(why and "the critic wins" in why for why in judged(flat, sign=0.99))
    assert judged([*flat[:4], (0.06, 2.9)], sign=0.5) == [None] * 5


def test_nothing_counts_while_training_warms_up() -> None:
    flat = [(0.0, 3.0)] + [(0.0, 4.0 + i) for i in range(8)]
    assert judged(flat, sign=1.0, warm_up=10_000) == [None] * 9


def test_never_covering_anything_is_told_at_the_end() -> None:
    flat = [(0.01, 3.0)] + [(0.01, 3.1)] * 4
    assert "gets no better" in judged(flat)[-1]


def test_one_class_of_ten_is_no_success_though_it_covers_a_quarter() -> None:
    """0.285 and 0.417 are what the threes of MNIST alone get."""
    stuck = [(0.02, 3.0), (0.2, 1.0), *[(0.285, 0.417 + 0.001 * i) for i in range(5)]]
    assert judged(stuck)[:-1] == [None] * (len(stuck) - 1)
    assert "distance 0.421, and it gets no better" in judged(stuck)[-1]


def test_blurred_rows_that_cover_half_are_no_collapse() -> None:
    assert judged([(0.4, 0.6), *[(0.54, 0.21)] * 8]) == [None] * 9


def test_hardly_better_is_no_better() -> None:
    flat = [(0.0, 1.155), *[(0.0, 1.01 - 0.001 * i) for i in range(11)]]
    assert "it gets no better" in judged(flat)[-1]


def test_a_base_that_is_made_worse_is_told_at_the_end_or_when_it_is_lost() -> None:
    """Adapting begins with a trained generator: 0.2 away here, and covering 0.6."""

    def adapted(*course: tuple[float, float]) -> list[str | None]:
        guard, said = Guard(GuardConfig()), []
        guard.begin({"coverage": 0.6, "distance": 0.2})
        for index, (coverage, distance) in enumerate(course):
            scores = {"coverage": coverage, "distance": distance}
            last = index == len(course) - 1
            said.append(guard.judge(500 * (index + 1), scores, last=last))
        return said

    assert adapted((0.6, 0.5), (0.7, 0.4)) == [None, None]
    assert adapted((0.6, 0.8), (0.6, 0.5)) == [None, "distance is 0.5, that of the base 0.2"]
    assert adapted((0.0, 2.7), (0.6, 0.2)) == ["coverage fell to 0.000, distance rose to 2.7", None]


def test_samples_that_are_not_finite_count_at_once() -> None:
    assert judged([(0.0, float("inf"))]) == ["samples are not finite"]


def test_a_steep_gradient_counts_beside_a_loss_of_quality_only() -> None:
    for distance, expected in ((0.5, "times its median"), (0.1, None)):
        guard = Guard(GuardConfig(rise=2.0))
        for index, (coverage, value) in enumerate(GOOD):
            guard.look({"gradient_real": 1.0, "gradient_fake": 1.0})
            guard.judge(500 * (index + 1), {"coverage": coverage, "distance": value})
        guard.look({"gradient_real": 40.0, "gradient_fake": 40.0})
        why = guard.judge(9_000, {"coverage": 0.8, "distance": distance})
        assert (why is None) if expected is None else (why is not None and expected in why)


def test_the_ratio_of_gradients_counts_too() -> None:
    guard = Guard(GuardConfig())
    for _ in range(6):
        guard.look({"gradient_real": 1.0, "gradient_fake": 1.0})
    guard.look({"gradient_real": 500.0, "gradient_fake": 1.0})
    assert "at real rows is 5e+02 times" in guard.state.alarm
    guard.look({"gradient_real": 1.0, "gradient_fake": 1.0})
    assert guard.state.alarm == ""


def test_patience_ends_a_training_that_stopped_improving() -> None:
    guard = Guard(GuardConfig(patience=3))
    told = []
    for index, (coverage, distance) in enumerate([*GOOD, (0.86, 0.1), (0.86, 0.1), (0.86, 0.1)]):
        guard.judge(500 * (index + 1), {"coverage": coverage, "distance": distance})
        told.append(guard.enough())
    assert told == [False] * (len(GOOD) + 2) + [True]


def test_the_state_survives_json() -> None:
    guard = Guard(GuardConfig())
    guard.step({"critic_sign": 0.1 + 0.2})
    guard.look({"gradient_real": 1.0, "gradient_fake": 1 / 3})
    guard.judge(500, {"coverage": 0.1, "distance": 0.7})
    guard.step({"critic_sign": 0.7})
    guard.returned(0, "why", at=500)
    text = guard.state.model_dump_json()
    assert GuardState.model_validate_json(text) == guard.state
    assert guard.state.evaluations == []
    assert guard.state.events == ["step 500: why; back to step 0 with lower learning rates"]


def test_a_short_training_that_still_rises_is_told_apart_from_a_healthy_one() -> None:
    for coverage, end, expected in ((0.05, 0.1, "rising"), (0.3, 0.33, "rising"), (0.8, 0.1, "")):
        guard = Guard(GuardConfig())
        for index, distance in enumerate((3.0, 2.0, end)):
            guard.judge(200 * (index + 1), {"coverage": coverage, "distance": distance})
        assert guard.verdict() == (expected or "healthy")
    guard = Guard(GuardConfig())
    guard.judge(8, {"coverage": 0.9, "distance": 0.1}, last=True)
    assert guard.verdict() == "unjudged"


# --- the way back ------------------------------------------------------------------------------


class Vectors:
    """Rows of numbers as they are, for the loop."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        return x


def ring(rows: int = 2_000) -> Encoded:
    random = np.random.default_rng(0)
    angle = 2 * np.pi * random.integers(0, 8, rows) / 8
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * random.standard_normal((rows, 2))
    return Encoded(x.astype(np.float32), np.empty((rows, 0), np.int64))


def config_of(lr: float, **settings: Any) -> Config:
    params = {"latent_dim": 2, "widths": [32, 32], "generator": {"lr": lr}, "critic": {"lr": lr}}
    train = {"steps": 600, "batch_size": 64, "eval_every": 50, "checkpoint_every": 50}
    return Config.model_validate(
        {
            "data": {"source": "unused"},
            "model": {"name": "rpgan", "params": params},
            "train": train | settings,
            "output": "unused",
        }
    )


def run(
    config: Config,
    place: Path,
    stop_at: int | None = None,
    events: list[str] | None = None,
    data: Encoded | None = None,
) -> tuple[Engine, Outcome]:
    data = data or ring()
    spec = DataSpec(shape=(2,), rows=len(data))
    torch.manual_seed(0)
    batch = config.train.batch_size
    engine = Engine(build(config.model, spec), config.train, seed=0, rows=Rows.all(batch))
    store = CheckpointStore(str(place), "f" * 64, config.train.keep_checkpoints)
    hooks = Hooks(
        on_eval=lambda progress, _: progress.step == stop_at,
        on_event=lambda line: (events if events is not None else []).append(line),
    )
    batches = MemoryBatches(data, batch, 0)
    return engine, train(engine, Vectors(spec), batches, store, hooks)  # type: ignore[arg-type]


def test_a_healthy_training_is_judged_healthy_and_its_scores_are_in_the_history(
    tmp_path: Path,
) -> None:
    _, outcome = run(config_of(1e-3), tmp_path)
    assert outcome.guard["verdict"] == "healthy"
    assert outcome.guard["recoveries"] == 0
    assert [entry["step"] for entry in outcome.history] == list(range(50, 601, 50))
    assert {"coverage", "distance", "critic_sign"} <= set(outcome.history[-1])
    assert outcome.history[-1]["distance"] < outcome.history[0]["distance"]


def test_what_is_still_rising_is_said(tmp_path: Path) -> None:
    events: list[str] = []
    _, outcome = run(config_of(1e-4, steps=200), tmp_path, events=events)
    assert outcome.guard["verdict"] == "rising"
    assert outcome.guard["events"] == events
    assert "train longer" in events[0]


def test_rows_that_are_all_alike_are_not_judged_and_it_is_said(tmp_path: Path) -> None:
    data = Encoded(np.ones((200, 2), np.float32), np.empty((200, 0), np.int64))
    events: list[str] = []
    config = config_of(1e-3, steps=250)
    run(config, tmp_path, stop_at=100, events=events, data=data)  # killed: said once all the same
    _, outcome = run(config, tmp_path, events=events, data=data)
    assert outcome.guard["verdict"] == "unjudged"
    assert events == outcome.guard["events"]
    assert [e.split(":")[0] for e in events] == ["most rows of the data are alike"]


def test_values_that_are_not_finite_lead_back_with_lower_rates(tmp_path: Path) -> None:
    """A rate of 1e37 overflows at once; times 1e-40 it trains nothing and harms nothing."""
    events: list[str] = []
    guard = {"slow_down": 1e-40}
    engine, outcome = run(config_of(1e37, steps=100, guard=guard), tmp_path, events=events)
    assert engine.step == 100
    assert outcome.guard["recoveries"] == 1
    assert len(events) == 1
    assert "not finite" in events[0]
    assert "back to step 0" in events[0]
    assert outcome.guard["events"] == events
    assert engine.model.config.generator.lr == pytest.approx(1e-3)


def test_training_that_resumes_after_a_return_is_bit_identical(tmp_path: Path) -> None:
    config = config_of(1e37, steps=200, guard={"slow_down": 1e-40})
    whole, told = run(config, tmp_path / "whole")
    run(config, tmp_path / "parts", stop_at=100)
    parts, told_again = run(config, tmp_path / "parts")
    assert told == told_again
    one, other = whole.state(), parts.state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_returns_are_bounded_and_the_last_error_is_clear(tmp_path: Path) -> None:
    events: list[str] = []
    with pytest.raises(NonFiniteError, match="not finite"):
        run(config_of(1e37, guard={"max_recoveries": 2}), tmp_path, events=events)
    assert len(events) == 2
    with pytest.raises(NonFiniteError):
        run(config_of(1e37, guard={"enabled": False}), tmp_path / "unguarded")


@pytest.mark.parametrize("lr", [0.3, 3.0])
def test_a_collapsed_training_never_ends_as_a_success(lr: float, tmp_path: Path) -> None:
    """Rates a thousand times too high: mended, stopped with an error, or called `rising`, which is
    no success. Which of them depends on the last bits of the processor's arithmetic.
    """
    try:
        _, outcome = run(config_of(lr), tmp_path)
    except TrainingError as error:
        assert isinstance(error, CollapseError | NonFiniteError)
        assert "learning rate" in error.remedy
        return
    covered = outcome.history[-1]["coverage"] >= 0.2 * outcome.guard["coverage_of_real"]
    assert covered == (outcome.guard["verdict"] in ("healthy", "recovered"))
    assert covered or "train longer" in outcome.guard["events"][-1]


def test_gentler_settings_lower_rates_and_raise_the_penalties_in_use() -> None:
    model = build(config_of(1e-3).model, DataSpec(shape=(2,), rows=10))
    told = gentler(model.config, 0.1, 2.0)
    assert told["generator.lr"] == pytest.approx(1e-4)
    assert told["critic.lr"] == pytest.approx(1e-4)
    assert told["r1_gamma"]["first"] == 2 * model.config.r1_gamma.first
    assert "gradient_penalty" not in told
