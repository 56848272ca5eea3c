"""Drawing from an autoregressive network: all columns by their joint probability, to the letter."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from synthray import models, rng
from synthray.config import ModelConfig
from synthray.data.codec import DataSpec
from synthray.data.layout import Layout, Slot
from synthray.models import drawing
from synthray.models.nade import NADE
from synthray.rng import BatchRandom, BlocksRandom, Rows

LAYOUT = Layout(
    slots=(
        Slot(name="a", counts=(1, 1, 1, 1, 1)),
        Slot(name="b", counts=(1, 1)),
        Slot(name="c", counts=(1, 1, 1, 1), hidden=1),
    )
)
ORDER = (0, 2, 1)
"""Slots of more codes come first."""
ROWS = 40_000
# Of a share p, 4.5 standard errors: 40 cells in ten tests, so one in ten thousand runs would fail.
ERRORS = 4.5

pytestmark = pytest.mark.usefixtures("one_thread")


def network(conditions: tuple[int, ...] = ()) -> NADE:
    """Untrained, with outputs large enough for every column to depend on those before it."""
    torch.manual_seed(0)
    spec = DataSpec(shape=(3,), rows=10, conditions=conditions, layout=LAYOUT)
    config = ModelConfig(name="nade", params={"embedding": 8, "hidden": 8})
    model = models.build(config, spec).eval()
    assert isinstance(model, NADE)
    with torch.no_grad():
        model.columns.output.own.mul_(60)
    return model


@torch.no_grad()
def conditional(model: NADE, slot: int, before: dict[int, int], start: Tensor) -> Tensor:
    """p(code of the slot | codes of others): the formula of the module, for one row."""
    net = model.columns
    seen = start.double()
    for other, code in before.items():
        seen = seen + net.embedding()[net.starts[other] + code].double()
    h = (seen @ net.weight[slot].double() + net.bias[slot].double()).relu()
    part = slice(net.starts[slot], net.starts[slot] + net.sizes[slot])
    logits = h @ net.output()[part].double().T + net.output_bias[part].double()
    if LAYOUT.slots[slot].hidden is not None:
        logits[LAYOUT.slots[slot].hidden] = -torch.inf
    return logits.softmax(dim=0)


def joint(
    model: NADE, given: dict[int, int] | None = None, start: Tensor | None = None
) -> dict[tuple[int, ...], float]:
    """The probability of every row: its conditionals in the order of drawing, multiplied."""
    given = given or {}
    start = torch.zeros(8) if start is None else start
    free, found = [slot for slot in ORDER if slot not in given], {}
    for codes in itertools.product(*(range(LAYOUT.slots[slot].codes) for slot in free)):
        row, chance = dict(given), 1.0
        for slot, code in zip(free, codes, strict=True):
            chance *= float(conditional(model, slot, row, start)[code])
            row[slot] = code
        found[tuple(row[slot] for slot in range(3))] = chance
    return found


def check(x: Tensor, expected: dict[tuple[int, ...], float]) -> None:
    rows, counts = LAYOUT.codes(x).unique(dim=0, return_counts=True)
    seen = {
        tuple(row.tolist()): int(count) / len(x) for row, count in zip(rows, counts, strict=True)
    }
    assert set(seen) <= {row for row, chance in expected.items() if chance > 0}
    for row, chance in expected.items():
        error = (chance * (1 - chance) / len(x)) ** 0.5
        assert abs(seen.get(row, 0.0) - chance) <= ERRORS * error + 1 / len(x), row


@torch.no_grad()
def draw(model: NADE, seed: int = 0, count: int = ROWS, **given: Any) -> Tensor:
    cond = given.pop("cond", None)
    return model.sample(count, BatchRandom(rng.stream(seed, "t"), Rows.all(count)), cond, **given)


@pytest.mark.parametrize("ways", [1, 5, 20, 40], ids=lambda ways: f"{ways} ways")
def test_columns_have_their_joint_probability(ways: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them are drawn at once: none, one, two or all three."""
    monkeypatch.setattr(drawing, "WAYS", ways)
    model = network()
    check(draw(model), joint(model))


