"""Ids: the language of a pattern, each string once, in an order that the key decides."""

from __future__ import annotations

import itertools
import re
import string
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthray import rng
from synthray.data.cells.ids import IdCells, IdForm, IdStats, fit_ids
from synthray.data.ids import ROUNDS, NumberIds, OutOfIdsError, PatternIds, shuffled
from synthray.data.patterns import boxes_of
from synthray.data.schema import Column, Kind
from synthray.errors import SchemaError


def key(seed: int) -> np.ndarray:
    return rng.stream(seed, "test").integers(0, 2**64, ROUNDS, np.uint64)


def language(pattern: str) -> list[str]:
    return [
        bytes(choice).decode() for box in boxes_of(pattern) for choice in itertools.product(*box)
    ]


def id_column(kind: pa.DataType, pattern: str | None = None) -> Column:
    return Column(name="key", kind=Kind.id, arrow_type=str(kind), pattern=pattern)


# The language of a pattern.


@pytest.mark.parametrize(
    "pattern",
    [
        "a",
        "",
        "[ab]{2}",
        "[a-c]?x",
        "a{0,3}",
        "(ab|a)(b|bb)?",
        "(a|b|ab){1,2}",
        "^(?:no|yes)$",
        "[ab][b]|[b][ab]|bb",
        r"\.\[a\]-[-a][]b]",
        r"[\]\-]b?",
        "(a?){3}",
        "((a|b)c){1,2}|a",
    ],
)
def test_the_language_is_that_of_the_regular_expression(pattern: str) -> None:
    found = language(pattern)
    assert len(found) == len(set(found))
    assert all(re.fullmatch(pattern, text) for text in found)
    alphabet = "noyes" if pattern.startswith("^") else "abcdxyz.[]-"
    every = (
        "".join(letters)
        for length in range(5)
        for letters in itertools.product(alphabet, repeat=length)
    )
    expected = {text for text in every if re.fullmatch(pattern, text)}
    assert {text for text in found if len(text) <= 4} == expected


def test_classes_hold_what_they_say() -> None:
    assert language(r"\d") == list(string.digits)
    assert set(language(r"\w")) == set(string.ascii_letters + string.digits + "_")
    assert set(language(r"[\da-f]")) == set("0123456789abcdef")
    assert language("ä€") == ["ä€"]


@pytest.mark.parametrize(
    "pattern",
    ["a*", "a+", "a{2,}", "a{3,2}", "(a", "a)", "[a", "[^a]", "[z-a]", ".", r"\s", "*", "a{", "[ä]",
     "\\", "(a|b|ab){20}", "a{2000}", "[a", "a|{2}"],
)  # fmt: skip
def test_what_cannot_be_counted_out_is_refused(pattern: str) -> None:
    with pytest.raises(SchemaError, match="pattern") as caught:
        boxes_of(pattern)
    assert pattern in caught.value.what or repr(pattern) in caught.value.what


# Ids.


@given(st.integers(1, 2000), st.integers(0, 9))
@settings(derandomize=True, database=None, deadline=None, max_examples=50)
def test_numbers_are_permuted(size: int, seed: int) -> None:
    found = shuffled(np.arange(size, dtype=np.uint64), size, key(seed))
    assert sorted(found.tolist()) == list(range(size))


@pytest.mark.parametrize("size", [2**63, 2**63 - 1, 2**62 + 1, 10**18])
def test_large_permutations_stay_within_their_range(size: int) -> None:
    numbers = np.concatenate([np.arange(50_000), size - 1 - np.arange(50_000)]).astype(np.uint64)
    found = shuffled(numbers, size, key(0))
    assert len(set(found.tolist())) == len(numbers) and found.max() < size
    # Uniform: the mean of 100,000 is within five standard errors of the middle.
    assert abs(float(found.astype(np.float64).mean()) / size - 0.5) < 5 * (12 * 1e5) ** -0.5


@pytest.mark.parametrize("pattern", ["[A-C]{2}-[0-4]{1,3}", "(a|ab)(c|bcd)?[x-z]{0,3}", "x"])
def test_every_id_comes_once(pattern: str) -> None:
    ids = PatternIds(pattern)
    found = ids.take(0, ids.count, key(0)).to_pylist()
    assert sorted(found) == sorted(language(pattern))
    with pytest.raises(OutOfIdsError):
        ids.take(1, ids.count, key(0))


