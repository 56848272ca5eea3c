"""AD-GAN: an adapter on a frozen generator, and the way back to the base."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny import png

import synthray
from synthray import models
from synthray.adapting import adapting, adopt_base, critic_rate, rate, with_data
from synthray.artifact import Artifact
from synthray.artifact_files import Manifest
from synthray.config import Config
from synthray.data.batches import MemoryBatches
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.errors import ArtifactError, ConfigError
from synthray.models.adgan import AdGAN
from synthray.models.base import Batch
from synthray.models.deltas import LowRank
from synthray.rng import Rows
from synthray.sampling.virtual import VirtualDataset
from synthray.training.beginning import new_engine
from synthray.training.checkpoint import CheckpointStore
from synthray.training.engine import Engine
from synthray.training.loop import Hooks, Training, train

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILIES: dict[str, dict[str, Any]] = {
    "gan": {"generator_widths": [64, 128], "critic_widths": [64, 32]},
    "dcgan": {"width": 16, "critic_width": 8},
    "sagan": {"width": 16, "critic_width": 8},
    "rpgan": {"width": 16, "critic_width": 8},
}
MIDDLE = {
    "gan": ("hidden.1", "output"),
    "dcgan": ("decoder.ups.0", "decoder.output"),
    "sagan": ("decoder.blocks.0", "decoder.output"),
    "rpgan": ("decoder.blocks.0", "decoder.output"),
}
QUICK = {"steps": 4, "batch_size": 8, "eval_every": 2, "checkpoint_every": 2}


def bars(root: Path, classes: str, seed: int) -> Path:
    """A folder per class: noise with a bright bar where the class says."""
    random = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(24):
            pixels = random.integers(0, 60, (16, 16), dtype=np.uint8)
            pixels[int(name) : int(name) + 3] = 200
            (root / name / f"{index}.png").write_bytes(png(pixels))
    return root


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bars(tmp_path_factory.mktemp("old"), "012", 0)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bars(tmp_path_factory.mktemp("new"), "129", 1)


@pytest.fixture(scope="module")
def base(old: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> str:
    return trained(old, "dcgan", tmp_path_factory.mktemp("base"))


def trained(source: Path, family: str, place: Path) -> str:
    model = {"name": family, "params": FAMILIES[family]}
    synthray.fit(str(source), output=str(place), model=model, train=QUICK)
    return str(place / "artifact")


def config_of(source: Path, base: str, output: Path, **params: Any) -> tuple[Config, Any, Any]:
    tree = {
        "data": {"source": str(source)},
        "model": {"name": "adgan", "params": params},
        "train": QUICK,
        "output": str(output),
    }
    config = adapting(Config.model_validate(tree), base)
    opened, codec = open_data(config.data)
    fit_codec(opened, codec, map)
    return with_data(config, codec), codec, encode_all(opened, codec, map)


def run(source: Path, base: str, output: Path, stop_at: int | None = None) -> Engine:
    config, codec, data = config_of(source, base, output)
    engine = new_engine(config, codec, Rows.all(8), prepare=adopt_base)
    store = CheckpointStore(config.place("checkpoints"), "f" * 64)
    hooks = Hooks(on_eval=lambda progress, _: progress.step == stop_at)
    train(engine, codec, MemoryBatches(data, 8, 0), store, hooks)
    return engine


def adapter_of(engine: Engine) -> AdGAN:
    assert isinstance(engine.model, AdGAN)
    return engine.model


@pytest.mark.parametrize("family", list(FAMILIES))
def test_step_0_is_the_base_bit_for_bit(family: str, old: Path, new: Path, tmp_path: Path) -> None:
    place = trained(old, family, tmp_path / "base")
    config, codec, _ = config_of(new, place, tmp_path / "adapted")
    engine = new_engine(config, codec, Rows.all(8), prepare=adopt_base)
    base = Artifact.load(place).model
    z = torch.randn(6, base.config.latent_dim)
    # 1 and 2 are the first two values of the new labels, and the last two of the old.
    mine, theirs = torch.tensor([[0], [1]] * 3), torch.tensor([[1], [2]] * 3)
    with torch.no_grad():
        adapted = engine.ema.model.generator(z, mine)
        expected = base.generator(z, theirs)
    assert torch.equal(adapted, expected)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_at_most_3_percent_are_trained_and_the_base_stays_as_it_was(
    family: str, old: Path, new: Path, tmp_path: Path
) -> None:
    place = trained(old, family, tmp_path / "base")
    engine = run(new, place, tmp_path / "adapted")
    model = adapter_of(engine)
    total = sum(p.numel() for p in Artifact.load(place).model.generator.parameters())
    moving = list(engine._moved(model.phases()[1]).values())
    assert 0 < sum(p.numel() for p in moving) <= 0.03 * total
    weights = Artifact.load(place).model.generator.state_dict()
    mine = model.generator.base.state_dict()
    for key, value in weights.items():
        head, _, last = key.rpartition(".")
        found = mine.get(key, mine.get(f"{head}.parametrizations.{last}.original"))
        assert found is not None
        assert torch.equal(found, value), key
    assert any(value.any() for key, value in model.sampler_state().items() if key.endswith(".b"))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_affine_parts_the_map_of_z_and_the_middle_block_with_the_output_layer_are_trained(
    family: str, old: Path, new: Path, tmp_path: Path
) -> None:
    place = trained(old, family, tmp_path / "base")
    model = adapter_of(run(new, place, tmp_path / "adapted"))
    moved = {key for key, value in model.sampler_state().items() if value.any()}
    assert any(key.startswith("generator.latent.b") for key in moved)
    assert any(key.startswith("generator.deltas.") and key.endswith(".b") for key in moved)
    assert any(key.startswith("generator.base.") and "bias" in key for key in moved)
    hooked = [n for n, m in model.generator.base.named_modules() if m._forward_hooks]
    assert all(name.startswith(MIDDLE[family]) for name in hooked), hooked
    spent = model.generator.share / model.config.budget
    assert 0.7 < spent <= 1


def test_a_narrow_layer_beside_a_wide_one_is_a_low_rank_change_of_its_weight() -> None:
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [
        torch.nn.Linear(6, 5),
        torch.nn.Conv2d(6, 5, 3, stride=2, padding=1),
        torch.nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1, bias=False),
    ]
    for layer in layers:
        x = torch.randn(3, 6) if isinstance(layer, torch.nn.Linear) else torch.randn(3, 6, 8, 8)
        delta = LowRank(layer, 2)
        with torch.no_grad():
            delta.b.normal_()
            narrow = delta(layer, (x,), layer(x))
            weight: Any = layer.weight
            change = 2 * weight.square().mean().sqrt() * (delta.b @ delta.a)
            weight += change.view_as(weight)
            torch.testing.assert_close(narrow, layer(x), rtol=1e-4, atol=1e-4)


def test_both_phases_of_a_step_share_one_draw(base: str, new: Path, tmp_path: Path) -> None:
    config, codec, data = config_of(new, base, tmp_path / "out")
    engine = new_engine(config, codec, Rows.all(8), prepare=adopt_base)
    model, draws = adapter_of(engine), 0

    def counted(*_: Any) -> None:
        nonlocal draws
        draws += 1

    model.generator.register_forward_hook(counted)
    encoded = next(MemoryBatches(data, 8, 0).start_at(0))
    x = codec.scale(torch.from_numpy(encoded.x))
    for step in (1, 2):
        engine.train_step(Batch(x, torch.from_numpy(encoded.cond)))
        assert draws == step


def test_small_batches_lower_the_rate_unless_it_is_given(
    base: str, new: Path, tmp_path: Path
) -> None:
    config, codec, _ = config_of(new, base, tmp_path / "out")
    rates = models.build(config.model, codec.spec).config
    assert rates.generator.lr == pytest.approx(2e-2 / 2)  # 8 rows a step, a quarter of 32
    assert rates.generator.beta1 == 0.0
    config, codec, _ = config_of(new, base, tmp_path / "out", generator={"lr": 0.5})
    assert models.build(config.model, codec.spec).config.generator.lr == 0.5
    assert rate(32) == rate(512) == 2e-2


def test_the_guard_judges_the_base_before_the_first_step(
    base: str, new: Path, tmp_path: Path
) -> None:
    config, codec, data = config_of(new, base, tmp_path / "out")
    engine = new_engine(config, codec, Rows.all(8), prepare=adopt_base)
    batches = MemoryBatches(data, 8, 0)
    training = Training(engine, codec, batches, CheckpointStore(str(tmp_path), "f" * 64), Hooks())
    judged = training.watch.state.base
    assert judged is not None and judged.step == 0
    assert training.watch.state.evaluations == [judged]


def test_few_rows_slow_the_critic_down(base: str, new: Path, tmp_path: Path) -> None:
    """A critic learns few rows by heart; how many there are is known once the data are read."""
    config, codec, _ = config_of(new, base, tmp_path / "out")
    critic = models.build(config.model, codec.spec).config.critic
    assert codec.spec.rows == 72
    assert critic.lr == pytest.approx(1e-3 * 0.72**0.5) and critic.beta1 == 0.0
    config, codec, _ = config_of(new, base, tmp_path / "out", critic={"lr": 0.5})
    assert models.build(config.model, codec.spec).config.critic.lr == 0.5
    assert critic_rate(100) == critic_rate(10**6) == 1e-3


def test_the_average_reaches_back_over_a_sixth_of_the_steps(
    base: str, new: Path, tmp_path: Path
) -> None:
    config, codec, _ = config_of(new, base, tmp_path / "out")
    engine = new_engine(config, codec, Rows.all(8), prepare=adopt_base)
    bias = adapter_of(engine).generator.latent.d
    with torch.no_grad():
        bias.fill_(1.0)
    engine.ema.update(engine.model, 96, 0.999)
    averaged = engine.ema.model.generator.latent.d
    torch.testing.assert_close(averaged, torch.full_like(averaged, 1 - 97 / 103))


def test_the_lower_layers_of_the_critic_are_frozen(base: str, new: Path, tmp_path: Path) -> None:
    config, codec, _ = config_of(new, base, tmp_path / "out", freeze=0.5)
    critic = adapter_of(new_engine(config, codec, Rows.all(8), prepare=adopt_base)).critic
    layers = [m for m in critic.base.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    frozen = [not layer.weight.requires_grad for layer in layers]
    assert frozen == sorted(frozen, reverse=True)
    assert 0 < sum(frozen) < len(frozen)


def test_an_adapted_artifact_is_small_and_samples_the_new_labels(
    base: str, new: Path, tmp_path: Path
) -> None:
    adapted = synthray.fit(str(new), output=str(tmp_path), base=base, train=QUICK)
    files = {path.name: path.stat().st_size for path in (tmp_path / "artifact").iterdir()}
    assert set(files) == {"artifact.json", "model.safetensors", "codec.json"}
    whole = (Path(base) / "model.safetensors").stat().st_size
    assert files["model.safetensors"] < 0.1 * whole  # few numbers, and a header of names
    assert adapted.card["adapted"]["base"] == Artifact.load(base).digest
    assert adapted.card["adapted"]["share"] <= 0.03
    again = synthray.load(str(tmp_path / "artifact"))
    table = again.sample(20, where={"label": "9"})
    assert table["label"].to_pylist() == ["9"] * 20
    assert table.equals(adapted.sample(20, where={"label": "9"}))
    assert VirtualDataset(again, 3).rows(1000, 60).equals(VirtualDataset(again, 3).rows(1000, 60))
    assert isinstance(table, pa.Table)


def test_adapting_that_resumes_is_bit_identical(base: str, new: Path, tmp_path: Path) -> None:
    whole = run(new, base, tmp_path / "whole").state()
    run(new, base, tmp_path / "parts", stop_at=2)
    parts = run(new, base, tmp_path / "parts").state()
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_base_that_is_gone_or_another_is_told(old: Path, new: Path, tmp_path: Path) -> None:
    place = trained(old, "dcgan", tmp_path / "base")
    synthray.fit(str(new), output=str(tmp_path / "out"), base=place, train=QUICK)
    Path(place).rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="which is not there"):
        synthray.load(str(tmp_path / "out" / "artifact"))
    other = trained(new, "dcgan", tmp_path / "other")
    Path(other).rename(place)
    with pytest.raises(ArtifactError, match="and the adapted one needs"):
        synthray.load(str(tmp_path / "out" / "artifact"))


def test_a_base_of_a_family_that_is_not_trusted_runs_no_code(
    base: str, new: Path, tmp_path: Path
) -> None:
    synthray.fit(str(new), output=str(tmp_path), base=base, train=QUICK)
    place = tmp_path / "artifact"
    tree = json.loads((place / "artifact.json").read_text())
    tree["model"]["params"]["base"]["model"]["name"] = "antigravity:Flow"
    manifest = Manifest.model_validate(tree | {"digest": ""})
    tree["digest"] = manifest.computed_digest()
    (place / "artifact.json").write_text(json.dumps(tree))
    with pytest.raises(ArtifactError, match="'antigravity:Flow', which is not installed"):
        synthray.load(str(place))
    assert "antigravity" not in sys.modules


def test_data_without_labels_adapt_a_base_with_them(base: str, new: Path, tmp_path: Path) -> None:
    """Such as a folder of one class; all rows begin as the mean of the base's labels."""
    place = str(tmp_path / "out")
    made = synthray.fit(str(new / "9"), output=place, base=base, train=QUICK)
    assert made.sample(3).column_names == ["image"]
    assert synthray.load(place + "/artifact").sample(3).equals(made.sample(3))