@pytest.mark.parametrize("ways", [1, 40])
def test_columns_that_are_held_have_their_say(ways: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "WAYS", ways)
    model, held = network(), torch.full((ROWS, 3), torch.nan)
    for code in (3, 4):  # the second is no use of what was made for the first
        held[:, 0] = code
        check(draw(model, held=held), joint(model, {0: code}))


def test_rows_may_hold_different_codes() -> None:
    model, held = network(), torch.full((2 * ROWS, 3), torch.nan)
    held[:, 1] = torch.arange(2 * ROWS) % 2
    x = draw(model, count=2 * ROWS, held=held)
    for code in range(2):
        check(x[code::2], joint(model, {1: code}))


def test_rows_may_hold_every_column() -> None:
    held = torch.tensor([[4.0, 1.0, 2.0]]).repeat(5, 1)
    assert torch.equal(draw(network(), count=5, held=held), held)


def test_conditions_have_their_say_alike_or_not() -> None:
    model = network((2,))
    assert model.columns.condition is not None
    starts = model.columns.condition.weight.detach().T
    mixed = torch.arange(2 * ROWS)[:, None] % 2
    x = draw(model, count=2 * ROWS, cond=mixed)
    for value in range(2):
        expected = joint(model, start=starts[value])
        check(x[value::2], expected)
        check(draw(model, cond=torch.full((ROWS, 1), value)), expected)


MIXED = torch.full((3 * 1024, 3), torch.nan)
MIXED[:1024, 0], MIXED[1024:2048, 0], MIXED[2048:, 0] = 3, 4, torch.arange(1024) % 5
"""Three blocks that hold one code, another, and all."""


@pytest.mark.parametrize("space", [1, drawing.SPACE], ids=["apart", "together"])
@pytest.mark.parametrize(
    ("held", "cond"),
    [
        (None, torch.ones(3 * 1024, 1, dtype=torch.int64)),
        (None, torch.arange(3 * 1024)[:, None] % 2),
        (torch.full((3 * 1024, 3), torch.nan), torch.zeros(3 * 1024, 1, dtype=torch.int64)),
        (MIXED, torch.zeros(3 * 1024, 1, dtype=torch.int64)),
        # Rows of the first block are alike, those of the others are not.
        (None, (torch.arange(3 * 1024)[:, None] > 1200).long()),
    ],
    ids=["alike", "unlike", "free", "held", "alike by chance"],
)
def test_blocks_drawn_together_are_what_they_are_alone(
    held: Tensor | None, cond: Tensor, space: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "SPACE", space)
    model = network((2,))

    def drawn(blocks: list[int]) -> Tensor:
        parts = [BatchRandom(rng.stream(0, "block", b), Rows.all(1024)) for b in blocks]
        here = torch.cat([torch.arange(b * 1024, b * 1024 + 1024) for b in blocks])
        given = {} if held is None else {"held": held[here]}
        with torch.no_grad():
            return model.sample(len(here), BlocksRandom(parts), cond[here], **given)

    alone = torch.cat([drawn([block]) for block in range(3)])
    assert torch.equal(drawn([0, 1, 2]), alone)
    assert torch.equal(drawn([1, 2]), alone[1024:])


def test_weights_that_change_are_noticed() -> None:
    model = network()
    draw(model, count=8)
    with torch.no_grad():
        model.columns.difference[0] = 1e3
    assert (LAYOUT.codes(draw(model, count=1000))[:, 0] == 0).all()


def test_weights_that_move_are_noticed() -> None:
    model = network()
    draw(model, count=8)
    with torch.no_grad():
        for parameter in model.columns.parameters():
            parameter.data = parameter.data.clone()  # as a move to another device does
        model.columns.difference.data[0] = 1e3
    assert (LAYOUT.codes(draw(model, count=1000))[:, 0] == 0).all()


@pytest.mark.parametrize("ways", [1, 40])
def test_large_logits_do_not_overflow(ways: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "WAYS", ways)
    model = network()
    expected = joint(model)
    with torch.no_grad():
        for shift in (1e4, -2e4):  # the same probabilities, beyond the powers of float32
            model.columns.difference.add_(shift)
            check(draw(model), expected)
