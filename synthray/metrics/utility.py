"""Usefulness: train on synthetic, test on real, beside train on real, test on real.

Esteban, Hyland and Rätsch 2017 (arXiv 1706.02633). Both classifiers are the same network with the
same seed and the same number of optimiser steps, tested on the same real rows that neither saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthray.errors import UsageError
from synthray.metrics.domain import DomainExtractor

Z95 = 1.959963984540054  # 97.5th percentile of the normal distribution
PREDICT_BATCH = 512


@dataclass(frozen=True)
class Accuracy:
    """Right answers of a classifier.

    Attributes:
        correct: rows classified correctly.
        rows: rows in all.
        by_class: (correct, rows) for each label, 0 … classes - 1.
    """

    correct: int
    rows: int
    by_class: tuple[tuple[int, int], ...] = ()

    @property
    def value(self) -> float:
        """Share of right answers."""
        return self.correct / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval for the true share."""
        return wilson(self.correct, self.rows)


@dataclass(frozen=True)
class Utility:
    """What synthetic rows are worth for training.

    Attributes:
        tstr: accuracy on real rows after training on synthetic ones.
        trtr: the same after training on real ones.
        steps: optimiser steps that each training took.
    """

    tstr: Accuracy
    trtr: Accuracy
    steps: int

    @property
    def ratio(self) -> float:
        """TSTR / TRTR; 1 means synthetic rows teach as well as real ones."""
        return self.tstr.value / self.trtr.value if self.trtr.correct else math.nan


def accuracy(classifier: DomainExtractor, images: Tensor, labels: Tensor) -> Accuracy:
    """How many of the images get their label.

    Args:
        classifier: the classifier.
        images: uint8 [n, c, h, w], n >= 1.
        labels: int64 [n].
    """
    if labels.shape != (len(images),) or len(images) == 0:
        raise UsageError(
            f"labels have shape {list(labels.shape)} for {len(images)} images",
            "give one label per image, and at least one image",
        )
    parts = images.split(PREDICT_BATCH)
    predicted = torch.cat([classifier(part)[1].argmax(dim=1) for part in parts])
    right = predicted == labels
    by_class = tuple(
        (int(right[labels == c].sum()), int((labels == c).sum()))
        for c in range(classifier.spec.classes)
    )
    return Accuracy(int(right.sum()), len(labels), by_class)


def wilson(correct: int, rows: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927, JASA 22), as (low, high).

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 and at 1.
    """
    if rows < 1 or not 0 <= correct <= rows:
        raise UsageError(f"{correct} right answers of {rows} rows", "test at least one row")
    share = correct / rows
    shrink = 1 + z * z / rows
    centre = (share + z * z / (2 * rows)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, centre - half), min(1.0, centre + half)
