"""Small tables of columns of all compared kinds, real and synthetic, for tests of their metrics.

Needs numpy and pyarrow alone: `references/write_sdmetrics.py` makes them where SynthRay is not
installed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

NUMBERS = ("income", "visits", "since", "constant")
CATEGORIES = ("city", "member", "code")


def mixed(rows: int, seed: int, shift: float = 0.0) -> pa.Table:
    """Dependent columns with missing cells.

    Args:
        shift: 0 for real rows; the farther from 0, the less real.
    """
    random = np.random.default_rng(seed)
    hidden = random.normal(size=rows)
    noise = random.normal(size=(3, rows))
    income = 1000 * np.exp(0.8 * hidden + 0.3 * noise[0] + shift)
    visits = np.floor(np.abs(4 * hidden + (2 + 4 * shift) * noise[1])).astype(np.int64)
    days = (18_000 + 300 * hidden + 500 * noise[2] + 200 * shift).astype(np.int64)
    kinds = 4 + (shift > 0)  # synthetic rows have a city that real ones do not have
    city = np.clip(np.floor(hidden + 2 + shift * noise[0]), 0, kinds - 1).astype(int)
    member = (hidden + random.normal(size=rows) * (0.5 + shift)) > 0.3
    code = random.zipf(1.6 + shift, rows) % 60
    gone = random.random((3, rows)) < 0.05 + 0.1 * shift
    return pa.table(
        {
            "income": pa.array(income, mask=gone[0]),
            "visits": pa.array(visits),
            "since": pa.array(days * 86_400_000_000, pa.timestamp("us"), mask=gone[1]),
            "constant": pa.array(np.full(rows, 3.0)),
            "city": pa.array([f"city {c}" for c in city], mask=gone[2]),
            "member": pa.array(member),
            "code": pa.array([f"c{c}" for c in code]),
        }
    )
