"""The sections of the config, typed. Unknown keys and silent conversions are errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from synthray import rng, storage
from synthray.config.constraints import Constraint
from synthray.config.guard import GuardConfig
from synthray.config.privacy import PrivacyConfig
from synthray.config.ramps import ScheduledShare
from synthray.config.strict import Strict
from synthray.config.tracking import TrackConfig
from synthray.config.tuning import TuneConfig

BLOCK_ROWS = 1024
"""Rows of a block, the unit of randomness and of computation (see docs/determinism.md)."""
MAX_SHARDS = 1_000_000
"""Files are numbered with six digits, and the driver keeps a receipt of each."""


def _is_plain(value: Any) -> Any:
    if value is not None and not isinstance(value, bool | int | float | str):
        many = isinstance(value, list | dict)
        raise ValueError(
            "must be text, a number, true or false, or null for a missing cell"
            + "; a condition takes one value, and generate.balance gives shares of several" * many
        )
    return value


def _are_shares(value: Any) -> Any:
    """With the text of keys that are numbers, true or false.

    Checked here too, in one line: pydantic would say of each type why it is none of it.
    """
    if not isinstance(value, dict):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a share such as 0.5, or shares by value: {a: 0.5, b: 0.2}")
        return value
    found: dict[str, Any] = {}
    for key, share in value.items():
        if not isinstance(key, bool | int | float | str):
            raise ValueError(f"the value {key!r} must be text, a number, true or false")
        whole = isinstance(key, float) and key.is_integer()
        text = str(int(key) if whole else key)
        if text in found:
            raise ValueError(f"the value {text!r} has two shares; give each value once")
        if isinstance(share, bool) or not isinstance(share, int | float):
            raise ValueError(f"the share of {text!r} must be a number, without quotes")
        found[text] = share
    return found


Rows = Annotated[int, Field(ge=1)]
Plain = Annotated[bool | int | float | str | None, BeforeValidator(_is_plain)]
Shares = Annotated[dict[str, float] | float, BeforeValidator(_are_shares)]


class DataConfig(Strict):
    """Where the real data is and how it is read."""

    source: str = Field(
        description="a folder of images, or Parquet, CSV or JSON Lines; local or s3://"
    )
    modality: Literal["auto", "image", "table", "text", "series"] = "auto"
    conditions: list[str] | None = Field(
        None, description="columns to condition on; none given: the label of an image source"
    )
    schema_: dict[str, dict[str, Any]] = Field(
        {},
        alias="schema",
        description="corrections, by column: {age: {kind: integer}}, or with format, pattern",
    )
    constraints: tuple[Constraint, ...] = Field(
        (), description="what holds in every row of a table; see docs/tables.md"
    )
    image_side: int | None = Field(
        None, ge=8, le=256, description="pixels; images are resized to side x side"
    )
    image_mode: Literal["auto", "grey", "rgb"] = "auto"
    max_unreadable: float = Field(
        0.01, ge=0, le=1, description="largest share of unreadable files to skip"
    )
    rare: int = Field(
        0, ge=0, description="privacy: what fewer rows of a table have is not learned; 0 learns all"
    )
    stream: Literal["auto", "always", "never"] = Field(
        "auto", description="stream the data through Ray Data; auto: when it exceeds memory_gb"
    )
    memory_gb: float = Field(2.0, gt=0, description="encoded data up to this size stays in memory")


class ModelConfig(Strict):
    """The family, and the settings that belong to it."""

    name: str = Field("rpgan", description="a built-in family, or my_package.module:Class")
    params: dict[str, Any] = Field({}, description="the family's own settings")


class Change(Strict):
    """Other settings from a step on."""

    step: int = Field(ge=1, description="the first step, counted from 0, with them")
    set: dict[str, Any] = Field(
        min_length=1,
        description="settings under model.params, by dotted path: {generator.lr: 1e-4}",
    )


class TrainConfig(Strict):
    """How long and how often; what a step does belongs to the family."""

    steps: int = Field(20_000, ge=1)
    batch_size: int = Field(256, ge=2, description="global rows per step, over all workers")
    eval_every: int = Field(500, ge=1, description="steps between pictures and reports")
    checkpoint_every: int = Field(1000, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1)
    ema_decay: ScheduledShare = Field(
        0.999, description="per step, after a warm-up; 0 switches averaging off"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the matrix products in training; generation is float32"
    )
    max_failures: int = Field(3, ge=0, description="lost workers to survive before giving up")
    schedule: tuple[Change, ...] = Field(
        (), description="learning rates, penalties and the like to change in mid-training"
    )
    guard: GuardConfig = GuardConfig()
    privacy: PrivacyConfig | None = Field(
        None, description="train with differential privacy; see docs/privacy.md"
    )

    @field_validator("schedule")
    @classmethod
    def _in_order(cls, value: tuple[Change, ...]) -> tuple[Change, ...]:
        steps = [change.step for change in value]
        if steps != sorted(set(steps)):
            raise ValueError("must be in the order of steps, each step once")
        return value


class ClusterConfig(Strict):
    """The workers of training, generation and evaluation."""

    workers: int = Field(1, ge=1, description="processes that train together")
    min_workers: int | None = Field(
        None, ge=1, description="train with as few while there are no more; see docs/elastic.md"
    )
    cpus_per_worker: int = Field(1, ge=1, description="threads of each")
    gpus_per_worker: float = Field(0, ge=0)
    address: str | None = Field(None, description="a running cluster; none: a local one")
    runtime: Literal["checkout", "image"] = Field(
        "checkout", description="submitted jobs run this package, or the one in the cluster's image"
    )

    @property
    def crews(self) -> range:
        """The numbers of workers that training may go on with."""
        return range(self.min_workers or self.workers, self.workers + 1)

    @property
    def replicas(self) -> int:
        """Model replicas that generate on the same processors: one a GPU, or one a CPU."""
        return self.workers if self.gpus_per_worker else self.workers * self.cpus_per_worker


class GenerateConfig(Strict):
    """The data set to write."""

    rows: Rows = 10_000
    seed: int = Field(0, ge=0, le=rng.MAX_SEED)
    shard_rows: Rows = Field(65_536, description="rows per Parquet file, a multiple of 1,024")
    where: dict[str, Plain] = Field({}, description="values to hold, by column")
    balance: dict[str, Shares] = Field(
        {},
        description="shares of values, by column: {income: {'>50K': 0.5}}; a number alone is the "
        "share of the rarer of two values",
    )
    images: Literal["png", "tensor"] = "png"
    license: str = Field("unspecified", description="the licence of the data set, for its card")

    @field_validator("shard_rows")
    @classmethod
    def _whole_blocks(cls, value: int, info: ValidationInfo) -> int:
        if value % BLOCK_ROWS:
            below = max(value // BLOCK_ROWS, 1) * BLOCK_ROWS
            raise ValueError(f"must be a multiple of {BLOCK_ROWS}; {below} is near")
        rows = info.data.get("rows", 0)
        if -(-rows // value) > MAX_SHARDS:
            raise ValueError(
                f"must be larger, or generate.rows smaller: {rows:,} rows are more than "
                f"{MAX_SHARDS:,} shards"
            )
        return value


class Gate(Strict):
    """Limits of one score."""

    min: float | None = None
    max: float | None = None


class EvaluateConfig(Strict):
    """How the synthetic data is judged."""

    features: str = Field("domain", description="domain, efficientnet-lite0, inception")
    weights: str | None = Field(None, description="the weights file of the inception extractor")
    holdout: str | None = Field(None, description="real data that training never saw")
    target: list[str] | str | None = Field(
        None,
        description="columns of a table to predict; none given: the conditions, or a fitting one",
    )
    rows: int = Field(
        100_000, ge=20, description="rows of each table that its scores are computed from"
    )
    subsample: int = Field(10_000, ge=2, description="rows kept for kernel and neighbour metrics")
    epochs: int = Field(8, ge=1, description="passes over the real data of the domain classifier")
    gates: dict[str, Gate] = Field({}, description="limits of scores; a miss ends with code 3")


class ServeConfig(Strict):
    """The HTTP endpoint."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65_535)
    replicas: int = Field(1, ge=1)
    max_rows: Rows = Field(1_000_000, description="rows one request may ask for")
    max_sheet_rows: Rows = Field(400, description="tiles of a contact sheet (image/png)")
    max_zip_rows: Rows = Field(50_000, description="rows of a zip, whose directory is in memory")
    max_body_bytes: int = Field(65_536, ge=1024)
    max_concurrent: int = Field(8, ge=1, description="requests a replica works on at a time")
    max_queued: int = Field(64, ge=0, description="requests that wait; more are answered 503")
    stall_seconds: float = Field(
        60, gt=0, description="a client that takes nothing for so long is cut off"
    )
    start_seconds: float = Field(120, gt=0, description="how long replicas may take to load")
    cpus_per_replica: float = Field(1, ge=0, description="CPUs that Ray reserves; may be a part")
    token_env: str = Field(
        "SYNTHRAY_SERVE_TOKEN", description="the environment variable holding the bearer token"
    )
    trust: tuple[str, ...] = Field(
        (), description="families module:Class that artifacts may name, beside the installed ones"
    )


class Config(Strict):
    """One run: from a source to a data set, its report and an endpoint."""

    seed: int = Field(0, ge=0, le=rng.MAX_SEED)
    data: DataConfig
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    cluster: ClusterConfig = ClusterConfig()
    generate: GenerateConfig = GenerateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tune: TuneConfig = TuneConfig()
    serve: ServeConfig = ServeConfig()
    track: TrackConfig = TrackConfig()
    output: str = Field(description="where everything of this run is written; local or s3://")

    @property
    def endpoint(self) -> ServeConfig:
        """The serve section, with the run's own family trusted."""
        return self.serve.model_copy(update={"trust": (*self.serve.trust, self.model.name)})

    def place(self, *parts: str) -> str:
        """A URI under ``output``."""
        return storage.join(self.output, *parts)
