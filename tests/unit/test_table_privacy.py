"""Copies, closeness and membership: against brute force, and what moves them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from synthray.data.chunks import TableChunk
from synthray.data.schema import Column, Kind
from synthray.metrics.tables.attacks import attack, attack_all, closeness, delong
from synthray.metrics.tables.columns import Compared, Frame, canonical
from synthray.metrics.tables.copies import find_copies
from synthray.metrics.tables.space import RowSpace, nearest

COLUMNS = [
    Column(name="n", kind=Kind.integer, arrow_type="int64"),
    Column(name="x", kind=Kind.continuous, arrow_type="double"),
    Column(name="c", kind=Kind.categorical, arrow_type="string"),
]


def few_values(count: int, seed: int) -> pa.Table:
    """Rows that often occur again."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 4, count) / 2
    return pa.table(
        {
            "n": pa.array(random.integers(0, 5, count), mask=random.random(count) < 0.1),
            "x": pa.array(x, mask=random.random(count) < 0.1),
            "c": pa.array([f"c{c}" for c in random.integers(0, 6, count)]),
        }
    )


def chunks(table: pa.Table, size: int) -> list[Any]:
    return [TableChunk(table.slice(i, size)) for i in range(0, len(table), size)]


@pytest.mark.parametrize("size", [7, 1000])
def test_copies_are_those_of_brute_force(size: int) -> None:
    training, made, held = few_values(150, 0), few_values(60, 1), few_values(80, 2)
    tables = [canonical(table, COLUMNS) for table in (made, held)]
    found = find_copies(chunks(training, size), tables, COLUMNS, 40, map)
    known = [tuple(row.values()) for row in training.to_pylist()]
    for copies, table in zip(found, (made, held), strict=True):
        rows = [tuple(row.values()) for row in table.to_pylist()]
        assert (copies.exact.count, copies.exact.rows) == (sum(r in known for r in rows), len(rows))
        assert copies.unique.count == sum(known.count(row) == 1 for row in rows)
        assert copies.distinct == len({row for row in rows if row in known})
        near = sum(
            any(sum(a == b for a, b in zip(row, other, strict=True)) >= 2 for other in known)
            for row in rows[:40]
        )
        assert (copies.near.count, copies.near.rows) == (near, 40)
    assert 0 < found[0].unique.count < found[0].exact.count < 60


def test_a_copied_table_is_told_with_one_cell_changed_too() -> None:
    random = np.random.default_rng(0)
    training = pa.table({"n": np.arange(100), "x": random.normal(size=100), "c": ["a"] * 100})
    changed = training.set_column(1, "x", pa.array(random.normal(size=100)))
    fresh = pa.table({"n": np.arange(100, 200), "x": random.normal(size=100), "c": ["a"] * 100})
    tables = [canonical(table, COLUMNS) for table in (training, changed, fresh)]
    copied, near, none = find_copies(chunks(training, 30), tables, COLUMNS, 100, map)
    assert copied.exact.value == copied.unique.value == copied.near.value == 1.0
    assert (near.exact.value, near.near.value) == (0.0, 1.0)
    assert (none.exact.value, none.near.value) == (0.0, 0.0)


def test_of_one_column_every_row_is_a_near_copy_only_if_it_is_a_copy() -> None:
    table = pa.table({"n": [1, 2, 3]})
    (found,) = find_copies(chunks(table, 2), [pa.table({"n": [3, 4]})], COLUMNS[:1], 2, map)
    assert (found.exact.count, found.near.count) == (1, 1)


# Distances.


def test_distances_are_standardised_and_count_different_categories_as_one() -> None:
    columns = (Compared("x", Kind.continuous), Compared("c", Kind.categorical, ("a", "b")))
    data: dict[str, Any] = {"x": np.array([0.0, 4.0, 0.0, np.nan]), "c": np.array([0, 0, 1, -1])}
    frame = Frame(columns, data)
    points = RowSpace(frame).points(frame)
    deviation = np.std([0.0, 4.0, 0.0])
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    assert squared[0, 1] == pytest.approx((4 / deviation) ** 2)
    assert squared[0, 2] == pytest.approx(1.0)
    # A missing number is at the mean, and 1 apart by itself; a missing category is one of its own.
    assert squared[0, 3] == pytest.approx((4 / 3 / deviation) ** 2 + 1 + 1)


def test_a_constant_column_and_rare_categories_have_no_part_in_distances() -> None:
    columns = (
        Compared("x", Kind.continuous),
        Compared("c", Kind.categorical, tuple(range(1000))),
    )
    data: dict[str, Any] = {"x": np.full(4, 0.1), "c": np.array([0, 500, 999, -1])}
    frame = Frame(columns, data)
    points = RowSpace(frame).points(frame)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    assert squared[0, 1] == pytest.approx(1) and squared[1, 2] == 0
    assert squared[1, 3] == pytest.approx(1)


