"""The scores of tables: their names, and values beside their floors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synthray.metrics.panel import Score
from synthray.metrics.tables.attacks import FALSE_POSITIVES, Attack, Closeness
from synthray.metrics.tables.copies import Copies
from synthray.metrics.tables.pairs import (
    PairTrend,
    contingency_distance,
    correlation_distance,
    trend_score,
)
from synthray.metrics.tables.shapes import ColumnShape, mean_score
from synthray.metrics.tables.tails import ColumnTails
from synthray.metrics.tables.told import NEIGHBOURS, PRIVACY, QUALITY, told
from synthray.metrics.tables.utility import CLASSIFICATION, REGRESSION, TargetUtility


def scored(name: str, value: float, floor: float | None) -> Score:
    """A value beside its floor."""
    number = floor is not None and floor > 0 and not math.isnan(value)
    ratio = value / floor if number and floor else None
    return {"value": value, "floor": floor, "ratio": ratio, "better": told(name).better}


def known_scores(targets: Sequence[str], held: bool) -> list[str]:
    """All names that gates may use.

    Args:
        targets: columns that may be predicted.
        held: whether there is a holdout, which privacy needs.
    """
    names = [*QUALITY, *NEIGHBOURS]
    names += [f"tstr_{m}.{target}" for target in targets for m in (*CLASSIFICATION, *REGRESSION)]
    names += PRIVACY if held else []
    return [name + part for name in names for part in ("", ".floor", ".ratio")]


Looked = tuple[list[ColumnShape], list[ColumnTails], list[PairTrend]]
"""What quality is made of."""


def quality_scores(value: Looked, floor: Looked) -> dict[str, Score]:
    """Of shapes, tails and pairs."""
    values, floors = _quality(*value), _quality(*floor)
    return {name: scored(name, values[name], floors[name]) for name in QUALITY}


def utility_scores(found: Sequence[TargetUtility]) -> dict[str, Score]:
    """TSTR, with TRTR for the floor."""
    return {
        name: scored(name, value, utility.trtr[measure])
        for utility in found
        for measure, value in utility.tstr.items()
        for name in (f"tstr_{measure}.{utility.target.name}",)
    }


def privacy_scores(
    copies: tuple[Copies, Copies], close: Closeness, attacks: Sequence[Attack]
) -> dict[str, Score]:
    """Of synthetic rows, beside what holdout rows or guessing would get."""
    made, held = copies
    scores = {
        "copies": scored("copies", made.exact.value, held.exact.value),
        "unique_copies": scored("unique_copies", made.unique.value, held.unique.value),
        "near_copies": scored("near_copies", made.near.value, held.near.value),
        "dcr_share": scored("dcr_share", close.share, 0.5),
        "dcr_p5": scored("dcr_p5", close.to_training[0], close.baseline[0]),
    }
    for attack in attacks:
        auc, tpr = f"membership_auc_{attack.name}", f"membership_tpr_{attack.name}"
        scores[auc] = scored(auc, attack.auc, 0.5)
        scores[tpr] = scored(tpr, attack.tpr, FALSE_POSITIVES)
    return scores


def neighbour_scores(value: Mapping[str, float], floor: Mapping[str, float]) -> dict[str, Score]:
    """Of `precision_recall`."""
    return {name: scored(name, value[name], floor[name]) for name in NEIGHBOURS}


def _quality(
    shapes: list[ColumnShape], tails: list[ColumnTails], pairs: list[PairTrend]
) -> dict[str, float]:
    columns = mean_score([shape.score for shape in shapes])
    every, strong = trend_score(pairs), trend_score(pairs, strong=True)
    return {
        "quality": mean_score([columns, every]),
        "column_shapes": columns,
        "tails": mean_score([tail.score for tail in tails]),
        "pair_trends": every,
        "strong_pair_trends": strong,
        "strong_quality": mean_score([columns, strong]),
        "missing_values": mean_score([shape.missing_similarity for shape in shapes]),
        "correlation_distance": correlation_distance(pairs),
        "contingency_distance": contingency_distance(pairs),
    }
