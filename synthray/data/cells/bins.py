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
from synthray.data.cells.quantiles import TAIL, Support, levels, quantiles, quarters
from synthray.data.cells.statistics import Number, NumberStats
from synthray.data.sketches import Tally, numbers

FEW = 256
"""Distinct values up to which every one is listed."""
ATOMS = 10
"""Distinct values up to which every one has a code of its own, however few the bins."""
SHARE = 0.005
"""The share of the cells from which a value is an atom: at most 200 can be."""


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
        edges = quantiles(others, levels(number, int(others.weights.sum()), least), low, high)
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
        if axis.grid and at == axis.longest:
            continue  # nothing comes after, and 2^64 is no position
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