def test_the_nearest_are_those_of_brute_force_and_equal_rows_are_0_apart() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 4)) + 1000, random.normal(size=(50, 4)) + 1000
    y[7] = x[3]
    expected = np.sort(np.linalg.norm(x[:, None] - y[None], axis=2), axis=1)[:, :3]
    found, index = nearest(x, y, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[3, 0] == 0.0 and index[3, 0] == 7


# Closeness and attacks.


def draw(count: int, seed: int, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)) * spread


def test_closeness_is_half_for_fresh_rows_and_1_for_copies() -> None:
    training, holdout = draw(300, 0), draw(300, 1)
    fresh = closeness(training, holdout, draw(300, 2))
    assert fresh.interval[0] < 0.5 < fresh.interval[1]
    assert fresh.to_training[0] == pytest.approx(fresh.baseline[0], rel=0.3)
    copied = closeness(training, holdout, training)
    assert copied.share == 1.0 and copied.to_training == (0.0, 0.0)
    noisy = closeness(training, holdout, training + 0.2 * draw(300, 3))
    assert fresh.share < noisy.interval[0]


def test_the_interval_holds_0_5_also_where_few_rows_are_the_nearest_of_many() -> None:
    """Rows far out share neighbours; a binomial interval holds in 19 of these 60."""
    held = 0
    for seed in range(60):
        close = closeness(draw(100, 3 * seed), draw(100, 3 * seed + 1), draw(400, 3 * seed + 2, 4))
        held += close.interval[0] <= 0.5 <= close.interval[1]
    assert held >= 52  # 57 expected; below 52 by chance in 1 of 70


def test_attacks_find_copied_rows_and_are_at_a_loss_with_fresh_ones() -> None:
    members, others, reference = draw(300, 0), draw(300, 1), draw(300, 2)
    for found in attack_all(members, others, reference, draw(300, 3)):
        assert found.interval[0] < 0.5 < found.interval[1], found.name
        assert found.statement == "not told from guessing"
        assert found.tpr < 0.06
    for found in attack_all(members, others, reference, members + 0.05 * draw(300, 4)):
        assert found.interval[0] > 0.5 and "recognised" in found.statement
    distance, density = attack_all(members, others, reference, members)
    assert distance.auc == 1.0 and distance.tpr == 1.0
    assert density.auc > 0.6  # the fifth neighbour is none of the copied row itself


def test_density_finds_what_was_learned_too_well_and_distance_does_not_see() -> None:
    """Half the rows of one place are members: dense there, compared with real rows."""
    random = np.random.default_rng(0)
    members = np.concatenate([draw(150, 1) * 0.2 + 4, draw(150, 2)])
    others, reference = draw(300, 3), draw(300, 4)
    synthetic = np.concatenate([draw(500, 5) * 0.2 + 4, draw(100, 6)])
    random.shuffle(synthetic)
    assert attack_all(members, others, reference, synthetic)[1].auc > 0.7


def test_the_area_and_its_variance_are_those_of_the_definition() -> None:
    random = np.random.default_rng(0)
    x, y = np.round(random.normal(0.4, 1, 60), 1), np.round(random.normal(0, 1, 80), 1)
    auc, variance = delong(x, y)
    labels = np.repeat([1, 0], [60, 80])
    assert auc == pytest.approx(roc_auc_score(labels, np.concatenate([x, y])), abs=1e-12)
    wins = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    expected = wins.mean(axis=1).var(ddof=1) / 60 + wins.mean(axis=0).var(ddof=1) / 80
    assert variance == pytest.approx(expected, rel=1e-12)


def test_true_positives_are_those_above_the_hundredth_of_the_others() -> None:
    others = np.arange(200.0)
    # Two of 200 may be named wrongly: all above 197.
    members = np.array([197.0, 197.5, 198.5, 300.0, 0.0] * 20)
    found = attack("distance", members, others)
    assert found.tpr == 0.6
    assert found.tpr_interval[0] < 0.6 < found.tpr_interval[1]


def test_the_interval_of_the_area_holds_as_often_as_it_says() -> None:
    held = [0, 0]
    for seed in range(80):
        for i, found in enumerate(attack_all(*(draw(80, 4 * seed + j) for j in range(4)))):
            held[i] += found.interval[0] <= 0.5 <= found.interval[1]
    assert min(held) >= 74  # 78 expected; below 74 by chance in 1 of 100
