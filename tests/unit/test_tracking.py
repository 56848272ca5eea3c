"""Trackers: what they are told, read by their own readers; one run goes on; none stops us."""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image
from processes import until

import synthray
from synthray import tracking
from synthray.config import ClusterConfig, Config, parse
from synthray.errors import ConfigError, MissingDependencyError
from synthray.tracking import telling
from synthray.training.loop import Progress

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "5" * 64
PNG = tiny.png(tiny.noise(8, 8))


def config(output: Path | str, **track: Any) -> Config:
    tree = {"data": {"source": "digits"}, "output": str(output), "track": track}
    return parse(tree, where="test")


def at(step: int, **terms: float) -> Progress:
    return Progress(step, 100, {"critic": step / 10, **terms}, 50.0, 1.0)


@pytest.fixture
def every_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "SECONDS", 0.0)
    monkeypatch.setattr(telling, "POINTS", 1e12)


def train(settings: Config, steps: list[int], *, killed: bool = False) -> list[str]:
    """What a training tells: progress at all but the last of the steps, an evaluation there."""
    lines: list[str] = []
    with tracking.tracking(settings, NAME, lines.append) as trackers:
        for step in steps[:-1]:
            trackers.progress(at(step))
        if killed:
            trackers.close("killed")
            return lines
        trackers.evaluated(at(steps[-1], coverage=0.5, distance=2.0), PNG)
        trackers.note("back to step 10")
        trackers.artifact("abc", "s3://artifacts")
    return lines


# --- TensorBoard ------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    """As TensorBoard reads them."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


def curve(found: Any, tag: str) -> dict[int, float]:
    return {event.step: pytest.approx(event.value) for event in found.Scalars(tag)}


def test_a_training_leaves_event_files_with_curves_pictures_and_the_digest(tmp_path: Path) -> None:
    """Scores of an evaluation come with its step, whatever the pace of the curves."""
    pictures = str(tiny.class_folders(tmp_path / "pets", each=20))
    made = synthray.fit(
        pictures,
        output=str(tmp_path / "out"),
        model={"name": "dcgan", "params": {"width": 4, "critic_width": 4, "latent_dim": 8}},
        train={"steps": 6, "batch_size": 16, "eval_every": 2},
        track={"tensorboard": True},
    )
    found = events(tmp_path / "out" / "logs")
    tags = found.Tags()
    assert list(curve(found, "train/loss_generator")) == [2, 4, 6]
    assert {"train/loss_critic", "train/rows_per_second", "eval/coverage"} <= set(tags["scalars"])
    images = found.Images("samples")
    assert [image.step for image in images] == [2, 4, 6]
    with Image.open(io.BytesIO(images[-1].encoded_image_string)) as sheet:
        assert sheet.width > 10 * 8
    texts = {tag.removesuffix("/text_summary"): found.Tensors(tag) for tag in tags["tensors"]}
    assert texts["digest"][0].tensor_proto.string_val == [made.digest.encode()]
    assert b"latent_dim: 8" in texts["config"][0].tensor_proto.string_val[0]


def test_nothing_is_logged_in_python_unless_asked_for(tmp_path: Path) -> None:
    pictures = str(tiny.class_folders(tmp_path / "pets", each=20))
    model = {"name": "dcgan", "params": {"width": 4, "critic_width": 4, "latent_dim": 8}}
    train = {"steps": 1, "batch_size": 16}
    synthray.fit(pictures, output=str(tmp_path / "out"), model=model, train=train)
    assert not (tmp_path / "out" / "logs").exists()


@pytest.mark.usefixtures("every_point")
def test_a_resumed_training_replaces_what_it_had_told_of_later_steps(tmp_path: Path) -> None:
    settings = config(tmp_path)
    train(settings, [10, 20, 30, 40], killed=True)
    train(settings, [21, 31, 41])
    found = events(tmp_path / "logs")
    assert list(curve(found, "train/critic")) == [10, 20, 21, 31, 41]
    assert curve(found, "eval/coverage") == {41: 0.5}
    # What comes after training adds to it, and takes nothing away.
    with tracking.tracking(settings, NAME, print, training=False) as trackers:
        trackers.report({"frechet_domain": 3.0})
    found = events(tmp_path / "logs")
    assert curve(found, "report/frechet_domain") == {settings.train.steps: 3.0}
    assert list(curve(found, "train/critic")) == [10, 20, 21, 31, 41]


def test_curves_get_rarer_and_evaluations_are_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(telling.time, "monotonic", lambda: now)
    told: list[int] = []
    monkeypatch.setattr(tracking.Tracking, "_tell", lambda self, step, *_: told.append(step))
    trackers = tracking.Tracking(tracking.Run(config(tmp_path), NAME), print, training=True)
    for step in range(1, 40_001):  # ten a second, for more than an hour
        now = step / 10
        trackers.progress(at(step))
        if step % 10_000 == 0:
            trackers.evaluated(at(step, coverage=1.0))
    assert {10_000, 20_000, 30_000, 40_000} <= set(told)
    assert 2000 < len(set(told)) < 4000
    assert told == sorted(told)


def test_before_there_is_something_to_tell_nothing_is_written(tmp_path: Path) -> None:
    with tracking.tracking(config(tmp_path, mlflow={"uri": "http://127.0.0.1:1"}), NAME, print):
        pass
    assert list(tmp_path.iterdir()) == []


# --- MLflow -----------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where MLflow keeps runs; databases take seconds to set up, files do not."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    yield (tmp_path / "mlruns").as_uri()


