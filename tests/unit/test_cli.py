"""The command line without Ray: what goes to stdout and stderr, and the exit codes."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import typer
from PIL import Image

from synthray import cli, config, models
from synthray.artifact import Artifact
from synthray.data.inference import infer_table_schema
from synthray.data.prepare import open_data
from synthray.data.source import open_source
from synthray.errors import GateError, SynthRayError
from synthray.sampling.virtual import VirtualDataset
from synthray.version import __version__


@pytest.fixture(scope="module")
def artifact_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = str(tmp_path_factory.mktemp("trained") / "artifact")
    tiny.save_artifact(uri)
    return uri


# --- the surface -------------------------------------------------------------------------

SURFACE = {
    "": "--debug --version",
    "adapt": "CONFIG KEY=VALUE --address --base --json",
    "evaluate": "CONFIG KEY=VALUE --address --holdout --json --real --report --synthetic",
    "doctor": "TARGET",
    "generate": (
        "CONFIG KEY=VALUE --address --artifact --balance --json --out --rows --seed --where "
        "--workers"
    ),
    "init": "SOURCE --force --no-force -o",
    "jobs list": "--address --json",
    "jobs logs": "JOB --address --follow --no-follow",
    "jobs status": "JOB --address --json",
    "jobs stop": "JOB --address",
    "models": "",
    "rows": "--artifact --balance --count --out --seed --start --trust --where",
    "run": "CONFIG KEY=VALUE --address",
    "serve": "TARGETS --address --host --port",
    "submit": "CONFIG KEY=VALUE STAGE --address --base --no-wait --wait",
    "train": "CONFIG KEY=VALUE --address --json",
    "tune": "CONFIG KEY=VALUE --address --json",
}


def test_commands_and_options_are_frozen() -> None:
    group = typer.main.get_command(cli.app)
    found = {"": words_of(group)}
    for name, command in group.commands.items():
        parts = getattr(command, "commands", {})
        found |= {f"{name} {part}": words_of(sub) for part, sub in parts.items()}
        found |= {} if parts else {name: words_of(command)}
    assert found == {name: set(words.split()) for name, words in SURFACE.items()}


def words_of(command) -> set[str]:
    words: set[str] = set()
    for parameter in command.params:
        if parameter.param_type_name == "option":
            words |= {*parameter.opts, *parameter.secondary_opts}
        else:
            names = {"config": "CONFIG", "overrides": "KEY=VALUE"}
            words.add(names.get(parameter.name, parameter.name.upper()))
    return words - {"--help"}


def test_every_command_has_help(run) -> None:
    for name in filter(None, SURFACE):
        code, out, err = run(*name.split(), "--help")
        assert (code, err) == (0, "") and "Usage" in out


def test_the_module_runs_and_tells_its_version() -> None:
    command = [sys.executable, "-m", "synthray", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (__version__ + "\n", "")


def test_models_are_listed_with_what_they_are(run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    families = {line.split()[0]: line for line in out.splitlines()}
    assert {"gan", "dcgan", "vae", "cvae"} <= set(families)
    assert "synthray.models.gan:GAN" in families["gan"]


def test_doctor_tells_versions_and_processors(run) -> None:
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert out.startswith(f"synthray {__version__}") and "torch" in out and "GB free" in out


def test_doctor_tries_the_places_of_a_config_and_leaves_nothing(run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    config_file = tmp_path / "c.yaml"
    text = f"data: {{source: {tmp_path}/rows.csv}}\noutput: {tmp_path}/new/out\n"
    config_file.write_text(text)
    code, out, err = run("doctor", config_file)
    assert (code, err) == (0, "")
    assert "data.source" in out and "rows.csv: may be read" in out
    assert f"/new/out: local disk, will be made in {tmp_path}" in out
    assert "/new/out: may be listed, written" in out
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "c.yaml"}
    config_file.write_text(text.replace("rows.csv", "gone.csv"))
    code, out, err = run("doctor", config_file)
    assert code == 1 and "gone.csv does not exist" in err
    assert "gone.csv: refused" in out and "/new/out: may be listed" in out


# --- exit codes and streams --------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], "No such command"),
        (["train"], "Missing argument"),
        (["train", "none.yaml"], "none.yaml does not exist"),
        (["rows"], "Missing option"),
        (["rows", "--artifact", "a", "--count", "many"], "Invalid value for"),
        (["generate"], "neither CONFIG nor --artifact"),
        (["generate", "--artifact", "a"], "--rows and --out are missing"),
        (["generate", "c.yaml", "--rows", "5", "--seed", "1"], "--rows, --seed: only with"),
        (["generate", "--artifact", "a", "--rows", "0", "--out", "o"], "generate.rows"),
        (["generate", "--artifact", "a", "--rows", "1", "--out", "o", "--where", "x"], "not col="),
        (["evaluate"], "no CONFIG"),
        (["evaluate", "--real", "r"], "no CONFIG"),
        (["evaluate", "c.yaml", "--real", "r"], "--real: only with"),
        (["evaluate", "c.yaml", "--report", "r.html"], "--report: only with"),
        (["serve", "none.yaml", "serve.port=1"], "none.yaml does not exist"),
        (["serve", "env:SYNTHRAY_NOTHING"], "the variable SYNTHRAY_NOTHING of env:"),
        (["serve", "a/artifact", "b=x", "a=y"], "two models are named 'a'"),
        (["submit", "train", "none.yaml"], "Missing option"),
        (["adapt", "none.yaml"], "Missing option"),
        (["adapt", "none.yaml", "--base", "out"], "none.yaml does not exist"),
        (["submit", "train", "none.yaml", "--address", "http://x"], "none.yaml does not exist"),
    ],
)
def test_wrong_usage_is_told_on_stderr_with_exit_code_2(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert told in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_all_wrong_keys_of_a_config_are_told_at_once(run, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("dat: {}\ndata: {source: x, modalty: image}\ntrain: {steps: few}\noutput: o\n")
    code, out, err = run("train", path, "train.stepz=3")
    assert (code, out) == (2, "")
    assert "4 problems" in err
    for told in ("dat: unknown key; did you mean 'data'?", "did you mean 'modality'?"):
        assert told in err
    assert "train.stepz: unknown key; did you mean 'steps'?" in err
    assert "train.steps: must be an integer" in err


@pytest.mark.parametrize(("error", "code"), [(SynthRayError("broken"), 1), (GateError("low"), 3)])
def test_failures_end_with_1_and_missed_gates_with_3(
    run, monkeypatch: pytest.MonkeyPatch, error: SynthRayError, code: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Artifact, "load", fail)
    assert run("rows", "--artifact", "a") == (code, "", f"synthray: {error}\n")


def test_debug_shows_the_traceback(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHRAY_DEBUG", "")
    code, out, err = run("--debug", "rows", "--artifact", "nowhere")
    assert (code, out) == (1, "")
    assert "no artifact at nowhere" in err and "Traceback" in err


# --- init --------------------------------------------------------------------------------


def labelled_folder(root: Path, classes: int, each: int) -> Path:
    return tiny.class_folders(root, tuple(f"c{i:02d}" for i in range(classes)), each)


def test_init_writes_a_config_that_loads(run, tmp_path: Path) -> None:
    source = tiny.class_folders(tmp_path / "pets")
    path = tmp_path / "new" / "pets.yaml"
    code, out, err = run("init", source, "-o", path)
    assert (code, out) == (0, "")
    assert "6 rows" in err and "8 x 8 grey" in err and "2 values: cat, dog" in err
    made = config.load(str(path))
    assert (made.data.source, made.data.conditions) == (str(source), ["label"])
    assert (made.data.image_side, made.data.image_mode) == (8, "grey")
    assert made.evaluate.features == "domain"
    text = path.read_text()
    assert "#   image: image" in text and "#   label: categorical, condition; 2 values" in text


def test_init_lists_every_label_of_a_folder_though_it_looks_at_few_images(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthray.data.folder_source.FILES_PER_CHUNK", 2)
    source = labelled_folder(tmp_path / "s", classes=12, each=2)
    code, _, err = run("init", source, "-o", tmp_path / "c.yaml")
    assert code == 0
    assert "of 8 looked at" in err
    assert f"12 values: {', '.join(f'c{i:02d}' for i in range(12))}" in err


def test_init_lists_every_label_and_column_of_parquet(run, tmp_path: Path) -> None:
    cells = tiny.struct([tiny.png(tiny.noise(8, 8, 3, seed=i)) for i in range(18)])
    table = pa.table({"picture": cells, "label": [i // 2 for i in range(18)], "weight": [0.5] * 18})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    code, _, err = run("init", tmp_path / "t.parquet", "-o", tmp_path / "c.yaml")
    assert code == 0
    assert "8 x 8 rgb" in err and "9 values: 0, 1, 2, 3, 4, 5, 6, 7, 8" in err
    text = (tmp_path / "c.yaml").read_text()
    assert "#   picture: image" in text and "#   weight: double; not modelled" in text
    assert config.load(str(tmp_path / "c.yaml")).data.conditions == ["label"]


def test_init_without_labels_proposes_a_model_without_conditions(run, tmp_path: Path) -> None:
    source = tmp_path / "odd: name #1"
    source.mkdir()
    for index in range(4):
        (source / f"{index}.png").write_bytes(tiny.png(tiny.noise(8, 8, seed=index)))
    assert run("init", source, "-o", tmp_path / "c.yaml")[0] == 0
    made = config.load(str(tmp_path / "c.yaml"))
    assert (made.data.source, made.data.conditions) == (str(source), [])
    assert made.evaluate.features == "efficientnet-lite0"


def test_init_writes_a_config_for_parquet_of_numbers(run, tmp_path: Path) -> None:
    pq.write_table(tiny.ring(), tmp_path / "t.parquet")
    path = tmp_path / "c.yaml"
    code, out, err = run("init", tmp_path / "t.parquet", "-o", path)
    assert (code, out) == (0, "")
    assert "64 rows of 4 columns" in err and "  n: integer; int16; -3 to 3; 7 values" in err
    assert f"next: synthray run {path}" in err
    made = config.load(str(path))
    assert made.data.conditions == [] and made.data.image_side is None
    kinds = {name: column["kind"] for name, column in made.data.schema_.items()}
    assert kinds == {"x": "continuous", "y": "continuous", "n": "integer", "mode": "integer"}
    text = path.read_text()
    assert "image_side" not in text
    # The families that are named for numbers alone learn from this source as it is described.
    _, codec = open_data(made.data)
    advised = text.split("for any table; ", 1)[1].split(" learn from", 1)[0].split(",")
    for name in {word.strip() for word in advised}:
        models.build(config.ModelConfig(name=name), codec.fit([codec.partial(tiny.ring())]))


def test_init_writes_every_column_of_a_table_to_be_corrected_in_place(run, tmp_path: Path) -> None:
    lines = [f"K-{n:04d};{n % 7};{'ab?'[n % 3]};{1 + n % 28:02d}.03.2020;{n}" for n in range(50)]
    lines[3] = lines[3].replace(";3;", ";;")
    (tmp_path / "t.csv").write_text("\n".join(['key;n;"odd: #name";day;"two\nlines"', *lines]))
    path = tmp_path / "c.yaml"
    code, out, err = run("init", tmp_path / "t.csv", "-o", path)
    assert (code, out) == (0, "")
    assert "separated by semicolons" in err and "'?' (16) counts as missing" in err
    assert "n: integer; int64; 2.0% missing; 0 to 6; 7 values" in err
    made = config.load(str(path))
    assert made.model.name == "nade" and made.data.schema_ == {
        "key": {"kind": "id", "pattern": r"K-\d{4}"},
        "n": {"kind": "integer"},
        "odd: #name": {"kind": "categorical"},
        "day": {"kind": "datetime", "format": "%d.%m.%Y"},
        "two\nlines": {"kind": "id"},
    }
    text = path.read_text()
    assert "32.0% missing; 2 values; such as a, b" in text
    assert "t.csv: UTF-8, separated by semicolons, a header in line 2" in text
    # What was found is what would be found again, without another look at the rows.
    source = open_source(str(tmp_path / "t.csv"))
    found = infer_table_schema(source, {})
    settled = replace(source, chunks=[])
    assert infer_table_schema(settled, made.data.schema_) == found


@pytest.mark.parametrize(
    ("rows", "told", "after"),
    [
        (1, "one row is too few to learn from", "more rows\n"),
        (19, "19 rows are too few to judge by", "synthray train "),
        (20, "20 rows of 2 columns", "synthray run "),
    ],
)
def test_init_says_which_command_takes_so_few_rows(
    run, tmp_path: Path, rows: int, told: str, after: str
) -> None:
    lines = [f"{n / 7:.3f},{'ab'[n % 2]}" for n in range(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    code, _, err = run("init", tmp_path / "t.csv", "-o", tmp_path / "c.yaml")
    assert code == 0 and told in err and f"next: {after}" in err


def test_names_found_in_the_data_cannot_become_config(run, tmp_path: Path) -> None:
    name = "label\nseed: 7 #"
    cells = tiny.struct([tiny.png(tiny.noise(8, 8))] * 2)
    pq.write_table(pa.table({"image": cells, name: ["a", "b"]}), tmp_path / "t.parquet")
    assert run("init", tmp_path / "t.parquet", "-o", tmp_path / "c.yaml")[0] == 0
    assert config.load(str(tmp_path / "c.yaml")).seed == 0


def test_init_does_not_overwrite_unless_forced(run, tmp_path: Path) -> None:
    source = tiny.class_folders(tmp_path / "pets")
    path = tmp_path / "c.yaml"
    path.write_text("mine")
    code, out, err = run("init", source, "-o", path)
    assert (code, out) == (2, "")
    assert f"{path} exists" in err and "--force" in err
    assert path.read_text() == "mine"
    assert run("init", source, "-o", path, "--force")[0] == 0
    assert config.load(str(path)).data.source == str(source)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing", "does not exist"),
        ("empty", "holds no files"),
        ("texts", "1 files, none of them an image or a table"),
        ("damaged", "can be read"),
        ("table.parquet", "no column that can be learned: a: left out, tables do not take list"),
        ("false.parquet", "not a Parquet file"),
    ],
)
def test_a_bad_source_is_told(run, tmp_path: Path, name: str, told: str) -> None:
    for folder in ("empty", "texts", "damaged"):
        (tmp_path / folder).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    (tmp_path / "damaged" / "a.png").write_bytes(b"no picture")
    pq.write_table(pa.table({"a": [[1]]}), tmp_path / "table.parquet")
    (tmp_path / "false.parquet").write_bytes(b"no table")
    code, out, err = run("init", tmp_path / name, "-o", tmp_path / "c.yaml")
    assert (code, out) == (2, "")
    assert told in err and "data.source: " in err and "Traceback" not in err
    assert not (tmp_path / "c.yaml").exists()


# --- rows --------------------------------------------------------------------------------


def test_rows_go_to_stdout_as_json_lines(run, artifact_uri: str) -> None:
    words = ("--start", 1020, "--count", 7, "--seed", 3)
    code, out, err = run("rows", "--artifact", artifact_uri, *words)
    assert (code, err) == (0, "")
    expected = VirtualDataset(Artifact.load(artifact_uri), 3).rows(1020, 7)
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["label"] for row in found] == expected["label"].to_pylist()
    assert len(found) == 7 and set(found[0]["image"]) == {"bytes", "path"}


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl"])
def test_rows_in_a_file_are_those_of_the_artifact(
    run, artifact_uri: str, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"slice.{ending}"
    words = ("--count", 1100, "--where", "label=3", "--out", path)
    assert run("rows", "--artifact", artifact_uri, *words) == (0, "", "")
    expected = VirtualDataset(Artifact.load(artifact_uri), 0, {"label": "3"}).rows(0, 1100)
    if ending == "jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["label"] for line in lines] == ["3"] * 1100
        return
    if ending == "parquet":
        found = pq.read_table(path)
    else:
        found = pa.ipc.open_stream(io.BytesIO(path.read_bytes())).read_all()
    assert found.replace_schema_metadata(None).equals(expected.replace_schema_metadata(None))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--count", 0], 2, "--count 0: these are no rows"),
        (["--start", -1], 2, "--start -1: there is no such row\n  → rows count from 0"),
        (["--start", 2**63, "--count", 1], 2, "out of range"),
        (["--seed", -1], 2, "seed: -1 is out of range"),
        (["--where", "label=7x"], 2, "known values: 0, 1, 2"),
        (["--where", "size=3"], 2, "its conditions: label"),
        (["--where", "label"], 2, "not col=value"),
        (["--out", "slice.xlsx"], 2, "use .parquet, .arrow, .csv or .jsonl"),
        (["--out", "slice.csv"], 2, "column 'image' is of images, which CSV cannot hold"),
    ],
)
def test_rows_that_cannot_be_are_told(
    run, artifact_uri: str, words: list[object], code: int, told: str
) -> None:
    found, out, err = run("rows", "--artifact", artifact_uri, *words)
    assert (found, out) == (code, "")
    assert told in err and "Traceback" not in err


def test_a_corrupt_or_missing_artifact_is_told(run, artifact_uri: str, tmp_path: Path) -> None:
    copy = tmp_path / "artifact"
    copy.mkdir()
    for file in Path(artifact_uri).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    for uri, told in ((copy, "model.safetensors is corrupt"), (tmp_path / "no", "no artifact at")):
        code, out, err = run("rows", "--artifact", uri)
        assert (code, out) == (1, "")
        assert told in err


# --- results -----------------------------------------------------------------------------


def test_scores_are_a_table_for_people() -> None:
    report = {
        "scores": {"frechet_domain": {"value": 2.5, "floor": 1.0}, "kid_domain": {"value": None}},
        "utility": {"tstr": {"accuracy": 0.9}, "trtr": {"accuracy": 0.95}},
    }
    lines = cli.using._score_lines(report).splitlines()
    assert [line.split()[0] for line in lines] == [
        "score",
        "frechet_domain",
        "kid_domain",
        "accuracy",
    ]
    assert lines[1].split()[1:] == ["2.5", "1"] and lines[2].split()[1:] == ["–", "–"]
    assert lines[3].split()[-2:] == ["0.9", "0.95"]


def test_images_are_base64_in_json_lines(run, artifact_uri: str) -> None:
    _, out, _ = run("rows", "--artifact", artifact_uri, "--count", 1)
    cell = base64.b64decode(json.loads(out)["image"]["bytes"])
    assert np.asarray(Image.open(io.BytesIO(cell))).shape == (8, 8)


def test_an_interrupt_is_told_and_has_its_own_exit_code(run, monkeypatch, artifact_uri) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    monkeypatch.setattr(Artifact, "load", interrupted)
    code, out, err = run("rows", "--artifact", artifact_uri)
    assert (code, out) == (130, "")
    assert "interrupted; the same command goes on" in err


def test_a_condition_given_twice_is_refused(run, artifact_uri: str) -> None:
    words = ("rows", "--artifact", artifact_uri, "--where", "label=1", "--where", "label=2")
    code, _, err = run(*words)
    assert code == 2 and "--where label: given more than once" in err


def test_more_shards_than_can_be_numbered_are_refused(run, artifact_uri: str, tmp_path) -> None:
    words = ("generate", "--artifact", artifact_uri, "--out", tmp_path / "out")
    code, _, err = run(*words, "--rows", 10**20)
    assert code == 2 and "generate.shard_rows: " in err and "1,000,000 shards" in err
    assert not (tmp_path / "out").exists()
