"""All metrics of one evaluation, with one state.

    panel = Panel(rows=len(synthetic), extractor="domain")
    fake = panel.update(panel.init(), features)        # on any worker, any rows
    fake = panel.merge(fake, other)                    # in any order
    values = panel.compare(real, fake)                 # {"frechet_domain": 3.1, …}
    scores = with_floor(values, panel.compare(real, real_again))

The floor says what the same numbers are for two halves of the real data: what a perfect generator
would get. It is fair only if both comparisons share everything else. So split the real rows at
random into a reference A and a rest B, and compare A with B and A with synthetic rows of the same
number as B. Bias falls with the number of rows: a floor from fewer rows than the value is too high
and flatters the generator. A domain classifier must have seen both A and B in training, or
neither: features of rows it learned differ from those of rows it did not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from synthray.errors import UsageError
from synthray.metrics.base import Features
from synthray.metrics.frechet import Frechet, Moments, frechet_note
from synthray.metrics.inception_score import InceptionScore, ScoreSums, score_note
from synthray.metrics.kid import KID
from synthray.metrics.names import better, metric_name, spread_name
from synthray.metrics.prdc import PRDC
from synthray.metrics.sample import Sample, Subsample


@dataclass(frozen=True)
class PanelState:
    """What all metrics know of some rows of one data set.

    Attributes:
        extractor: name and digest of the extractor that made the features.
        rows: rows of the whole data set.
        seen: rows counted so far.
        moments: for the Fréchet distance.
        sample: for kernel distance, precision, recall, density and coverage.
        sums: for the inception score; None if the extractor gives no probabilities.
    """

    extractor: tuple[str, str]
    rows: int
    seen: int
    moments: Moments | None
    sample: Sample | None
    sums: ScoreSums | None


class Score(TypedDict):
    """A value beside its floor.

    ratio is value / floor; None where the floor is not above 0, as a kernel distance's may be.
    """

    value: float
    floor: float | None
    ratio: float | None
    better: Literal["lower", "higher"]
    std: NotRequired[float]


class Panel:
    """Fréchet and kernel distance, inception score, precision, recall, density and coverage.

    Args:
        rows: rows of the data set that states are made of; other panels may compare them.
        extractor: name of the extractor, which goes into the names of the values.
        digest: SHA-256 of its weights, so that states of different networks never mix.
        splits: of the inception score.
        subsample: rows kept for everything but Fréchet distance and inception score.
        k: nearest neighbours of precision and recall.
        salt: which rows are kept.
    """

    def __init__(
        self,
        rows: int,
        *,
        extractor: str,
        digest: str = "",
        splits: int = 10,
        subsample: int = 10_000,
        k: int = 5,
        salt: int = 0,
    ) -> None:
        sample = Subsample(subsample, salt=salt, rows=rows)
        self.rows = rows
        self.extractor = extractor
        self.digest = digest
        self._frechet = Frechet()
        self._kid = KID(sample)
        self._prdc = PRDC(sample, k=k)
        self._score = InceptionScore(rows, splits)
        self._sample = sample

    def init(self) -> PanelState:
        """The state of no rows."""
        return PanelState((self.extractor, self.digest), self.rows, 0, None, None, None)

    def update(self, state: PanelState, features: Features) -> PanelState:
        """`state` with some more rows."""
        if len(features) == 0:
            return state
        sums = None
        if features.probabilities is not None:
            sums = self._score.update(self._score.init(), features)
        chunk = PanelState(
            (self.extractor, self.digest),
            self.rows,
            len(features),
            self._frechet.update(None, features),
            self._sample.update(None, features),
            sums,
        )
        return self.merge(state, chunk)

    def merge(self, a: PanelState, b: PanelState) -> PanelState:
        """The state of both sets of rows, which must be disjoint parts of one data set."""
        _same_extractor(a, b)
        if a.rows != b.rows:
            raise UsageError(
                f"states of data sets of {a.rows} and of {b.rows} rows",
                "merge states of one data set; compare states of two",
            )
        if a.seen == 0 or b.seen == 0:
            return a if b.seen == 0 else b
        if (a.sums is None) != (b.sums is None):
            raise UsageError(
                "some rows have probabilities and some have none", "use one extractor for all rows"
            )
        sums = None
        if a.sums is not None and b.sums is not None:
            sums = self._score.merge(a.sums, b.sums)
        return PanelState(
            a.extractor,
            a.rows,
            a.seen + b.seen,
            self._frechet.merge(a.moments, b.moments),
            self._sample.merge(a.sample, b.sample),
            sums,
        )

    def compare(self, real: PanelState, fake: PanelState) -> dict[str, float]:
        """All values, by published name (see `names.py`).

        Raises:
            UsageError: different extractors, missing rows, or too few of them.
        """
        _same_extractor(real, fake)
        for which, state in (("real", real), ("synthetic", fake)):
            if state.seen != state.rows:
                raise UsageError(
                    f"{which} data: {state.seen} rows counted of {state.rows}",
                    "merge the state of every shard, each once",
                )
        values = self._frechet.compute(real.moments, fake.moments)
        values |= self._kid.compute(real.sample, fake.sample)
        if real.sums is not None and fake.sums is not None:
            values |= self._score.compute(real.sums, fake.sums)
        values |= self._prdc.compute(real.sample, fake.sample)
        return {metric_name(name, self.extractor): value for name, value in values.items()}

    def notes(self, real: PanelState, fake: PanelState) -> list[str]:
        """What a reader of `compare(real, fake)` must know about these numbers of rows."""
        rows = min(real.seen, fake.seen)
        dim = 0 if fake.moments is None else len(fake.moments.origin)
        notes = [frechet_note(rows, dim), self._kid.note(min(rows, self._sample.size))]
        if fake.sums is not None:
            notes.append(score_note(fake.rows, len(fake.sums.counts)))
        if real.seen != fake.seen:
            notes.append(
                f"{real.seen:,} real and {fake.seen:,} synthetic rows: a floor is fair only if "
                "its two halves have these numbers of rows too."
            )
        return [note for note in notes if note]


def with_floor(
    values: Mapping[str, float], floor: Mapping[str, float] | None = None
) -> dict[str, Score]:
    """Each value beside what real data get against real data.

    Standard deviations do not stand alone: they become `std` of the value they belong to.

    Args:
        values: of `compare(real, fake)`.
        floor: of `compare(real, real_again)`, with as many rows each; None if there is none.
    """
    scores: dict[str, Score] = {}
    for name, value in values.items():
        if name.endswith("_std"):
            continue
        base = None if floor is None else floor.get(name)
        ratio = value / base if base is not None and base > 0 else None
        score: Score = {"value": value, "floor": base, "ratio": ratio, "better": better(name)}
        if spread_name(name) in values:
            score["std"] = values[spread_name(name)]
        scores[name] = score
    return scores


def _same_extractor(a: PanelState, b: PanelState) -> None:
    if a.extractor != b.extractor:
        names = [f"{name} {digest[:12]}".strip() for name, digest in (a.extractor, b.extractor)]
        raise UsageError(f"features of two extractors: {' and '.join(names)}", "use one for all")
