"""How much of the machine does generation through Ray leave for the generator?

Writes the same Parquet files in two ways, in turn, and compares rows per second:

    bare   two single-threaded processes, each looping: sample a shard, write it with pyarrow
    ours   synthray.distributed.generate with two workers: Ray, blocks, receipts, manifest

The generator is untrained: its speed does not depend on its weights. The files of both are
compared byte by byte at the end.

    python benchmarks/generate.py --shards 8 --shard-rows 8192 --repeats 3
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from synthray import artifact as artifacts
from synthray import models
from synthray.artifact import Artifact
from synthray.config import BLOCK_ROWS, Config, ModelConfig, parse
from synthray.data.image_codec import ImageCodec
from synthray.data.images import STRUCT
from synthray.data.schema import Column, Kind, Schema
from synthray.sampling.dataset import write_parquet
from synthray.sampling.virtual import VirtualDataset


def make_artifact(uri: str, family: str, width: int, side: int) -> None:
    """An untrained conditional generator of grey images."""
    random = np.random.default_rng(0)
    cells = []
    for _ in range(20):
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (side, side), dtype=np.uint8)).save(out, "PNG")
        cells.append({"bytes": out.getvalue(), "path": ""})
    rows = pa.table({"image": pa.array(cells, STRUCT), "label": [str(i % 10) for i in range(20)]})
    label = Column(name="label", kind=Kind.categorical, condition=True)
    codec = ImageCodec(Schema(columns=(Column(name="image", kind=Kind.image), label)))
    spec = codec.fit([codec.partial(rows)])
    params = {"width": width} if family == "dcgan" else {}
    config = ModelConfig(name=family, params=params)
    torch.manual_seed(0)
    model = models.build(config, spec)
    artifacts.save(uri, config, model.sampler_state(), codec, {"source": "noise", "rows": 20})


def bare(config: Config, uri: str, out: str) -> float:
    """Seconds from the moment that every process has loaded its model."""
    workers = config.cluster.workers
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    processes = [
        context.Process(target=_bare_process, args=(config, uri, out, rank, ready))
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait(timeout=300)
    start = time.perf_counter()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a bare process failed")
    return time.perf_counter() - start


def _bare_process(config: Config, uri: str, out: str, rank: int, ready: Any) -> None:
    torch.set_num_threads(1)
    settings = config.generate
    virtual = VirtualDataset(Artifact.load(uri), settings.seed, images=settings.images)
    os.makedirs(out, exist_ok=True)
    ready.wait(timeout=300)
    for shard in range(rank, settings.rows // settings.shard_rows, config.cluster.workers):
        with pa.OSFile(f"{out}/part-{shard:06d}.parquet", "wb") as sink:
            batches = virtual.batches(shard * settings.shard_rows, settings.shard_rows)
            write_parquet(sink, virtual.arrow_schema, batches)


def ours(config: Config, uri: str, out: str) -> float:
    """Seconds of the whole command: Ray's start, the workers' imports, and the generation."""
    from synthray.distributed.cluster import connect
    from synthray.distributed.generate import generate

    begin = time.perf_counter()
    with connect(config.cluster):
        generate(uri, config.generate, out, config, say=lambda _: None)
        return time.perf_counter() - begin


def start_up(config: Config, uri: str, out: str, rows_per_second: float) -> float:
    """Seconds of the same command for one block a worker, less what bare takes for those."""
    rows = BLOCK_ROWS * config.cluster.workers
    settings = config.generate.model_copy(update={"rows": rows, "shard_rows": BLOCK_ROWS})
    seconds = ours(config.model_copy(update={"generate": settings}), uri, out)
    return max(seconds - rows / rows_per_second, 0.0)


def same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.glob("*.parquet"))
    if names != sorted(path.name for path in other.glob("*.parquet")):
        return False
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--family", default="dcgan", help="dcgan, gan, cvae (default: dcgan)")
    parser.add_argument("--width", type=int, default=32, help="of dcgan (default: 32)")
    parser.add_argument("--side", type=int, default=28, help="pixels (default: 28)")
    parser.add_argument("--shards", type=int, default=8, help="files of a run (default: 8)")
    parser.add_argument("--shard-rows", type=int, default=8192, help="(default: 8192)")
    parser.add_argument("--workers", type=int, default=2, help="(default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    given = parser.parse_args()
    rows = given.shards * given.shard_rows
    with tempfile.TemporaryDirectory(prefix="synthray-benchmark-") as place:
        tree = {
            "data": {"source": place},
            "output": place,
            "train": {"batch_size": 2 * given.workers},
            "cluster": {"workers": given.workers},
            "generate": {"rows": rows, "shard_rows": given.shard_rows, "images": "tensor"},
        }
        compare(parse(tree), given, Path(place))


def compare(config: Config, given: argparse.Namespace, place: Path) -> None:
    """Alternate the two, and print the medians."""
    uri, rows = str(place / "artifact"), config.generate.rows
    make_artifact(uri, given.family, given.width, given.side)
    print(
        f"{rows:,} rows of {given.side} x {given.side}, {given.shards} files, "
        f"{given.workers} processes of one thread, {len(os.sched_getaffinity(0))} cores"
    )
    bare_speeds, ours_seconds, starts = [], [], []
    for repeat in range(given.repeats):
        out = {name: place / f"{name}-{repeat}" for name in ("bare", "ours", "start")}
        bare_speeds.append(rows / bare(config, uri, str(out["bare"])))
        ours_seconds.append(ours(config, uri, str(out["ours"])))
        starts.append(start_up(config, uri, str(out["start"]), bare_speeds[-1]))
        if not same_files(out["bare"], out["ours"] / "data"):
            sys.exit("the two wrote different files")
        for folder in out.values():
            shutil.rmtree(folder)
        print(
            f"  run {repeat + 1}: bare {rows / bare_speeds[-1]:.1f} s, "
            f"ours {ours_seconds[-1]:.1f} s, of it start {starts[-1]:.1f} s"
        )
    speed, start = statistics.median(bare_speeds), statistics.median(starts)
    whole = rows / statistics.median(ours_seconds)
    steady = rows / max(statistics.median(ours_seconds) - start, 1e-9)
    print("medians")
    print(f"  bare                  {speed:>9,.0f} rows/s")
    print(f"  ours without start    {steady:>9,.0f} rows/s, {steady / speed:.2f} of bare")
    print(f"  ours with start       {whole:>9,.0f} rows/s, {whole / speed:.2f} of bare")
    print(f"  start                 {start:>9.1f} s: Ray, and the workers' imports and models")


if __name__ == "__main__":
    main()
