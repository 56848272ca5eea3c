"""The codec of tables: every type there and back, whatever the cells and the chunks."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthray.config import DataConfig
from synthray.data.prepare import encode_all, fit_codec, open_data
from synthray.data.schema import Column, Kind, Schema
from synthray.data.sketches import plain
from synthray.data.table_codec import BINS, TableCodec
from synthray.data.vector_codec import VectorCodec
from synthray.errors import ArtifactError, ConditionError, SchemaError, SourceError

RANDOM = np.random.default_rng(0)
NO_LABELS = torch.empty((0, 0), dtype=torch.int64)


def kind_of(kind: pa.DataType) -> Kind:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(plain):
        return Kind.integer
    if pa.types.is_floating(plain) or pa.types.is_decimal(plain):
        return Kind.continuous
    if pa.types.is_boolean(plain):
        return Kind.boolean
    return Kind.datetime if pa.types.is_temporal(plain) else Kind.categorical


def schema_of(rows: pa.Table, *conditions: str, **changes: dict[str, Any]) -> Schema:
    columns = []
    for field in rows.schema:
        column = Column(
            name=field.name,
            kind=kind_of(field.type),
            arrow_type=str(field.type),
            condition=field.name in conditions,
        )
        columns.append(column.model_copy(update=changes.get(field.name, {})))
    return Schema(columns=tuple(columns))


def fitted(
    rows: pa.Table,
    *conditions: str,
    numbers: Literal["bins", "modes"] = "bins",
    bins: int = BINS,
    rare: int = 0,
    **changes: dict[str, Any],
) -> TableCodec:
    made = TableCodec(schema_of(rows, *conditions, **changes), numbers, bins, rare)
    made.fit([made.partial(rows)])
    return made


def back(made: TableCodec, rows: pa.Table) -> pa.Table:
    """There and back, through the artifact's form."""
    encoded = made.encode(rows)
    assert encoded.x.dtype == np.float32 and encoded.x.shape == (len(rows), *made.spec.shape)
    loaded = TableCodec.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    found = loaded.decode(torch.from_numpy(encoded.x), torch.from_numpy(encoded.cond))
    assert found.schema.equals(loaded.arrow_schema())
    found.validate(full=True)
    return found


def slot(made: TableCodec, name: str) -> Any:
    layout = made.spec.layout
    assert layout is not None
    return next(slot for slot in layout.slots if slot.name == name)


def with_spare(cells: Any, kind: pa.DataType | None = None) -> pa.Table:
    """A column, beside one that varies."""
    array = cells if isinstance(cells, pa.Array | pa.ChunkedArray) else pa.array(cells, kind)
    return pa.table({"x": array, "spare": pa.array(np.arange(len(array)) % 2)})


# There and back, whatever the table.

UNITS = ["s", "ms", "us", "ns"]
WHOLE = [
    *(getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)),
    pa.date32(),
    pa.date64(),
    pa.time32("s"),
    pa.time32("ms"),
    pa.time64("us"),
    pa.time64("ns"),
    *(pa.timestamp(unit) for unit in UNITS),
    pa.timestamp("us", "Europe/Berlin"),
    pa.timestamp("s", "UTC"),
    *(pa.duration(unit) for unit in UNITS),
    pa.decimal128(10, 2),
    pa.decimal128(38, 0),
    pa.decimal256(12, -2),
]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
TEXTS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint16(), pa.large_string(), ordered=True),
    pa.dictionary(pa.int64(), pa.int32()),
    pa.bool_(),
]
DAY = 86_400_000


def bounds_of(kind: pa.DataType) -> tuple[int, int]:
    """Of the whole numbers that stand for a type's values."""
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        return int(limits.min), int(limits.max)
    if pa.types.is_decimal(kind):
        most = 10 ** min(kind.precision, 18) - 1
        return -most, most
    if pa.types.is_time(kind):
        return 0, 86_400 * 1000 ** UNITS.index(kind.unit) - 1
    if pa.types.is_date64(kind):
        return -100_000, 100_000
    return (-(2**31), 2**31 - 1) if kind.bit_width == 32 else (-(2**63), 2**63 - 1)


