"""The quick judge tells health from collapse."""

from __future__ import annotations

import pytest
import torch

from synthray.errors import UsageError
from synthray.metrics.quick import QuickJudge


def rows_of(seed: int, *shape: int) -> torch.Tensor:
    """Two clusters, in any shape."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (400, *[1] * len(shape)), generator=generator) * 2.0 - 1
    return side + 0.2 * torch.randn(400, *shape, generator=generator)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (3, 28, 28)])
def test_good_rows_score_as_real_ones_and_bad_ones_do_not(shape: tuple[int, ...]) -> None:
    judge = QuickJudge(rows_of(0, *shape))
    good = judge.score(rows_of(1, *shape)[: judge.rows])
    assert good["coverage"] > 0.85
    assert abs(good["distance"]) < 0.05
    assert judge.floor["coverage"] > 0.85
    half = rows_of(1, *shape)
    half = half[half.flatten(1).mean(dim=1) > 0]
    lost = judge.score(half)
    assert lost["coverage"] < 0.65
    assert lost["distance"] > 0.5
    point = judge.score(rows_of(1, *shape)[:1].expand(judge.rows, *shape))
    assert point["coverage"] < 0.25
    assert point["distance"] > 0.5
    assert judge.score(torch.full((200, *shape), torch.nan))["distance"] == float("inf")


def test_scores_do_not_depend_on_the_units_of_the_data() -> None:
    one, other = QuickJudge(rows_of(0, 2)), QuickJudge(1000 * rows_of(0, 2))
    a, b = one.score(rows_of(1, 2)), other.score(1000 * rows_of(1, 2))
    assert a == pytest.approx(b, rel=1e-6)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="39 real rows"):
        QuickJudge(rows_of(0, 2)[:39])


def test_rows_that_are_equal_count_once() -> None:
    """Most images of a set may be blank: a ball around a blank one has no radius."""
    real = rows_of(0, 1, 8, 8)
    blank = torch.rand(400, generator=torch.Generator().manual_seed(3)) < 0.7
    real[blank] = -3.0
    judge = QuickJudge(real)
    good = rows_of(1, 1, 8, 8)[: judge.rows]
    good[blank[: judge.rows]] = -3.0
    assert judge.floor["coverage"] > 0.5
    assert judge.score(good)["coverage"] > 0.7 * judge.floor["coverage"]
    assert judge.score(torch.full((judge.rows, 1, 8, 8), -3.0))["coverage"] < 0.1


def test_rows_that_are_all_alike_are_refused() -> None:
    real = rows_of(0, 1, 8, 8)
    real[19:] = 0.0
    with pytest.raises(UsageError, match=r"of 200 real rows \d+ differ"):
        QuickJudge(real)
