"""What is computed on a GPU: the same training, and the same rows, as on a processor.

Skipped where there is none. CUDA's matrix products sum in another order than a processor's, so
nothing is the same bit for bit across the two; on one GPU everything is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from people import people, people_codec
from tiny import codec as image_codec
from tiny import noise
from torch import Tensor

from synthray import artifact as artifacts
from synthray.artifact import Artifact
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.codec import Codec, Encoded
from synthray.models.base import Batch
from synthray.rng import Rows
from synthray.sampling.virtual import VirtualDataset
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.device import deterministic
from synthray.training.engine import Engine
from synthray.training.loop import Hooks, train

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
    pytest.mark.filterwarnings("error:.*deterministic.*"),
]

ROWS, BATCH, SIDE = 256, 32, 28
IMAGES: dict[str, dict[str, Any]] = {
    "gan": {"latent_dim": 8, "generator_widths": [32], "critic_widths": [32]},
    "dcgan": {"latent_dim": 8, "width": 8, "critic_width": 8},
    "wgan": {"latent_dim": 8, "width": 8, "critic_width": 8},
    "wgan_gp": {"latent_dim": 8, "width": 8, "critic_width": 8},
    "sngan": {"latent_dim": 8, "width": 8, "critic_width": 8},
    "sagan": {"latent_dim": 8, "width": 8, "critic_width": 8},
    "rpgan": {
        "latent_dim": 8,
        "width": 8,
        "critic_width": 8,
        "augment": {"kinds": ["translation", "cutout"], "adaptive": True, "rows": 100},
    },
    "vae": {"latent_dim": 8, "width": 8},
    "cvae": {"latent_dim": 8, "width": 8},
}
TABLES: dict[str, dict[str, Any]] = {
    "nade": {},
    "tvae": {"latent_dim": 8, "encoder_widths": [32], "decoder_widths": [32]},
    "ctgan": {"latent_dim": 8, "generator_widths": [32], "critic_widths": [32], "pack": 4},
    "rptgan": {"latent_dim": 8, "generator_widths": [32], "critic_widths": [32]},
}
FAMILIES = IMAGES | TABLES


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """As training workers compute, and float32 products in full, for comparisons."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    deterministic()
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32 = tf32


def prepared(name: str) -> tuple[Codec, Encoded]:
    if name in TABLES:
        table: Codec = people_codec("sex", family="nade" if name == "nade" else "tvae")
        return table, table.encode(people(ROWS))
    labels = {} if name == "vae" else {"label": pa.array(["abc"[i % 3] for i in range(ROWS)])}
    images = image_codec(labels, SIDE)
    x = noise(ROWS, 1, SIDE, SIDE)
    return images, Encoded(x, np.arange(ROWS * len(labels)).reshape(ROWS, -1) % 3)


def config_of(name: str, **settings: Any) -> Config:
    settings = {"steps": 6, "batch_size": BATCH, "eval_every": 3, "checkpoint_every": 3} | settings
    model = {"name": name, "params": FAMILIES[name]}
    tree = {"data": {"source": "unused"}, "model": model, "train": settings, "output": "unused"}
    return Config.model_validate(tree)


def stepped(name: str, device: str, steps: int) -> tuple[list[dict[str, float]], Engine]:
    codec, data = prepared(name)
    engine = new_engine(config_of(name), codec, Rows.all(BATCH), device)
    batches = MemoryBatches(data, BATCH, 0).start_at(0)
    terms = []
    for _ in range(steps):
        encoded = next(batches)
        x = codec.scale(torch.from_numpy(encoded.x).to(device))
        told = engine.train_step(Batch(x, torch.from_numpy(encoded.cond).to(device)))
        terms.append({key: float(value) for key, value in told.items()})
    return terms, engine


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_training_step_is_that_of_a_processor(name: str) -> None:
    """The first step's losses agree to float32's sums, the second's to what Adam makes of them:
    it divides by gradients that may be next to nothing.
    """
    here, _ = stepped(name, "cpu", 2)
    there, engine = stepped(name, "cuda", 2)
    assert engine.model.phases() and next(engine.model.parameters()).is_cuda
    assert there[0].keys() == here[0].keys()
    for key, value in here[0].items():
        assert there[0][key] == pytest.approx(value, rel=1e-3, abs=1e-3), key
    for key, value in here[1].items():
        assert there[1][key] == pytest.approx(value, rel=0.05, abs=0.05), key


def trained(config: Config, place: Path, stop_at: int | None = None) -> tuple[Engine, Codec]:
    """By the loop, with its guard, looks and checkpoints; stopped as if killed."""
    codec, data = prepared(config.model.name)
    engine = new_engine(config, codec, Rows.all(BATCH), "cuda")
    hooks = Hooks(on_eval=lambda progress, _: progress.step == stop_at)
    batches = MemoryBatches(data, BATCH, config.seed)
    train(engine, codec, batches, CheckpointStore(str(place), "f" * 64), hooks)
    return engine, codec


def state_of(engine: Engine) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in engine.state().items()}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(FAMILIES))
def test_training_that_resumes_is_bit_identical(name: str, precision: str, tmp_path: Path) -> None:
    config = config_of(name, precision=precision)
    whole = state_of(trained(config, tmp_path / "whole")[0])
    trained(config, tmp_path / "parts", stop_at=3)
    parts = state_of(trained(config, tmp_path / "parts")[0])
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
        assert not value.is_floating_point() or value.isfinite().all(), key


@pytest.fixture(scope="module", params=list(FAMILIES))
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Trained on the GPU for some steps."""
    config, place = config_of(request.param), tmp_path_factory.mktemp("gpu")
    engine, codec = trained(config, place / "checkpoints")
    uri = str(place / "artifact")
    artifacts.save(uri, config.model, engine.sampler_state(), codec, {"source": "test"})
    return Artifact.load(uri)


def test_any_slice_is_the_same(artifact: Artifact) -> None:
    whole = VirtualDataset(artifact, seed=3, device="cuda").rows(0, 9 * 1024)
    for start, count in [(0, 1), (1000, 100), (1024, 3000), (9000, 216)]:
        part = VirtualDataset(artifact, seed=3, device="cuda").rows(start, count)
        assert part.equals(whole.slice(start, count)), (start, count)


def test_rows_are_those_of_a_processor(artifact: Artifact) -> None:
    """But for the last digit of numbers, and of a few draws the code next to it."""
    here = VirtualDataset(artifact, seed=3, images="tensor").rows(0, 2048)
    there = VirtualDataset(artifact, seed=3, images="tensor", device="cuda").rows(0, 2048)
    assert here.schema.equals(there.schema)
    for name in here.column_names:
        one, other = here[name].combine_chunks(), there[name].combine_chunks()
        if name == "image":
            mine, theirs = (c.to_numpy_ndarray().astype(int) for c in (one, other))
            assert np.abs(mine - theirs).max() <= 1
            assert np.mean(mine != theirs) < 0.001
        elif pa.types.is_floating(one.type) or pa.types.is_integer(one.type):
            assert np.mean(_filled(one) != _filled(other)) < 0.05
            spread = np.nanstd(_filled(one))
            assert np.mean(np.abs(_filled(one) - _filled(other)) > 0.01 * spread) < 0.01, name
        else:
            same = sum(a == b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True))
            assert same > 0.98 * len(one), name


def _filled(column: Any) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).fill_null(-1e9))
