"""What a synthetic table is worth: calculations only, for the scoring environment (see score.py).

    quality             SDMetrics' report over every pair of columns: the mean of column_shapes and
                        pair_trends. `…_selected` is the same as SDMetrics has it by default of
                        late: only pairs whose real correlation is above 0.5 or whose real
                        association is above 0.3 count. Older published figures are over every pair.
    macro_f1, auc       of histogram gradient boosting trained on the synthetic rows, tested on real
                        rows that nothing was trained on; `real_…`: trained on the training rows.
    copies              share of synthetic rows that equal a training row in every cell;
                        `holdout_copies`: share of the holdout's rows that do.
    membership_auc      of an attack that tells training rows from holdout rows by the distance to
                        the closest synthetic row; 0.5 is a guess. `membership_error`: its standard
                        error (DeLong et al., 1988). It can prove a leak, never its absence.
    closer_to_training  share of synthetic rows closer to a training row than to a holdout row,
                        of equally many rows of each; 0.5 for rows that remember nothing.

Distances: a mismatch of categories counts 1, numbers are ranks among the training rows in [0, 1],
squared differences add up. A missing category is a category of its own, in every score.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score

MISSING = "?"
BLOCK = 1024  # rows of a block of distances


def read(place: str) -> pd.DataFrame:
    """A CSV file with a header, or a Parquet file or folder."""
    path = Path(place)
    if path.suffix == ".csv":
        return pd.read_csv(path, skipinitialspace=True, na_values=[MISSING])
    return pd.read_parquet(path)


def alike(table: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """The table with the real one's columns, as float64 numbers or strings without gaps."""
    made = {}
    for name in real.columns:
        column = table[name]
        if pd.api.types.is_numeric_dtype(real[name]) and not pd.api.types.is_bool_dtype(real[name]):
            made[name] = pd.to_numeric(column).astype(np.float64)
        else:
            made[name] = column.astype(object).where(column.notna(), MISSING).map(str)
    return pd.DataFrame(made).reset_index(drop=True)


def numbers(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if table[name].dtype == np.float64]


