"""Random streams and blocks: the numbers themselves, and what they do not depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny import codec, save_artifact

from synthray import rng
from synthray.artifact import Artifact
from synthray.config import BLOCK_ROWS
from synthray.data.codec import DataSpec
from synthray.rng import BatchRandom, BlocksRandom, Rows
from synthray.sampling.blocks import sample_blocks
from synthray.sampling.holding import Holding

SPEC = DataSpec(
    shape=(1, 8, 8),
    rows=100,
    conditions=(3, 2),
    combinations=((0, 0), (0, 1), (1, 0), (2, 1)),
    counts=(10, 20, 30, 40),
)


def block_random(block: int, seed: int = 7) -> BatchRandom:
    return BatchRandom(rng.stream(seed, "block", block), Rows.all(BLOCK_ROWS))


def sha(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place: Path = tmp_path_factory.mktemp("artifact")
    save_artifact(str(place))
    return Artifact.load(str(place))


# Golden: if one of these changes, every virtual dataset changes. Then rng.STREAM must change too.

GOLDEN = {
    "conditions": "963b5f378b52ec0c59d076fad5f9c900f21d134c0ffd97b96c806df8615cf654",
    "normal": "917df983cb84ff2b50bbc9f103d3ed42c55b7b49449f19338413792c9a96298a",
    "uniform": "42259eef2914a7aee09e6a7854a35e90cefe0833f3d7a12eda699da3366555a6",
    "far": "f00c79a8ecbfcca6fea1d29e4fdd0ef28214f33256806d431eab9ecbf60cfa16",
}


def test_the_numbers_of_a_block_are_what_they_always_were() -> None:
    assert rng.STREAM == "philox4x64-ziggurat-1"
    random = block_random(3)
    found = {
        "conditions": sha(Holding(SPEC).conditions(random, BLOCK_ROWS)),
        "normal": sha(random.normal(16)),
        "uniform": sha(random.uniform(5)),
        "far": sha(block_random(2**52, seed=rng.MAX_SEED).normal(4)),
    }
    assert found == GOLDEN


def test_a_stream_is_philox_at_its_address() -> None:
    tag = int.from_bytes(hashlib.sha256(b"block").digest()[:8], "little")
    philox = np.random.Philox(key=np.array([9, tag], np.uint64), counter=[0, 4, 5, 6])
    expected = np.random.Generator(philox).random(10)
    assert np.array_equal(rng.stream(9, "block", 4, 5, 6).random(10), expected)


def test_streams_differ_by_seed_purpose_and_counter() -> None:
    addresses = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a", 0, 1)]
    drawn = {tuple(rng.stream(*address).integers(0, 2**63, 4).tolist()) for address in addresses}
    assert len(drawn) == len(addresses)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be within"):
        rng.stream(seed, "block", 0)


@pytest.mark.parametrize("counters", [(-1,), (1, 2, 3, 4)])
def test_counters_out_of_range_are_refused(counters: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at most three"):
        rng.stream(0, "block", *counters)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_together_draw_what_one_draws(workers: int) -> None:
    def draw(rows: Rows) -> list[torch.Tensor]:
        random = BatchRandom(rng.stream(0, "step", 5), rows)
        return [random.normal(3), random.uniform(2, 2), random.choice([1, 0, 2])]

    whole = draw(Rows.all(24))
    shares = [draw(Rows.share(24, rank, workers)) for rank in range(workers)]
    for position, expected in enumerate(whole):
        assert torch.equal(torch.cat([share[position] for share in shares]), expected)


def test_blocks_together_draw_what_each_draws_alone() -> None:
    def draw(random: BatchRandom) -> list[torch.Tensor]:
        return [random.normal(3), random.uniform(2, 2), random.choice([1, 0, 2])]

    together = BlocksRandom([block_random(block) for block in (2, 3)])
    assert (together.blocks, block_random(2).blocks) == (2, 1)
    alone = zip(draw(block_random(2)), draw(block_random(3)), strict=True)
    for whole, parts in zip(draw(together), alone, strict=True):
        assert torch.equal(whole, torch.cat(parts))


# Conditions.


def test_conditions_occur_together_as_in_the_source() -> None:
    """Chi-square of 20 blocks against the source's joint frequencies, 3 degrees of freedom."""
    drawn = torch.cat(
        [Holding(SPEC).conditions(block_random(block), BLOCK_ROWS) for block in range(20)]
    )
    counted = [
        (drawn == torch.tensor(combo)).all(dim=1).sum().item() for combo in SPEC.combinations
    ]
    assert sum(counted) == len(drawn) == 20 * BLOCK_ROWS  # nothing else ever occurs
    expected = np.array(SPEC.counts) / sum(SPEC.counts) * len(drawn)
    chi_square = float(((np.array(counted) - expected) ** 2 / expected).sum())
    assert chi_square < 16.27  # p = 0.001