@pytest.mark.usefixtures("every_point")
def test_mlflow_has_one_run_over_an_interruption(store: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    settings = config(tmp_path / "digits", tensorboard=False, mlflow={"uri": store})
    client = MlflowClient(tracking_uri=store)
    assert train(settings, [10, 20, 30], killed=True) == []
    experiment = client.get_experiment_by_name("synthray").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["KILLED"]
    # What does not change the weights may be another when training goes on.
    again = settings.model_copy(update={"cluster": ClusterConfig(workers=2)})
    assert train(again, [21, 31]) == []
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED" and run.info.run_name == "digits"
    assert run.data.params["train.steps"] == "20000" and run.data.params["data.source"] == "digits"
    assert run.data.tags["synthray.digest"] == "abc"
    assert "back to step 10" in run.data.tags.values()
    history = client.get_metric_history(run.info.run_id, "train/critic")
    assert [(metric.step, metric.value) for metric in history] == [
        (10, 1.0), (20, 2.0), (21, 2.1), (31, 3.1),
    ]  # fmt: skip
    assert run.data.metrics["eval/distance"] == 2.0
    images = [item.path for item in client.list_artifacts(run.info.run_id, "images")]
    assert any(path.endswith(".png") for path in images)
    # Of other settings, it is another run.
    with tracking.tracking(settings, "6" * 64, print) as trackers:
        trackers.progress(at(10))
    assert len(client.search_runs([experiment])) == 2


# --- Weights & Biases -------------------------------------------------------------------------


def records(path: Path) -> Iterator[Any]:
    """Of a run's file: a header of 7 bytes; then (checksum, length, kind) and a message each."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place = path.read_bytes(), 7
    while place < len(data):
        _, length, _ = struct.unpack_from("<IHB", data, place)
        record = Record()
        record.ParseFromString(data[place + 7 : place + 7 + length])
        yield record
        place += 7 + length


def is_whole(path: Path) -> bool:
    """Whether all of a run is in its file: W&B's service writes on after `finish` has returned."""
    from google.protobuf.message import DecodeError

    try:
        return any(record.HasField("exit") for record in records(path))
    except (struct.error, DecodeError):  # it breaks off
        return False


def told(items: Any) -> dict[str, str]:
    return {"/".join(item.nested_key) or item.key: item.value_json for item in items}


@pytest.mark.usefixtures("every_point")
def test_wandb_has_one_run_over_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = config(tmp_path / "digits", tensorboard=False, wandb={"project": "tests"})
    assert train(settings, [10, 20, 30]) == []
    assert train(settings, [21, 31]) == []
    logs = tmp_path / "digits" / "logs"
    files = sorted(logs.rglob("*.wandb"), key=lambda path: path.parent.name)
    until(lambda: all(map(is_whole, files)), 30, "a run's file is not whole")
    found = [list(records(path)) for path in files]
    runs = [record.run for part in found for record in part if record.HasField("run")]
    assert len(files) == 2 and len({run.run_id for run in runs}) == 1
    assert (runs[0].project, runs[0].display_name) == ("tests", "digits")
    assert told(runs[0].config.update)["data.source"] == '"digits"'
    history = [told(r.history.item) for part in found for r in part if r.HasField("history")]
    curve = [(row["step"], row["train/critic"]) for row in history if "train/critic" in row]
    assert curve == [("10", "1"), ("20", "2"), ("30", "3"), ("21", "2.1"), ("31", "3.1")]
    assert any(row.get("eval/distance") == "2" for row in history)
    summary: dict[str, str] = {}
    for record in found[1]:
        summary |= told(record.summary.update)
    assert summary["digest"] == '"abc"'
    # Nothing about this machine but what was told.
    names = {path.name for path in (logs / "wandb").rglob("*.*")}
    assert not names & {"requirements.txt", "wandb-metadata.json", "output.log"}


def test_wandb_offline_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ConfigError, match="output is on S3"):
        tracking.check(config("s3://bucket/digits", wandb={}))


# --- trackers that fail -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_told_before_the_work_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling.importlib.util, "find_spec", lambda _: None)
    asked = {"tensorboard": False} | {name: True if name == "tensorboard" else {}}
    with pytest.raises(MissingDependencyError, match=f"track.{name}: the package") as caught:
        tracking.check(config(tmp_path, **asked))
    assert "pip install" in caught.value.remedy


class Broken:
    """A tracker that takes one call, then fails or hangs."""

    def __init__(self, hangs: bool) -> None:
        self.calls, self.hangs, self.released = 0, hangs, threading.Event()

    def begin(self, first: int | None) -> None: ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        if self.calls == 2 and self.hangs:
            self.released.wait(20)
        elif self.calls == 2:
            raise ConnectionError("the server went away\nand more")

    def end(self, ending: str) -> None: ...


@pytest.mark.usefixtures("every_point")
@pytest.mark.parametrize("hangs", [False, True])
def test_a_tracker_that_fails_is_told_once_and_the_others_go_on(
    hangs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(hangs)
    made = telling._made
    monkeypatch.setattr(
        telling, "_made", lambda run, name: broken if name == "mlflow" else made(run, name)
    )
    monkeypatch.setitem(telling.WAITS, "finished", 1.0)
    lines = train(config(tmp_path, mlflow={}), [10, 20, 30, 40])
    broken.released.set()
    assert broken.calls == 2 and len(lines) == 1
    reason = "takes too long" if hangs else "ConnectionError: the server went away"
    assert lines[0].startswith("track.mlflow is given up, the run goes on: ")
    assert reason in lines[0] and "and more" not in lines[0]
    assert list(curve(events(tmp_path / "logs"), "train/critic")) == [10, 20, 30, 40]
