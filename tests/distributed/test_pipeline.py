"""`synthray run` as people run it: one command, all of the contract, nothing left behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import ray
import tiny
import yaml
from mixed import mixed

import synthray
from synthray.config import ClusterConfig
from synthray.distributed.cluster import connect
from synthray.metrics.report import report_json

pytestmark = pytest.mark.timeout(400)

MARK = "SYNTHRAY_TEST_MARK"
Run = Callable[..., tuple[int, str, str]]
TINY: dict[str, Any] = {
    "model": {"name": "dcgan", "params": {"width": 4, "critic_width": 4, "latent_dim": 8}},
    "train": {"steps": 4, "batch_size": 16, "eval_every": 2, "checkpoint_every": 2},
    "generate": {"rows": 1500, "shard_rows": 1024, "seed": 5},
    "evaluate": {"epochs": 1},
}


class Finished:
    """A command that has ended, and what of it still runs."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        mark = uuid.uuid4().hex
        settings = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        done = subprocess.run(
            [sys.executable, "-m", "synthray", *words],
            cwd=folder,
            env=settings | {MARK: mark, "OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.left = left_behind(mark)


def left_behind(mark: str) -> list[str]:
    """Command lines of the processes that have inherited the mark; dying ones get a moment."""
    end = time.monotonic() + 30
    while (found := marked(mark)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def marked(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def write_config(folder: Path, **sections: Any) -> None:
    tree = {"data": {"source": "pets"}, "output": "out", **TINY}
    (folder / "c.yaml").write_text(yaml.safe_dump(tree | sections))


def times(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("work")
    tiny.class_folders(root / "pets", each=60)
    write_config(root)
    return root


@pytest.fixture(scope="module")
def first(folder: Path) -> Finished:
    return Finished(folder, "run", "c.yaml")


def test_one_command_makes_all_of_the_contract(folder: Path, first: Finished) -> None:
    assert first.code == 0, first.err
    assert first.out == f"{folder / 'out'}\n"
    files = set(times(folder / "out"))
    assert files >= {
        "artifact/artifact.json",
        "artifact/codec.json",
        "artifact/model.safetensors",
        "samples/step-000000002.png",
        "samples/step-000000004.png",
        "synthetic/README.md",
        "synthetic/_synthray/manifest.json",
        "synthetic/_synthray/receipts/000000.json",
        "synthetic/_synthray/receipts/000001.json",
        "synthetic/data/part-000000.parquet",
        "synthetic/data/part-000001.parquet",
        "report.html",
        "report.json",
        "served.arrow",
    }
    assert any(name.startswith("checkpoints/step-") for name in files)
    assert not any(".tmp" in name for name in files)


def test_only_our_own_lines_are_said(first: Finished) -> None:
    told = (
        "— ",
        "120 rows at ",
        "encoded to ",
        "training ",
        "artifact ",
        "generating ",
        "1,500 rows ",
        "120 real, ",
        "report at ",
    )
    assert [line for line in first.err.splitlines() if not line.startswith(told)] == []


def test_nothing_is_left_running(first: Finished) -> None:
    assert first.left == []


def test_the_served_batch_is_the_beginning_of_the_dataset(folder: Path, first: Finished) -> None:
    served = pa.ipc.open_stream(io.BytesIO((folder / "out/served.arrow").read_bytes())).read_all()
    written = ds.dataset(folder / "out/synthetic/data").to_table()
    assert served.num_rows == written.num_rows == 1500
    assert served.to_pylist() == written.to_pylist()


def test_the_card_and_the_report_tell_the_scores(folder: Path, first: Finished) -> None:
    report = json.loads((folder / "out/report.json").read_text())
    card = (folder / "out/synthetic/README.md").read_text()
    assert "frechet_domain" in report["scores"] and report["compared"]["rows"] == 1500
    assert "frechet_domain" in card


def test_a_command_that_fails_leaves_all_as_it_was(folder: Path, first: Finished) -> None:
    before = times(folder / "out")
    failed = Finished(folder, "run", "c.yaml", "train.steps=5")
    assert (failed.code, failed.out, failed.left) == (1, "", [])
    assert "was trained with other settings" in failed.err and "Traceback" not in failed.err
    assert times(folder / "out") == before


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.source=none", "data.source: "),
        ("evaluate.gates={tsrt: {min: 1}}", "did you mean 'tstr'"),
        ("evaluate.holdout=none", "evaluate.holdout: "),
        ("model.params={widht: 3}", "did you mean 'width'"),
        ("data.conditions=[colour]", "no column named 'colour'"),
        ("data.source=ring.parquet & evaluate.target=xy", "evaluate.target: no column 'xy'"),
    ],
)
def test_what_cannot_be_is_told_before_ray_starts(
    folder: Path, override: str, told: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    pq.write_table(tiny.ring(), folder / "ring.parquet")
    code, out, err = run("run", "c.yaml", "output=never", *override.split(" & "))
    assert (code, out) == (2, "")
    assert told in err and "Traceback" not in err
    assert not ray.is_initialized() and not (folder / "never").exists()


# A command within `connect` uses that cluster; those above have one of their own each, or none.


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with connect(ClusterConfig(workers=1)):
            yield


def test_the_same_command_again_changes_nothing(
    folder: Path, first: Finished, cluster: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = times(folder / "out")
    code, _, err = run("run", "c.yaml")
    assert code == 0
    assert times(folder / "out") == before
    assert err.count("already") == 4


def test_a_missed_gate_is_told_when_everything_else_is_done(
    folder: Path,
    first: Finished,
    cluster: None,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # From another folder, by a path; the output is relative to where the command runs.
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out/served.arrow").unlink()
    shutil.copytree(folder / "pets", tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    words = (folder / "c.yaml", "evaluate.gates={tstr: {min: 1.5}}")
    code, out, err = run("run", *words)
    assert (code, out) == (3, "")
    assert "1 of 1 quality gates missed" in err and "tstr is" in err
    assert (tmp_path / "out/served.arrow").exists()
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["passed"] is False
    # Told again by the report that is there, with the scores as the result.
    code, out, err = run("evaluate", *words, "--json")
    assert code == 3 and "tstr" in err
    assert json.loads(out)["scores"] == report["scores"]


def test_tables_are_judged_by_their_files(
    cluster: None, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("real", "synthetic", "holdout")):
        pq.write_table(mixed(300, seed), tmp_path / f"{name}.parquet", row_group_size=100)
    files = [word for name in ("real", "synthetic", "holdout") for word in (f"--{name}", name)]
    files[1::2] = [f"{name}.parquet" for name in files[1::2]]
    code, out, err = run("evaluate", *files, "--report", "r.html", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told == json.loads((tmp_path / "r.json").read_text())
    here = synthray.evaluate(
        *(str(tmp_path / f) for f in files[1:4:2]), holdout=str(tmp_path / files[5])
    )
    assert told["scores"] == report_json(here)["scores"]
    assert "<h2>Privacy</h2>" in (tmp_path / "r.html").read_text()


def test_an_output_of_another_dataset_is_left_as_it_is(
    folder: Path, first: Finished, cluster: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = times(folder / "out")
    code, out, err = run("run", "c.yaml", "generate.rows=99")
    assert (code, out) == (1, "")
    assert "already belongs to another dataset: rows = 1500 there, 99 here" in err
    assert "Traceback" not in err
    assert times(folder / "out") == before


def test_an_artifact_is_adapted_to_new_data(
    folder: Path, first: Finished, cluster: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    tiny.class_folders(folder / "more", ("dog", "fox"), each=40)
    tree = {"data": {"source": "more"}, "output": "adapted", **TINY}
    (folder / "more.yaml").write_text(yaml.safe_dump(tree))
    code, out, err = run("adapt", "more.yaml", "--base", folder / "out" / "artifact", "--json")
    assert code == 0, err
    manifest = json.loads((folder / "adapted" / "artifact" / "artifact.json").read_text())
    assert json.loads(out)["digest"] == manifest["digest"]
    assert manifest["model"]["name"] == "adgan"
    assert manifest["card"]["adapted"]["share"] <= 0.03
    code, _, err = run("generate", "more.yaml")
    assert code == 0, err
    table = ds.dataset(folder / "adapted" / "synthetic" / "data").to_table()
    assert len(table) == 1500
    assert set(table["label"].to_pylist()) == {"dog", "fox"}


def test_an_artifact_is_generated_from_without_a_config(
    folder: Path, first: Finished, cluster: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ("--artifact", "out/artifact", "--rows", "1500", "--seed", "5", "--out", "copy")
    code, out, err = run("generate", *words, "generate.shard_rows=1024", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"] == 1500
    for name in ("part-000000.parquet", "part-000001.parquet"):
        ours, theirs = (folder / place / "data" / name for place in ("copy", "out/synthetic"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_from_parquet_of_numbers_to_a_dataset(
    cluster: None, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def synthray(*words: str) -> str:
        code, out, err = run(*words)
        assert code == 0, err
        return out + err

    pq.write_table(tiny.ring(200), tmp_path / "ring.parquet", row_group_size=50)
    synthray("init", "ring.parquet", "-o", "ring.yaml")
    few = [f"train.{name}={value}" for name, value in TINY["train"].items()]
    settings = (*few, "model.name=rpgan", "data.conditions=[mode]", "output=out")
    told = synthray("train", "ring.yaml", *settings)
    assert f"encoded to (3,), {200 * 3 * 4 / 1e9:.3g} GB" in told
    words = ("--artifact", "out/artifact", "--start", "1000", "--count", "40", "--out", "s.parquet")
    synthray("rows", *words)
    slice_ = pq.read_table(tmp_path / "s.parquet").replace_schema_metadata(None)
    assert slice_.num_rows == 40 and slice_.schema.equals(tiny.ring().schema)
    synthray("generate", "ring.yaml", *settings, "generate.rows=1500")
    rows = ds.dataset(tmp_path / "out/synthetic/data").to_table().replace_schema_metadata(None)
    assert rows.num_rows == 1500 and slice_.equals(rows.slice(1000, 40))
