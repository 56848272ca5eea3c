"""What every metric takes and what every metric is.

A metric never sees a whole data set. It sees `Features` of some rows, folds them into a state,
and states merge in any order: shards are computed wherever they lie and only states travel.
States are dataclasses of numpy arrays and ints, so they pickle without any code of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from synthray.errors import SynthRayError, UsageError

State = TypeVar("State")


@dataclass(frozen=True)
class Features:
    """Features of some rows of a data set.

    Attributes:
        index: int64 [n], the rows' numbers in the whole data set, each row once.
        features: float32 or float64 [n, d].
        probabilities: float32 [n, k], a classifier's softmax, or None.
    """

    index: NDArray[np.int64]
    features: NDArray[Any]
    probabilities: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        index, features, probabilities = self.index, self.features, self.probabilities
        if features.ndim != 2 or features.shape[1] == 0:
            raise UsageError(
                f"features have shape {list(features.shape)}", "give an array [rows, dimensions]"
            )
        if features.dtype not in (np.float32, np.float64):
            raise UsageError(f"features are {features.dtype}", "give float32 or float64")
        if index.shape != (len(features),) or index.dtype != np.int64:
            raise UsageError(
                f"index is {index.dtype} {list(index.shape)} for {len(features)} rows",
                "give one int64 row number per row",
            )
        if len(index) and index.min() < 0:
            raise UsageError(f"row number {index.min()} is negative", "count rows from 0")
        _finite("features", features, index)
        if probabilities is None:
            return
        if probabilities.ndim != 2 or len(probabilities) != len(features):
            raise UsageError(
                f"probabilities have shape {list(probabilities.shape)} for {len(features)} rows",
                "give an array [rows, classes]",
            )
        _finite("probabilities", probabilities, index)
        # 1e-3 is far above float32 rounding, and far below what logits by mistake would show.
        if len(probabilities) and (
            probabilities.min() < 0 or np.abs(probabilities.sum(axis=1) - 1).max() > 1e-3
        ):
            raise UsageError(
                "probabilities are negative or do not add up to 1", "give a softmax, not logits"
            )

    def __len__(self) -> int:
        return len(self.features)

    @property
    def dim(self) -> int:
        """Number of feature dimensions, d."""
        return int(self.features.shape[1])


class Metric(Protocol[State]):
    """A number about two data sets, computed from mergeable states.

    `merge` is commutative and associative: exactly for counting metrics, to rounding for the
    Fréchet distance. No method changes its arguments.
    """

    def init(self) -> State:
        """The state of no rows."""
        ...

    def update(self, state: State, features: Features) -> State:
        """`state` with some more rows."""
        ...

    def merge(self, a: State, b: State) -> State:
        """The state of both sets of rows, which must be disjoint."""
        ...

    def compute(self, real: State, fake: State) -> dict[str, float]:
        """Values by plain name; `names.py` adds the extractor."""
        ...


def same_dim(what: str, a: int, b: int) -> None:
    """Raises `UsageError` unless two feature sets have the same number of dimensions."""
    if a != b:
        raise UsageError(
            f"{what}: features of {a} and of {b} dimensions",
            "use one extractor for both data sets",
        )


def some_rows(what: str, state: State | None, least: int) -> State:
    """`state`, or `UsageError` if it is None, the state of no rows."""
    if state is None:
        raise _too_few(what, 0, least)
    return state


def enough_rows(what: str, rows: int, least: int) -> None:
    """Raises `UsageError` if there are fewer rows than a metric can be computed from."""
    if rows < least:
        raise _too_few(what, rows, least)


def _too_few(what: str, rows: int, least: int) -> UsageError:
    return UsageError(
        f"{what}: {rows} row{'s' * (rows != 1)}, needs at least {least}",
        "evaluate more rows, real and synthetic",
    )


def _finite(what: str, values: NDArray[Any], index: NDArray[np.int64]) -> None:
    good = np.isfinite(values).all(axis=1)
    if not good.all():
        bad = np.flatnonzero(~good)
        raise SynthRayError(
            f"{what} of {len(bad)} rows are NaN or infinite, first row {index[bad[0]]}",
            "the images or the extractor's weights are broken: look at that row",
        )
