"""Plots for the page of a table, as SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from synthray.data.schema import Kind
from synthray.metrics.pages import thousandths
from synthray.metrics.tables.columns import MISSING, Compared, Frame
from synthray.metrics.tables.pairs import PairTrend
from synthray.metrics.tables.shapes import ColumnShape

PANELS = 24
"""Columns whose distributions are drawn; of more, the least alike."""
SIDE = 32
"""Columns of a heat map; of more, those whose associations differ most."""
BARS = 7
"""Categories drawn by themselves."""
BINS = 32
BEYOND = 0.01
"""The share of rows beyond an end of the drawing from which it is told."""
ACROSS = 4
WIDTH = 9.4  # inches

# Stand-ins that `_svg` replaces: matplotlib knows no colours of style sheets.
_INK, _REAL, _SYNTHETIC = "#010203", "#040506", "#070809"
_PAGE = {_INK: "currentColor", _REAL: "var(--plot-real)", _SYNTHETIC: "var(--plot-synthetic)"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 7.5,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.5,
    "axes.formatter.use_mathtext": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
}


def marginals(real: Frame, synthetic: Frame, shapes: Sequence[ColumnShape]) -> str:
    """The distributions of single columns, real ones filled, synthetic ones as lines, as SVG."""
    columns = {column.name: column for column in real.columns}
    worst = sorted(shapes, key=lambda shape: -1.0 if np.isnan(shape.score) else shape.score)
    drawn = {shape.name for shape in worst[:PANELS]}
    shown = [shape for shape in shapes if shape.name in drawn]
    lines = -(-len(shown) // ACROSS)
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "marginals"}):
        figure = Figure(figsize=(WIDTH, 1.75 * lines))
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
        axes = figure.subplots(lines, ACROSS, squeeze=False).reshape(-1)
        for shape, place in zip(shown, axes, strict=False):
            column = columns[shape.name]
            draw = _numbers if column.numeric else _categories
            draw(place, column, real[column.name], synthetic[column.name])
            title = f"{_short(column.name, 24)}  {thousandths(shape.score)}"
            place.set_title(title, fontsize=8, loc="left")
        for place in axes[len(shown) :]:
            place.set_axis_off()
        return _svg(figure)


def heat_maps(pairs: Sequence[PairTrend], names: Sequence[str]) -> str:
    """Associations of the real rows, of the synthetic ones, and the difference, as SVG.

    Pearson's coefficient for two columns of numbers, Cramér's V for all other pairs.
    """
    shown = _most_different(pairs, names)
    place = {name: i for i, name in enumerate(shown)}
    maps = np.full((2, len(shown), len(shown)), np.nan)
    for pair in pairs:
        if pair.a in place and pair.b in place:
            i, j = place[pair.a], place[pair.b]
            maps[:, i, j] = maps[:, j, i] = pair.real, pair.other
    titles = ("real", "synthetic", "synthetic − real")
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "heat maps"}):
        figure = Figure(figsize=(WIDTH, WIDTH * 0.4), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        size = 7 if len(shown) <= 18 else 5
        labels = [_short(name, 18) for name in shown]
        image = None
        for values, title, spot in zip((*maps, maps[1] - maps[0]), titles, axes, strict=True):
            image = spot.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            spot.set_title(title, fontsize=8.5, loc="left")
            spot.set_xticks(range(len(shown)), labels, rotation=90, fontsize=size)
            spot.set_yticks(range(len(shown)), labels, fontsize=size)
            spot.tick_params(length=0)
            for spine in spot.spines.values():
                spine.set_visible(False)
        assert image is not None
        bar = figure.colorbar(image, ax=list(axes), shrink=0.6, aspect=22, pad=0.015)
        bar.outline.set_visible(False)
        return _svg(figure)


def _numbers(place: Axes, column: Compared, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    x, y = (_dated(column, values[~np.isnan(values)]) for values in (x, y))
    if not len(x):
        return _empty(place)
    # The outermost bins hold what lies beyond: a few far rows would press all others together.
    low, high = np.quantile(x, [0.005, 0.995])
    if low == high:
        low, high = x.min(), x.max()
    edges = _edges(column, float(low), float(high))
    for values, colour in ((x, _REAL), (y, _SYNTHETIC)):
        count, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
        share = count / max(len(values), 1)
        if colour == _REAL:
            place.stairs(share, edges, fill=True, color=colour, alpha=0.55)
        else:
            place.stairs(share, edges, color=colour, linewidth=1.2)
    _tell_beyond(place, y, edges)
    place.set_yticks([])
    place.locator_params(axis="x", nbins=4)
    _bare(place, "left")
    written = _day if column.kind == Kind.datetime else _figure
    place.xaxis.set_major_formatter(lambda value, _: written(value))


def _tell_beyond(place: Axes, y: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    """Say how many synthetic rows the outermost bins hold that lie beyond, if they are many."""
    for side, beyond in ((0.0, y < edges[0]), (1.0, y > edges[-1])):
        share = float(beyond.mean()) if len(y) else 0.0
        if share > BEYOND:
            place.text(
                side,
                0.98,
                f"{share:.1%} beyond",
                ha="right" if side else "left",
                va="top",
                fontsize=6.5,
                color=_SYNTHETIC,
                transform=place.transAxes,
            )


def _categories(place: Axes, column: Compared, x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
    if not column.values:
        return _empty(place)
    width = len(column.values)
    shares = [
        np.bincount(np.where(codes == MISSING, width, codes), minlength=width + 1)
        for codes in (x, y)
    ]
    names = [_short(str(value), 15) for value in column.values[:BARS]]
    rows = [[*share[:width][:BARS]] for share in shares]
    if width > BARS:
        others = width - BARS
        names.append(f"{others} others" if others > 1 else _short(str(column.values[-1]), 15))
        for row, share in zip(rows, shares, strict=True):
            row.append(share[BARS:width].sum())
    if any(share[width] for share in shares):
        names.append("missing")
        for row, share in zip(rows, shares, strict=True):
            row.append(share[width])
    spots = np.arange(len(names))
    place.barh(spots, np.array(rows[0]) / len(x), height=0.8, color=_REAL, alpha=0.55, linewidth=0)
    # A line across the end of where the bar would be: it stays visible inside and outside.
    ends = np.array(rows[1]) / len(y)
    place.vlines(ends, spots - 0.4, spots + 0.4, color=_SYNTHETIC, linewidth=1.6)
    place.hlines(spots, 0, ends, color=_SYNTHETIC, linewidth=0.7)
    place.set_yticks(spots, names, fontsize=6.5)
    place.invert_yaxis()
    place.set_xlim(left=0)
    place.locator_params(axis="x", nbins=4)
    place.tick_params(axis="y", length=0)
    _bare(place)


def _edges(column: Compared, low: float, high: float) -> NDArray[np.float64]:
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    if column.kind == Kind.integer:
        # Bins of as many whole numbers each, or the bars would look like a comb.
        width = np.ceil((np.ceil(high) - np.floor(low) + 1) / BINS)
        return np.arange(np.floor(low), np.ceil(high) + width + 1, width) - 0.5
    return np.linspace(low, high, BINS + 1)


def _dated(column: Compared, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Microseconds as days, which are shorter to write."""
    return x / 86_400e6 if column.kind == Kind.datetime else x


