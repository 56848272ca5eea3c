"""A small table of every kind of column, its codec, and untrained generators of such rows."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from tiny import save_artifact

from synthray.artifact import Artifact
from synthray.config.constraints import Constraint
from synthray.data.chunks import in_memory
from synthray.data.constrained_codec import ConstrainedCodec
from synthray.data.inference import infer_table_schema
from synthray.data.table_codec import TableCodec

SMALL: dict[str, dict[str, Any]] = {
    "nade": {"embedding": 8, "hidden": 8},
    "tvae": {"latent_dim": 4, "encoder_widths": [8], "decoder_widths": [8]},
}
CODINGS = {"nade": "bins", "tvae": "modes"}


def people(rows: int = 400) -> pa.Table:
    """Numbers, dates, categories, booleans and ids, with missing cells and awkward types."""
    random = np.random.default_rng(0)
    day = datetime.date(2020, 1, 1)
    born = [day + datetime.timedelta(days=int(n)) for n in random.integers(0, 300, rows)]
    seen = random.integers(0, 10**6, rows) * 1000
    return pa.table(
        {
            "id": pa.array([f"P-{n:05d}" for n in range(rows)]),
            "age": pa.array(random.integers(18, 60, rows).astype(np.int16)),
            "paid": pa.array(
                [Decimal(int(n)).scaleb(-2) for n in random.integers(0, 5000, rows)],
                pa.decimal128(10, 2),
                mask=random.random(rows) < 0.1,
            ),
            "weight": pa.array((np.round(random.normal(140, 9, rows)) / 2).astype(np.float32)),
            "sex": pa.array(random.choice(["F", "M"], rows, p=[0.7, 0.3])),
            "city": pa.array(
                [None if n == 3 else ("Köln", "Rom", "")[n] for n in random.integers(0, 4, rows)],
                pa.large_string(),
            ),
            "plan": pa.array(random.choice(["a|b", "c"], rows)).dictionary_encode(),
            "member": pa.array(random.random(rows) < 0.5),
            "born": pa.array(born, pa.date32()),
            "joined": pa.array(seen, pa.timestamp("s")),
            "seen": pa.array(seen * 10**6, pa.timestamp("us", "UTC")),
            "signed": pa.array([d.strftime("%d.%m.%Y") for d in born]),
        }
    )


def people_codec(
    *conditions: str, family: str = "nade", constraints: tuple[Constraint, ...] = ()
) -> TableCodec | ConstrainedCodec:
    """Fitted on `people`."""
    rows = people()
    schema = infer_table_schema(in_memory("people", rows), {}).with_conditions(conditions)

    def make(schema: Any) -> TableCodec:
        return TableCodec(schema, CODINGS[family])  # type: ignore[arg-type]

    made = ConstrainedCodec(schema, constraints, make) if constraints else make(schema)
    made.fit([made.partial(rows)])
    return made


def save_people(place: str, *conditions: str, family: str = "nade", **options: Any) -> Artifact:
    """An untrained generator of people, as an artifact."""
    codec = people_codec(*conditions, family=family, **options)
    save_artifact(place, codec, family, SMALL[family])
    return Artifact.load(place)
