"""Numbers as atoms and quantile bins, from a column's statistics.

A column of no more distinct values than bins has an atom for each; one of a few more lists them,
and neighbours share a code. Else the frequent values are atoms, and all others lie in bins of about
equal numbers of rows, between quantiles of the column.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synthray.data.cells.axis import Axis, below
from synthray.data.cells.listing import grouped
from synthray.data.cells.numbers import EVEN, NumberForm, Quarters
from synthray.data.cells.statistics import Number, NumberStats
from synthray.data.sketches import Tally, numbers

FEW = 256
"""Distinct values up to which every one is listed."""
ATOMS = 10
"""Distinct values up to which every one has a code of its own, however few the bins."""
SHARE = 0.005
"""The share of the cells from which a value is an atom: at most 200 can be."""
TAIL = 4
"""Rows of a bin, at least, at either end of a column: towards the ends, bins are halved and halved
again, for a bin is drawn from evenly, and tails are not even.
"""
NARROW = 0.02
"""The least part of a bin, whose width is 2, that a quarter of its rows has."""


@dataclass(frozen=True)
class Support:
    """The cells of a column, or a sample of them: positions, with their weights.

    mean, deviation: of the positions.
    """

    at: np.ndarray
    weights: np.ndarray
    mean: float
    deviation: float

    @classmethod
    def of(cls, at: np.ndarray, weights: np.ndarray) -> Support:
        order = np.argsort(at, kind="stable")
        at, weights = at[order], weights[order]
        cells = at.astype(np.float64)
        largest = float(np.abs(cells).max(initial=0)) or 1.0
        scaled = cells / largest  # squares of numbers near the end of float64 would overflow
        total = max(int(weights.sum()), 1)
        mean = float((scaled * weights).sum()) / total
        deviation = float(np.sqrt((np.square(scaled - mean) * weights).sum() / total))
        return cls(at, weights, mean * largest, (deviation or 1.0) * largest)


@dataclass(frozen=True)
class Fit:
    """A form, the rows with each code, and the mean and deviation of positions."""

    form: NumberForm
    counts: tuple[int, ...]
    mean: float
    deviation: float


def fit_bins(stats: NumberStats, bits: int, bins: int, rare: int) -> Fit:
    """Atoms and bins.

    Args:
        bits: of the mantissa of the source's floats.
        rare: fewer rows are no atom and no bin; the range starts and ends at the rare-th number.
            0 keeps all.
    """
    atoms, rest = split(stats, rare, FEW, SHARE)
    ends = range_of(stats, atoms, rare) if rest else None
    axis = axis_of(stats, bits, atoms, ends)
    support, others = supports(stats, axis, atoms)
    places = list(_positions(axis, atoms.values).tolist())
    starts, halves, counts = list(places), [0.0] * len(places), atoms.counts.tolist()
    # Listed values come back exactly, however few the codes.
    groups = max(bins // 2, ATOMS)
    if not rest and len(places) > groups:
        return _listed(stats, axis, support, places, counts, groups)
    codes = len(places)
    edges: list[Number] = []
    inside: tuple[Quarters, ...] = ()
    hidden = bool(rest) and ends is None
    if ends is not None:
        least = max(rare, TAIL)
        number = max(min(bins, rest // least), 1)
        low, high = axis.positions(axis.units(ends)).tolist()
        edges = quantiles(others, levels(number, rest, least), low, high)
        inside = quarters(others, edges, axis.grid, 4 * least)
        starts += edges[:-1]
        if axis.grid:
            halves += [below(b - a) / 2 for a, b in itertools.pairwise(edges)]
        else:
            halves += [b / 2 - a / 2 for a, b in itertools.pairwise(edges)]
        counts += shared(_weights_between(others, edges), rest)
    centres = list(halves)
    if not axis.grid:
        centres = [a + h for a, h in zip(starts, halves, strict=True)]
        starts = [0] * len(centres)
    form, counts = closed(axis, starts, centres, halves, counts, stats, hidden, rest)
    breaks = _breaks(axis, places, edges, codes, form.hidden)
    form = form.model_copy(
        update={
            "breaks": tuple(at for at, _ in breaks),
            "owners": tuple(c for _, c in breaks),
            "quarters": (EVEN,) * codes + inside + (EVEN,) * (len(counts) - codes - len(inside)),
        }
    )
    return Fit(form, tuple(counts), support.mean, support.deviation)


def _listed(
    stats: NumberStats,
    axis: Axis,
    support: Support,
    places: list[Number],
    rows: list[int],
    bins: int,
) -> Fit:
    """Every value is listed, and a code stands for some that are neighbours (see `listing`)."""
    owners = np.array(grouped(rows, bins))
    at = np.array(places, np.float64)
    counts = np.bincount(owners, rows)
    codes = np.arange(len(counts))
    low = at[np.searchsorted(owners, codes)]
    high = at[np.searchsorted(owners, codes, side="right") - 1]
    centres, halves = (low + high) / 2, (high - low) / 2
    form, held = closed(
        axis,
        [0] * len(counts),
        centres.tolist(),
        halves.tolist(),
        [int(count) for count in counts],
        stats,
        False,
        0,
    )
    breaks = _breaks(axis, places, [], len(places), None)
    form = form.model_copy(
        update={
            "breaks": tuple(at for at, _ in breaks),
            "owners": tuple(owners.tolist()),
            "listed": tuple(places),
            "rows": tuple(rows),
        }
    )
    return Fit(form, tuple(held), support.mean, support.deviation)


def split(stats: NumberStats, rare: int, few: int, share: float) -> tuple[Tally, int]:
    """The values that are atoms, and how many cells are not of them."""
    tally, present = stats.counts.tally, stats.counts.count
    least = max(rare, 1)
    if stats.counts.overflowed or len(tally) > few:
        least = max(least, int(share * present) + 1)
    atoms = tally.take(np.flatnonzero(tally.counts >= least))
    return atoms, present - int(atoms.counts.sum())


def range_of(stats: NumberStats, atoms: Tally, rare: int) -> np.ndarray | None:
    """The lowest and the highest cell beside the atoms, or the rare-th of them: [2].

    None: there are fewer than twice as many cells, and they are to be hidden.
    """
    ends: list[np.ndarray] = []
    for tally, order in ((stats.lows, 1), (stats.highs, -1)):
        values = _plain(tally.values)
        other = np.flatnonzero(~np.isin(values, _plain(atoms.values)))[::order]
        reached = np.cumsum(tally.counts[other])
        if not len(reached) or reached[-1] < max(rare, 1):
            return None
        at = other[np.searchsorted(reached, max(rare, 1))]
        ends.append(values[at])
    total = stats.counts.count - int(atoms.counts.sum())
    return None if total < 2 * rare else np.array(ends, ends[0].dtype)


def axis_of(stats: NumberStats, bits: int, atoms: Tally, ends: np.ndarray | None) -> Axis:
    """The axis of the atoms and of the cells between the ends."""
    kept = [*atoms.values.to_pylist(), *([] if ends is None else ends.tolist())] or [0]
    low, high = min(kept), max(kept)
    grid, decimals = stats.grid, stats.grid.decimals
    if decimals is not None and isinstance(low, float):
        low, high = round(low * 10.0**decimals), round(high * 10.0**decimals)
        if max(abs(low), abs(high)) >= 2**bits:
            decimals = None
    if decimals is None:
        return Axis(low=float(min(kept)), high=float(max(kept)), decimals=None)
    return Axis(low=low, high=high, decimals=decimals, step=grid.step or 1)


def supports(stats: NumberStats, axis: Axis, atoms: Tally) -> tuple[Support, Support]:
    """All cells on the axis, and those beside the atoms; of a sample where there are too many."""
    if stats.counts.overflowed:
        values, weights = stats.sample.values, stats.sample.weights
    else:
        values = _plain(stats.counts.tally.values)
        weights = stats.counts.tally.counts
    at = axis.positions(axis.units(values))
    other = ~np.isin(values, _plain(atoms.values))
    return Support.of(at, weights), Support.of(at[other], weights[other])


def levels(bins: int, rows: int, least: int) -> np.ndarray:
    """Shares of the rows that lie below the inner edges of bins, ascending.

    Bins hold equal shares, but those at the ends are halved towards it, again and again, while
    ``least`` rows are left in a half.
    """
    halvings = max(int(np.log2(max(rows / max(bins, 1) / least, 1))), 0)
    tail = 0.5 ** np.arange(halvings, 0, -1) / max(bins, 1)
    even = np.arange(1, bins) / max(bins, 1)
    return np.concatenate([tail, even, 1 - tail[::-1]])


def quantiles(others: Support, shares: np.ndarray, low: Number, high: Number) -> list[Number]:
    """The edges of bins: cells' own positions, ascending; low and high among them.

    There are at least two, which may be equal.

    Args:
        shares: of the cells that lie below each inner edge, at most.
    """
    reached = np.cumsum(others.weights)
    inner = np.empty(0, others.at.dtype)
    if len(reached):
        inner = others.at[np.searchsorted(reached, shares * reached[-1])]
    inner = np.unique(inner)
    between = inner[(inner > low) & (inner < high)].tolist()
    return [low, *between, high]


def quarters(others: Support, edges: list[Number], grid: bool, least: int) -> tuple[Quarters, ...]:
    """Where in each bin, -1 … 1, a quarter, a half, and three quarters of its rows are.

    Args:
        least: rows of a bin, fewer of which are taken to lie evenly. So are those of bins so wide
            that a float32 could not tell their steps apart, and of such as are mostly one value.
    """
    reached = np.concatenate([[0], np.cumsum(others.weights)])
    bounds = np.searchsorted(others.at, np.array(edges, others.at.dtype))
    bounds[-1] = len(others.at)
    found = []
    for (low, high), first, last in zip(
        itertools.pairwise(edges), bounds[:-1], bounds[1:], strict=True
    ):
        rows = reached[last] - reached[first]
        if rows < least or not high > low or (grid and high - low > 2**22):
            found.append(EVEN)
            continue
        wanted = reached[first] + np.array([0.25, 0.5, 0.75]) * rows
        at = others.at[np.searchsorted(reached[1:], wanted)]
        places = [
            round(2 * (float(p) - float(low)) / (float(high) - float(low)) - 1, 4) for p in at
        ]
        even = min(b - a for a, b in itertools.pairwise([-1.0, *places, 1.0])) >= NARROW
        found.append((places[0], places[1], places[2]) if even else EVEN)
    return tuple(found)


def closed(
    axis: Axis,
    starts: list[Number],
    centres: list[float],
    halves: list[float],
    counts: list[int],
    stats: NumberStats,
    hidden: bool,
    rest: int,
) -> tuple[NumberForm, list[int]]:
    """The form with the codes of missing and hidden cells after the others."""
    special: dict[str, int] = {}
    for name, needed, count in (
        ("missing", stats.counts.missing > 0, stats.counts.missing),
        ("hidden", hidden, rest),
    ):
        if needed:
            special[name] = len(centres)
            starts, centres, halves = [*starts, 0], [*centres, 0.0], [*halves, 0.0]
            counts = [*counts, count]
    form = NumberForm(
        axis=axis,
        starts=tuple(int(start) for start in starts),
        centres=tuple(centres),
        halves=tuple(halves),
        **special,
    )
    return form, counts


def shared(weights: np.ndarray, total: int) -> list[int]:
    """Whole numbers in about these proportions that sum to the total."""
    reached = np.cumsum(weights, dtype=np.float64)
    if not len(reached) or not reached[-1]:
        reached = np.arange(1, len(weights) + 1, dtype=np.float64)
    ends = np.rint(reached / reached[-1] * total)
    return [int(count) for count in np.diff(ends, prepend=0)]


def _breaks(
    axis: Axis, places: list[Number], edges: list[Number], codes: int, hidden: int | None
) -> list[tuple[Number, int]]:
    """Where each code begins on the axis: atoms lie in, or between, bins."""
    if not edges and hidden is None:
        # Between atoms, the nearest.
        pairs = itertools.pairwise(places)
        middle = [a + (b - a + 1) // 2 if axis.grid else a / 2 + b / 2 for a, b in pairs]
        return [(at, code) for code, at in enumerate([*places[:1], *middle])]
    bins = [(at, codes + i) for i, at in enumerate(edges[:-1])]
    if hidden is not None:
        bins = [(0 if axis.grid else axis.low, hidden)]
    found: dict[Number, int] = dict(bins)
    for at in places:
        after = at + 1 if axis.grid else float(np.nextafter(at, np.inf))
        owner = bisect.bisect_right([start for start, _ in bins], after) - 1
        found.setdefault(after, bins[max(owner, 0)][1])
    found.update(zip(places, range(codes), strict=True))
    return sorted(found.items())


def _weights_between(others: Support, edges: list[Number]) -> np.ndarray:
    index = np.searchsorted(np.array(edges[1:-1], others.at.dtype), others.at, side="right")
    return np.bincount(index, weights=others.weights, minlength=len(edges) - 1)


def _positions(axis: Axis, values: pa.Array) -> np.ndarray:
    return axis.positions(axis.units(_plain(values)))


def _plain(values: pa.Array) -> np.ndarray:
    return numbers(pa.chunked_array([values]))[0] if len(values) else np.zeros(0)