def _day(days: float) -> str:
    return str(np.datetime64("1970-01-01") + np.timedelta64(round(days), "D"))[:7]


def _figure(value: float) -> str:
    """A number in few letters."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit or (abs(value) >= unit and value % (unit / 10) == 0):
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def _most_different(pairs: Sequence[PairTrend], names: Sequence[str]) -> list[str]:
    """At most `SIDE` columns, in their order."""
    if len(names) <= SIDE:
        return list(names)
    worst: Mapping[str, float] = {
        name: max(
            (abs(p.real - p.other) for p in pairs if name in (p.a, p.b) and p.real == p.real),
            default=0.0,
        )
        for name in names
    }
    kept = set(sorted(names, key=lambda name: -worst[name])[:SIDE])
    return [name for name in names if name in kept]


def _bare(place: Axes, *sides: str) -> None:
    for side in ("top", "right", *sides):
        place.spines[side].set_visible(False)


def _empty(place: Axes) -> None:
    place.set_axis_off()
    place.text(0.5, 0.5, "all missing", ha="center", transform=place.transAxes)


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(figure: Figure) -> str:
    """The drawing, to be put into a page: without a header, names of parts, or addresses."""
    out = io.StringIO()
    with warnings.catch_warnings():
        # The page's fonts draw the letters; matplotlib's only measure them.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 width="100%"', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for stand_in, colour in _PAGE.items():
        text = text.replace(stand_in, colour)
    return text