def as_kind(cells: list[int | None], kind: pa.DataType) -> pa.Array:
    """Whole numbers as values of a type."""
    if pa.types.is_integer(kind):
        return pa.array(cells, kind)
    if pa.types.is_decimal(kind):
        exact = [None if c is None else Decimal(c).scaleb(-kind.scale) for c in cells]
        return pa.array(exact, kind)
    if pa.types.is_date64(kind):
        cells = [None if c is None else c * DAY for c in cells]
    return pa.array(cells, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


@st.composite
def whole_columns(draw: st.DrawFn, rows: int) -> pa.Array:
    """Few distinct values, so that all are exact, or many close to each other."""
    kind = draw(st.sampled_from(WHOLE))
    low, high = bounds_of(kind)
    seed = draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)
    if draw(st.booleans()):
        values = draw(st.lists(st.integers(low, high) | st.sampled_from([low, high]), min_size=1))
        cells = [values[i] for i in random.integers(0, len(values), rows)]
    else:
        # Bins of up to 2^25 steps are exact, so a range of as many is.
        start = draw(st.integers(low, high))
        width = draw(st.sampled_from([1, 1000, 2**25]))
        cells = [min(start + int(i), high) for i in random.integers(0, width, rows)]
    return as_kind(holes(draw, random, cells), kind)


@st.composite
def float_columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind = draw(st.sampled_from(FLOATS))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = {pa.float16(): 16, pa.float32(): 32, pa.float64(): 64}[kind]
    cells: list[float]
    if draw(st.booleans()):
        finite = st.floats(allow_nan=True, allow_infinity=False, width=width)  # type: ignore[arg-type]
        values = draw(st.lists(finite, min_size=1))
        cells = [values[i] for i in random.integers(0, len(values), rows)]
    else:
        decimals = draw(st.integers(0, 3))
        power = 10**decimals
        limit = {16: 2**10, 32: 2**22, 64: 2**25}[width]
        exact = random.integers(-limit, limit, rows) / power
        cells = exact.astype(kind.to_pandas_dtype()).tolist()
    return pa.array(np.array(holes(draw, random, cells), object), kind, from_pandas=False)


@st.composite
def text_columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind = draw(st.sampled_from(TEXTS))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    each: st.SearchStrategy[Any] = st.text(max_size=8)
    if pa.types.is_boolean(plain):
        each = st.booleans()
    elif pa.types.is_integer(plain):
        each = st.integers(-(2**31), 2**31 - 1)
    values = draw(st.lists(each, min_size=1, max_size=100))
    cells = holes(draw, random, [values[i] for i in random.integers(0, len(values), rows)])
    made = pa.array(cells, plain)
    return made.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else made


def holes(draw: st.DrawFn, random: np.random.Generator, cells: list[Any]) -> list[Any]:
    share = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    return [None if random.random() < share else cell for cell in cells]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 12) | st.sampled_from([300, 700]))
    one = whole_columns(rows) | float_columns(rows) | text_columns(rows)
    columns = draw(st.lists(one, min_size=1, max_size=4))
    names = draw(
        st.lists(st.text(max_size=5), min_size=len(columns), max_size=len(columns), unique=True)
    )
    return pa.table(columns, names)


def without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column
    cells = [None if c is None or math.isnan(c) else c for c in column.to_pylist()]
    return pa.chunked_array([pa.array(cells, column.type)])


@given(tables(), st.data())
@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    suppress_health_check=list(HealthCheck),
)
def test_any_table_comes_back(rows: pa.Table, data: st.DataObject) -> None:
    rows = rows.append_column("\0spare", pa.array(np.arange(len(rows)) % 2 == 0))
    if len(rows) == 1:  # nothing varies
        with pytest.raises(SourceError, match="varies"):
            fitted(rows)
        return
    made = TableCodec(schema_of(rows))
    cut = data.draw(st.lists(st.integers(0, len(rows)), max_size=4).map(sorted))
    parts = [rows.slice(a, b - a) for a, b in zip([0, *cut], [*cut, len(rows)], strict=True)]
    stats = [made.partial(part) for part in parts]
    while len(stats) > 1:
        at = data.draw(st.integers(0, len(stats) - 2))
        stats[at : at + 2] = [stats[at].merge(stats[at + 1])]
    made.fit(stats)
    assert made.to_json() == fitted(rows).to_json()
    found = back(made, rows)
    assert found.schema.equals(rows.schema)
    for name in rows.column_names:
        assert plain(found[name]).equals(plain(without_nan(rows[name]))), name
    assert_slots_count(made, rows)


def assert_slots_count(made: TableCodec, rows: pa.Table) -> None:
    encoded = made.encode(rows)
    layout = made.spec.layout
    assert layout is not None and encoded.x.shape[1] == layout.width
    codes = layout.codes(torch.from_numpy(encoded.x)).numpy()
    for index, part in enumerate(layout.slots):
        assert np.bincount(codes[:, index], minlength=part.codes).tolist() == list(part.counts)
    assert (layout.offsets(torch.from_numpy(encoded.x)).abs() <= 1).all()


