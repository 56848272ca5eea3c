"""Mode-specific normalisation of numbers (Xu et al. 2019, arXiv 1907.00503, section 4.2).

A variational Gaussian mixture of at most ten modes is fitted to a column; a cell is one mode, drawn
from its posterior, and its distance from the mode's mean in units of four deviations.
"""

from __future__ import annotations

import warnings

import numpy as np

from synthray.data.cells.bins import (
    Fit,
    Support,
    axis_of,
    closed,
    fit_bins,
    range_of,
    shared,
    split,
    supports,
)
from synthray.data.cells.statistics import NumberStats

MODES = 10
LEAST = 0.005
"""The share of the cells below which a mode is left out."""
CELLS = 16_384
"""To which a mixture is fitted."""


def fit_modes(stats: NumberStats, bits: int, rare: int) -> Fit:
    """Modes; but atoms, as `fit_bins` makes them, of a column of at most `MODES` distinct values.

    Args:
        bits: of the mantissa of the source's floats.
        rare: a mode has at least so many rows; the range starts and ends at the rare-th number.
    """
    few = not stats.counts.overflowed and len(stats.counts.tally) <= MODES
    none, present = split(stats, rare, 0, 1.0)
    ends = range_of(stats, none, rare)
    if few or ends is None:
        return fit_bins(stats, bits, 1, rare)
    axis = axis_of(stats, bits, none, ends)
    support, _ = supports(stats, axis, none)
    least = max(LEAST, rare / present)
    weights, means, deviations = _mixture(support, least)
    form, counts = closed(
        axis,
        [0] * len(means),
        means.tolist(),
        (4 * deviations).tolist(),
        shared(weights, present),
        stats,
        False,
        0,
    )
    form = form.model_copy(update={"weights": tuple(weights.tolist())})
    return Fit(form, tuple(counts), support.mean, support.deviation)


def _mixture(support: Support, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and deviations of the modes, by mean."""
    from sklearn.exceptions import ConvergenceWarning  # takes a second to import
    from sklearn.mixture import BayesianGaussianMixture

    # Evenly spaced quantiles stand for all cells, with their weights.
    reached = np.cumsum(support.weights)
    number = min(int(reached[-1]), CELLS)
    wanted = (np.arange(number) + 0.5) / number * reached[-1]
    cells = support.at[np.searchsorted(reached, wanted)].astype(np.float64)
    cells = cells / support.deviation - support.mean / support.deviation
    model = BayesianGaussianMixture(
        n_components=min(MODES, number),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(cells[:, None])
    kept = np.flatnonzero(model.weights_ >= min(least, model.weights_.max()))
    order = kept[np.argsort(model.means_[kept, 0], kind="stable")]
    weights = model.weights_[order] / model.weights_[order].sum()
    means = (model.means_[order, 0] + support.mean / support.deviation) * support.deviation
    return weights, means, np.sqrt(model.covariances_[order, 0, 0]) * support.deviation
