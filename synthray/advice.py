"""What to train, and for how long, where nothing is said: measured, see docs/tables.md."""

from __future__ import annotations

from dataclasses import dataclass

from synthray.data.chunks import Source

EPOCHS = 40
"""Passes over a table: on Adult, columns and pairs get hardly better after them."""
LEAST, MOST = 2_000, 20_000
"""Steps, whatever the number of rows: the relations of a small table need them."""
WIDE, SHORTEST = 60_000, 300
"""Columns times steps beyond which a wide table is given fewer, for a minute or two is long."""
TABLE_BATCH, IMAGE_BATCH = 512, 128


@dataclass(frozen=True)
class Advice:
    """A family, and the length of its training."""

    family: str
    steps: int
    batch_size: int


def advise(source: Source, together: int = 1) -> Advice:
    """For a source that has been looked at; a batch is at most half of it, but whole.

    Args:
        together: how many rows the family needs together; see `GenerativeModel.together`.
    """
    half = max(2, source.rows // 4 * 2)
    if source.image_columns:
        return Advice("rpgan", 5000, _whole(min(IMAGE_BATCH, half), together))
    batch = _whole(min(TABLE_BATCH, half), together)
    least = min(LEAST, max(SHORTEST, WIDE // max(len(source.schema), 1)))
    return Advice("nade", min(max(EPOCHS * source.rows // batch, least), MOST), batch)


def _whole(rows: int, together: int) -> int:
    return max(rows // together, 1) * together
