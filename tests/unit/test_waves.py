"""Codes of numbers share what they learn with neighbours; rare ones stay as rare as they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import synthray
from synthray.data.layout import Layout, Slot
from synthray.models.waves import OWN, WAVES, Waves

# The codes of the number are not in the order of their places, and one is a missing cell.
NUMBER = Slot(name="n", counts=(10, 30, 20, 5), centres=(0.5, -1.0, 2.0, 0.0), spreads=(0.0,) * 4)
LAYOUT = Layout(
    slots=(
        Slot(name="a", counts=(1, 2, 3)),
        NUMBER.model_copy(update={"missing": 3}),
        Slot(name="b", counts=(1, 1)),
    )
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_number_has_waves_over_its_rank_beside_what_is_its_own() -> None:
    torch.manual_seed(0)
    own = torch.randn(9, 5)
    waves = Waves(LAYOUT, own, wave=0.3)
    assert waves.wave is not None
    # The shares below, with half of those of the code: places -1, 0.5 and 2 are codes 1, 0 and 2.
    counts = torch.tensor([30.5, 10.5, 20.5])
    rank = ((counts.cumsum(0) - counts / 2) / counts.sum()).tolist()
    expected = own.clone()
    expected[3:7] *= OWN
    for code, at in zip((1, 0, 2), rank, strict=True):
        for m in range(1, WAVES + 1):
            expected[3 + code] += math.cos(math.pi * m * at) * waves.wave[0, m - 1].detach()
    assert torch.allclose(waves(), expected, atol=1e-5)


def test_without_numbers_all_is_of_the_codes_own() -> None:
    layout = Layout(slots=(LAYOUT.slots[0], LAYOUT.slots[2]))
    waves = Waves(layout, torch.ones(5, 2), wave=0.3)
    assert [name for name, _ in waves.named_parameters()] == ["own"]
    assert torch.equal(waves(), torch.ones(5, 2))


def test_what_a_number_teaches_its_neighbours_hear() -> None:
    numbers = Layout(
        slots=(Slot(name="n", counts=(1,) * 40, centres=tuple(range(40)), spreads=(0.5,) * 40),)
    )
    waves = Waves(numbers, torch.zeros(40, 1), wave=0.0)
    optimizer = torch.optim.Adam(waves.parameters(), lr=1e-2)
    for _ in range(100):  # codes 0 to 9 and 20 to 29 are told to be 1, the others are not told
        optimizer.zero_grad()
        told = torch.cat([waves()[:10:2], waves()[20:30:2]])
        (told - 1).square().sum().backward()
        optimizer.step()
    found = waves()[:, 0].detach()
    assert found[1:9:2].mean() > 0.4 and found[21:29:2].mean() > 0.4  # 0 each by itself


def test_tails_are_as_frequent_as_they_are(tmp_path: Path) -> None:
    """Weight decay once made the rarest codes a fourth too frequent."""
    random = np.random.default_rng(0)
    cells = random.lognormal(0, 1, 4000)
    rows = pa.table({"x": cells, "c": random.choice(["a", "b"], 4000)})
    artifact = synthray.fit(rows, output=str(tmp_path), train={"steps": 500, "batch_size": 256})
    drawn = artifact.sample(40_000)["x"].to_numpy()
    for share in (0.95, 0.99):
        beyond = (drawn > np.quantile(cells, share)).mean()
        # Of 40,000 rows, and of what 500 steps teach.
        assert beyond == pytest.approx(1 - share, rel=0.15)
    assert drawn.std() == pytest.approx(cells.std(), rel=0.12)
