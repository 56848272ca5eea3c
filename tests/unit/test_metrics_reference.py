"""Our numbers beside those of torch-fidelity and prdc, on the same features."""

import importlib
import sys
import types
import warnings

import numpy as np
import pytest
import torch

from synthray.errors import ArtifactError, NotFoundError, UsageError
from synthray.metrics.base import Features
from synthray.metrics.extractors import make_extractor
from synthray.metrics.frechet import Frechet
from synthray.metrics.inception import Inception, InceptionV3, resize_tf1
from synthray.metrics.inception_score import InceptionScore
from synthray.metrics.kid import KID, kernel_distance
from synthray.metrics.names import metric_name
from synthray.metrics.prdc import precision_recall


@pytest.fixture(scope="module")
def fidelity():
    """Imports modules of torch-fidelity.

    It imports torchvision for its data sets and VGG, which we do not use; torchvision's own
    import fails beside a CPU build of torch. So it gets a stand-in, here alone and not longer.
    """
    names = ["torchvision", *(f"torchvision.{m}" for m in ("datasets", "models", "transforms"))]
    names.append("torchvision.transforms.functional")
    saved = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = module = types.ModuleType(name)
        module.__path__ = []
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    for data_set in ("CIFAR10", "STL10", "CIFAR100"):
        setattr(sys.modules["torchvision.datasets"], data_set, type(data_set, (), {}))
    pytest.importorskip("torch_fidelity")
    yield lambda module: importlib.import_module(f"torch_fidelity.{module}")
    for name, module in saved.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module


def two_sets(n=400, m=300, d=32, dtype=np.float64):
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(d, d)) / np.sqrt(d)
    x = np.maximum(rng.normal(size=(n, d)) @ mix + 0.2, 0)
    y = np.maximum(1.1 * rng.normal(size=(m, d)) @ mix + 0.3, 0)
    return x.astype(dtype), y.astype(dtype)


def numbered(x, p=None):
    return Features(np.arange(len(x), dtype=np.int64), x, p)


def test_fid(fidelity):
    x, y = two_sets()
    module = fidelity("metric_fid")
    statistics = [module.fid_features_to_statistics(torch.from_numpy(f)) for f in (x, y)]
    expected = module.fid_statistics_to_metric(*statistics, False)
    metric = Frechet()
    got = metric.compute(*(metric.update(None, numbered(f)) for f in (x, y)))
    # float64 on both sides; torch-fidelity takes roots of eigenvalues of a product that is not
    # symmetric, which costs it a few digits.
    assert got["frechet"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-8)


def test_inception_score(fidelity):
    logits = torch.randn(1_003, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = fidelity("metric_isc").isc_features_to_metric(logits, splits=10, shuffle=False)
    metric = InceptionScore(1_003)
    state = metric.update(
        metric.init(), numbered(np.zeros((1_003, 1)), logits.softmax(dim=1).numpy())
    )
    got = metric.compute(state, state)
    # Fixed point: 20 classes, each off by at most 2^-41, through a logarithm.
    assert got["score"] == pytest.approx(expected["inception_score_mean"], abs=1e-10)
    assert got["score_std"] == pytest.approx(expected["inception_score_std"], abs=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_kid(fidelity, dtype, tolerance):
    # With float32 features torch-fidelity computes in float32: kernel values of order 1 sum to
    # an error of a few 1e-7.
    x, y = two_sets(dtype=dtype)
    expected = fidelity("metric_kid").kid_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        kid_subsets=20,
        kid_subset_size=100,
        rng_seed=2020,
        verbose=False,
    )
    mean, std = kernel_distance(x, y, subsets=20, subset_size=100)
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], abs=tolerance)
    assert std == pytest.approx(expected["kernel_inception_distance_std"], abs=tolerance)


