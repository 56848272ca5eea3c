"""Python in three lines: fit, load, evaluate, in this process and without Ray."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch

import synthray
from synthray import fitting, frames
from synthray.advice import advise
from synthray.console import Screen
from synthray.data.chunks import in_memory
from synthray.errors import (
    ConditionError,
    ConfigError,
    NotFoundError,
    OutputTakenError,
    SchemaError,
    SourceError,
    UsageError,
)
from synthray.training.loop import Progress

GAN: dict[str, Any] = {"name": "dcgan", "params": {"width": 4, "critic_width": 4, "latent_dim": 8}}
QUICK: dict[str, Any] = {
    "model": GAN,
    "train": {"steps": 4, "batch_size": 16, "eval_every": 2, "checkpoint_every": 2},
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two hundred pictures of 8 x 8 in two classes."""
    return str(tiny.class_folders(tmp_path_factory.mktemp("data") / "pets", each=100))


@pytest.fixture(scope="module")
def trained(pictures: str) -> synthray.Artifact:
    return synthray.fit(pictures, **QUICK)


def test_three_lines_from_a_folder_to_a_judgement(
    pictures: str, trained: synthray.Artifact
) -> None:
    table = trained.sample(100, seed=7, where={"label": "cat"})
    report = synthray.evaluate(pictures, table, epochs=1)
    assert table.column_names == ["image", "label"] and table["label"].to_pylist() == ["cat"] * 100
    assert "frechet_domain" in report.scores and report.utility is not None


def test_fit_twice_gives_the_same_artifact(pictures: str, trained: synthray.Artifact) -> None:
    assert synthray.fit(pictures, **QUICK).digest == trained.digest
    other = synthray.fit(pictures, **QUICK, seed=1)
    assert other.digest != trained.digest


def test_rows_are_any_slice_of_what_sample_begins(trained: synthray.Artifact) -> None:
    whole = trained.sample(1500, seed=3)
    assert trained.rows(1000, 300, seed=3).equals(whole.slice(1000, 300).combine_chunks())
    assert not trained.sample(50, seed=4).equals(whole.slice(0, 50).combine_chunks())


def test_an_artifact_is_kept_under_output_and_loads(
    pictures: str, trained: synthray.Artifact, tmp_path: Path
) -> None:
    kept = synthray.fit(pictures, output=str(tmp_path / "run"), **QUICK)
    loaded = synthray.load(str(tmp_path / "run" / "artifact"))
    assert kept.digest == loaded.digest == trained.digest
    assert loaded.sample(20).equals(trained.sample(20))


def test_an_artifact_that_was_fitted_in_memory_can_be_saved(
    trained: synthray.Artifact, pictures: str, tmp_path: Path
) -> None:
    place = str(tmp_path / "kept")
    trained.save(place)
    trained.save(place)  # once more is no harm
    loaded = synthray.load(place)
    assert loaded.digest == trained.digest
    loaded.save(str(tmp_path / "copy"))
    again = synthray.load(str(tmp_path / "copy"))
    assert again.sample(20).equals(trained.sample(20))
    names = ["model.safetensors", "critic.safetensors", "codec.json", "artifact.json"]
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == sorted(names)
    other = synthray.fit(pictures, **QUICK, seed=1)
    with pytest.raises(OutputTakenError, match=r"kept holds another artifact"):
        other.save(place)
    assert synthray.load(place).digest == trained.digest


def test_fit_learns_from_rows_of_numbers(tmp_path: Path) -> None:
    pq.write_table(tiny.ring(120), tmp_path / "ring.parquet", row_group_size=32)
    source = str(tmp_path / "ring.parquet")
    settings = QUICK | {"data": {"conditions": ["mode"]}, "model": {"name": "gan"}}
    artifact = synthray.fit(source, output=str(tmp_path / "run"), **settings)
    rows = artifact.sample(30, where={"mode": 2})
    assert rows.schema.equals(tiny.ring().schema) and set(rows["mode"].to_pylist()) == {2}
    assert not list((tmp_path / "run").glob("samples/*"))
    report = synthray.evaluate(source, rows, holdout=source, data={"conditions": ["mode"]})
    assert "quality" in report.scores and "tstr_macro_f1.mode" in report.scores