@pytest.mark.parametrize("kind", FLOATS, ids=str)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_measured_floats_come_back_within_their_bin(kind: pa.DataType, scale: float) -> None:
    cells = np.minimum(RANDOM.lognormal(0, 1, 5000) * scale, 6e4).astype(kind.to_pandas_dtype())
    rows = with_spare(pa.array(cells))
    made = fitted(rows)
    found = back(made, rows)["x"].to_numpy()
    codes = made.encode(rows).x[:, 0].astype(int)
    values = cells.astype(np.float64)
    for code in np.unique(codes):
        inside = values[codes == code]
        width = np.ptp(inside)
        low, high = inside.min(), inside.max()
        # The bin may be wider than the cells in it, by the gap to the next cell.
        gap = min([v for v in values if v > high] or [high]) - low
        error = np.abs(found[codes == code].astype(np.float64) - inside)
        resolution = np.spacing(cells[codes == code]).astype(np.float64)
        assert (error <= 2**-25 * max(width, gap) + resolution).all()
    # The ends are exact but for the last bits of float64.
    ends = [found.min(), found.max()]
    assert np.allclose(ends, [cells.min(), cells.max()], rtol=1e-14, atol=0)


def test_wide_whole_numbers_come_back_within_their_bin() -> None:
    cells = RANDOM.integers(-(2**62), 2**62, 5000)
    rows = with_spare(cells)
    found = back(fitted(rows, bins=64), rows)["x"].to_numpy()
    # 64 bins of 2^63 / 64 each, to 2^-25 of it.
    assert np.abs(found.astype(float) - cells.astype(float)).max() < 2**63 / 50 * 2**-25


@given(
    st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63 - 1, 2**63, 2**64 - 1]),
    st.sampled_from([1000, 2**25, 2**63, 2**64 - 1]),
    st.sampled_from([0, 20]),
    st.sampled_from(["bins", "modes"]),
)
@settings(derandomize=True, database=None, deadline=None, max_examples=60)
def test_uint64_comes_back_over_its_whole_range(
    start: int, width: int, rare: int, numbers: Literal["bins", "modes"]
) -> None:
    start = min(start, 2**64 - 1 - width)
    cells = start + np.random.default_rng(0).integers(0, width, 600, np.uint64, endpoint=True)
    rows = with_spare(cells, pa.uint64())
    made = fitted(rows, numbers=numbers, rare=rare)
    found = back(made, rows)["x"].to_numpy()
    assert found.dtype == np.uint64
    assert cells.min() <= found.min() and found.max() <= cells.max()
    if numbers == "bins" and not rare:
        away = np.maximum(found, cells) - np.minimum(found, cells)
        assert away.max() <= (0 if width <= 2**25 else width * 2**-25)
    beyond = with_spare([0, 2**63, 2**64 - 1, int(start)], pa.uint64())
    assert back(made, beyond)["x"].type == pa.uint64()


def test_steps_are_kept() -> None:
    """Whatever a model gives, days stay days, cents cents, and hundreds hundreds."""
    random = np.random.default_rng(1)
    day = 86_400 * 10**6
    rows = pa.table(
        {
            "day": pa.array(random.integers(0, 20_000, 4000) * day, pa.timestamp("us")),
            "cents": np.round(random.lognormal(4, 1, 4000), 2),
            "hundreds": random.integers(0, 10_000, 4000) * 100 + 50,
        }
    )
    made = fitted(rows)
    x = torch.from_numpy(made.encode(rows).x.copy())
    layout = made.spec.layout
    assert layout is not None
    x[:, layout.offset_columns] = torch.rand(4000, 3) * 2 - 1
    found = made.decode(x, NO_LABELS)
    assert (found["day"].cast(pa.int64()).to_numpy() % day == 0).all()
    cents = found["cents"].to_numpy()
    assert (np.round(cents, 2) == cents).all()
    assert (found["hundreds"].to_numpy() % 100 == 50).all()
    for name in rows.column_names:
        assert pc.min_max(found[name]) == pc.min_max(rows[name]) or all(
            pc.min(rows[name]).as_py() <= end <= pc.max(rows[name]).as_py()
            for end in pc.min_max(found[name]).as_py().values()
        )