def test_kid_with_few_rows():
    metric = KID()
    assert "300 rows instead of 1,000" in metric.note(300)
    assert metric.note(1_000) is None
    x, y = two_sets()
    assert kernel_distance(x, y, subsets=3)[0] > 0
    with pytest.raises(UsageError, match="1 row, needs at least 2"):
        kernel_distance(x[:1], y)
    with pytest.raises(UsageError, match="dimensions"):
        kernel_distance(x, y[:, :3])
    with pytest.raises(UsageError, match="0 rows"):
        metric.compute(None, None)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("rows", [(400, 300), (1_100, 700), (9, 7)])
def test_prdc(rows, k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, about its own future
        prdc = pytest.importorskip("prdc")
        x, y = two_sets(*rows, d=8)
        expected = prdc.compute_prdc(real_features=x, fake_features=y, nearest_k=k)
    got = precision_recall(x, y, k=k)
    assert got == pytest.approx({key: float(v) for key, v in expected.items()}, rel=1e-12)


def test_prdc_far_from_the_origin():
    """Distances survive a mean a million times the spread."""
    x, y = two_sets(d=8)
    assert precision_recall(x * 1e-2 + 1e4, y * 1e-2 + 1e4) == precision_recall(x, y)


def test_prdc_too_few_rows():
    x, y = two_sets()
    with pytest.raises(UsageError, match="5 rows, needs at least 6"):
        precision_recall(x, y[:5])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of the published shapes, with random weights under which activations stay of
    order 1."""
    rng = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        state = InceptionV3().state_dict()
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        elif key.endswith("running_var"):
            state[key] = torch.rand(value.shape, generator=rng) + 0.5
        elif value.ndim > 1:
            fan_in = value[0].numel()
            state[key] = torch.randn(value.shape, generator=rng) * (2 / fan_in) ** 0.5
        else:
            state[key] = torch.rand(value.shape, generator=rng) * 0.5 + 0.5 * ("weight" in key)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(state, path)
    return path


def test_inception_network(fidelity, weights):
    theirs = fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
    )
    ours = Inception(weights)
    # One side enlarges, one shrinks.
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (1, 3, 32, 320), dtype=torch.uint8, generator=rng)
    with torch.inference_mode():
        expected, logits = theirs(images)
    features, probabilities = ours(images)
    assert features.shape == (1, 2048)
    scale = expected.abs().max()
    assert scale > 0.1
    # float32 through 94 layers, with sums in another order.
    torch.testing.assert_close(features / scale, expected / scale, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(probabilities, logits.softmax(1), rtol=1e-3, atol=1e-4)


def test_tensorflow_resize(fidelity):
    theirs = fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    x = torch.rand(2, 3, 37, 21, generator=torch.Generator().manual_seed(2)) * 255
    for side in (16, 64, 299):
        expected = theirs(x, size=(side, side), align_corners=False)
        torch.testing.assert_close(resize_tf1(x, side), expected, rtol=1e-5, atol=1e-4)


def test_only_the_published_weights_give_an_fid(weights):
    extractor = make_extractor("inception", weights)
    assert extractor.name == "inception-custom"
    assert metric_name("frechet", extractor.name) == "frechet_inception_custom"
    assert make_extractor("inception", weights.read_bytes()).digest == extractor.digest
    grey = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    assert extractor(grey)[0].shape == (1, 2048)


def test_inception_without_its_file(tmp_path):
    with pytest.raises(UsageError, match=r"needs weights\n.*6726825d\.pth"):
        make_extractor("inception")
    with pytest.raises(NotFoundError, match=r"nothing\.pth"):
        make_extractor("inception", tmp_path / "nothing.pth")
    wrong = tmp_path / "wrong.pth"
    torch.save({"conv.weight": torch.zeros(1)}, wrong)
    with pytest.raises(ArtifactError, match=r"wrong\.pth.*[\s\S]*6726825d\.pth"):
        make_extractor("inception", wrong)
    with pytest.raises(ArtifactError, match="the bytes given"):
        make_extractor("inception", b"no state dict")