def quality(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sdmetrics.reports import QualityReport

        numeric = set(numbers(real))
        columns = {
            name: {"sdtype": "numerical" if name in numeric else "categorical"}
            for name in real.columns
        }
        metadata = {"tables": {"table": {"columns": columns}}}
        scores = {}
        for label, thresholds in (("", (0.0, 0.0)), ("_selected", None)):
            report = QualityReport()
            if thresholds is not None:
                report.real_correlation_threshold, report.real_association_threshold = thresholds
            report.generate({"table": real}, {"table": synthetic}, metadata, verbose=False)
            parts = dict(zip(*report.get_properties().to_numpy().T, strict=True))
            scores[f"quality{label}"] = float(report.get_score())
            scores[f"pair_trends{label}"] = float(parts["Column Pair Trends"])
            scores["column_shapes"] = float(parts["Column Shapes"])
    return scores


class Matrix:
    """Turns rows to float32 matrices, as the training rows say."""

    def __init__(self, real: pd.DataFrame) -> None:
        self.numeric = numbers(real)
        self.sorted = {name: np.sort(real[name].dropna().to_numpy()) for name in self.numeric}
        self.categories = {
            name: pd.Index(sorted(real[name].unique()))
            for name in real.columns
            if name not in self.numeric
        }

    def codes(self, table: pd.DataFrame) -> np.ndarray:
        """For trees: [rows, columns] float64, categories as codes; unknown ones are missing."""
        columns = [table[name].to_numpy() for name in self.numeric]
        for name, known in self.categories.items():
            found = known.get_indexer(table[name]).astype(np.float64)
            columns.append(np.where(found < 0, np.nan, found))
        return np.stack(columns, axis=1)

    def points(self, table: pd.DataFrame) -> np.ndarray:
        """For distances: [rows, features] float32; halved squares of one-hot codes add up to 1."""
        rows = len(table)
        parts = []
        for name in self.numeric:
            values, known = table[name].to_numpy(), self.sorted[name]
            low = np.searchsorted(known, values, side="left")
            rank = (low + np.searchsorted(known, values, side="right")) / (2 * max(len(known), 1))
            parts.append(np.where(np.isnan(values), -1.0, rank)[:, None])
        for name, known in self.categories.items():
            hot = np.zeros((rows, len(known) + 1))
            hot[np.arange(rows), known.get_indexer(table[name])] = np.sqrt(0.5)
            parts.append(hot)
        return np.concatenate(parts, axis=1).astype(np.float32)


def utility(
    matrix: Matrix, train: pd.DataFrame, test: pd.DataFrame, target: str
) -> dict[str, float]:
    """Macro-F1 and the area under the curve of a boosted classifier of ``target``."""
    columns = (*matrix.numeric, *matrix.categories)
    keep = [index for index, name in enumerate(columns) if name != target]
    categorical = [columns[index] in matrix.categories for index in keep]
    labels, truth = train[target].to_numpy(), test[target].to_numpy()
    if len(np.unique(labels)) < 2:
        guess = np.full(len(truth), labels[0])
        return {"macro_f1": float(f1_score(truth, guess, average="macro")), "auc": 0.5}
    model = HistGradientBoostingClassifier(
        categorical_features=categorical, early_stopping=False, random_state=0
    )
    model.fit(matrix.codes(train)[:, keep], labels)
    given = matrix.codes(test)[:, keep]
    likely = model.predict_proba(given)
    scores = {"macro_f1": f1_score(truth, model.classes_[likely.argmax(1)], average="macro")}
    if len(model.classes_) == 2:
        scores["auc"] = roc_auc_score(truth == model.classes_[1], likely[:, 1])
    return {name: float(value) for name, value in scores.items()}


def share_copied(rows: pd.DataFrame, real: pd.DataFrame) -> float:
    """The share of rows that are among the real ones, cell by cell."""
    seen = real.drop_duplicates()
    found = rows.merge(seen, on=list(real.columns), how="left", indicator=True)
    return float((found["_merge"] == "both").mean())


def nearest(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Squared distance of each query to its closest point: float64 [queries].

    The closest is looked for in float32; its distance is then computed without cancellation.
    """
    best = np.empty(len(queries))
    half = 0.5 * np.einsum("ij,ij->i", points, points)
    turned = np.ascontiguousarray(points.T)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        product = block @ turned
        product -= half
        gap = block.astype(np.float64) - points[product.argmax(1)]
        best[start : start + BLOCK] = np.einsum("ij,ij->i", gap, gap)
    return best


def delong(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Area under the curve of scores, higher for positives, and its standard error."""
    high, low = np.sort(positive), np.sort(negative)

    def above(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        left, right = (np.searchsorted(others, values, side=side) for side in ("left", "right"))
        return (left + right) / (2 * len(others))

    beaten, beating = above(positive, low), 1 - above(negative, high)
    error = np.sqrt(beaten.var(ddof=1) / len(positive) + beating.var(ddof=1) / len(negative))
    return float(beaten.mean()), float(error)


def privacy(
    matrix: Matrix, real: pd.DataFrame, synthetic: pd.DataFrame, holdout: pd.DataFrame
) -> dict[str, float]:
    count = min(len(real), len(holdout))
    random = np.random.default_rng(0)
    members, strangers = (
        matrix.points(table.iloc[np.sort(random.permutation(len(table))[:count])])
        for table in (real, holdout)
    )
    made = matrix.points(synthetic)
    auc, error = delong(-nearest(members, made), -nearest(strangers, made))
    to_members, to_strangers = nearest(made, members), nearest(made, strangers)
    closer = (to_members < to_strangers).mean() + (to_members == to_strangers).mean() / 2
    return {
        "copies": share_copied(synthetic, real),
        "holdout_copies": share_copied(holdout, real),
        "membership_auc": auc,
        "membership_error": error,
        "closer_to_training": float(closer),
    }


def judge(
    real: pd.DataFrame, synthetic: pd.DataFrame, test: pd.DataFrame, target: str
) -> dict[str, Any]:
    """Every score of the module's list."""
    synthetic, test, real = alike(synthetic, real), alike(test, real), alike(real, real)
    matrix = Matrix(real)
    scores: dict[str, Any] = {"rows": len(synthetic), **quality(real, synthetic)}
    scores |= utility(matrix, synthetic, test, target)
    scores |= {f"real_{name}": got for name, got in utility(matrix, real, test, target).items()}
    return scores | privacy(matrix, real, synthetic, test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("real", "synthetic", "test"):
        parser.add_argument(name)
    parser.add_argument("--target", required=True)
    given = parser.parse_args()
    real, synthetic, test = (read(place) for place in (given.real, given.synthetic, given.test))
    print(json.dumps(judge(real, synthetic, test, given.target)))


if __name__ == "__main__":
    main()