def test_offsets_never_leave_their_bin() -> None:
    rows = with_spare(RANDOM.integers(0, 10**6, 4000))
    made = fitted(rows)
    bins = slot(made, "x").codes
    ends = []
    for offset in (-1.0, 1.0, 5.0):
        x = torch.zeros((bins, made.spec.shape[0]))
        x[:, 0], x[:, 1] = torch.arange(bins), offset
        ends.append(made.decode(x, NO_LABELS)["x"].to_numpy())
    assert (ends[0][1:] == ends[1][:-1]).all() and (ends[0] < ends[1]).all()
    assert (ends[1] == ends[2]).all()
    assert (ends[0][0], ends[1][-1]) == (min(rows["x"].to_pylist()), max(rows["x"].to_pylist()))
    assert set(ends[0].tolist()) <= set(rows["x"].to_pylist())


def test_bins_hold_about_as_many_rows_and_frequent_numbers_are_atoms() -> None:
    random = np.random.default_rng(2)
    cells = random.normal(0, 1, 30_000)
    cells[random.random(30_000) < 0.3] = 0.0
    rows = with_spare(cells)
    made = fitted(rows, bins=32)
    part = slot(made, "x")
    # Some 360 of a sample's 16,384 cells to a bin: those at the ends are halved six times, to five.
    assert part.codes == 1 + 32 + 2 * 6 and sum(part.counts) == 30_000
    atom = int(np.argmin(part.spreads))
    assert part.spreads[atom] == 0 and part.counts[atom] == (cells == 0).sum()
    codes = made.encode(rows).x[:, 0].astype(int)
    found = np.bincount(codes, minlength=part.codes)
    assert found[atom] == part.counts[atom]
    others = np.delete(found, atom)
    ends = others[:7].sum(), *others[7:-7], others[-7:].sum()
    # A sample of 16,384 cells puts each quantile within a fifth of a bin.
    assert (np.abs(np.array(ends) / np.mean(ends) - 1) < 0.2).all()
    assert others[0] < 30 and others[-1] < 30 and others[6] > 100


@pytest.mark.parametrize("cells", ["lognormal", "pareto", "normal", "cents"])
def test_codes_by_their_frequency_and_even_offsets_give_the_column(cells: str) -> None:
    """Its tails as well: what a model that knows the codes draws, it draws right."""
    random = np.random.default_rng(3)
    source = {
        "lognormal": random.lognormal(0, 1, 12_000),
        "pareto": random.pareto(2.5, 12_000) + 1,
        "normal": random.normal(0, 1, 12_000),
        "cents": np.round(random.lognormal(5, 1, 12_000), 2),
    }[cells]
    made = fitted(with_spare(source))
    part = slot(made, "x")
    rows = 200_000
    codes = random.choice(part.codes, rows, p=np.array(part.counts) / sum(part.counts))
    offsets = random.uniform(-1, 1, rows).astype(np.float32)
    drawn = made._cells[0].decode(codes, offsets).to_numpy()
    shares = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999]
    # A fiftieth of what lies beyond, and of the 12 cells beyond the last, all.
    errors = [max(0.001, 0.02 * min(s, 1 - s)) for s in shares]
    levels = [[s - e, s + e] for s, e in zip(shares, errors, strict=True)]
    limits = np.quantile(source, np.clip(levels, 0, 1))
    for found, (low, high) in zip(np.quantile(drawn, shares), limits, strict=True):
        assert low <= found <= high
    assert drawn.mean() == pytest.approx(source.mean(), rel=0.02, abs=0.02)
    assert drawn.std() == pytest.approx(source.std(), rel=0.06)


def test_slots_say_where_numbers_lie() -> None:
    """To within a bin, in which rows may not lie evenly."""
    cells = RANDOM.normal(50, 10, 3000)
    rows = pa.table({"x": pa.array(cells), "n": pa.array(RANDOM.integers(0, 9, 3000))})
    made = fitted(rows)
    layout = made.spec.layout
    assert layout is not None
    x = torch.from_numpy(made.encode(rows).x)
    found, codes = layout.numbers(x).numpy(), layout.codes(x).numpy()
    for index, name in enumerate(rows.column_names):
        values = rows[name].to_numpy()
        spreads = np.array(layout.slots[index].spreads)[codes[:, index]]
        apart = np.abs(found[:, index] - (values - values.mean()) / values.std())
        assert (apart <= spreads + 1e-4).all() and apart.mean() < 0.02


# Large columns, of which only samples are kept.


