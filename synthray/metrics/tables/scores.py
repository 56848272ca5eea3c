"""The scores of tables: their names, which direction is good, and what they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
from synthray.metrics.tables.utility import CLASSIFICATION, REGRESSION, TargetUtility

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Told:
    """A score's title, the good direction, what it tells and what it cannot tell."""

    title: str
    better: Direction
    tells: str
    silent: str


QUALITY = {
    "quality": Told(
        "Quality",
        "higher",
        "The mean of column shapes and pair trends: whether columns, one by one and two by two, "
        "look real.",
        "Nothing about three columns at a time, and nothing about copies: a copy of the real "
        "table has quality 1.",
    ),
    "column_shapes": Told(
        "Column shapes",
        "higher",
        "Mean over columns of 1 minus the Kolmogorov-Smirnov statistic (numbers, dates) or the "
        "total variation distance (categories).",
        "Looks at one column at a time: shuffling each column by itself changes nothing.",
    ),
    "pair_trends": Told(
        "Pair trends",
        "higher",
        "Mean similarity of Pearson's coefficients (numbers) or contingency tables (all others) "
        "over all pairs of columns.",
        "Most pairs of most tables are nearly independent, and easy: read it beside the floor, "
        "and beside the strong pairs.",
    ),
    "strong_pair_trends": Told(
        "Strong pair trends",
        "higher",
        "The same over pairs with a real correlation above 0.5 or Cramér's V above 0.3.",
        "Weak dependencies, and those that appear in synthetic rows only.",
    ),
    "strong_quality": Told(
        "Quality, strong pairs",
        "higher",
        "The mean of column shapes and strong pair trends: what SDMetrics 0.32 reports.",
        "As quality and strong pair trends.",
    ),
    "missing_values": Told(
        "Missing values",
        "higher",
        "Mean over columns of 1 minus the difference of the shares of missing cells.",
        "Whether the right rows miss them.",
    ),
    "correlation_distance": Told(
        "Correlation distance",
        "lower",
        "Mean absolute difference of Pearson's coefficients over pairs of numbers.",
        "Dependencies that are not linear; one outlier can make or hide a coefficient.",
    ),
    "contingency_distance": Told(
        "Contingency distance",
        "lower",
        "Mean total variation distance of the contingency tables of all other pairs.",
        "Grows with the number of categories and falls with that of rows: read it beside the "
        "floor.",
    ),
}
NEIGHBOURS = {
    "precision": Told(
        "Precision",
        "higher",
        "Share of synthetic rows within the neighbourhood of some real row.",
        "High also when few kinds of rows are made; one odd real row can vouch for many.",
    ),
    "recall": Told(
        "Recall",
        "higher",
        "Share of real rows within the neighbourhood of some synthetic row: variety.",
        "Grows when synthetic rows scatter widely.",
    ),
    "density": Told(
        "Density",
        "higher",
        "How deep among real rows synthetic ones lie; may exceed 1. Robust precision.",
        "High also when all rows sit in the densest spot, or are copies.",
    ),
    "coverage": Told(
        "Coverage",
        "higher",
        "Share of real rows with a synthetic neighbour. Robust recall.",
        "Depends on the number of rows: compare with the floor.",
    ),
}
UTILITY = {
    "macro_f1": Told(
        "macro-F1",
        "higher",
        "Mean F1 over the classes of the test rows: small classes count like large ones.",
        "One model's view of one target; another model may differ.",
    ),
    "accuracy": Told(
        "accuracy",
        "higher",
        "Share of right answers.",
        "Where one class is frequent, always naming it is accurate: see the baseline.",
    ),
    "roc_auc": Told(
        "ROC AUC",
        "higher",
        "How well the predicted probabilities order the test rows; 0.5 is guessing.",
        "Whether the probabilities themselves are right.",
    ),
    "r2": Told(
        "R²",
        "higher",
        "Share of the target's variance that is predicted; 0 is the mean's, below is worse.",
        "Dominated by outliers.",
    ),
    "rmse": Told(
        "RMSE",
        "lower",
        "Root of the mean squared error, in the target's own unit.",
        "Dominated by outliers.",
    ),
}
PRIVACY = {
    "copies": Told(
        "Exact copies",
        "lower",
        "Share of synthetic rows that equal a training row in all compared columns; the floor is "
        "the share of holdout rows that do: common rows occur again by chance.",
        "Nothing about rows that are changed a little.",
    ),
    "unique_copies": Told(
        "Copies of unique rows",
        "lower",
        "The same for training rows that occur once: the ones that point to a person.",
        "Nothing about rows that are changed a little.",
    ),
    "near_copies": Told(
        "Near copies",
        "lower",
        "Share of rows that equal a training row in all compared columns but at most one.",
        "Nothing about rows that are changed in two columns.",
    ),
    "dcr_share": Told(
        "Closer to training",
        "lower",
        "Share of synthetic rows closer to a training row than to a holdout row, of as many each. "
        "Fresh real rows get 0.5.",
        "A share near 0.5 is an average: it does not prove that no row is a copy, nor that there "
        "is privacy.",
    ),
    "dcr_p5": Told(
        "Nearest 5 %",
        "higher",
        "5th percentile of the distance to the closest training row; the floor is that of holdout "
        "rows. A ratio below 1: closer than fresh real rows come.",
        "Large also when rows are merely wrong.",
    ),
    "membership_auc_distance": Told(
        "Membership by distance, AUC",
        "lower",
        "How well the distance to the nearest synthetic row tells training rows from holdout "
        "rows; 0.5 is guessing.",
        "A stronger attack, with more knowledge, may do better; no attack proves privacy.",
    ),
    "membership_tpr_distance": Told(
        "Membership by distance, found",
        "lower",
        "Share of training rows that the attack finds while it wrongly names at most 1 % of the "
        "others; guessing finds 1 %.",
        "Rests on few rows: read it with its interval.",
    ),
    "membership_auc_density": Told(
        "Membership by density, AUC",
        "lower",
        "The same by the density of synthetic rows over that of real ones (DOMIAS): finds "
        "training rows that were learned too well.",
        "As above.",
    ),
    "membership_tpr_density": Told(
        "Membership by density, found", "lower", "As above, by density.", "As above."
    ),
}


