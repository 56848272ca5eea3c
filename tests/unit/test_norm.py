"""Our batch norm is torch's on one worker, and over several that of the whole batch."""

from __future__ import annotations

import pytest
import torch
from gloo import run_workers
from torch import Tensor, nn

from synthray.models.norm import BatchNorm
from synthray.rng import Rows

CHANNELS = 6
SHAPES: dict[str, tuple[int, ...]] = {"flat": (), "map": (5, 4), "large": (9, 9)}
ROWS = {"flat": 13, "map": 13, "large": 12}
"""Shares are unequal, and equal where the tolerance has no room for their weights' rounding."""
CASES = {
    "flat": ("flat", False, torch.float32),
    "map": ("map", False, torch.float32),
    "channels_last": ("large", True, torch.float32),
    "bfloat16": ("large", True, torch.bfloat16),
}


def values(kind: str, channels_last: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows with channels of very different means and spreads, and a gradient for each."""
    generator = torch.Generator().manual_seed(0)
    shape = (ROWS[kind], CHANNELS, *SHAPES[kind])
    ones = [1] * len(SHAPES[kind])
    mean = torch.tensor([0.0, 1, -3, 100, 0.01, 5]).view(1, -1, *ones)
    spread = torch.tensor([1.0, 0.1, 10, 1, 3, 0.5]).view(1, -1, *ones)
    x = (torch.randn(shape, generator=generator) * spread + mean).to(dtype)
    gradient = torch.randn(shape, generator=generator).to(dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
    return x, gradient


def fill(norm: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(CHANNELS, generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(CHANNELS, generator=generator))
        norm.running_mean.copy_(torch.randn(CHANNELS, generator=generator))
        norm.running_var.copy_(torch.rand(CHANNELS, generator=generator) + 0.5)
    return norm


def step(norm: nn.Module, x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """What a forward and a backward give."""
    x = x.detach().requires_grad_()
    y = norm(x)
    y.backward(gradient)
    return {
        "y": y.detach(),
        "x": x.grad,
        "weight": norm.weight.grad,
        "bias": norm.bias.grad,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("training", [True, False])
def test_one_worker_is_torchs_batch_norm(case: str, training: bool) -> None:
    x, gradient = values(*CASES[case])
    theirs = nn.BatchNorm1d(CHANNELS) if x.dim() == 2 else nn.BatchNorm2d(CHANNELS)
    expected = step(fill(theirs).train(training), x, gradient)
    got = step(fill(BatchNorm(CHANNELS)).train(training), x, gradient)
    assert got.keys() == expected.keys()
    for name in got:
        assert torch.equal(got[name], expected[name]), name


def worker(rank: int, workers: int) -> dict[str, dict[str, Tensor]]:
    """The step of each case on this worker's rows, of which the first worker has one more.

    Losses are means over a worker's rows: the gradient of a row in the mean over all is smaller by
    the share's weight than in that of its share."""
    found = {}
    for name, case in CASES.items():
        x, gradient = values(*case)
        share = Rows.share(len(x), rank, workers)
        part = slice(share.start, share.stop)
        found[name] = step(fill(BatchNorm(CHANNELS)), x[part], gradient[part] / share.weight)
        for key in ("x", "weight", "bias"):
            found[name][key] = found[name][key] * share.weight
    # Evaluation is by the running statistics, each worker by itself.
    x, _ = values(*CASES["map"])
    found["evaluation"] = {"y": fill(BatchNorm(CHANNELS)).eval()(x[:4]).detach()}
    two = fill(BatchNorm(CHANNELS))
    pair = two(values(*CASES["flat"])[0][rank : rank + 1])
    found["a row each"] = {"y": pair.detach(), "running_var": two.running_var}
    return found


@pytest.fixture(scope="module", params=[2, 3])
def workers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, dict[str, Tensor]]]:
    return run_workers(worker, request.param, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("case", CASES)
def test_workers_together_are_one_on_the_whole_batch(
    workers: list[dict[str, dict[str, Tensor]]], case: str
) -> None:
    kind, channels_last, dtype = CASES[case]
    parts = [found[case] for found in workers]
    expected = step(fill(BatchNorm(CHANNELS)), *values(kind, channels_last, dtype))
    # Float32 sums of a thousand terms in another order; a channel of mean 100 and spread 1 costs
    # two digits. Bfloat16 results may differ in their last of 8 bits.
    loose = {"rtol": 2e-5, "atol": 2e-4}
    coarse = {"rtol": 2**-7, "atol": 2**-6} if dtype == torch.bfloat16 else loose
    for name in ("y", "x"):
        whole = torch.cat([part[name] for part in parts])
        assert whole.dtype == dtype
        torch.testing.assert_close(whole, expected[name], **coarse)
    # A parameter's gradient is the sum over workers: the engine averages, for losses are means.
    for name in ("weight", "bias"):
        total = sum(part[name] for part in parts)
        tolerance = {"rtol": 1e-2, "atol": 0.1} if dtype == torch.bfloat16 else loose
        torch.testing.assert_close(total, expected[name], **tolerance)
    for name in ("running_mean", "running_var"):
        for part in parts:
            assert torch.equal(part[name], parts[0][name])
            torch.testing.assert_close(part[name], expected[name], rtol=1e-5, atol=1e-5)


def test_workers_evaluate_each_by_itself(workers: list[dict[str, dict[str, Tensor]]]) -> None:
    x, _ = values(*CASES["map"])
    expected = fill(BatchNorm(CHANNELS)).eval()(x[:4]).detach()
    for found in workers:
        assert torch.equal(found["evaluation"]["y"], expected)


def test_a_row_on_each_worker_is_enough(workers: list[dict[str, dict[str, Tensor]]]) -> None:
    x, _ = values(*CASES["flat"])
    norm = fill(BatchNorm(CHANNELS))
    expected = norm(x[: len(workers)]).detach()
    y = torch.cat([found["a row each"]["y"] for found in workers])
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    for found in workers:
        torch.testing.assert_close(found["a row each"]["running_var"], norm.running_var)


def test_its_state_has_the_names_of_torchs() -> None:
    theirs = nn.BatchNorm2d(CHANNELS).state_dict().keys() - {"num_batches_tracked"}
    assert BatchNorm(CHANNELS).state_dict().keys() == theirs