@pytest.mark.parametrize("numbers", ["bins", "modes"])
def test_the_fit_does_not_depend_on_chunks(numbers: Literal["bins", "modes"]) -> None:
    random = np.random.default_rng(3)
    rows = pa.table({"x": random.normal(0, 1, 30_000), "k": random.integers(0, 2**60, 30_000)})
    made = TableCodec(schema_of(rows), numbers)
    stats = [made.partial(rows.slice(i, 5000)) for i in range(0, 30_000, 5000)]
    made.fit([stats[3].merge(stats[0]), stats[5].merge(stats[4].merge(stats[1])), stats[2]])
    whole = fitted(rows, numbers=numbers)
    assert made.to_json() == whole.to_json()
    parts = [made.encode(rows.slice(i, 7000)).x for i in range(0, 30_000, 7000)]
    assert np.array_equal(np.concatenate(parts), whole.encode(rows).x)


def test_a_table_of_people_comes_back() -> None:
    """A table as people have them: whole numbers with peaks, text with missing cells."""
    random = np.random.default_rng(4)
    rows = pa.table(
        {
            "age": random.integers(17, 91, 20_000),
            "weight": random.integers(12_000, 1_500_000, 20_000),
            "gain": np.where(random.random(20_000) < 0.9, 0, random.integers(1, 99_999, 20_000)),
            "work": pa.array(random.choice(["private", "state", None], 20_000), pa.large_string()),
            "income": random.choice(["<=50K", ">50K"], 20_000),
        }
    )
    made = fitted(rows, "income")
    assert back(made, rows).equals(rows)
    assert [part.name for part in made.spec.layout.slots] == rows.column_names[:-1]  # type: ignore[union-attr]
    assert made.spec.conditions == (2,)


# Modes.


def test_modes_are_the_papers() -> None:
    random = np.random.default_rng(5)
    which = random.random(20_000) < 0.3
    cells = np.where(which, random.normal(-10, 1, 20_000), random.normal(20, 3, 20_000))
    rows = with_spare(pa.array(cells))
    made = fitted(rows, numbers="modes")
    part = slot(made, "x")
    encoded = made.encode(rows).x
    codes, offsets = encoded[:, 0].astype(int), encoded[:, 1]
    assert 2 <= part.codes <= 10
    low = np.isin(codes, [code for code in range(part.codes) if part.centres[code] < 0])
    assert (low == which).mean() > 0.999
    # Four deviations are the whole range; cells of one mode are normal, so a quarter is one sigma.
    assert abs(offsets.std() - 0.25) < 0.03
    assert abs(sum(part.counts) - 20_000) < 1 and np.allclose(
        np.bincount(codes, minlength=part.codes), part.counts, atol=400
    )
    found = back(made, rows)["x"].to_numpy()
    inside = np.abs(offsets) < 1
    assert inside.mean() > 0.999
    assert np.allclose(found[inside], cells[inside], atol=1e-5)
    assert found.min() >= cells.min() and found.max() <= cells.max()


def test_modes_are_drawn_from_the_posterior() -> None:
    """Of two modes that overlap, a cell between them takes either."""
    random = np.random.default_rng(6)
    cells = np.concatenate([random.normal(0, 1, 8000), random.normal(3, 1, 8000)])
    rows = with_spare(pa.array(random.permutation(cells)))
    made = fitted(rows, numbers="modes")
    codes = made.encode(rows).x[:, 0].astype(int)
    between = np.abs(rows["x"].to_numpy() - 1.5) < 0.2
    part = slot(made, "x")
    low = np.array(part.centres)[codes[between]] < 0
    assert 0.3 < low.mean() < 0.7


@pytest.mark.parametrize(
    "kind", [pa.int16(), pa.float32(), pa.timestamp("s"), pa.date32()], ids=str
)
def test_modes_keep_types_missing_cells_and_few_values(kind: pa.DataType) -> None:
    random = np.random.default_rng(7)
    cells = random.normal(1000, 100, 2000).astype(int).tolist()
    cells[::7] = [None] * len(cells[::7])
    many = as_kind(cells, kind) if kind != pa.float32() else pa.array(cells, kind)
    few = as_kind([i % 4 for i in range(2000)], kind) if kind != pa.float32() else many
    rows = pa.table({"many": many, "few": few})
    found = back(fitted(rows, numbers="modes"), rows)
    assert found.schema.equals(rows.schema)
    assert found["many"].null_count == rows["many"].null_count
    if kind != pa.float32():
        assert found["few"].equals(rows["few"])
    assert pc.mean(pc.equal(found["many"], rows["many"])).as_py() > 0.99


# Missing, constant, left out.


