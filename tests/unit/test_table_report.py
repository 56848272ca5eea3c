"""The whole judgement of tables: what moves, what is refused, and what the report says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import synthray
from synthray.config import Config, parse
from synthray.errors import ConfigError, GateError, SchemaError, SourceError, UsageError
from synthray.metrics.gates import raise_if_missed
from synthray.metrics.judging import judge
from synthray.metrics.report import report_html, report_json
from synthray.metrics.tables.evaluation import check_table_settings
from synthray.metrics.tables.reading import open_tables
from synthray.metrics.tables.report import TableReport

ODD = "p<b>rice</b> $x_1$"
"""A column's name that a page must not take for its own."""


def people(rows: int, seed: int) -> pa.Table:
    """Dependent columns, a label that the others tell, missing cells and an odd name."""
    random = np.random.default_rng(seed)
    hidden, noise = random.normal(size=rows), random.normal(scale=0.4, size=rows)
    # Within limits: where two tables do not end at the same numbers, their bins differ.
    price = 20 + 8 * np.tanh(hidden + random.normal(scale=0.4, size=rows))
    area = np.digitize(hidden + random.normal(scale=0.5, size=rows), [-1, 0, 1])
    return pa.table(
        {
            "age": pa.array(
                (40 + 20 * np.tanh(hidden + noise)).astype(np.int64),
                mask=random.random(rows) < 0.05,
            ),
            ODD: pa.array(price),
            "area": pa.array([f"area {a}" for a in area], mask=random.random(rows) < 0.05),
            "member": pa.array(random.random(rows) < 0.4),
            "label": pa.array(["yes" if h > 0.3 else "no" for h in hidden]),
        }
    )


def shuffled(table: pa.Table) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table({n: table[n].take(random.permutation(len(table))) for n in table.column_names})


REAL, HOLDOUT, FRESH = people(500, 0), people(400, 1), people(450, 2)
QUICK: dict[str, Any] = {"subsample": 300}


def report_on(synthetic: pa.Table, **settings: Any) -> TableReport:
    report = synthray.evaluate(REAL, synthetic, holdout=HOLDOUT, **(QUICK | settings))
    assert isinstance(report, TableReport)
    return report


@pytest.fixture(scope="module")
def fresh() -> TableReport:
    return report_on(FRESH)


@pytest.fixture(scope="module")
def broken() -> TableReport:
    return report_on(shuffled(REAL))


@pytest.fixture(scope="module")
def copied() -> TableReport:
    return report_on(REAL)


def value(report: TableReport, name: str) -> float:
    return report.scores[name]["value"]


def test_fresh_real_rows_score_as_the_floor_does(fresh: TableReport) -> None:
    for name in ("quality", "column_shapes", "pair_trends", "coverage", "density", "recall"):
        score = fresh.scores[name]
        assert score["value"] == pytest.approx(score["floor"], abs=0.06), name
    for name in ("tstr_macro_f1.label", "tstr_accuracy.label", "tstr_roc_auc.label"):
        assert fresh.scores[name]["ratio"] == pytest.approx(1.0, abs=0.1), name
    assert value(fresh, "copies") == 0.0
    assert fresh.privacy is not None
    assert {a.statement for a in fresh.privacy.attacks} == {"not told from guessing"}


def test_shuffled_columns_keep_shapes_and_privacy_and_lose_the_rest(
    fresh: TableReport, broken: TableReport
) -> None:
    assert value(broken, "column_shapes") > 0.97
    assert value(broken, "copies") == 0.0
    for name in ("pair_trends", "strong_pair_trends", "quality", "density", "coverage"):
        assert value(broken, name) < value(fresh, name), name
    for name in ("correlation_distance", "contingency_distance"):
        assert value(broken, name) > 1.5 * value(fresh, name), name
    assert value(broken, "tstr_roc_auc.label") < 0.65 < value(fresh, "tstr_roc_auc.label")


def test_a_copied_table_is_perfect_but_for_privacy(fresh: TableReport, copied: TableReport) -> None:
    assert value(copied, "quality") > value(fresh, "quality")
    for name in ("copies", "near_copies"):
        assert value(copied, name) == 1.0, name
    assert value(copied, "dcr_share") > 0.6 and value(copied, "dcr_p5") == 0.0
    for name in ("membership_auc_distance", "membership_auc_density"):
        assert value(copied, name) > value(fresh, name) + 0.05, name
    assert value(copied, "membership_tpr_distance") > 0.3
    assert copied.privacy is not None
    assert "recognised" in copied.privacy.attacks[0].statement