def test_a_family_that_does_not_fit_the_data_is_refused_before_it_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(tiny.ring(80), tmp_path / "ring.parquet")
    monkeypatch.setattr(fitting, "encode_all", None)
    for family in ("dcgan", "vae"):
        settings = QUICK | {"model": {"name": family}}
        with pytest.raises(ConfigError, match=r"not rows of shape \(4,\)"):
            synthray.fit(str(tmp_path / "ring.parquet"), **settings)


def test_progress_is_told(pictures: str) -> None:
    told = []
    synthray.fit(pictures, on_progress=told.append, **QUICK)
    assert told[-1].step == told[-1].steps == 4


def test_fit_learns_from_parquet_with_the_conditions_named(tmp_path: Path) -> None:
    cells = tiny.struct([tiny.png(tiny.noise(8, 8, seed=i)) for i in range(40)])
    pq.write_table(pa.table({"picture": cells, "size": [i % 3 for i in range(40)]}), tmp_path / "t")
    (tmp_path / "t").rename(tmp_path / "t.parquet")
    data = {"conditions": ["size"]}
    artifact = synthray.fit(str(tmp_path / "t.parquet"), data=data, **QUICK)
    rows = artifact.sample(30, where={"size": 2})
    assert rows.column_names == ["picture", "size"] and set(rows["size"].to_pylist()) == {2}


def test_a_uri_is_judged_like_the_table_in_it(
    pictures: str, trained: synthray.Artifact, tmp_path: Path
) -> None:
    table = trained.sample(64)
    pq.write_table(table, tmp_path / "rows.parquet")
    here = synthray.evaluate(pictures, table, epochs=1)
    there = synthray.evaluate(pictures, str(tmp_path / "rows.parquet"), epochs=1)
    assert here.scores == there.scores


def test_sections_that_do_not_exist_are_told_all_at_once(pictures: str) -> None:
    with pytest.raises(ConfigError) as error:
        synthray.fit(pictures, modle={}, train={"step": 4}, model={"name": "gan"})
    assert "did you mean 'model'" in str(error.value) and "did you mean 'steps'" in str(error.value)
    for model in ("dcgen", {"name": "dcgen"}):
        with pytest.raises(ConfigError, match="unknown family 'dcgen'"):
            synthray.fit(pictures, model=model)
    with pytest.raises(UsageError, match="train: 500 is no dict"):
        synthray.fit(pictures, train=500)


def test_data_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        synthray.fit(str(tmp_path / "none"), **QUICK)
    with pytest.raises(NotFoundError, match="no artifact at"):
        synthray.load(str(tmp_path))


def test_fewer_rows_than_a_batch_are_told(tmp_path: Path) -> None:
    source = str(tiny.class_folders(tmp_path / "few", each=3))
    with pytest.raises(UsageError, match="batch_size"):
        synthray.fit(source, **QUICK)


def test_conditions_and_rows_that_cannot_be_are_told(trained: synthray.Artifact) -> None:
    with pytest.raises(ConditionError, match="known values: cat, dog"):
        trained.sample(3, where={"label": "cow"})
    with pytest.raises(UsageError, match="start: -1 is negative"):
        trained.rows(-1, 3)
    with pytest.raises(UsageError, match="seed"):
        trained.sample(3, seed=-1)
    assert trained.sample(0).num_rows == 0