@pytest.mark.parametrize("cells", [[None, None, None], [7, 7, 7], ["a"] * 3, [1.5] * 3, [True] * 3])
def test_constant_columns_are_no_slots_and_come_back(cells: list[Any]) -> None:
    rows = with_spare(cells, pa.int64() if cells[0] is None else None)
    made = fitted(rows)
    assert made.spec.shape == (2,)
    assert back(made, rows).equals(rows)


def test_missing_is_a_code_of_its_own() -> None:
    rows = pa.table({"x": [1.5, None, math.nan, 2.5], "c": ["a", None, None, "b"]})
    made = fitted(rows)
    for name in ("x", "c"):
        part = slot(made, name)
        assert part.missing == 2 and part.counts == (1, 1, 2) and part.hidden is None
    assert back(made, rows)["x"].to_pylist() == [1.5, None, None, 2.5]


def test_text_is_left_out() -> None:
    rows = pa.table({"x": [1, 2], "prose": ["once", "upon"]})
    made = fitted(rows, prose={"kind": Kind.text})
    assert back(made, rows).column_names == ["x"]


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M:%S.%f", "%d %b %Y"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_dates_as_text_come_back(form: str, kind: pa.DataType) -> None:
    start = datetime.datetime(1950, 1, 1)
    cells: list[str | None] = []
    for i in RANDOM.integers(0, 100 * 365 * 86_400, 500).tolist():
        moment = start + datetime.timedelta(seconds=i)
        if "%f" in form:
            # In a month there are 2^25 steps of 80 ms: finer ones are not exact in 64 bins.
            moment = moment.replace(year=2026, month=1, microsecond=i % 10 * 100_000)
        cells.append(moment.strftime(form))
    cells[3] = None
    rows = with_spare(cells, kind)
    made = fitted(rows, x={"kind": Kind.datetime, "format": form})
    assert slot(made, "x").number
    assert back(made, rows).equals(rows)


def test_text_that_is_no_date_is_named() -> None:
    rows = with_spare(["2026-01-01", "soon", None])
    with pytest.raises(SourceError, match=r"'x' has 1 cells.*'%Y-%m-%d'.*'soon'"):
        fitted(rows, x={"kind": Kind.datetime, "format": "%Y-%m-%d"})
    with pytest.raises(SchemaError, match="no format"):
        fitted(rows, x={"kind": Kind.datetime})
    with pytest.raises(SchemaError, match=r"%S\.%f"):
        fitted(rows, x={"kind": Kind.datetime, "format": "%f"})


def test_whole_numbers_stored_as_floats_stay_whole() -> None:
    rows = with_spare(RANDOM.integers(0, 5000, 3000).astype(np.float64))
    made = fitted(rows, x={"kind": Kind.integer})
    x = torch.from_numpy(made.encode(rows).x.copy())
    x[:, 1] = torch.rand(3000) * 2 - 1
    found = made.decode(x, NO_LABELS)["x"].to_numpy()
    assert found.dtype == np.float64 and (found == np.rint(found)).all()


def test_ids_are_made_anew() -> None:
    rows = pa.table(
        {"key": [f"K{i:04}" for i in range(50)], "n": range(50), "no": np.arange(50) + 1000}
    )
    made = fitted(rows, key={"kind": Kind.id, "pattern": r"K\d{4}"}, no={"kind": Kind.id}, n={})
    assert made.spec.shape == (2,)
    x = torch.from_numpy(made.encode(rows).x)
    first, second = made.decode(x, NO_LABELS), made.decode(x, NO_LABELS, first=50)
    for name in ("key", "no"):
        both = first[name].to_pylist() + second[name].to_pylist()
        assert len(set(both)) == 100
        assert made.decode(x, NO_LABELS, seed=1)[name].to_pylist() != first[name].to_pylist()
        part = made.decode(x[20:30], NO_LABELS, first=20)[name].to_pylist()
        assert part == first[name].to_pylist()[20:30]
    assert first["n"].equals(rows["n"]) and all(1000 <= n < 10_000 for n in both)
    assert "K0001" not in json.dumps(made.to_json())


def test_a_pattern_that_cannot_be_read_is_told_at_once() -> None:
    column = Column(name="key", kind=Kind.id, pattern="K.*")
    with pytest.raises(SchemaError, match="K"):
        TableCodec(Schema(columns=(column,)))


