"""The config: what it refuses, in which words, and what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthray import config as configs
from synthray.config import Config, GenerateConfig, ModelConfig, load, parse
from synthray.errors import ConfigError, NotFoundError
from synthray.models import check_params

MINIMAL = {"data": {"source": "real/"}, "output": "s3://synth/run"}


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def complaint(*overrides: str, tree: Any = MINIMAL, where: str = "run.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        parse(tree, overrides, where=where)
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return str(caught.value)


def test_all_problems_are_told_at_once_with_file_key_value_and_remedy() -> None:
    message = complaint(
        "train.steps=0",
        "train.batch_size=many",
        "trian.steps=1",
        "model.params.x=[",
        "generate.shard_rows=1000",
        "seed",
        where="run.yaml",
    )
    assert message.startswith("run.yaml: 6 problems")
    for line in (
        "train.steps: input should be greater than or equal to 1 (got 0)",
        "train.batch_size: must be an integer, without quotes or a decimal point (got 'many')",
        "trian: unknown key; did you mean 'train'?",
        "model.params.x: the value '[' is not valid YAML; quote it",
        "generate.shard_rows: must be a multiple of 1024; 1024 is near (got 1000)",
        "seed: not of the form key=value, such as train.steps=100",
    ):
        assert f"  - {line.replace('input ', '')}" in message


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("trian=1", "did you mean 'train'?"),
        ("train.step=1", "did you mean 'steps'?"),
        ("data.shema={}", "did you mean 'schema'?"),
        ("evaluate.gates.fd.maxi=1", "did you mean 'max'?"),
        ("serve.zzz=1", "known keys: host, port"),
        ("zzz=1", "known keys: seed, data, model"),
    ],
)
def test_an_unknown_key_gets_the_nearest_or_all_known_ones(override: str, hint: str) -> None:
    message = complaint(override)
    assert f"{override.partition('=')[0]}: unknown key; {hint}" in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.steps=true", "train.steps: must be an integer"),
        ("train.steps='100'", "train.steps: must be an integer"),
        ("train.steps=1.5", "train.steps: must be an integer"),
        ("train.ema_decay='0.5'", "train.ema_decay: must be a number, without quotes"),
        ("data.source=3", "data.source: must be text; put it in quotes (got 3)"),
        ("data.conditions=label", "data.conditions: must be a list, such as [a, b] (got 'label')"),
        ("data.modality=picture", "data.modality: should be 'auto', 'image'"),
        ("data.image_side=3000", "data.image_side: should be less than or equal to 256 (got 3000)"),
        ("data.schema.age=integer", "data.schema.age: must be a section with keys of its own"),
        ("cluster=3", "cluster: must be a section with keys of its own (got 3)"),
        ("train=null", "train: must be a section with keys of its own (got None)"),
        ("generate.rows=0", "generate.rows: should be greater than or equal to 1 (got 0)"),
        ("generate.rows=-5", "generate.rows: should be greater than or equal to 1 (got -5)"),
        ("generate.seed=-1", "generate.seed: should be greater than or equal to 0 (got -1)"),
        (f"generate.seed={2**63}", f"generate.seed: should be less than or equal to {2**63 - 1}"),
        ("generate.shard_rows=1000", "generate.shard_rows: must be a multiple of 1024; 1024 is"),
        ("generate.shard_rows=5000", "generate.shard_rows: must be a multiple of 1024; 4096 is"),
        ("generate.shard_rows=0", "generate.shard_rows: should be greater than or equal to 1"),
        ("generate.where={label: [1]}", "generate.where.label: must be text, a number, true"),
        ("generate.where={label: [1]}", "missing cell; a condition takes one value"),
        ("generate.balance={a: {40: x}}", "generate.balance.a: the share of '40' must be a num"),
        ("generate.balance={a: {40: true}}", "the share of '40' must be a number"),
        ("generate.balance={a: {~: 1}}", "balance.a: the value None must be text, a number"),
        ("generate.balance={a: {true: 1, 'True': 0}}", "the value 'True' has two shares"),
        ("generate.balance={a: half}", "generate.balance.a: must be a share such as 0.5, or sha"),
        ("generate.where=label", "generate.where: must be a section with keys of its own"),
        ("cluster.workers=257", "train.batch_size: 256 rows are fewer than cluster.workers = 257"),
        ("cluster.min_workers=2", "cluster.min_workers: 2 exceeds cluster.workers = 1"),
        ("evaluate.features=inception", "evaluate.weights: missing;"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(override: str, words: str) -> None:
    message = complaint(override)
    assert message.startswith("run.yaml: 1 problem\n")
    assert words in message


def test_shares_are_of_values_of_any_kind() -> None:
    balance = "generate.balance={age: {40: 0.5, 41.0: 0.1, 1.5: 0.1}, member: {true: 1}, sex: 0.5}"
    shares = {"age": {"40": 0.5, "41": 0.1, "1.5": 0.1}, "member": {"True": 1}, "sex": 0.5}
    assert parse(MINIMAL, [balance]).generate.balance == shares


def test_missing_keys_are_told_together() -> None:
    message = complaint(tree={})
    assert "data: missing; add it" in message
    assert "output: missing; add it" in message


@pytest.mark.parametrize("tree", [[1, 2], "text", 3])
def test_something_else_than_keys_is_shown(tree: Any) -> None:
    assert f"run.yaml holds {type(tree).__name__} {tree!r}" in complaint(tree=tree)


def test_a_family_tells_its_own_wrong_settings_in_the_same_way() -> None:
    with pytest.raises(ConfigError) as caught:
        check_params(ModelConfig(name="gan", params={"latent_dmi": 3, "generator": {"lr": 0}}))
    message = str(caught.value)
    assert "model.params.latent_dmi: unknown key; did you mean 'latent_dim'?" in message
    assert "model.params.generator.lr: should be greater than 0 (got 0)" in message


# Overrides.


def test_overrides_are_read_as_yaml_and_create_sections() -> None:
    config = parse(
        MINIMAL,
        [
            "train.steps=1_000",
            "model.params.generator.lr=2e-4",
            "data.source='s3://bucket/a: b/'",
            "data.conditions=[label, side]",
            "generate.where={label: 012, day: 2024-13-45, at: 1:30, answer: no, is: true}",
            'generate.license="1.0"',
            "evaluate.gates.frechet.max=3",
            "output=s3://synth/a=b",
        ],
    )
    assert config.train.steps == 1000
    assert config.model.params == {"generator": {"lr": 2e-4}}
    assert config.data.source == "s3://bucket/a: b/"
    assert config.data.conditions == ["label", "side"]
    # Only true, false and numbers are something else than text.
    expected = {"label": "012", "day": "2024-13-45", "at": "1:30", "answer": "no", "is": True}
    assert config.generate.where == expected
    assert config.generate.license == "1.0"
    assert config.evaluate.gates["frechet"].max == 3
    assert config.output == "s3://synth/a=b"


def test_an_override_into_a_value_is_refused() -> None:
    message = complaint("data.source.uri=x")
    assert "data.source.uri: 'source' holds the value 'real/', not a section" in message


def test_an_override_fills_a_section_whose_keys_are_all_commented_out(tmp_path: Path) -> None:
    uri = write(tmp_path / "c.yaml", "data: {source: real/}\noutput: out/\ntrain:\n  # steps: 5\n")
    assert load(uri, ["train.steps=7"]).train.steps == 7


def test_parsing_leaves_the_given_tree_as_it_was() -> None:
    tree: dict[str, Any] = {**MINIMAL, "train": {"steps": 5}}
    assert parse(tree, ["train.steps=7", "cluster.workers=2"]).train.steps == 7
    assert tree == {**MINIMAL, "train": {"steps": 5}}


# Files.


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml does not exist\n.*synthray init SOURCE") as e:
        load(str(tmp_path / "c.yaml"))
    assert isinstance(e.value.__cause__, NotFoundError)


def test_a_config_is_read_from_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_RUN", "data: {source: real/}\noutput: s3://a-bucket/b\n")
    assert load("env:MY_RUN", ["train.steps=7"]).output == "s3://a-bucket/b"
    with pytest.raises(ConfigError, match="the variable OTHER of env:OTHER is not set"):
        load("env:OTHER")


def test_training_goes_on_with_the_workers_that_there_are_where_it_may() -> None:
    assert list(parse(MINIMAL, ["cluster.workers=4"]).cluster.crews) == [4]
    elastic = parse(MINIMAL, ["cluster.workers=4", "cluster.min_workers=2"]).cluster
    assert list(elastic.crews) == [2, 3, 4]


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    uri = write(tmp_path / "c.yaml", "output: Köln".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"c\.yaml is not UTF-8 text"):
        load(uri)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_file_lacks_the_two_keys_that_must_be_there(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.yaml: 2 problems\n"):
        load(write(tmp_path / "c.yaml", text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {source: x", "c.yaml is not valid YAML"),
        ("output: \x00", "c.yaml is not valid YAML"),
        ("output: a\noutput: b\n", "the key 'output' is given twice"),
        ("data: {source: a, source: b}", "the key 'source' is given twice"),
        ("output: !!python/object/apply:os.getcwd []", "c.yaml is not valid YAML"),
        ("- output\n", "c.yaml holds list ['output']"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path / "c.yaml", text))
    assert words in str(caught.value)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    uri = write(tmp_path / "c.yaml", "\ufeffoutput: s3://synth/run\ndata: {source: real/}\n")
    assert load(uri).output == "s3://synth/run"


def test_dump_gives_a_file_that_reads_as_the_same_config(tmp_path: Path) -> None:
    config = parse(
        MINIMAL,
        [
            "generate.where={a: '012', b: '2e-4', c: 'no', d: 'null', e: '1:30', f: 3, g: Köln}",
            "model.params={widths: [1, 2], lr: 1e-7, name: '1_000', deep: {x: null}}",
            "data.schema={age: {kind: categorical}}",
            "data.conditions=['true', '2024-01-01', '~']",
        ],
    )
    text = configs.dump(config)
    assert load(write(tmp_path / "c.yaml", text)) == config
    assert "schema:" in text and "schema_" not in text
    assert Config.model_validate(config.model_dump(by_alias=True)) == config


def test_lists_are_taken_where_a_family_wants_a_tuple() -> None:
    params = check_params(ModelConfig(name="gan", params={"generator_widths": [32, 64]}))
    assert params.generator_widths == (32, 64)


def test_place_is_under_output() -> None:
    assert parse(MINIMAL).place("artifact", "x") == "s3://synth/run/artifact/x"


def test_a_relative_output_is_made_absolute_for_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(MINIMAL, ["output=out"]).place("x") == f"{tmp_path}/out/x"


def test_places_that_are_no_uris_are_named() -> None:
    message = complaint("output=ftp://host/x", "data.source=''")
    assert "output: ftp://host/x: SynthRay does not read or write ftp:// URIs" in message
    assert "data.source: '' is not a path or a URI" in message


def test_a_shard_is_whole_blocks() -> None:
    assert GenerateConfig(shard_rows=configs.BLOCK_ROWS).shard_rows == 1024


def test_problems_of_constraints_name_the_constraint_and_its_keys() -> None:
    constraints = [
        {"less": ["a", "b"], "strct": True},
        {"less": ["a", True]},
        {"range": {"column": "a", "mn": 0}},
        {"range": {"column": "a"}},
        {"combinations": ["a", "a"]},
        {"pattern": {"column": "a", "regex": "["}},
        {"sum": {"total": "a", "parts": ["a", "b"]}},
        {"les": ["a", "b"]},
        {"unique": ["a"], "on_violation": "drop"},
    ]
    tree = {"data": {"source": "real/", "constraints": constraints}, "output": "out/"}
    message = complaint(tree=tree)
    for line in (
        "0.strct: unknown key; did you mean 'strict'?",
        "1.less.1: must be a column, a number, or a date such as 2024-12-31 (got True)",
        "2.range.mn: unknown key; did you mean 'min'?",
        "3.range: give min, max or both",
        "4.combinations: names 'a' twice",
        "5.pattern.regex: is not a regular expression",
        "6.sum: 'a' cannot be a part of itself",
        "7: must be a section with one of the keys combinations, less, range, unique, pattern, sum",
        "8.on_violation: unknown key; known keys: unique",
    ):
        assert f"  - data.constraints.{line}" in message