def told(name: str) -> Told:
    """About a score, by name; those of targets are 'tstr_<measure>.<column>'."""
    plain = {**QUALITY, **NEIGHBOURS, **PRIVACY}
    if name in plain:
        return plain[name]
    measure, _, target = name.removeprefix("tstr_").partition(".")
    known = UTILITY[measure]
    title = f"{target}: {known.title}, trained on synthetic"
    return Told(title, known.better, known.tells, known.silent)


def scored(name: str, value: float, floor: float | None) -> Score:
    """A value beside its floor."""
    ratio = value / floor if floor is not None and floor > 0 else None
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


def quality_scores(
    value: tuple[list[ColumnShape], list[PairTrend]],
    floor: tuple[list[ColumnShape], list[PairTrend]],
) -> dict[str, Score]:
    """Of shapes and pairs."""
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


def _quality(shapes: list[ColumnShape], pairs: list[PairTrend]) -> dict[str, float]:
    columns = mean_score([shape.score for shape in shapes])
    every, strong = trend_score(pairs), trend_score(pairs, strong=True)
    return {
        "quality": mean_score([columns, every]),
        "column_shapes": columns,
        "pair_trends": every,
        "strong_pair_trends": strong,
        "strong_quality": mean_score([columns, strong]),
        "missing_values": mean_score([shape.missing_similarity for shape in shapes]),
        "correlation_distance": correlation_distance(pairs),
        "contingency_distance": contingency_distance(pairs),
    }
