"""From images to features: what an extractor is, and how to get one by name.

    domain               a small classifier trained on the real data (domain.py); needs labels
    efficientnet-lite0   ImageNet features, weights in a package (efficientnet.py)
    inception            the FID network, weights in a file the user has (inception.py)

Nothing here touches the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthray.errors import UsageError
from synthray.metrics.base import Features
from synthray.metrics.inputs import check_images, read_weights

NAMES = ("domain", "efficientnet-lite0", "inception")


class Extractor(Protocol):
    """A fixed function from an image to features, in evaluation mode.

    Attributes:
        name: goes into the names of the values, see `names.py`.
        dim: features per image.
        digest: SHA-256 of the weights, hexadecimal.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def digest(self) -> str: ...

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features float32 [n, dim] and probabilities float32 [n, k] or None.

        Args:
            images: uint8 [n, c, h, w], c is 1 or 3.
        """
        ...


def make_extractor(name: str, weights: bytes | str | Path | None = None) -> Extractor:
    """The extractor of that name.

    Args:
        name: one of `NAMES`.
        weights: bytes or local path; required by 'inception' and by 'domain', whose weights
            `DomainExtractor.save` made. 'efficientnet-lite0' takes none.

    Raises:
        UsageError: unknown name, or no weights.
        NotFoundError: no such file.
        MissingDependencyError: the package with the weights is not installed.
    """
    # Imported on use: each brings a network, and one an optional package.
    if name == "efficientnet-lite0":
        from synthray.metrics.efficientnet import EfficientNetLite0

        return EfficientNetLite0()
    if name not in NAMES:
        raise UsageError(f"evaluate.features: {name!r}", f"use one of {', '.join(NAMES)}")
    if weights is None:
        remedy = {
            "domain": "train one on the real data with train_domain",
            "inception": "download weights-inception-2015-12-05-6726825d.pth from torch-fidelity's "
            "releases and name its path",
        }[name]
        raise UsageError(f"evaluate.features: {name!r} needs weights", remedy)
    if name == "domain":
        from synthray.metrics.domain import DomainExtractor

        return DomainExtractor.load(read_weights(weights))
    from synthray.metrics.inception import Inception

    return Inception(weights)


def extract(
    extractor: Extractor, images: Tensor, index: NDArray[np.int64], *, batch: int = 256
) -> Features:
    """Features of numbered images, a batch at a time.

    The last digits of a feature may depend on the batch it is in, so call it with the same rows
    (a block, a shard) wherever exact equality matters.

    Args:
        extractor: which features.
        images: uint8 [n, c, h, w].
        index: int64 [n], row numbers in the whole data set.
        batch: images at a time, which bounds memory.

    Raises:
        UsageError: wrong shape or type, or no images.
        SynthRayError: NaN features.
    """
    check_images(images)
    parts = [extractor(images[start : start + batch]) for start in range(0, len(images), batch)]
    features = torch.cat([features for features, _ in parts]).numpy()
    probabilities = None
    if parts[0][1] is not None:
        probabilities = torch.cat([p for _, p in parts if p is not None]).numpy()
    return Features(index, features, probabilities)
