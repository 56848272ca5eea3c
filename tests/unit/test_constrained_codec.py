"""The codec of tables with constraints: from a source with violations to generated rows."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from pathlib import Path
from typing import Any

import constrained
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tiny
import torch

from synthray import config as configs
from synthray.artifact import Artifact
from synthray.config import DataConfig, GenerateConfig
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.data.table_codec import TableCodec
from synthray.errors import ArtifactError, SchemaError, SourceError
from synthray.sampling.card import dataset_card
from synthray.sampling.dataset import Plan
from synthray.sampling.findings import Findings
from synthray.sampling.virtual import VirtualDataset

GIVEN: list[dict[str, Any]] = [
    {"combinations": ["city", "state"]},
    {"less": ["start", "end"]},
    {"range": {"column": "age", "min": 17, "max": 90}},
    {"unique": ["customer"]},
    {"pattern": {"column": "customer", "regex": "C-[0-9]{6}"}},
    {"sum": {"total": "pay", "parts": ["base", "bonus"]}},
    {"less": ["bonus", "base"], "strict": True},
]


def customers(rows: int = 600) -> pa.Table:
    random = np.random.default_rng(0)
    city = random.integers(0, 4, rows)
    start, days = random.integers(0, 900, rows), random.integers(0, 90, rows)
    base, bonus = random.integers(2000, 9000, rows) / 100, random.integers(0, 1999, rows) / 100
    late = random.random(rows) < 0.1
    return pa.table(
        {
            "city": np.array(["Ulm", "Bonn", "Kiel", "Bonn"])[city],
            "state": pa.array(np.array(["BW", "NW", "SH", "VT"])[city]).dictionary_encode(),
            "start": pa.array(start.astype(np.int32), mask=late).view(pa.date32()),
            "end": pa.array((start + days) * 86_400).view(pa.timestamp("s")),
            "age": pa.array(random.integers(17, 91, rows), pa.uint8()),
            "customer": [f"C-{n:06d}" for n in range(rows)],
            "base": base,
            "bonus": bonus,
            "pay": np.round(base + bonus, 2),
        }
    )


def codec(rows: pa.Table, *given: dict[str, Any], **settings: Any) -> ConstrainedCodec:
    schema = constrained.schema(rows, customer="id") if "customer" in rows.column_names else None
    return ConstrainedCodec(
        schema or constrained.schema(rows),
        constrained.constraints(*given),
        lambda inner: TableCodec(inner, **settings),
    )


def fitted(
    rows: pa.Table, *given: dict[str, Any], parts: int = 3, **settings: Any
) -> ConstrainedCodec:
    made = codec(rows, *given, **settings)
    size = -(-len(rows) // parts)
    made.fit([made.partial(rows.slice(start, size)) for start in range(0, len(rows), size)])
    return made


def test_rows_come_back_through_the_artifacts_form() -> None:
    rows = customers()
    made = fitted(rows, *GIVEN)
    loaded = ConstrainedCodec.from_json(json.loads(json.dumps(made.to_json())))
    assert loaded.to_json() == made.to_json() and loaded.schema == made.schema
    assert loaded.spec == made.spec and loaded.arrow_schema().equals(rows.schema)
    encoded = made.encode(rows)
    found = loaded.decode(loaded.scale(torch.from_numpy(encoded.x)), torch.from_numpy(encoded.cond))
    assert found.schema.equals(rows.schema)
    learned = [name for name in rows.column_names if name != "customer"]
    for name in learned:
        assert found[name].to_pylist() == rows[name].to_pylist(), name
    assert found["customer"].to_pylist() != rows["customer"].to_pylist()
    assert loaded.check(found).total == 0


def test_any_codes_and_offsets_decode_to_rows_that_satisfy_all() -> None:
    made = fitted(customers(), *GIVEN)
    random = np.random.default_rng(1)
    layout = made.spec.layout
    assert layout is not None
    codes = np.stack([random.integers(0, slot.codes, 5000) for slot in layout.slots], axis=1)
    offsets = random.uniform(-1, 1, (5000, len(layout.offset_columns)))
    x = layout.pack(torch.from_numpy(codes), torch.from_numpy(offsets))
    found = made.decode(x, torch.empty((5000, 0), dtype=torch.int64), first=7, seed=3)
    assert [v.violated for v in made.check(found)] == [0] * len(GIVEN)
    assert found["end"].null_count == found["pay"].null_count == 0
    assert len(found.group_by(["city", "state"]).aggregate([])) == 4
    pay, base, bonus = (found[name].to_pylist() for name in ("pay", "base", "bonus"))
    assert pay == [round(a + b, 2) for a, b in zip(base, bonus, strict=True)]


def test_the_fit_is_the_same_for_any_grouping_of_the_chunks() -> None:
    rows = customers(300)
    trees = [fitted(rows, *GIVEN, parts=parts).to_json() for parts in (1, 2, 7)]
    assert trees[0] == trees[1] == trees[2]


def test_statistics_are_sent_between_processes() -> None:
    rows = customers(300)
    made, sent = codec(rows, *GIVEN), pickle.loads(pickle.dumps(codec(rows, *GIVEN)))
    parts = [pickle.loads(pickle.dumps(sent.partial(part))) for part in (rows[:99], rows[99:])]
    made.fit([parts[0].merge(parts[1])])
    assert made.to_json() == fitted(rows, *GIVEN).to_json()


def test_values_of_combinations_are_told() -> None:
    made = fitted(customers(), *GIVEN)
    assert made.schema["state"].values == ("BW", "NW", "SH", "VT")
    assert made.schema["city"].values == ("Bonn", "Kiel", "Ulm")


def test_tables_in_other_types_are_checked_as_well() -> None:
    made = fitted(customers(), *GIVEN)
    rows = customers()
    other = rows.set_column(3, "end", rows["end"].cast(pa.timestamp("ns")))
    other = other.set_column(1, "state", rows["state"].cast(pa.large_string()))
    other = other.set_column(6, "base", pc.add(rows["base"], 1.0)).append_column(
        "more", rows["age"]
    )
    found = made.check(other)
    assert [v.violated for v in found] == [0, 0, 0, 0, 0, 600, 0] and found.total == 600
    assert found.merge(made.check(rows)).found[5].rows == 1200
    with pytest.raises(SchemaError, match="the table lacks 'age', 'pay'"):
        made.check(rows.drop_columns(["age", "pay"]))
    with pytest.raises(SchemaError, match="do not fit the source's"):
        made.check(rows.set_column(4, "age", pa.array(["old"] * 600)))


def broken() -> pa.Table:
    """Three rows that end before they start, and two too old."""
    rows = customers(100)
    end = rows["end"].to_pylist()
    for row in (4, 50, 99):
        end[row] = dt.datetime(1960, 1, 1)
    starts = rows["start"].fill_null(dt.date(1970, 1, 1))
    rows = rows.set_column(2, "start", starts)
    age = rows["age"].to_pylist()
    age[4], age[7] = 91, 120
    rows = rows.set_column(4, "age", pa.array(age, pa.uint8()))
    return rows.set_column(3, "end", pa.array(end, pa.timestamp("s")))


def test_a_source_that_breaks_constraints_is_refused_with_numbers_and_a_row() -> None:
    with pytest.raises(SourceError) as caught:
        fitted(broken(), *GIVEN)
    message = str(caught.value)
    assert "data.constraints.1 (start <= end): 3 of 100 rows break it, such as start = " in message
    assert "end = 1960-01-01 00:00:00" in message
    assert (
        "data.constraints.2 (17 <= age <= 90): 2 of 100 rows break it, such as age = 91" in message
    )
    assert "on_violation: drop" in message and "constraints.0" not in message


def test_rows_that_break_constraints_can_be_left_out_and_are_counted() -> None:
    given = [
        one | ({"on_violation": "drop"} if index in (1, 2) else {})
        for index, one in enumerate(GIVEN)
    ]
    rows = broken()
    made = fitted(rows, *given)
    assert made.cleaning is not None
    assert (made.cleaning.rows, made.cleaning.unreadable) == (100, 4)
    assert made.cleaning.what == "rows that break constraints"
    assert [name for name, _ in made.cleaning.examples] == [
        "data.constraints.1 (start <= end)",
        "data.constraints.2 (17 <= age <= 90)",
    ]
    assert made.cleaning.examples[1][1] == "2 rows, such as age = 91"
    assert made.spec.rows == 96 and len(made.encode(rows)) == 96
    with pytest.raises(SourceError, match="each of 1 rows breaks one that drops it"):
        fitted(rows.slice(4, 1), *given)


def test_rows_that_are_alike_in_other_chunks_break_uniqueness() -> None:
    rows = customers(90)
    rows = pa.concat_tables([rows, rows.slice(10, 5)])
    with pytest.raises(SourceError, match=r"constraints\.3 \(unique customer\): 5 of 95 rows"):
        fitted(rows, *GIVEN)
    # Of many the sketch knows a sample, which tells the share.
    many = pa.table({"customer": np.arange(40_000) % 30_000, "x": np.arange(40_000) % 7})
    with pytest.raises(SourceError, match=r"unique customer\): (9|10),\d{3} of 40,000 rows"):
        fitted(many, {"unique": ["customer"]})


def test_what_is_rare_does_not_get_into_the_artifact() -> None:
    rows = customers()
    odd = rows.slice(0, 1).set_column(0, "city", pa.array(["Secret"]))
    rows = pa.concat_tables([rows, odd.set_column(5, "customer", pa.array(["C-999999"]))])
    made = fitted(rows, *GIVEN, rare=5)
    text = json.dumps(made.to_json())
    assert "Secret" not in text and "Bonn" in text
    assert {"low": None, "high": None, "middle": None} in made.plan.state()
    encoded = made.encode(rows)  # hidden, and so no row that a model gives
    assert len(encoded) == 601


def test_forms_that_were_not_written_are_refused() -> None:
    tree = fitted(customers(), *GIVEN).to_json()
    for wrong in (
        {},
        tree | {"constraints": tree["constraints"][1:]},
        tree | {"constraints": [{"les": []}]},
        tree | {"steps": tree["steps"][1:]},
        tree | {"steps": [None] * len(tree["steps"])},
        tree | {"inner": {}},
    ):
        with pytest.raises(ArtifactError, match=r"codec\.json cannot be read"):
            ConstrainedCodec.from_json(wrong)


def test_a_source_is_opened_with_its_constraints(tmp_path: Path) -> None:
    rows = customers(64)
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=20)
    tree = {"less": ["bonus", "base"]}
    config = DataConfig(source=str(tmp_path), constraints=constrained.constraints(tree))
    source, made = open_data(config, "bins")
    assert isinstance(made, ConstrainedCodec)
    fit_codec(source, made, map)
    assert len(encode_all(source, made, map)) == 64
    with pytest.raises(SchemaError, match=r"data\.constraints: rows of plain numbers have no"):
        open_data(config)
    pictures = tiny.class_folders(tmp_path / "pictures")
    with pytest.raises(SchemaError, match=r"data\.constraints: images have no constraints"):
        open_data(config.model_copy(update={"source": str(pictures)}), "bins")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            {"constraints": [{"less": ["bonus", "bse"]}]},
            "data.constraints.0: no column named 'bse'",
        ),
        ({"constraints": [{"range": {"column": "x", "min": 0}}]}, "data.constraints.0: .*'x'"),
        ({"constraints": [{"combinations": ["a", "b"]}]}, "data.constraints.0: .*'a'"),
        ({"constraints": [{"sum": {"total": "base", "parts": ["a", "b"]}}]}, "'a'"),
        ({"constraints": [{"unique": ["y"]}]}, "data.constraints.0: no column named 'y'"),
        ({"constraints": [{"pattern": {"column": "z", "regex": "a"}}]}, "'z'"),
        ({"conditions": ["bse"]}, "data.conditions: no column named 'bse'"),
        ({"schema": {"bse": {"kind": "id"}}}, "data.schema: no column named 'bse'"),
    ],
)
def test_a_column_that_is_none_is_told_before_the_rows_are_read(
    tmp_path: Path, data: dict[str, Any], told: str
) -> None:
    pq.write_table(customers(20), tmp_path / "rows.parquet")
    tree = {"data": {"source": str(tmp_path), **data}, "output": "o"}

    def read(*_: Any) -> Any:
        raise AssertionError("the rows were read")

    with pytest.raises(SchemaError, match=told):
        open_data(configs.parse(tree).data, "bins", read)


@pytest.mark.usefixtures("one_thread")
def test_generated_rows_satisfy_all_and_the_card_says_so(tmp_path: Path) -> None:
    place = str(tmp_path / "artifact")
    params = {"latent_dim": 8, "encoder_widths": [32], "decoder_widths": [32]}
    tiny.save_artifact(place, fitted(customers(), *GIVEN), "tvae", params)
    artifact = Artifact.load(place)
    assert isinstance(artifact.codec, ConstrainedCodec)
    virtual = VirtualDataset(artifact, seed=5)
    found = virtual.rows(0, 3000)
    assert found.schema.equals(customers().schema)
    assert artifact.codec.check(found).total == 0
    assert virtual.rows(1000, 200).equals(found.slice(1000, 200))
    for where in ({"state": "NW"}, {"age": 40}):  # a derived column, and one in a range
        held = VirtualDataset(artifact, seed=5, where=where).rows(0, 1024)
        assert held.group_by(list(where)).aggregate([]).to_pylist() == [where]
        assert artifact.codec.check(held).total == 0
    settings = GenerateConfig(rows=3000, shard_rows=1024)
    plan, findings = Plan.of(artifact.digest, settings), Findings(artifact.codec.check(found))
    card = dataset_card(artifact, plan, "MIT", findings)
    assert "## Constraints" in card and "| `pay = base + bonus` | 0 |" in card