def test_synthetic_rows_that_do_not_match_the_real_ones_are_told(
    pictures: str, trained: synthray.Artifact, tmp_path: Path
) -> None:
    unlabelled = trained.sample(64).drop_columns(["label"])
    pq.write_table(unlabelled, tmp_path / "rows.parquet")
    for rows in (unlabelled, str(tmp_path / "rows.parquet")):
        with pytest.raises(SchemaError, match="no column 'label'"):
            synthray.evaluate(pictures, rows, epochs=1)
    with pytest.raises(UsageError, match="too few"):
        synthray.evaluate(pictures, trained.sample(5), epochs=1)
    with pytest.raises(ConfigError, match="did you mean 'features'"):
        synthray.evaluate(pictures, trained.sample(64), feature="domain")


def people() -> dict[str, list[Any]]:
    return {
        "age": [20 + n % 40 for n in range(200)],
        "city": [("Bern", "Uri", None)[n % 3] for n in range(200)],
        "when": [datetime(2024, 1, 1 + n % 28) for n in range(200)],
    }


@pytest.mark.parametrize("frame", ["pandas", "polars", "arrow"])
def test_three_lines_take_and_give_the_same_kind_of_table(frame: str) -> None:
    make = {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "arrow": pa.table}[frame]
    table = make(people())
    artifact = synthray.fit(table, train={"steps": 40, "batch_size": 64})
    assert artifact.manifest.model.name == "nade" and artifact.card["rows"] == 200
    rows = artifact.sample(100, where={"city": "Bern"})
    assert type(rows) is type(table) and rows.shape == (100, 3)
    assert set(frames.to_arrow(rows)["city"].to_pylist()) == {"Bern"}
    if frame == "polars":
        assert rows.schema == table.schema
    if frame == "arrow":
        assert rows.schema.types == table.schema.types
    assert isinstance(artifact.sample(5, frame="arrow"), pa.Table)
    report = synthray.evaluate(table, artifact.sample(100))
    assert 0 < report.scores["quality"]["value"] <= 1


def test_what_is_no_table_is_told() -> None:
    with pytest.raises(UsageError, match=r"builtins.list is none"):
        synthray.fit([1, 2, 3])
    with pytest.raises(UsageError, match="frame: 'excel'"):
        frames.from_arrow(pa.table({"a": [1]}), "excel")  # type: ignore[arg-type]


def test_what_a_fitted_artifact_is_is_short_to_read(trained: synthray.Artifact) -> None:
    told = repr(trained)
    assert len(told) < 200 and "\n" not in told
    for part in ("dcgan", "200 rows", "2 columns: 'image', 'label'", "arrow", trained.digest[:16]):
        assert part in told


def test_the_public_names_are_found_by_completion() -> None:
    assert {"Artifact", "evaluate", "fit", "load", "__version__"} <= set(dir(synthray))


