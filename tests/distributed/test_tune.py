"""Searching settings on a real Ray: what it finds and leaves, and that kills lose nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny
from processes import end_all, marked, own_processes, until

from synthray import config as configs
from synthray import storage
from synthray.config import Config
from synthray.distributed.cluster import connect
from synthray.distributed.tune import tune
from synthray.errors import ConfigError, OutputTakenError, TrainingError
from synthray.tuning.report import Tuning

pytestmark = pytest.mark.timeout(360)
RATE = "model.params.generator.lr"
HOPELESS, GOOD = 1e-9, 2e-3
MARK = "SYNTHRAY_TEST_RUN"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("source") / "ring.parquet"
    pq.write_table(tiny.ring(200).select(["x", "y"]), place)
    return place


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with connect(configs.ClusterConfig(workers=2)):
            yield


def settings(source: Path, output: Path | str, lr: float = HOPELESS, **tune: Any) -> Config:
    """A generator that hardly moves; the space holds rates with which it does."""
    ramp = {"first": 0.5, "last": 0.1, "until": 0.25}
    params = {"latent_dim": 2, "widths": [16, 16], "r1_gamma": ramp, "r2_gamma": ramp}
    rates = {"generator": {"lr": lr, "beta2": 0.99}, "critic": {"lr": GOOD, "beta2": 0.99}}
    tree = {
        "data": {"source": str(source), "conditions": []},
        "model": {"name": "rpgan", "params": params | rates},
        "train": {
            "steps": 300,
            "batch_size": 32,
            "eval_every": 50,
            "checkpoint_every": 50,
            "guard": {"warm_up": 50, "coverage": 0.0},
        },
        "tune": {"space": {RATE: [GOOD, 1e-3]}, "trials": 3, "seeds": 2, **tune},
        "output": str(output),
    }
    return configs.parse(tree)


def quiet(line: str) -> None:
    """Say nothing."""


def seeds_of(tuning: Tuning) -> list[list[Any]]:
    """What every trial's seeds came to, but for the time it took."""
    return [[seed.model_dump(exclude={"seconds"}) for seed in row.seeds] for row in tuning.trials]


def test_a_search_finds_what_is_better_than_the_config_and_survives_a_killed_trial(
    cluster: None, source: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_once(done: int, total: int, line: str) -> None:
        if done and not killed:
            killed.extend(own_processes("ray::TrialActor")[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    # What a driver leaves that was killed before its first snapshot: nothing to go on from.
    (tmp_path / "tune" / "ray" / "trials").mkdir(parents=True)
    (tmp_path / "tune" / "ray" / "trials" / "tuner.pkl").write_bytes(b"")
    said: list[str] = []
    config = settings(source, tmp_path)
    found = tune(config, kill_once, said.append)
    assert killed
    assert any("its process died; it goes on from its last checkpoint" in line for line in said)
    assert not any("going on with" in line for line in said)
    assert "asha stops no trial before step 75 of 300" in said
    assert [row.number for row in found.trials] == [0, 1, 2]
    assert found.trials[0].is_baseline and not found.best.is_baseline
    assert found.trials[0].ended == "finished"  # asha spares it, hopeless as it is
    assert found.best.score.rank < found.trials[0].score.rank
    assert found.best.score.distance < 0.5 * found.trials[0].score.distance
    left = {path.name for path in (tmp_path / "tune").iterdir()}
    assert left == {"plan.json", "best.yaml", "trials.csv", "trials.png", "result.json"}
    best = configs.load(str(tmp_path / "tune" / "best.yaml"))
    assert best.model.params["generator"]["lr"] == found.best.lineage.settings[RATE]
    assert best.output == config.output
    # The same once more is there already; another one is refused, and nothing is touched.
    assert tune(config, say=said.append) == found
    assert "already there" in said[-1]
    with pytest.raises(OutputTakenError, match="other settings"):
        tune(settings(source, tmp_path, seeds=1), say=quiet)
    assert tune(settings(source, tmp_path, concurrent=1), say=quiet) == found


def test_population_based_training_copies_the_best_and_its_schedule_is_replayed(
    cluster: None, source: Path, tmp_path: Path
) -> None:
    config = settings(
        source,
        tmp_path,
        scheduler="pbt",
        trials=3,
        seeds=1,
        fresh_seeds=1,
        perturb_every=100,
        space={RATE: {"low": HOPELESS, "high": GOOD, "log": True}},
    )
    found = tune(config, say=quiet)
    assert [row.number for row in found.trials] == [0, 1, 2]
    # A trial that lagged went on as a copy of a better one, with the rate varied.
    assert any(row.lineage.schedule for row in found.trials)
    assert [seed.seed for seed in found.fresh] == [1]
    assert all(seed.step == 300 for seed in found.fresh)
    best = configs.load(str(tmp_path / "tune" / "best.yaml"))
    assert list(best.train.schedule) == found.best.lineage.schedule


def test_a_search_of_which_nothing_comes_says_so_and_leaves_the_table(
    cluster: None, source: Path, tmp_path: Path
) -> None:
    space = {"model.params.critic.lr": {"low": 1e36, "high": 1e37}}
    hopeless = configs.changed(
        settings(source, tmp_path, space=space, trials=2, seeds=1),
        {"model.params.critic.lr": 1e37, "train.guard.max_recoveries": 0},
    )
    with pytest.raises(TrainingError, match="no trial of 2 ended well; the best one gave up"):
        tune(hopeless, say=quiet)
    table = (tmp_path / "tune" / "trials.csv").read_text()
    assert table.count("not finite") == 2
    assert not (tmp_path / "tune" / "best.yaml").exists()


def test_a_space_that_cannot_work_is_told_before_any_trial(
    cluster: None, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"tune\.space: empty"):
        tune(settings(source, tmp_path, space={}), say=quiet)
    assert not (tmp_path / "tune").exists()


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_with_what_it_had(
    cluster: None, source: Path, s3_bucket: str, tmp_path: Path
) -> None:
    """On S3; and the trials end as if nothing had happened."""
    search = {"search": "random", "scheduler": "none", "trials": 2}
    undisturbed = tune(settings(source, tmp_path / "whole", **search), say=quiet)
    config, output = tmp_path / "config.yaml", f"{s3_bucket}/search"
    config.write_text(configs.dump(settings(source, output, **search)))
    mark, temporary = uuid.uuid4().hex, Path(tempfile.mkdtemp(prefix="sr"))
    command = [sys.executable, "-m", "synthray", "tune", str(config)]
    environment = os.environ | {MARK: mark, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    try:
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True
        ) as driver:
            assert driver.stderr is not None
            assert any(line.startswith("trial ") for line in driver.stderr)
            driver.kill()
        end_all(mark)
        until(lambda: not marked(mark), 60)
        assert not storage.exists(f"{output}/tune/best.yaml")
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
    finally:
        end_all(mark)
        shutil.rmtree(temporary, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}/tune/best.yaml\n"
    assert "going on with the trials that are there" in done.stderr
    assert "the config as it stands: " in done.stderr
    found = Tuning.model_validate(storage.read_json(f"{output}/tune/result.json"))
    assert seeds_of(found) == seeds_of(undisturbed)
    assert found.best.number == undisturbed.best.number
