"""What synthetic rows give away about the training rows, measured against a holdout.

Members are training rows, non-members rows of the holdout: real rows of the same kind that the
generator never saw. Whatever tells them apart by the synthetic rows alone was learned from the
members themselves.

Distance to the closest record (DCR) alone proves no privacy (Yao et al. 2025, arXiv 2505.01524),
so it stands beside membership inference attacks: the distance to the nearest synthetic row (Chen
et al. 2020, GAN-Leaks, arXiv 1909.03935, full black box), and the ratio of the density of
synthetic rows to that of real ones (van Breugel et al. 2023, DOMIAS, arXiv 2302.12580), here with
nearest-neighbour densities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthray.metrics.tables.space import nearest
from synthray.metrics.utility import Z95, wilson

NEIGHBOURS = 5
"""Whose distance gives a density."""
FALSE_POSITIVES = 0.01
Z_TWO = 2.241402727604947
"""98.75th percentile of the normal distribution: two intervals hold together in 95 %."""
_TINY = 1e-9


@dataclass(frozen=True)
class Closeness:
    """Distances of synthetic rows to their nearest training and holdout rows.

    Attributes:
        share: of synthetic rows closer to a training row than to a holdout row; a tie counts half.
        interval: its 95 % interval, if training and holdout rows could be exchanged.
        rows: training rows, as many as holdout rows, that were compared with.
        to_training, to_holdout, baseline: 5th percentile and median of the distances of synthetic
            rows to training rows and to holdout rows, and of holdout rows to training rows.
    """

    share: float
    interval: tuple[float, float]
    rows: int
    to_training: tuple[float, float]
    to_holdout: tuple[float, float]
    baseline: tuple[float, float]


@dataclass(frozen=True)
class Attack:
    """How well members are told from non-members.

    Attributes:
        name: 'distance' or 'density'.
        auc: area under the ROC curve: 0.5 is guessing, 1 certainty.
        interval: of the AUC (DeLong); those of two attacks hold together in 95 %.
        tpr: share of members found at a false positive rate of at most 1 %.
        tpr_interval: Wilson's, for the threshold as it is; as above.
        members: as many as non-members.
    """

    name: str
    auc: float
    interval: tuple[float, float]
    tpr: float
    tpr_interval: tuple[float, float]
    members: int

    @property
    def statement(self) -> str:
        """Whether the AUC differs from guessing."""
        low, high = self.interval
        if low > 0.5:
            return "better than guessing: training rows are recognised"
        if high < 0.5:
            return "worse than guessing: training rows are farther than fresh ones"
        return "not told from guessing"


def closeness(
    training: NDArray[np.float64], holdout: NDArray[np.float64], synthetic: NDArray[np.float64]
) -> Closeness:
    """Distances to the closest records.

    Args:
        training, holdout: points [n, d], as many of each.
        synthetic: points [m, d].
    """
    (near, by_near), (far, by_far) = nearest(synthetic, training, 1), nearest(synthetic, holdout, 1)
    near, far = near[:, 0], far[:, 0]
    share = float(((near < far) + 0.5 * (near == far)).mean())
    # If nothing was learned, training and holdout rows can be exchanged. Then every real row gives
    # its synthetic rows to one side or the other by chance, and a real row that is the nearest of
    # many makes the share uncertain, however many synthetic rows there are.
    won = [
        by[:, 0][mine < other] for by, mine, other in ((by_near, near, far), (by_far, far, near))
    ]
    followers = np.concatenate([np.bincount(by) for by in won])
    error = 0.5 * math.sqrt(float((followers.astype(np.float64) ** 2).sum())) / len(synthetic)
    base = nearest(holdout, training, 1)[0][:, 0]
    interval = max(0.0, share - Z95 * error), min(1.0, share + Z95 * error)
    return Closeness(share, interval, len(training), _spots(near), _spots(far), _spots(base))


def attack_all(
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    reference: NDArray[np.float64],
    synthetic: NDArray[np.float64],
) -> list[Attack]:
    """Both attacks.

    Args:
        members, others: points [n, d] of training rows, and of rows of the holdout.
        reference: points of further rows of the holdout, for the density of real rows.
        synthetic: points.
    """
    k = min(NEIGHBOURS, len(reference), len(synthetic))
    both = np.concatenate([members, others])
    made = nearest(both, synthetic, k)[0]
    real = nearest(both, reference, k)[0]
    density = np.log(real[:, -1] + _TINY) - np.log(made[:, -1] + _TINY)
    scores = {"distance": -made[:, 0], "density": density}
    return [attack(name, s[: len(members)], s[len(members) :]) for name, s in scores.items()]


def attack(name: str, members: NDArray[np.float64], others: NDArray[np.float64]) -> Attack:
    """An attack from its scores, [n] and [m]: the higher, the more a row looks like a member."""
    from sklearn.metrics import roc_curve  # slow to import

    auc, variance = delong(members, others)
    half = Z_TWO * math.sqrt(variance)
    labels = np.repeat([1, 0], [len(members), len(others)])
    false, true, _ = roc_curve(labels, np.concatenate([members, others]), drop_intermediate=False)
    tpr = float(true[false <= FALSE_POSITIVES].max())
    caught = round(tpr * len(members))
    return Attack(
        name,
        auc,
        (max(0.0, auc - half), min(1.0, auc + half)),
        tpr,
        wilson(caught, len(members), Z_TWO),
        len(members),
    )


def delong(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> tuple[float, float]:
    """AUC and its variance, from scores [n] and [m]; ties count half.

    DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44), by ranks as in Sun and Xu 2014 (IEEE
    Signal Processing Letters 21).
    """
    placed = _below(positive, negative)
    missed = 1.0 - _below(negative, positive)
    auc = float(placed.mean())
    variance = placed.var(ddof=1) / len(placed) + missed.var(ddof=1) / len(missed)
    return auc, float(variance)


def _below(x: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each x, the share of ``among`` that is less, ties half."""
    ordered = np.sort(among)
    left = np.searchsorted(ordered, x, side="left")
    right = np.searchsorted(ordered, x, side="right")
    share: NDArray[np.float64] = (left + right) / (2.0 * len(among))
    return share


def _spots(distances: NDArray[np.float64]) -> tuple[float, float]:
    low, middle = np.quantile(distances, [0.05, 0.5])
    return float(low), float(middle)