def test_progress_is_shown_where_somebody_sees_it(
    pictures: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synthray.fit(pictures, **QUICK)
    assert capsys.readouterr() == ("", "")
    told: list[Progress] = []
    synthray.fit(pictures, progress=True, on_progress=told.append, **QUICK)
    shown = capsys.readouterr()
    assert shown.out == "" and "training 4/4 steps" in shown.err and told[-1].step == 4
    monkeypatch.setattr(Screen, "watched", True)
    synthray.fit(pictures, **QUICK)
    assert "training 4/4 steps" in capsys.readouterr().err
    synthray.fit(pictures, progress=False, **QUICK)
    assert capsys.readouterr() == ("", "")


def test_a_named_family_of_tables_trains_as_long_as_fits_the_rows() -> None:
    table = pandas.DataFrame({"a": range(30), "b": list("xyz") * 10})
    small = {"encoder_widths": [8], "decoder_widths": [8], "latent_dim": 4}
    artifact = synthray.fit(table, model={"name": "tvae", "params": small})
    assert artifact.card["batch_size"] == 14 and artifact.card["steps"] == 2000


def test_a_family_by_its_name_alone_takes_a_batch_of_whole_packs() -> None:
    table = pandas.DataFrame({"a": range(1100), "b": list("xyz?") * 275})
    artifact = synthray.fit(table, model="ctgan", train={"steps": 1})
    assert artifact.manifest.model.name == "ctgan" and artifact.card["batch_size"] == 510


@pytest.mark.parametrize(
    ("rows", "columns", "steps"),
    [(30, 2, 2_000), (600, 100, 600), (600, 1_000, 300), (100_000, 4, 7_812), (10**6, 4, 20_000)],
)
def test_small_tables_train_longer_and_wide_ones_no_longer_than_is_bearable(
    rows: int, columns: int, steps: int
) -> None:
    table = pa.table({str(n): pa.array(range(rows)) for n in range(columns)})
    assert advise(in_memory("rows", table)).steps == steps


def test_a_family_that_takes_rows_in_packs_trains_by_default() -> None:
    table = pandas.DataFrame({"a": range(60), "b": list("xyz") * 20})
    small = {"generator_widths": [8], "critic_widths": [8], "latent_dim": 4, "pack": 7}
    model = {"name": "ctgan", "params": small}
    artifact = synthray.fit(table, model=model, train={"steps": 2})
    assert artifact.card["batch_size"] == 28 and artifact.card["steps"] == 2
    half = advise(in_memory("rows", pa.table({"a": range(9)})), together=10)
    assert half.batch_size == 10  # which the rows do not fill, as is told


def test_wrong_sections_are_told_before_the_source_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        synthray.fit(str(tmp_path / "none.csv"), train={"step": 4})


def test_columns_that_are_not_learned_are_told_with_why_and_what_to_do() -> None:
    table = pandas.DataFrame(people())
    table["took"] = pandas.to_timedelta(range(200), unit="s")
    table["half"] = pandas.Series(range(200), dtype="float32").astype("float16")
    table["month"] = pandas.period_range("2000-01", periods=200, freq="M")
    table["range"] = pandas.cut(table["age"], 3)
    table["tags"] = [["a"]] * 200
    table["note"] = [f"{n} and some more words {n * n}" for n in range(200)]
    short = {"steps": 5, "batch_size": 64}
    with pytest.warns(UserWarning, match="not learned") as told:
        artifact = synthray.fit(table, train=short)
    assert len(told) == 1 and told[0].filename == __file__
    text = str(told[0].message)
    assert "'month' (pandas.period), 'range' (pandas.interval)" in text
    assert "'tags' (list<" in text and "'note' (free text)" in text
    assert "data={'schema': {'note': {'kind': 'categorical'}}}" in text
    assert artifact.card["left_out"] == ["month", "range", "tags", "note"]
    rows = artifact.sample(5)
    assert str(rows["half"].dtype) == "float16" and rows["took"].dtype == table["took"].dtype
    # What the config says is text is left out as wished.
    wished = {"schema": {"note": {"kind": "text"}}}
    synthray.fit(table.drop(columns=["month", "range", "tags"]), data=wished, train=short)


def test_numbers_close_together_are_judged() -> None:
    table = pa.table({"a": 1e9 + np.arange(300) % 3 * 1.2e-7, "b": ["x", "y", "z"] * 100})
    report = synthray.evaluate(table, table)
    assert report.scores["pair_trends"]["value"] > 0.95


def test_whole_numbers_with_missing_cells_stay_whole_in_pandas() -> None:
    cells = [None if n % 5 == 0 else 2**60 + n % 50 for n in range(300)]
    table = pandas.DataFrame(
        {
            "n": pandas.array(cells, dtype="Int64"),
            "flag": pandas.array([n % 2 == 0 or None for n in range(300)], dtype="boolean"),
            "c": list("ab") * 150,
        }
    )
    rows = synthray.fit(table, train={"steps": 20, "batch_size": 64}).sample(500)
    assert (rows.dtypes == table.dtypes).all()
    assert set(rows["n"].dropna()) <= set(table["n"].dropna())


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_told_before_the_training() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.gpus_per_worker: 1, and torch finds no GPU"):
        synthray.fit(pa.table({"x": [1.0, 2.0] * 20}), cluster={"gpus_per_worker": 1})