def test_held_conditions_leave_the_others_as_they_occur_beside_them() -> None:
    drawn = torch.cat(
        [Holding(SPEC, {0: 0}).conditions(block_random(b), BLOCK_ROWS) for b in range(20)]
    )
    assert (drawn[:, 0] == 0).all()
    assert abs((drawn[:, 1] == 1).float().mean().item() - 2 / 3) < 0.02
    drawn = Holding(SPEC, {1: 0}).conditions(block_random(0), BLOCK_ROWS)
    assert set(drawn[:, 0].tolist()) == {0, 1}


def test_values_that_never_occur_together_can_still_be_held() -> None:
    drawn = Holding(SPEC, {0: 2, 1: 0}).conditions(block_random(0), BLOCK_ROWS)
    assert drawn.tolist() == [[2, 0]] * BLOCK_ROWS


def test_without_conditions_there_are_none() -> None:
    spec = DataSpec(shape=(1, 8, 8), rows=3)
    assert Holding(spec).conditions(block_random(0), BLOCK_ROWS).shape == (BLOCK_ROWS, 0)


def test_a_value_of_weight_zero_is_never_drawn() -> None:
    drawn = torch.cat([block_random(b).choice([0, 1, 0, 1, 0]) for b in range(20)])
    assert set(drawn.tolist()) == {1, 3}


# Blocks.


def test_a_block_is_the_same_every_time_and_unlike_its_neighbours(artifact: Artifact) -> None:
    spec = artifact.codec.spec
    x, cond = sample_blocks(artifact.model, Holding(spec), 0, range(5, 6))
    again, cond_again = sample_blocks(artifact.model, Holding(spec), 0, range(5, 6))
    assert x.shape == (BLOCK_ROWS, 1, 8, 8) and x.dtype == torch.float32
    assert torch.equal(x, again) and torch.equal(cond, cond_again)
    for seed, block in ((0, 6), (1, 5)):
        other, _ = sample_blocks(artifact.model, Holding(spec), seed, range(block, block + 1))
        assert not torch.equal(other, x)


def test_blocks_follow_one_another(artifact: Artifact) -> None:
    holding = Holding(artifact.codec.spec)
    x, cond = sample_blocks(artifact.model, holding, 0, range(4, 7))
    for index, block in enumerate(range(4, 7)):
        part = slice(index * BLOCK_ROWS, (index + 1) * BLOCK_ROWS)
        alone, cond_alone = sample_blocks(artifact.model, holding, 0, range(block, block + 1))
        assert torch.equal(x[part], alone) and torch.equal(cond[part], cond_alone)


def test_threads_and_the_global_generator_do_not_matter(artifact: Artifact) -> None:
    threads = torch.get_num_threads()
    expected, _ = sample_blocks(artifact.model, Holding(artifact.codec.spec), 0, range(1, 2))
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            torch.manual_seed(count)
            state = torch.get_rng_state()
            x, _ = sample_blocks(artifact.model, Holding(artifact.codec.spec), 0, range(1, 2))
            assert torch.equal(x, expected)
            assert torch.get_num_threads() == count  # as it was
            assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(threads)


def test_every_image_family_draws_blocks(tmp_path: Path) -> None:
    for family in ("gan", "dcgan", "cvae"):
        save_artifact(str(tmp_path / family), codec({"n": pa.array([0, 1])}), family, {})
        loaded = Artifact.load(str(tmp_path / family))
        x, cond = sample_blocks(loaded.model, Holding(loaded.codec.spec, {0: 1}), 0, range(1))
        assert x.shape == (BLOCK_ROWS, 1, 8, 8) and cond.unique().tolist() == [1]
