"""Write sdmetrics.json: what SDMetrics says of two tables of `mixed`.

SDMetrics wants another major version of pandas than the rest, so it is not installed beside the
tests: run this in an environment of its own with `sdmetrics==0.32.0` and pyarrow.

    python tests/references/write_sdmetrics.py
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from mixed import CATEGORIES, NUMBERS, mixed  # noqa: E402
from sdmetrics.reports.single_table import QualityReport  # noqa: E402
from sdmetrics.single_column import MissingValueSimilarity  # noqa: E402


def main() -> None:
    warnings.simplefilter("ignore")
    real, synthetic = (mixed(*given).to_pandas() for given in ((1500, 1), (1200, 2, 0.15)))
    kinds = {name: "numerical" for name in NUMBERS} | {name: "categorical" for name in CATEGORIES}
    kinds |= {"since": "datetime", "member": "boolean"}
    metadata = {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}
    found: dict[str, object] = {}
    for name, thresholds in (("all", (0, 0)), ("strong", None)):
        report = QualityReport()
        if thresholds is not None:
            report.real_correlation_threshold, report.real_association_threshold = thresholds
        report.generate(real, synthetic, metadata, verbose=False)
        shapes, pairs = (report.get_details(p) for p in ("Column Shapes", "Column Pair Trends"))
        properties = report.get_properties().set_index("Property")["Score"]
        found[name] = {
            "quality": report.get_score(),
            "column_shapes": properties["Column Shapes"],
            "pair_trends": properties["Column Pair Trends"],
            "columns": dict(zip(shapes["Column"], shapes["Score"], strict=True)),
            "pairs": [
                {
                    "columns": sorted([row["Column 1"], row["Column 2"]]),
                    "measure": row["Metric"],
                    "score": row["Score"],
                    "real": row["Real Correlation"],
                    "association": row["Real Association"],
                }
                for _, row in pairs.iterrows()
            ],
        }
    found["missing"] = {
        name: MissingValueSimilarity.compute(real[name], synthetic[name]) for name in kinds
    }
    text = json.dumps(clean(found), indent=1, sort_keys=True)
    (HERE / "sdmetrics.json").write_text(text + "\n")


def clean(data: object) -> object:
    if isinstance(data, dict):
        return {key: clean(value) for key, value in data.items()}
    if isinstance(data, list):
        return [clean(value) for value in data]
    if isinstance(data, float | np.floating):
        return None if np.isnan(data) else float(data)
    return data


if __name__ == "__main__":
    main()