def test_chunks_without_cells_count_nothing() -> None:
    rows = pa.table({"x": [1.5, 2.5], "c": ["a", "b"], "t": pa.array([1, 2], pa.date32())})
    made = TableCodec(schema_of(rows))
    bare = pa.table({f.name: pa.chunked_array([], f.type) for f in rows.schema})
    made.fit([made.partial(bare), made.partial(rows), made.partial(rows.slice(0, 0))])
    assert made.to_json() == fitted(rows).to_json()
    assert len(made.encode(bare)) == 0
    assert len(made.decode(torch.empty(0, *made.spec.shape), NO_LABELS)) == 0


# Privacy.


def numbers_in(tree: Any) -> set[float]:
    """All numbers of a tree of JSON."""
    if isinstance(tree, dict | list):
        return set().union(*map(numbers_in, tree.values() if isinstance(tree, dict) else tree))
    return {tree} if isinstance(tree, int | float) else set()


def test_rare_categories_are_hidden() -> None:
    rows = pa.table({"c": ["a"] * 10 + ["b"] * 5 + ["Zanzibar", "Quito"], "n": range(17)})
    made = fitted(rows, rare=3, n={"kind": Kind.id})
    part = slot(made, "c")
    assert part.counts == (10, 5, 2) and part.hidden == 2
    text = json.dumps(made.to_json())
    assert "Zanzibar" not in text and "Quito" not in text
    assert back(made, rows)["c"].to_pylist() == ["a"] * 10 + ["b"] * 5 + [None] * 2
    kept = fitted(rows, n={"kind": Kind.id})
    assert slot(kept, "c").counts == (5 * 2, 5, 1, 1) or slot(kept, "c").hidden is None
    # A layout's soft rows never become the hidden code.
    layout = made.spec.layout
    assert layout is not None
    soft = torch.tensor([[0.1, 0.2, 0.7]])
    assert layout.harden(soft).tolist() == [[1.0]]


@pytest.mark.parametrize("numbers", ["bins", "modes"])
def test_rare_numbers_do_not_get_into_the_artifact(numbers: Literal["bins", "modes"]) -> None:
    random = np.random.default_rng(8)
    cells = random.normal(0, 1, 5000)
    cells[:4] = [-777.25, -555.5, 888.125, 999.75]
    rows = pa.table({"x": cells, "few": np.where(np.arange(5000) == 0, 4321, np.arange(5000) % 3)})
    made = fitted(rows, numbers=numbers, rare=5)
    told = numbers_in({k: v for k, v in made.to_json().items() if k == "cells"})
    assert not told & {4321, *cells[:4].tolist()}
    assert max(abs(n) for n in told if isinstance(n, float)) < 10
    found = back(made, rows)
    ordered = np.sort(cells)
    assert found["x"].to_numpy().min() >= ordered[4] - 1e-6
    assert found["x"].to_numpy().max() <= ordered[-5] + 1e-6
    if numbers == "bins":
        assert found["x"].to_numpy()[:4].tolist() == pytest.approx(ordered[[4, 4, -5, -5]].tolist())
    assert slot(made, "few").hidden == 3 and found["few"][0].as_py() is None
    assert found["few"].to_pylist()[1:] == rows["few"].to_pylist()[1:]


def test_what_only_rare_values_hold_is_refused() -> None:
    rows = pa.table({"name": [f"n{i}" for i in range(20)], "n": [0, 1] * 10})
    with pytest.raises(SourceError, match=r"'name' has no value in data\.rare = 3"):
        fitted(rows, rare=3)
    rows = pa.table({"c": ["a"] * 19 + ["b"], "n": [0, 1] * 10})
    with pytest.raises(SourceError, match=r"'c' has 1 values in fewer than data\.rare = 3"):
        fitted(rows, "c", rare=3)


# Refusals.


def test_infinite_numbers_are_refused_and_counted() -> None:
    rows = pa.table({"x": [math.inf, 1.0, -math.inf], "y": [1.0, 2.0, math.inf], "z": [1, 2, 3]})
    with pytest.raises(SourceError, match=r"'x' has 2; column 'y' has 1") as caught:
        fitted(rows)
    assert "3 rows" in caught.value.what
    made = fitted(pa.table({"x": [0.5, 1.0], "y": [1.0, 2.0], "z": [1, 2]}))
    with pytest.raises(SourceError, match="'x' has 2"):
        made.encode(rows)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(SourceError, match="no rows"):
        fitted(pa.table({"x": pa.array([], pa.int64())}))
    made = TableCodec(schema_of(with_spare([1, 2])))
    with pytest.raises(SourceError, match="no rows"):
        made.fit([])


