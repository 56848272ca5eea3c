"""Searching settings without Ray: the objective, the space, trials that go on, what is told."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from synthray import config as configs
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.codec import DataSpec, Encoded
from synthray.errors import ConfigError
from synthray.rng import Rows
from synthray.training.beginning import check_model, new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.guard import Evaluation
from synthray.training.loop import Hooks, train
from synthray.tuning.objective import WORST, Score, SeedResult, score
from synthray.tuning.report import TrialRow, Tuning, as_csv, best_config, plot, shown, trials_table
from synthray.tuning.space import burn_in, check_space, clipped, settings_of
from synthray.tuning.trial import Lineage, Trial

pytestmark = pytest.mark.usefixtures("one_thread")
RATE = "model.params.generator.lr"
SPACE: dict[str, Any] = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}}


class Vectors:
    """Rows of numbers as they are."""

    spec = DataSpec(shape=(2,), rows=400)

    def scale(self, x: torch.Tensor) -> torch.Tensor:
        return x


def ring() -> Encoded:
    random = np.random.default_rng(0)
    angle = 2 * np.pi * random.integers(0, 8, 400) / 8
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.05 * random.standard_normal((400, 2))
    return Encoded(x.astype(np.float32), np.empty((400, 0), np.int64))


def config_of(
    space: dict[str, Any] | None = None,
    lr: float = 1e-3,
    train: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    **tune: Any,
) -> Config:
    ramp = {"first": 0.5, "last": 0.1, "until": 0.25}
    params = {"latent_dim": 2, "widths": [16, 16], "r1_gamma": ramp, "r2_gamma": ramp}
    rates = {"lr": lr, "beta2": 0.99}
    tree = {
        "data": {"source": "unused"},
        "model": {"name": "rpgan", "params": {**params, "generator": rates, "critic": rates}},
        "train": {
            "steps": 60,
            "batch_size": 32,
            "eval_every": 20,
            "guard": {"warm_up": 20},
            **(train or {}),
        },
        "cluster": cluster or {},
        "tune": {"space": SPACE if space is None else space, "seeds": 2, **tune},
        "output": "unused",
    }
    return configs.parse(tree)


def result(distance: float = 0.1, success: bool = True, why: str = "", **more: Any) -> SeedResult:
    told = {"seed": 0, "step": 60, "verdict": "healthy", "coverage": 0.9, "seconds": 5.0}
    return SeedResult.model_validate(
        {**told, "distance": distance, "success": success, "why": why, **more}
    )


# --- the objective -----------------------------------------------------------------------------


def test_a_trials_score_is_wilsons_bound_the_median_the_quartiles_and_the_cost() -> None:
    distances = [0.1, 0.4, 0.2, 0.9]
    seeds = [result(d, success=d < 0.5, seconds=s) for s, d in enumerate(distances)]
    found = score(seeds)
    bound = binomtest(3, 4).proportion_ci(method="wilson").low
    assert found.lower == pytest.approx(bound, rel=1e-4)  # the quantile is written with six digits
    assert found.distance == 0.4
    assert found.spread == pytest.approx(0.9 - 0.1)
    assert found.seconds == 1.5
    assert (found.successes, found.seeds) == (3, 4)


def test_a_seed_that_was_given_up_counts_with_the_worst_distance() -> None:
    seeds = [result(0.01), result(0.01, success=False, why="it collapsed"), result(0.02)]
    assert (score(seeds).distance, score(seeds).spread) == (0.02, WORST)
    assert score(seeds[:2]).distance == WORST
    assert score(seeds[1:2]).spread == WORST


def of(**figures: float) -> Score:
    known = {"seeds": 3, "successes": 3, "lower": 0.4, "distance": 0.1, "spread": 0.01}
    return Score.model_validate({**known, "seconds": 9.0, **figures})


def test_success_comes_before_quality_before_spread_before_cost() -> None:
    best_first = [
        of(distance=0.5, spread=0.3, seconds=90.0),
        of(successes=2, lower=0.2, distance=0.1, seconds=8.0),
        of(successes=2, lower=0.2, distance=0.1),
        of(successes=2, lower=0.2, distance=0.1004, spread=0.02, seconds=1.0),  # 0.1, to two digits
        of(successes=2, lower=0.2, distance=0.11, spread=0.0, seconds=1.0),
        of(successes=0, lower=0.0, distance=0.0),
    ]
    assert sorted(reversed(best_first), key=lambda found: found.rank) == best_first
    objectives = [found.objective for found in best_first]
    assert objectives == sorted(objectives, reverse=True)
    assert of(distance=0.0).objective < of(successes=4, distance=WORST).objective


# --- the space ---------------------------------------------------------------------------------


def test_sampled_numbers_become_settings_and_come_back_into_their_ranges() -> None:
    ramps = [0.1, {"first": 1.0, "last": 0.1, "until": 0.5}]
    space = {
        RATE: {"low": 1e-4, "high": 1e-2},
        "train.batch_size": {"low": 8, "high": 32, "integer": True},
        "model.params.r1_gamma": ramps,
    }
    config = config_of(space)
    sampled = {RATE: 0.002, "train.batch_size": 9, "model.params.r1_gamma": 1}
    told = settings_of(config, sampled)
    assert told == {RATE: 0.002, "train.batch_size": 9, "model.params.r1_gamma": ramps[1]}
    assert isinstance(told["train.batch_size"], int)
    changed = configs.changed(config, told)
    assert (changed.train.batch_size, changed.model.params["generator"]["lr"]) == (9, 0.002)
    assert clipped(config, {RATE: 1.0, "model.params.r1_gamma": 1}) == {
        RATE: 1e-2,
        "model.params.r1_gamma": 1,
    }
    assert clipped(config, {RATE: 1e-9}) == {RATE: 1e-4}


@pytest.mark.parametrize(
    ("space", "settings", "told"),
    [
        ({}, {}, "tune.space: empty"),
        ({"train.steps": [10, 20]}, {}, "tune.space.train.steps: cannot vary"),
        ({"train.guard.rise": [1.5, 3.0]}, {}, "tune.space.train.guard.rise: cannot vary"),
        ({"model.params.speed": [1, 2]}, {}, "model.params.speed: unknown key"),
        ({RATE: [1e-3, -1.0]}, {}, r"tune\.space\.model\.params\.generator\.lr: -1\.0 does not"),
        ({"train.batch_size": [32, 4096]}, {}, "4096 does not work: train.batch_size: 4096 exceed"),
        ({"train.batch_size": [16, 32]}, {"scheduler": "pbt"}, "only model.params can"),
        ({"model.params.widths": [[8], [9]]}, {"scheduler": "pbt"}, "widths: cannot change in mid"),
        (SPACE, {"scheduler": "pbt", "concurrent": 1}, "tune.concurrent: not for pbt"),
        (SPACE, {"scheduler": "pbt", "perturb_every": 60}, "nothing would be copied"),
        (SPACE, {"train": {"guard": {"warm_up": 60}}}, "nothing would be judged"),
        ({"train.batch_size": {"low": 8, "high": 32}}, {}, "write integer: true"),
        (SPACE, {"grace": 0.2}, "tune.grace: 0.2 is less than the burn-in, 0.25"),
        (SPACE, {"train": {"guard": {"enabled": False}}}, "train.guard.enabled: false"),
        (SPACE, {"train": {"eval_every": 61}}, "train.eval_every: 61 exceeds"),
    ],
)
def test_a_space_that_cannot_work_is_told_before_anything_trains(
    space: dict[str, Any], settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        check_space(config_of(space, **settings), Vectors())  # type: ignore[arg-type]


def test_ranges_and_choices_that_make_no_sense_are_told() -> None:
    for values, told in (
        ({"low": 2.0, "high": 1.0}, "low must be less"),
        ({"low": 0.0, "high": 1.0, "log": True}, "must be above 0"),
        ({"low": 0.5, "high": 2.0, "integer": True}, "integers are needed"),
        ({"low": 0.5, "heigh": 2.0}, "heigh: unknown key; did you mean 'high'"),
        ({"low": 1.0, "high": float("inf")}, "high: must be a finite number|finite number"),
        ([1.0], "at least 2 items"),
        (3, "must be a section"),
    ):
        with pytest.raises(ConfigError, match=told):
            config_of({RATE: values})


def test_the_burn_in_is_the_slowest_ramp_of_all_that_can_be_tried() -> None:
    assert burn_in(config_of()) == 0.25
    assert burn_in(config_of({"model.params.r1_gamma.until": {"low": 0.1, "high": 0.7}})) == 0.7
    assert burn_in(config_of(train={"ema_decay": {"first": 0.0, "last": 0.9, "until": 0.4}})) == 0.4
    ramp = {"first": 1.0, "last": 0.1}
    assert burn_in(config_of({"model.params.r2_gamma": [0.1, ramp]})) == 1.0


# --- a trial -----------------------------------------------------------------------------------


def trial(
    config: Config, folder: Path, seeds: list[int], saved: Path | None = None, rate: float = 2e-3
) -> Trial:
    codec: Any = Vectors()
    return Trial(config, codec, ring(), seeds, {RATE: rate}, folder, saved)


def weights(of_trial: Trial) -> list[dict[str, torch.Tensor]]:
    return [training.engine.state() for training in of_trial._trainings]


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    return all(
        a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        for a, b in zip(one, other, strict=True)
    )


def test_a_trial_trains_every_seed_and_says_where_each_stands(tmp_path: Path) -> None:
    tried = trial(config_of(), tmp_path, [3, 4])
    while not tried.over:
        tried.advance()
    first, second = tried.results()
    assert (first.seed, second.seed, first.step, second.step) == (3, 4, 60, 60)
    assert [step for step, _ in first.course] == [20, 40, 60]
    assert first.course[-1][1] == first.distance != second.distance
    assert first.seconds > 0 and first.why == ""
    assert tried.lineage.now == {RATE: 2e-3}


@pytest.mark.parametrize(
    ("coverage", "distance", "verdict", "success"),
    [
        (0.6, 0.01, "healthy", True),
        (0.5, 0.01, "healthy", False),  # 0.5 of what real rows get, 0.9, is not 0.6
        (0.1, 0.01, "rising", False),
    ],
)
def test_success_asks_for_a_verdict_and_for_coverage(
    tmp_path: Path, coverage: float, distance: float, verdict: str, success: bool
) -> None:
    tried = trial(config_of(coverage=0.6), tmp_path, [0])
    state = tried._trainings[0].watch.guard.state
    state.floor = 0.9
    state.evaluations = [Evaluation(step=60, coverage=coverage, distance=distance)]
    (found,) = tried.results()
    assert (found.verdict, found.success) == (verdict, success)
    assert found.coverage == pytest.approx(coverage / 0.9)


def test_what_was_given_up_or_stopped_stays_so_when_a_trial_goes_on(tmp_path: Path) -> None:
    tried = trial(config_of(), tmp_path / "first", [0, 1])
    tried.advance()
    tried._why[0] = "it collapsed"
    tried._trainings[1].stopped = True
    assert tried.over
    tried.save(tmp_path / "saved")
    again = trial(config_of(), tmp_path / "again", [0, 1], tmp_path / "saved")
    assert again.over
    again.advance()
    lost, stopped = again.results()
    assert (lost.why, lost.step, stopped.step) == ("it collapsed", 20, 20)


def test_in_a_population_what_collapsed_waits_to_become_a_copy(tmp_path: Path) -> None:
    tried = trial(config_of(scheduler="pbt"), tmp_path, [0])
    tried._why[0] = "it collapsed"
    tried.advance()
    assert not tried.over
    tried.advance()
    tried.advance()
    assert tried.over
    assert tried._trainings[0].watch.config.max_recoveries == 0


def test_a_seed_that_diverges_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    tried = trial(config_of(), tmp_path, [0, 1])
    broken = tried._trainings[0].engine
    with torch.no_grad():
        next(broken.model.generator.parameters()).fill_(float("nan"))
    tried._trainings[0].watch.config = tried._trainings[0].watch.config.model_copy(
        update={"max_recoveries": 0}
    )
    tried.advance()
    lost, kept = tried.results()
    assert "not finite" in lost.why and lost.verdict == "stopped" and not lost.success
    assert kept.why == "" and kept.step == 20
    while not tried.over:
        tried.advance()
    assert [seed.step for seed in tried.results()] == [0, 60]


def test_a_trial_that_goes_on_from_what_it_saved_is_bit_identical(tmp_path: Path) -> None:
    whole = trial(config_of(), tmp_path / "whole", [0, 1])
    part = trial(config_of(), tmp_path / "part", [0, 1])
    for tried in (whole, part):
        tried.advance()
    part.save(tmp_path / "saved")
    again = trial(config_of(), tmp_path / "again", [0, 1], tmp_path / "saved")
    assert again.step == 20
    for tried in (whole, again):
        while not tried.over:
            tried.advance()
    assert same(weights(whole), weights(again))
    assert again.results()[0].course == whole.results()[0].course
    assert again.results()[0].seconds > part.results()[0].seconds


def test_what_population_based_training_found_can_be_followed_from_the_start(
    tmp_path: Path,
) -> None:
    """A copy that went on with other settings, and `train.schedule` of its lineage: same bits."""
    config = config_of()
    donor = trial(config, tmp_path / "donor", [0])
    donor.advance()
    donor.save(tmp_path / "saved")
    copy = trial(config, tmp_path / "copy", [0], tmp_path / "saved", rate=5e-4)
    copy.advance()
    copy.save(tmp_path / "later")
    copy = trial(config, tmp_path / "more", [0], tmp_path / "later", rate=9e-4)
    copy.advance()
    assert copy.lineage.settings == {RATE: 2e-3}
    assert [(c.step, c.set) for c in copy.lineage.schedule] == [
        (20, {"generator.lr": 5e-4}),
        (40, {"generator.lr": 9e-4}),
    ]
    settled = copy.lineage.applied(config)
    codec: Any = Vectors()
    engine = new_engine(settled, codec, Rows.all(32))
    batches = MemoryBatches(ring(), 32, settled.seed)
    train(engine, codec, batches, CheckpointStore(str(tmp_path / "run"), "f"), Hooks())
    assert same(weights(copy), [engine.state()])


def test_a_lineage_keeps_what_was_in_force_at_every_step() -> None:
    start = Lineage(settings={RATE: 1e-3})
    assert start.turned(40, {RATE: 1e-3}) is start
    assert start.turned(0, {RATE: 2e-3}).settings == {RATE: 2e-3}
    twice = start.turned(40, {RATE: 2e-3}).turned(40, {RATE: 3e-3})
    assert [(c.step, c.set) for c in twice.schedule] == [(40, {"generator.lr": 3e-3})]
    assert twice.now == {RATE: 3e-3}


# --- what is told ------------------------------------------------------------------------------


def tuning() -> Tuning:
    course = [(20, 0.5), (40, 0.2), (60, 0.1)]
    changed = Lineage(settings={RATE: 2e-3}).turned(40, {RATE: 5e-4})
    rows = [
        TrialRow(number=0, ended="finished", step=60, lineage=Lineage(),
                 seeds=[result(0.8, success=False, course=course), result(0.9)]),
        TrialRow(number=1, ended="finished", step=60, lineage=changed,
                 seeds=[result(0.2, course=course), result(0.1, course=course)]),
        TrialRow(number=2, ended="stopped early", step=20, lineage=Lineage(settings={RATE: 1e-4}),
                 seeds=[result(0.01), result(0.01)]),
        TrialRow(number=3, ended="gave up", step=60, lineage=Lineage(settings={RATE: 1e-2}),
                 seeds=[result(1.0, success=False, why="it collapsed")] * 2),
    ]  # fmt: skip
    return Tuning(trials=rows, fresh=[result(0.15)])


def test_the_best_is_one_that_finished() -> None:
    found = tuning()
    assert [row.number for row in found.ranked] == [1, 0, 2, 3]
    assert found.baseline is found.trials[0]


def test_the_best_config_is_ready_for_training() -> None:
    text = best_config(config_of(), tuning())
    config = configs.parse(configs.reading.read_yaml(text))
    assert config.model.params["generator"]["lr"] == 2e-3
    assert [(c.step, c.set) for c in config.train.schedule] == [(40, {"generator.lr": 5e-4})]
    assert "2 of 2 seeds succeed" in text and "On fresh seeds: 1 of 1" in text
    assert config.model_copy(update={"model": config_of().model, "train": config_of().train}) == (
        config_of()
    )


def test_the_table_holds_every_trial_and_the_lines_compare_with_the_config() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(trials_table(config_of(), tuning())).decode())))
    assert [row["trial"] for row in rows] == ["1", "0 (config)", "2", "3"]
    assert rows[0]["seeds"] == "2/2" and rows[0]["distance"] == "0.2"
    assert rows[3]["why"] == "it collapsed" and rows[3]["distance"] == ""
    assert rows[0]["verdicts"] == "2 healthy; cover 0.90"
    assert rows[0][RATE] == "0.0005"
    assert '"step": 0' in rows[0]["schedule"] and "0.002" in rows[0]["schedule"]
    lines = shown(config_of(), tuning(), rows=2)
    assert "2 more in trials.csv" in lines[3]
    assert lines[-1].startswith("the config as it stands: 1 of 2 seeds succeed")
    assert lines[-2].startswith("settings are those at the end")
    only = Tuning(trials=tuning().trials[:1])
    assert shown(config_of(), only)[-1] == "no trial is better than the config as it stands"


def test_the_picture_shows_every_seed() -> None:
    image = np.asarray(Image.open(io.BytesIO(plot(tuning()))).convert("RGB")).astype(int)
    assert image.shape[1] > image.shape[0] > 300
    left = image[:, : image.shape[1] // 2]

    def near(colour: str) -> int:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return int((np.abs(left - wanted).max(axis=2) < 12).sum())

    assert near("#1b7f4d") > 100 and near("#c2452d") > 100


def test_a_schedule_out_of_order_or_beyond_the_end_is_told() -> None:
    change = {"step": 20, "set": {"generator.lr": 1e-3}}
    with pytest.raises(ConfigError, match=r"set: .*at least 1 item"):
        config_of(train={"schedule": [{"step": 20, "set": {}}]})
    wrong = config_of(train={"schedule": [{"step": 20, "set": {"generator.lrr": 1e-3}}]})
    codec: Any = Vectors()
    with pytest.raises(ConfigError, match=r"train\.schedule, step 20: .*generator\.lrr"):
        check_model(wrong, codec)
    with pytest.raises(ConfigError, match="order of steps"):
        config_of(train={"schedule": [change, change]})
    with pytest.raises(ConfigError, match=r"a change at step 60, and train\.steps is 60"):
        config_of(train={"schedule": [change | {"step": 60}]})