def test_every_score_stands_beside_a_floor(fresh: TableReport) -> None:
    assert len(fresh.scores) == 25
    assert all(score["floor"] is not None for score in fresh.scores.values())
    assert fresh.scores["membership_auc_distance"]["floor"] == 0.5
    assert fresh.scores["dcr_p5"]["better"] == "higher"


def test_values_and_floors_come_from_as_many_rows(fresh: TableReport) -> None:
    assert fresh.rows == {"real": (500, 500), "synthetic": (400, 450), "holdout": (400, 400)}
    assert "500 real rows with 400 synthetic ones" in " ".join(fresh.notes)


def test_without_a_holdout_nothing_is_said_about_privacy() -> None:
    report = synthray.evaluate(REAL, FRESH, **QUICK)
    assert isinstance(report, TableReport)
    assert report.privacy is None and "copies" not in report.scores
    assert report.rows["real"] == (400, 500) and report.rows["holdout"] == (100, 100)
    assert "No holdout was given: a fifth of the real rows" in report.notes[0]
    page = report_html(report)
    assert "Not measured: there is no holdout" in page
    assert report_json(report)["privacy"] is None


def test_several_targets_of_both_kinds() -> None:
    report = report_on(FRESH, target=["label", "age"])
    assert {n for n in report.scores if n.startswith("tstr_")} == {
        "tstr_macro_f1.label", "tstr_accuracy.label", "tstr_roc_auc.label",
        "tstr_r2.age", "tstr_rmse.age",
    }  # fmt: skip
    assert report.scores["tstr_rmse.age"]["better"] == "lower"
    assert "tstr_r2.age" in report_json(report)["scores"]
    assert [t["task"] for t in report_json(report)["targets"]] == ["classification", "regression"]


def test_gates_hold_the_scores_of_tables() -> None:
    gates = {
        "quality": {"min": 0.9},
        "copies": {"max": 0.0},
        "pair_trends.ratio": {"min": 2.0},
        "tstr_accuracy.label.floor": {"min": 0.5},
    }
    report = report_on(FRESH, gates=gates)
    assert [gate.passed for gate in report.gates] == [True, True, False, True]
    with pytest.raises(GateError, match=r"pair_trends\.ratio is .*, gate: min 2"):
        raise_if_missed(report.gates)


# The report.


def test_the_page_stands_alone_and_shows_every_score(fresh: TableReport) -> None:
    page = report_html(fresh)
    assert page.startswith("<!doctype html>")
    assert "<script" not in page and "http" not in page and "<b>rice" not in page
    assert page.count("<svg") == 2 and "var(--plot-synthetic)" in page
    for heading in ("Quality", "Columns", "Pairs of columns", "Neighbours", "Privacy"):
        assert f"<h2>{heading}</h2>" in page
    for name in fresh.scores:
        if name.startswith("tstr_") or fresh.scores[name]["better"] == "lower":
            continue
        assert f"<code>{name}</code>" in page or name == "dcr_p5", name
    assert page.count("What these numbers can and cannot prove") == 4
    assert "they cannot prove that nothing does" in page
    assert len(page) < 500_000


def test_the_drawings_take_the_page_s_colours_and_no_names_twice(fresh: TableReport) -> None:
    drawings = re.findall(r"<svg.*?</svg>", report_html(fresh), flags=re.DOTALL)
    names = [name for drawing in drawings for name in re.findall(r' id="([^"]*)"', drawing)]
    assert len(set(names)) == len(names)
    assert "currentColor" in drawings[0] and "#010203" not in drawings[0]
    assert report_html(fresh) == report_html(fresh)


def test_a_page_of_the_least_there_can_be() -> None:
    table = pa.table({"x": pa.array([None] * 30, pa.float64())})
    report = synthray.evaluate(table, table, holdout=table)
    page = report_html(report)
    assert "Usefulness" not in page and "<h2>Pairs" not in page and "all missing" in page
    assert report_json(report)["scores"]["column_shapes"]["value"] is None
    gone = pa.table({"x": pa.nulls(100, pa.float64()), "c": pa.nulls(100, pa.string())})
    page = report_html(synthray.evaluate(gone, gone))
    assert "nan" not in page and "not defined here" in page


