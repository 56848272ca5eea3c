"""One judgement of synthetic data, whether it is images or a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from synthray.config import Config, DataConfig
from synthray.data.prepare import Mapper
from synthray.data.source import open_source
from synthray.metrics.evaluation import evaluate_images
from synthray.metrics.report import Report
from synthray.metrics.subjects import read_subjects
from synthray.metrics.tables.evaluation import evaluate_tables
from synthray.metrics.tables.reading import open_tables
from synthray.metrics.tables.report import TableReport


def judge(
    config: Config,
    synthetic: str | pa.Table,
    *,
    real: pa.Table | None = None,
    holdout: pa.Table | None = None,
    compared: Mapping[str, str | int] | None = None,
    environment: Mapping[str, str] | None = None,
    created: str = "",
    mapper: Mapper = map,
    say: Callable[[str], None] = lambda _: None,
) -> Report | TableReport:
    """Judge synthetic data against the config's source.

    Args:
        synthetic: a URI, or a table such as a virtual dataset gives.
        real, holdout: tables in the place of the source and of evaluate.holdout.
        compared: what is compared, in words, for the report's head.
        mapper: applies a function to items, here or on a cluster.

    Raises:
        ConfigError, SourceError, SchemaError, ConditionError, UsageError.
    """
    settings = config.evaluate
    if real is not None or holds_table(config.data):
        tables = open_tables(config, synthetic, real, holdout, mapper)
        say(f"{tables.real.rows:,} real, {tables.synthetic.rows:,} synthetic rows of a table")
        return evaluate_tables(
            tables,
            settings,
            seed=config.seed,
            compared=compared,
            environment=environment,
            created=created,
            mapper=mapper,
        )
    codec, subjects = read_subjects(config, synthetic, mapper)
    say(
        f"{len(subjects.real):,} real, {len(subjects.synthetic):,} synthetic rows; "
        f"features {settings.features}; "
        f"epochs of a classifier: {settings.epochs}"
    )
    return evaluate_images(
        subjects,
        codec,
        settings,
        seed=config.seed,
        compared=compared,
        environment=environment,
        created=created,
        mapper=mapper,
    )


def holds_table(data: DataConfig) -> bool:
    """Whether the source is judged as a table: it has no images, or the config says so."""
    if data.modality == "auto":
        return not open_source(data.source).image_columns
    return data.modality == "table"