def test_what_cannot_be_adapted_is_refused(base: str, new: Path, tmp_path: Path) -> None:
    synthray.fit(
        str(new), output=str(tmp_path / "vae"), model={"name": "cvae", "params": {"width": 4}},
        train=QUICK,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="'cvae' cannot be adapted"):
        synthray.fit(str(new), base=str(tmp_path / "vae" / "artifact"), train=QUICK)
    labelled = {"name": "dcgan", "params": {"width": 4}}
    with pytest.raises(ConfigError, match=r"model\.params: width of dcgan would not count"):
        synthray.fit(str(new), base=base, model=labelled, train=QUICK)
    copied = {"name": "dcgan", "params": FAMILIES["dcgan"]}
    assert (
        synthray.fit(str(new), base=base, model=copied, train=QUICK).manifest.model.name == "adgan"
    )
    bare = str(tmp_path / "bare")
    synthray.fit(
        str(new / "9"),
        output=bare,
        model={"name": "dcgan", "params": FAMILIES["dcgan"]},
        train=QUICK,
    )
    with pytest.raises(ConfigError, match=r"the base has no conditions, the data 1\n"):
        synthray.fit(str(new), base=f"{bare}/artifact", train=QUICK)
    with pytest.raises(ConfigError, match="the base draws 16 pixels"):
        synthray.fit(str(new), base=base, data={"image_side": 32}, train=QUICK)
    with pytest.raises(ConfigError, match="leaves no room"):
        config, codec, _ = config_of(new, base, tmp_path / "none", budget=1e-6)
        models.build(config.model, codec.spec)
    with pytest.raises(ConfigError, match="synthray adapt CONFIG --base"):
        synthray.fit(str(new), model={"name": "adgan"}, train=QUICK)