def test_unknown_cells_are_named() -> None:
    made = fitted(pa.table({"c": ["a", "b"], "n": [1, 2], "k": ["x", "y"]}), "k")
    good = {"c": ["a"], "n": [1], "k": ["x"]}
    with pytest.raises(SourceError, match="'c' has the value 'z'"):
        made.encode(pa.table(good | {"c": ["z"]}))
    with pytest.raises(SourceError, match="'c' has the value None"):
        made.encode(pa.table(good | {"c": pa.array([None], pa.string())}))
    with pytest.raises(SourceError, match="'n' has 1 missing"):
        made.encode(pa.table(good | {"n": pa.array([None], pa.int64())}))
    with pytest.raises(ConditionError, match="k = 'z'"):
        made.encode(pa.table(good | {"k": ["z"]}))
    assert made.encode(pa.table(good | {"n": [99]})).x.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1.5, 2.5], Kind.categorical),
        ([datetime.date(2026, 1, 1), None], Kind.categorical),
        (["a", "b"], Kind.continuous),
        ([True, False], Kind.integer),
        ([b"a", b"b"], Kind.categorical),
    ],
)
def test_kinds_that_do_not_fit_the_type_are_refused(cells: list[Any], kind: Kind) -> None:
    with pytest.raises(SchemaError, match="x"):
        fitted(with_spare(cells), x={"kind": kind})


def test_too_many_categories_are_refused() -> None:
    rows = with_spare([str(i) for i in range(10_001)])
    with pytest.raises(SourceError, match="more than 10,000 categories"):
        fitted(rows)


def test_decimals_of_too_many_digits_are_refused() -> None:
    with pytest.raises(SourceError, match="18 digits"):
        fitted(with_spare([Decimal(10) ** 25, Decimal(1)], pa.decimal128(38, 0)))


def test_numbers_of_a_diverged_model_are_refused() -> None:
    made = fitted(pa.table({"c": ["a", "b"], "n": [1, 2]}))
    with pytest.raises(ArtifactError, match="not finite"):
        made.decode(torch.tensor([[0.0, math.nan, 0.0]]), NO_LABELS)
    for code in (2.0, -1.0):
        with pytest.raises(ArtifactError, match="codes"):
            made.decode(torch.tensor([[code, 0.0, 0.0]]), NO_LABELS)


def test_a_broken_artifact_is_refused() -> None:
    made = fitted(pa.table({"c": ["a", "b"], "n": [1, 2], "k": ["x", "y"]}), "k")
    good = made.to_json()
    assert TableCodec.from_json(good).to_json() == good

    def broken(change: Any) -> dict[str, Any]:
        tree = json.loads(json.dumps(good))
        change(tree)
        return dict(tree)

    for change in (
        lambda tree: tree.pop("cells"),
        lambda tree: tree["cells"].pop(),
        lambda tree: tree["cells"][1].update(halves=[]),
        lambda tree: tree["cells"][1].update(owners=[5, 6]),
        lambda tree: tree["cells"][0].update(kind="other"),
        lambda tree: tree["cells"][0].update(missing=7),
        lambda tree: tree["schema"]["columns"][0].update(arrow_type="struct<a: int8>"),
        lambda tree: tree["schema"]["columns"][0].update(values=["a"]),
        lambda tree: tree["spec"]["layout"]["slots"][0].update(counts=[1]),
        lambda tree: tree["spec"].pop("layout"),
        lambda tree: tree.update(spec=None),
    ):
        with pytest.raises(ArtifactError, match=r"codec\.json"):
            TableCodec.from_json(broken(change))


# Within the line.


@pytest.mark.parametrize("coding", ["modes", "bins"])
def test_open_data_gives_the_coding_that_is_asked_for(
    tmp_path: Path, coding: Literal["modes", "bins"]
) -> None:
    rows = pa.table({"x": RANDOM.normal(0, 1, 600), "c": ["a", "b", "c"] * 200})
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=100)
    source, made = open_data(DataConfig(source=str(tmp_path), rare=2), coding)
    assert isinstance(made, TableCodec) and (made.numbers, made.rare) == (coding, 2)
    fit_codec(source, made, map)
    encoded = encode_all(source, made, map)
    assert encoded.x.shape == (600, 3) and made.spec.rows == 600
    found = made.decode(torch.from_numpy(encoded.x), torch.from_numpy(encoded.cond))
    assert found["c"].equals(rows["c"])
    numbers = pa.table({"x": [1.0, 2.0]})
    pq.write_table(numbers, tmp_path / "rows.parquet")
    assert isinstance(open_data(DataConfig(source=str(tmp_path)))[1], VectorCodec)
