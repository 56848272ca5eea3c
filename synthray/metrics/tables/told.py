"""What the scores of tables tell and cannot tell, and which direction is good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Told:
    """A score's title, the good direction, what it tells and what it cannot tell.

    Attributes:
        absent: why there may be no number.
    """

    title: str
    better: Direction
    tells: str
    silent: str
    absent: str = "not defined here"


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
        "Looks at one column at a time: shuffling each column by itself changes nothing. The "
        "Kolmogorov-Smirnov statistic is blind to tails: a hundredth of the rows, however far "
        "away, costs a hundredth.",
    ),
    "tails": Told(
        "Tails",
        "higher",
        "Whether numbers and dates lie as far as the real ones: mean over their columns of 1 minus "
        "the 1-Wasserstein distance, in units of the real values' mean distance from their median. "
        "Wrong deviations and far outliers lower it; 0 is no better than a column of nothing but "
        "the real median.",
        "Looks at one column at a time. A mean over columns: which one is wrong stands in the "
        "table of numbers and dates. Where real tails are heavy, fresh real rows differ too: read "
        "it beside the floor.",
        "no column of numbers or dates",
    ),
    "pair_trends": Told(
        "Pair trends",
        "higher",
        "Mean similarity of Pearson's coefficients (numbers) or contingency tables (all others) "
        "over all pairs of columns.",
        "Most pairs of most tables are nearly independent, and easy: read it beside the floor, "
        "and beside the strong pairs.",
        "no pair of columns that vary",
    ),
    "strong_pair_trends": Told(
        "Strong pair trends",
        "higher",
        "The same over pairs with a real correlation above 0.5 or Cramér's V above 0.3.",
        "Weak dependencies, and those that appear in synthetic rows only.",
        "no pair is strong",
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
        "no two columns of numbers that vary",
    ),
    "contingency_distance": Told(
        "Contingency distance",
        "lower",
        "Mean total variation distance of the contingency tables of all other pairs.",
        "Grows with the number of categories and falls with that of rows: read it beside the "
        "floor.",
        "no pair with a category",
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
