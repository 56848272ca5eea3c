"""Scores of one synthetic table: fidelity, utility and privacy, by the same code for everyone.

    python -m benchmarks.tabular.score REAL SYNTHETIC TEST

Each is a CSV file with a header, or a Parquet file or folder of files. REAL is what was trained on,
TEST the holdout. Prints JSON; judging.py says what each score is. SDMetrics and scikit-learn run in
an environment of their own, made on the first use; --python names another that has them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.tabular.environments import ROOT, interpreter


def score(
    real: str | Path,
    synthetic: str | Path,
    test: str | Path,
    *,
    target: str = "income",
    threads: int = 1,
    python: str | Path | None = None,
) -> dict[str, Any]:
    """The scores by name, see judging.py.

    Args:
        target: the column to classify.
        python: an interpreter with sdmetrics, scikit-learn and pyarrow; by default the
            benchmark's own.

    Raises:
        subprocess.CalledProcessError: the scoring failed; its own words are on stderr.
    """
    places = [str(Path(place).resolve()) for place in (real, synthetic, test)]
    command = [str(python or interpreter("scoring")), "-m", "benchmarks.tabular.judging", *places]
    done = subprocess.run(
        [*command, "--target", target],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        check=True,
    )
    scores: dict[str, Any] = json.loads(done.stdout)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("real", "synthetic", "test"):
        parser.add_argument(name)
    parser.add_argument("--target", default="income", help="to classify (default: income)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    parser.add_argument("--python", help="default: the benchmark's own environment")
    given = parser.parse_args()
    scores = score(
        given.real,
        given.synthetic,
        given.test,
        target=given.target,
        threads=given.threads,
        python=given.python,
    )
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