def test_json_is_the_same(fresh: TableReport) -> None:
    tree = report_json(fresh)
    assert json.loads(json.dumps(tree, allow_nan=False)) == json.loads(json.dumps(tree))
    assert tree["scores"]["quality"]["value"] == value(fresh, "quality")
    assert [column["name"] for column in tree["columns"]] == REAL.column_names
    assert len(tree["pairs"]) == 10 and tree["passed"]
    copies = tree["privacy"]["copies"]
    assert copies["synthetic"]["exact"]["rows"] == 400
    assert {a["name"] for a in tree["privacy"]["attacks"]} == {"distance", "density"}


# Where the rows lie does not matter.


def backwards(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    return [function(item) for item in reversed(items)][::-1]


def in_threads(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, items))


def written(folder: Path, group: int, files: int = 1) -> dict[str, str]:
    """The tables as Parquet, by role: so many files, in row groups of so many rows."""
    uris = {}
    for name, table in (("real", REAL), ("synthetic", FRESH), ("holdout", HOLDOUT)):
        place = folder / name
        place.mkdir(parents=True)
        size = -(-len(table) // files)
        for i in range(files):
            part = table.slice(i * size, size)
            pq.write_table(part, place / f"part-{i}.parquet", row_group_size=group)
        uris[name] = str(place)
    return uris


def config_of(uris: dict[str, str], **settings: Any) -> Config:
    tree = {"data": {"source": uris["real"]}, "output": "."}
    settings = {"rows": 250, "subsample": 100, "holdout": uris["holdout"]} | settings
    return parse(tree | {"evaluate": settings}, where="test")


def test_no_number_depends_on_how_rows_are_stored_or_who_reads_them(tmp_path: Path) -> None:
    whole, shards = written(tmp_path / "whole", 1000), written(tmp_path / "shards", 33, files=3)
    expected = report_json(judge(config_of(whole), whole["synthetic"]))
    assert expected["rows"]["real"] == {"judged": 250, "all": 500}
    assert "random sample of so many" in " ".join(expected["notes"])
    assert expected["privacy"]["copies"]["synthetic"]["exact"]["rows"] == 250
    for mapper in (map, backwards, in_threads):
        found = judge(config_of(shards), shards["synthetic"], mapper=mapper)
        assert report_json(found) == expected


def test_copies_are_found_among_all_training_rows_not_only_the_sampled(tmp_path: Path) -> None:
    report = synthray.evaluate(REAL, REAL.slice(0, 60), holdout=HOLDOUT, rows=50, subsample=50)
    assert isinstance(report, TableReport)
    assert value(report, "copies") == 1.0


def test_another_seed_samples_other_rows(tmp_path: Path) -> None:
    uris = written(tmp_path, 1000)
    config = config_of(uris)
    reports = [
        report_json(judge(config.model_copy(update={"seed": seed}), FRESH)) for seed in (0, 1)
    ]
    assert reports[0]["scores"] != reports[1]["scores"]


def test_a_uri_is_judged_like_the_table_in_it(tmp_path: Path, fresh: TableReport) -> None:
    uris = written(tmp_path, 64)
    report = synthray.evaluate(uris["real"], uris["synthetic"], holdout=uris["holdout"], **QUICK)
    assert report.scores == fresh.scores


def test_text_files_and_parquet_are_judged_alike(tmp_path: Path) -> None:
    uris = written(tmp_path, 100)
    expected = report_json(judge(config_of(uris), uris["synthetic"]))
    for name, table in (("real", REAL), ("synthetic", FRESH)):
        pa.csv.write_csv(table, tmp_path / f"{name}.csv")
    config = config_of({"real": str(tmp_path / "real.csv"), "holdout": uris["holdout"]})
    assert report_json(judge(config, str(tmp_path / "synthetic.csv"))) == expected


def test_dates_are_compared_in_whatever_form(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    days = pa.array(random.integers(10_000, 20_000, 100), pa.int32()).cast(pa.date32())
    text = pc.strftime(days.cast(pa.timestamp("s")), format="%d.%m.%Y")
    for cells in (days, text):
        table = pa.table({"when": cells, "x": random.normal(size=100)})
        report = synthray.evaluate(table, table, holdout=table)
        assert isinstance(report, TableReport)
        assert report.shapes[0].measure == "KS complement"
        assert report.frames[0].columns[0].kind == "datetime"
        assert "<svg" in report_html(report)


# What is left out, and what is refused.


def test_columns_that_are_not_compared_are_told() -> None:
    when = pa.array([None] * 60, pa.binary())
    real, other = (t.slice(0, 60).append_column("blob", when) for t in (REAL, FRESH))
    other = other.append_column("extra", when)
    notes = " ".join(synthray.evaluate(real, other, holdout=HOLDOUT).notes)
    assert "Left out of the comparison: blob (binary)." in notes
    assert "Columns that only the synthetic table has are left out: extra." in notes


def test_kinds_can_be_corrected() -> None:
    data = {"schema": {"age": {"kind": "categorical"}}}
    report = synthray.evaluate(REAL, FRESH, holdout=HOLDOUT, data=data, **QUICK)
    assert isinstance(report, TableReport)
    assert report.shapes[0].measure == "TV complement"


@pytest.mark.parametrize(
    ("synthetic", "told"),
    [
        (FRESH.drop_columns(["age"]), r"synthetic.*: no column 'age'; it has .*member"),
        (FRESH.set_column(0, "age", pa.array(["x"] * 450)), "column 'age' is string, in the real"),
        (FRESH.set_column(3, "member", FRESH["age"]), "'member' is int64, in the real data bool"),
        (
            pa.Table.from_arrays(
                [*FRESH.columns, FRESH["age"]], names=[*FRESH.column_names, "age"]
            ),
            "2 columns 'age'",
        ),
    ],
)
def test_columns_that_differ_are_told(synthetic: pa.Table, told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        report_on(synthetic)


def test_a_holdout_that_differs_is_told() -> None:
    with pytest.raises(SchemaError, match=r"evaluate\.holdout .*no column 'label'"):
        synthray.evaluate(REAL, FRESH, holdout=HOLDOUT.drop_columns(["label"]))


@pytest.mark.parametrize("name", ["real", "synthetic", "holdout"])
def test_too_few_rows_are_told(name: str) -> None:
    tables = {"real": REAL, "synthetic": FRESH, "holdout": HOLDOUT}
    tables[name] = tables[name].slice(0, 19)
    with pytest.raises(UsageError, match=f"{name} data: 19 rows are too few"):
        synthray.evaluate(tables["real"], tables["synthetic"], holdout=tables["holdout"])


def test_a_fifth_of_few_real_rows_is_too_few_for_a_holdout() -> None:
    with pytest.raises(UsageError, match=r"real data: 10 rows are too few .*a fifth"):
        synthray.evaluate(REAL.slice(0, 50), FRESH)


def test_infinite_numbers_are_told() -> None:
    bad = FRESH.set_column(1, ODD, pa.array([np.inf] * 450))
    with pytest.raises(SchemaError, match="holds infinite numbers"):
        report_on(bad)


def test_data_that_is_not_there_is_told() -> None:
    with pytest.raises(SourceError, match=r"synthetic: .*none"):
        synthray.evaluate(REAL, "none.parquet")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"target": "lable"}, "no column 'lable' to predict\n  → did you mean 'label'"),
        ({"gates": {"qualty": {"min": 0.5}}}, "did you mean 'quality'"),
        ({"gates": {"tstr_r2.elsewhere": {"min": 0.5}}}, "no such value"),
        ({"target": 3}, "evaluate.target"),
    ],
)
def test_settings_that_cannot_be_are_told_before_any_work(
    settings: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthray.metrics.tables.evaluation._draw", None)
    with pytest.raises(ConfigError, match=told):
        report_on(FRESH, **settings)


def test_gates_on_privacy_need_a_holdout(tmp_path: Path) -> None:
    config = config_of(written(tmp_path, 1000), gates={"copies": {"max": 0}})
    schema = open_tables(config, FRESH).schema
    check_table_settings(config.evaluate, schema, held=True)
    with pytest.raises(ConfigError, match=r"evaluate\.gates\.copies: no such value"):
        check_table_settings(config.evaluate, schema, held=False)


def test_a_target_of_one_class_is_told() -> None:
    one = REAL.set_column(4, "label", pa.array(["yes"] * 500))
    with pytest.raises(ConfigError, match="'label' has one class in the real data"):
        synthray.evaluate(one, FRESH, holdout=HOLDOUT, target="label")