@pytest.mark.parametrize(
    "pattern",
    [
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        "(A|BB)[a-z]{20}|[0-9]{3}",
        r"\w{1,40}",
        r"\d{19}",
        r"\d{18}",
    ],
)
def test_ids_of_long_patterns_are_distinct_and_match(pattern: str) -> None:
    ids = PatternIds(pattern)
    parts = [ids.take(first, 2000, key(1)).to_pylist() for first in (0, 2000, 2**62 // 10)]
    found = [text for part in parts for text in part]
    assert len(set(found)) == 6000
    assert all(re.fullmatch(pattern, text) for text in found)


def test_strings_use_all_their_places() -> None:
    found = PatternIds("[0-9a-f]{32}").take(0, 4000, key(0)).to_pylist()
    for place in range(32):
        counts = np.bincount([int(text[place], 16) for text in found], minlength=16)
        # Chi-squared of 15 degrees: 60 is beyond one in a million.
        assert np.square(counts - 250).sum() / 250 < 60


def test_ids_are_a_function_of_row_and_key() -> None:
    ids = PatternIds(r"K\d{6}")
    whole = ids.take(0, 3000, key(0)).to_pylist()
    assert ids.take(1000, 500, key(0)).to_pylist() == whole[1000:1500]
    assert ids.take(0, 3000, key(1)).to_pylist() != whole
    assert whole != sorted(whole)


def test_numbers_lie_where_the_source_s_do_and_go_on() -> None:
    ids = NumberIds(10_500, 10_999, 10**9)
    found = ids.take(0, 4000, key(0)).tolist()
    assert sorted(found[:500]) == list(range(10_500, 11_000))
    assert sorted(found[500:1000]) == list(range(11_000, 11_500))
    assert sorted(found[1000:2000]) == list(range(11_500, 12_500))
    assert len(set(found)) == 4000
    assert ids.take(700, 900, key(0)).tolist() == found[700:1600]


def test_numbers_end_where_the_type_does() -> None:
    assert sorted(NumberIds(-3, 5, 127).take(0, 131, key(0)).view(np.int64)) == list(range(-3, 128))
    ids = NumberIds(120, 125, 127)
    assert sorted(ids.take(0, 6, key(0))) == list(range(120, 126))
    assert sorted(ids.take(0, 128, key(0))) == list(range(128))
    with pytest.raises(OutOfIdsError):
        ids.take(0, 129, key(0))
    most = 2**64 - 1
    found = NumberIds(most - 99, most, most).take(0, 1000, key(0))
    assert sorted(found[:100].tolist()) == list(range(most - 99, most + 1))
    assert len(set(found.tolist())) == 1000


# As a column.


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (pa.int64(), None),
        (pa.int16(), None),
        (pa.uint64(), None),
        (pa.float64(), None),
        (pa.string(), "C[0-9]{5}"),
        (pa.large_string(), "C[0-9]{5}"),
        (pa.string(), None),
        (pa.int32(), "[1-9][0-9]{4,5}"),
        (pa.int32(), "[0-9]{6}"),
        (pa.dictionary(pa.int32(), pa.string()), "C[0-9]{5}"),
    ],
    ids=str,
)
def test_a_column_comes_in_its_type(kind: pa.DataType, pattern: str | None) -> None:
    cells = IdCells(id_column(kind, pattern), IdForm(low=1, high=99))
    found = pa.concat_arrays(
        [
            cells.made(first, 1000, 3).cast(
                kind.value_type if pa.types.is_dictionary(kind) else kind
            )
            for first in (0, 1000)
        ]
    )
    assert cells.made(0, 10, 3).type == kind
    assert len(found.unique()) == 2000 and not found.null_count
    assert cells.made(1000, 1000, 4).to_pylist() != cells.made(1000, 1000, 3).to_pylist()


@pytest.mark.parametrize(
    ("cells", "ends", "digits"),
    [
        ([10_500, 10_999], (10_500, 10_999), (10_000, 99_999)),
        ([0, 7], (0, 7), (0, 9)),
        ([-12, 3], (-12, 3), (-99, 9)),
        ([None], (1, 1), (1, 1)),
        ([5.0, None, 12.0], (5, 12), (1, 99)),
    ],
)
def test_numbers_keep_the_ends_of_the_source_or_only_their_digits(
    cells: list[Any], ends: tuple[int, int], digits: tuple[int, int]
) -> None:
    table = pa.chunked_array([pa.array(cells, pa.int64() if cells == [None] else None)])
    column = id_column(table.type)
    half = len(cells) // 2
    stats = IdStats.of(column, table[half:]).merge(IdStats.of(column, table[:half]))
    for rare, (low, high) in ((0, ends), (20, digits)):
        assert fit_ids(stats, rare) == IdForm(low=low, high=high)


def test_an_exhausted_pattern_is_named() -> None:
    cells = IdCells(id_column(pa.string(), "[ab]{3}"), IdForm())
    assert len(set(cells.made(0, 8, 0).to_pylist())) == 8
    with pytest.raises(SchemaError, match=r"'key'.*'\[ab\]\{3\}' has 8 ids"):
        cells.made(5, 4, 0)


@pytest.mark.parametrize("pattern", [r"\d{1,3}", "[a-z]{3}", r"\d{12}", r"\d?"])
def test_patterns_of_whole_numbers_give_distinct_ones(pattern: str) -> None:
    with pytest.raises(SchemaError, match="distinct"):
        IdCells(id_column(pa.int32(), pattern), IdForm())


def test_dates_are_no_ids() -> None:
    with pytest.raises(SchemaError, match="date32"):
        IdStats.of(id_column(pa.date32()), pa.chunked_array([pa.array([1], pa.date32())]))
