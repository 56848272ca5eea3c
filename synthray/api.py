"""Python in three lines: fit, load, evaluate. In this process; the command line runs on Ray.

`fit` is in `synthray.fitting`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from synthray import arguments, artifact_files
from synthray import artifact as artifacts
from synthray.config import parse
from synthray.data.chunks import listed
from synthray.data.codec import Value
from synthray.frames import Frame, from_arrow, to_arrow
from synthray.metrics.judging import judge
from synthray.metrics.report import Report
from synthray.metrics.tables.report import TableReport
from synthray.sampling.virtual import VirtualDataset
from synthray.sampling.wishes import Shares

Table = Any
"""A pandas or Polars DataFrame, or an Arrow table."""


@dataclass(frozen=True)
class Artifact(artifacts.Artifact):
    """A trained generator; with a seed, an endless table.

    Attributes:
        frame: the kind of table that it gives.
        kept: its files, by name, or where they are.
        template: in the process that fitted it to a pandas or Polars frame: that without rows,
            whose names and types it gives.
    """

    frame: Frame = "arrow"
    kept: Mapping[str, bytes] | str = ""
    template: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        names, rows = self.schema.names, self.card.get("rows", 0)
        return (
            f"<synthray.Artifact {self.manifest.model.name}, trained on {rows:,} rows of "
            f"{len(names)} columns: {listed(names)}; gives {self.frame}; digest {self.digest[:16]}>"
        )

    @classmethod
    def load(cls, uri: str, trust: Collection[str] = ()) -> Self:
        found = super().load(uri, trust)
        return replace(found, kept=uri, frame=found.card.get("frame", "arrow"))

    def save(self, uri: str) -> None:
        """Write the artifact to a folder, local or s3://: the same bytes, and so the same digest.

        Raises:
            OutputTakenError: another artifact is there.
            StorageError: it cannot be written, or what it was loaded from is gone.
        """
        artifact_files.copy(self.manifest, self.kept, uri)

    def rows(
        self,
        start: int,
        count: int,
        *,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        balance: Mapping[str, Shares] | None = None,
        frame: Frame | None = None,
    ) -> Table:
        """Rows start … start + count of the virtual dataset (artifact, seed, where, balance).

        Args:
            where: values to hold, by column; balance: shares of values to hit, by column.
            frame: "arrow", "pandas" or "polars"; None: the kind that `fit` was given, also after
                the artifact was saved and loaded.

        Raises:
            UsageError: a number that is not whole, or ``where`` or ``balance`` that is no dict.
            ConditionError: what is asked for is not known, or comes too rarely.
            MissingDependencyError: the frame's library is not installed.
        """
        start, count = arguments.whole("start", start), arguments.whole("count", count)
        dataset = VirtualDataset(
            self,
            arguments.whole("seed", seed),
            arguments.held(where),
            balance=arguments.balanced(balance),
        )
        return from_arrow(dataset.rows(start, count), frame or self.frame, self.template)

    def sample(
        self,
        rows: int,
        *,
        seed: int = 0,
        where: Mapping[str, Value] | None = None,
        balance: Mapping[str, Shares] | None = None,
        frame: Frame | None = None,
    ) -> Table:
        """The first ``rows`` rows: see `rows`."""
        count = arguments.whole("rows", rows)
        return self.rows(0, count, seed=seed, where=where, balance=balance, frame=frame)


def load(uri: str, trust: Collection[str] = ()) -> Artifact:
    """A trained artifact, local or s3://, every byte of it checked.

    Args:
        trust: families module:Class that the artifact may name, beside the installed ones.

    Raises:
        NotFoundError, ArtifactError.
    """
    return Artifact.load(uri, trust)


def evaluate(
    real: str | Table,
    synthetic: str | Table,
    *,
    holdout: str | Table | None = None,
    data: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Report | TableReport:
    """Judge synthetic images or rows of a table against real ones.

    Args:
        real: a URI, or a pandas, Polars or Arrow table without images.
        synthetic: a URI, or a table such as `Artifact.sample` gives.
        holdout: as ``real``: rows that the generator never saw.
        data: further settings of the config's ``data`` section, such as corrections of the schema.
        settings: of the config's ``evaluate`` section.

    Raises:
        ConfigError, SourceError, SchemaError, ConditionError, UsageError.
    """
    named = {"source": real if isinstance(real, str) else "."}
    held = holdout if isinstance(holdout, str) else None
    tree = {
        "data": {**(data or {}), **named},
        "output": ".",
        "evaluate": {**settings, "holdout": held},
    }
    return judge(
        parse(tree, where="evaluate"),
        synthetic if isinstance(synthetic, str) else to_arrow(synthetic, "synthetic"),
        real=None if isinstance(real, str) else to_arrow(real, "real"),
        holdout=None if held is not None or holdout is None else to_arrow(holdout, "holdout"),
    )
