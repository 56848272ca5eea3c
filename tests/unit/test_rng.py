"""Random numbers are a pure function of their address, the same for ever and for any worker."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from synthray import rng
from synthray.rng import MAX_SEED, BatchRandom, Rows

MASK = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as Salmon et al. 2011 write it, in plain integers."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (
            (second >> 64) ^ b ^ k0,
            second & MASK,
            (first >> 64) ^ d ^ k1,
            first & MASK,
        )
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [a, b, c, d]


def words(count: int, seed: int, purpose: str, *counters: int) -> list[int]:
    raw = rng.stream(seed, purpose, *counters).bit_generator.random_raw(count)
    return [int(word) for word in raw]


def test_the_reference_of_this_test_is_random123s_philox() -> None:
    known = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox([0, 0, 0, 0], [0, 0]) == known


@pytest.mark.parametrize(
    ("seed", "purpose", "counters"),
    [(0, "step", (1, 2)), (7, "block", (3,)), (MAX_SEED, "", (MASK, 0, 5)), (5, "weights", ())],
)
def test_words_are_philox_of_the_address(
    seed: int, purpose: str, counters: tuple[int, ...]
) -> None:
    tag = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    upper = [*counters, 0, 0, 0][:3]
    expected = philox([1, *upper], [seed, tag]) + philox([2, *upper], [seed, tag])
    assert words(8, seed, purpose, *counters) == expected


def test_words_and_normals_never_change() -> None:
    assert words(4, 7, "block", 3) == [
        0xADB488D5DCEE6495,
        0x6DE12C14206840A6,
        0xA372DFED3DCC8BE2,
        0x5BB0CC3082EBA816,
    ]
    normal = rng.stream(7, "block", 3).standard_normal(4)
    assert normal.tolist() == [
        0.7199865322455017,
        0.7837514467483677,
        -0.2615291078163926,
        0.6171652278333991,
    ]
    single = BatchRandom(rng.stream(7, "block", 3), Rows.all(4)).normal()
    assert single.dtype == torch.float32
    assert single.tolist() == [
        1.450793743133545,
        1.5249247550964355,
        0.228746235370636,
        0.29520171880722046,
    ]


def test_a_change_of_the_recipe_must_change_its_name() -> None:
    """Whoever changes the golden values above: artifacts record this name. Change it too."""
    assert rng.STREAM == "philox4x64-ziggurat-1"


def test_the_same_address_gives_the_same_numbers_in_any_order() -> None:
    forward = [words(3, 1, "epoch", n) for n in range(5)]
    backward = [words(3, 1, "epoch", n) for n in reversed(range(5))]
    assert forward == backward[::-1]


def test_other_addresses_give_other_numbers() -> None:
    addresses = [
        (0, "block", ()),
        (1, "block", ()),
        (0, "step", ()),
        (0, "block", (1,)),
        (0, "block", (0, 1)),
        (0, "block", (0, 0, 1)),
        (0, "block", (2**32,)),
        (MAX_SEED, "block", ()),
    ]
    drawn = [words(64, seed, purpose, *counters) for seed, purpose, counters in addresses]
    everything = [word for part in drawn for word in part]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"got {seed}"):
        rng.stream(seed, "block")


@pytest.mark.parametrize("counters", [(-1,), (0, -1), (1, 2, 3, 4), (2**64,)])
def test_counters_that_address_nothing_are_refused(counters: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="address a stream"):
        rng.stream(0, "block", *counters)


def draw(rows: Rows) -> list[torch.Tensor]:
    random = BatchRandom(rng.stream(3, "step", 11), rows)
    return [
        random.normal(5),
        random.uniform(2, 3),
        random.choice([1, 0, 2, 1]),
        random.normal(),
        random.uniform(),
    ]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 12])
def test_shares_together_are_the_whole_batch(workers: int) -> None:
    whole = draw(Rows.all(12))
    parts = [draw(Rows.share(12, rank, workers)) for rank in range(workers)]
    for index, expected in enumerate(whole):
        assert torch.equal(torch.cat([part[index] for part in parts]), expected)


def test_shares_are_equal_and_in_order_of_rank() -> None:
    shares = [Rows.share(12, rank, 3) for rank in range(3)]
    assert [(s.start, s.stop) for s in shares] == [(0, 4), (4, 8), (8, 12)]
    assert [len(s) for s in shares] == [4, 4, 4]


@pytest.mark.parametrize(("total", "together"), [(256, 1), (10, 1), (30, 10), (260, 10), (7, 7)])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shares_differ_by_what_belongs_together_at_most(
    total: int, workers: int, together: int
) -> None:
    if total < workers * together:
        with pytest.raises(ValueError, match=f"{total} rows make no {workers} shares"):
            Rows.share(total, 0, workers, together)
        return
    shares = [Rows.share(total, rank, workers, together) for rank in range(workers)]
    assert [s.start for s in shares] + [total] == [0] + [s.stop for s in shares]
    sizes = [len(s) for s in shares]
    assert all(size % together == 0 for size in sizes)
    assert max(sizes) - min(sizes) <= together
    # Weighted by it, means over shares make the mean over all rows.
    assert sum(s.weight for s in shares) == pytest.approx(workers)
    assert all((s.weight == 1) == (len(s) * workers == total) for s in shares)


def test_rows_that_make_no_whole_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="25 rows make no 2 shares of multiples of 10"):
        Rows.share(25, 0, 2, 10)


def test_normals_and_uniforms_are_what_they_say() -> None:
    count = 200_000
    random = BatchRandom(rng.stream(0, "test"), Rows.all(count))
    normal, uniform = random.normal().double(), random.uniform()
    # Four standard errors of a mean and of a variance.
    assert abs(normal.mean()) < 4 / count**0.5
    assert abs(normal.var() - 1) < 4 * (2 / count) ** 0.5
    assert uniform.dtype == torch.float32
    assert uniform.min() >= 0
    assert uniform.max() < 1


def test_choice_follows_the_weights_and_never_takes_a_zero() -> None:
    weights = np.array([0.0, 3.0, 0.0, 1.0, 0.0])
    count = 40_000
    chosen = BatchRandom(rng.stream(0, "test"), Rows.all(count)).choice(weights)
    assert chosen.dtype == torch.int64
    seen = torch.bincount(chosen, minlength=5)
    assert seen[[0, 2, 4]].tolist() == [0, 0, 0]
    share = 0.75
    assert abs(int(seen[1]) - share * count) < 4 * (count * share * (1 - share)) ** 0.5
