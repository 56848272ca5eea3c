"""The one config of every stage: YAML in, one typed model out, all errors told at once."""

from __future__ import annotations

import copy
import difflib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from synthray import rng, storage
from synthray.errors import ConfigError, NotFoundError, UsageError

BLOCK_ROWS = 1024
"""Rows of a block, the unit of randomness and of computation (see docs/determinism.md)."""


def _holds_tuple(annotation: Any) -> bool:
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return any((typing.get_origin(part) or part) is tuple for part in parts)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _is_plain(value: Any) -> Any:
    if not isinstance(value, bool | int | str):
        raise ValueError("must be text, an integer, true or false")
    return value


Rows = Annotated[int, Field(ge=1)]
Plain = Annotated[bool | int | str, BeforeValidator(_is_plain)]


class Strict(BaseModel):
    """A config section: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _list_as_tuple(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML and JSON have no tuples."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        return tuple(value) if _holds_tuple(annotation) and isinstance(value, list) else value


class DataConfig(Strict):
    """Where the real data is and how it is read."""

    source: str = Field(
        description="Parquet, CSV, JSON Lines or a folder of images; local or s3://"
    )
    modality: Literal["auto", "image", "table", "text", "series"] = "auto"
    conditions: list[str] | None = Field(
        None, description="columns to condition on; none given: the label of an image source"
    )
    schema_: dict[str, dict[str, Any]] = Field(
        {}, alias="schema", description="corrections, by column: {age: {kind: integer}}"
    )
    image_side: int | None = Field(
        None, ge=8, le=256, description="pixels; images are resized to side x side"
    )
    image_mode: Literal["auto", "grey", "rgb"] = "auto"
    max_unreadable: float = Field(
        0.01, ge=0, le=1, description="largest share of unreadable files to skip"
    )
    stream: Literal["auto", "always", "never"] = Field(
        "auto", description="stream the data through Ray Data; auto: when it exceeds memory_gb"
    )
    memory_gb: float = Field(2.0, gt=0, description="encoded data up to this size stays in memory")


class ModelConfig(Strict):
    """The family, and the settings that belong to it."""

    name: str = Field("dcgan", description="a built-in family, or my_package.module:Class")
    params: dict[str, Any] = {}


class TrainConfig(Strict):
    """How long and how often; what a step does belongs to the family."""

    steps: int = Field(20_000, ge=1)
    batch_size: int = Field(256, ge=2, description="global rows per step, over all workers")
    eval_every: int = Field(500, ge=1, description="steps between pictures and reports")
    checkpoint_every: int = Field(1000, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1)
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="per step, after a warm-up; 0 switches averaging off"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the matrix products in training; generation is float32"
    )
    max_failures: int = Field(3, ge=0, description="lost workers to survive before giving up")


class ClusterConfig(Strict):
    """The workers of training, generation and evaluation."""

    workers: int = Field(1, ge=1, description="processes that train together")
    cpus_per_worker: int = Field(1, ge=1, description="threads of each")
    gpus_per_worker: float = Field(0, ge=0)
    address: str | None = Field(None, description="a running cluster; none: a local one")

    @property
    def replicas(self) -> int:
        """Model replicas that generate on the same processors: one a GPU, or one a CPU."""
        return self.workers if self.gpus_per_worker else self.workers * self.cpus_per_worker


class GenerateConfig(Strict):
    """The data set to write."""

    rows: Rows = 10_000
    seed: int = Field(0, ge=0, le=rng.MAX_SEED)
    shard_rows: Rows = Field(65_536, description="rows per Parquet file, a multiple of 1,024")
    where: dict[str, Plain] = Field({}, description="condition values to fix")
    images: Literal["png", "tensor"] = "png"
    license: str = Field("unspecified", description="the licence of the data set, for its card")

    @field_validator("shard_rows")
    @classmethod
    def _whole_blocks(cls, value: int) -> int:
        if value % BLOCK_ROWS:
            below = max(value // BLOCK_ROWS, 1) * BLOCK_ROWS
            raise ValueError(f"must be a multiple of {BLOCK_ROWS}; {below} is near")
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
    subsample: int = Field(10_000, ge=2, description="rows kept for kernel and neighbour metrics")
    epochs: int = Field(8, ge=1, description="passes over the real data of the domain classifier")
    gates: dict[str, Gate] = {}


class TuneConfig(Strict):
    space: dict[str, Any] = {}
    trials: int = Field(16, ge=1)
    seeds: int = Field(3, ge=1)


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
    output: str = Field(description="where everything of this run is written; local or s3://")

    def place(self, *parts: str) -> str:
        """A URI under ``output``."""
        return storage.join(self.output, *parts)


def load(uri: str, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply ``key=value`` overrides.

    Args:
        uri: a YAML file, local or s3://.
        overrides: such as ``train.steps=100``; the value is read as YAML.

    Raises:
        ConfigError: every problem of the file and of the overrides, in one message.
    """
    try:
        text = storage.read_bytes(uri).decode()
    except NotFoundError as error:
        raise ConfigError(
            f"config file {uri} does not exist", "write one with: synthray init SOURCE"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{uri} is not UTF-8 text", "give a YAML file") from error
    try:
        tree = _read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{uri} is not valid YAML: {error}", "correct the line named") from error
    return parse(tree, overrides, where=uri)


def parse(tree: Any, overrides: Sequence[str] = (), where: str = "config") -> Config:
    """Check a config given as plain data; see `load`."""
    tree = {} if tree is None else copy.deepcopy(tree)
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{where} holds {type(tree).__name__} {tree!r}, not keys with values",
            "write a config with: synthray init SOURCE",
        )
    problems: list[str] = []
    for item in overrides:
        problem = _override(tree, item)
        if problem:
            problems.append(problem)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += explain(error, Config)
    else:
        problems += _cross_checks(config)
        if not problems:
            # Other processes have other working directories.
            return config.model_copy(update={"output": storage.absolute(config.output)})
    raise config_error(where, problems)


def config_error(where: str, problems: Sequence[str]) -> ConfigError:
    """One error of many problems."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "".join(f"\n  - {line}" for line in problems)
    return ConfigError(f"{where}: {count}{lines}", "correct the keys named above")


def _cross_checks(config: Config) -> Iterable[str]:
    if config.train.batch_size % config.cluster.workers:
        yield (
            f"train.batch_size: {config.train.batch_size} rows do not divide among "
            f"cluster.workers = {config.cluster.workers}; use a multiple"
        )
    for key, uri in (("output", config.output), ("data.source", config.data.source)):
        try:
            storage.absolute(uri)
        except UsageError as error:
            yield f"{key}: {error.what}; {error.remedy}"
    if config.evaluate.features == "inception" and not config.evaluate.weights:
        yield "evaluate.weights: missing; features 'inception' needs the weights file's path or URI"


def _override(tree: dict[str, Any], item: str) -> str | None:
    key, equals, text = item.partition("=")
    if not equals or not key:
        return f"{item}: not of the form key=value, such as train.steps=100"
    try:
        value = _read_yaml(text)
    except yaml.YAMLError:
        return f"{key}: the value {text!r} is not valid YAML; quote it"
    *path, last = key.split(".")
    for part in path:
        if tree.get(part) is None:
            tree[part] = {}
        tree = tree[part]
        if not isinstance(tree, dict):
            return f"{key}: {part!r} holds the value {tree!r}, not a section; remove one of the two"
    tree[last] = value
    return None


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """One line a problem: the dotted key, the value, what is wrong, what to do."""
    return [_explain_one(detail, model, prefix) for detail in error.errors()]


_MUST_BE = {
    "bool_type": "must be true or false",
    "dict_type": "must be a section with keys of its own",
    "float_type": "must be a number, without quotes",
    "int_type": "must be an integer, without quotes or a decimal point",
    "list_type": "must be a list, such as [a, b]",
    "model_type": "must be a section with keys of its own",
    "string_type": "must be text; put it in quotes",
}


def _explain_one(detail: ErrorDetails, model: type[BaseModel], prefix: str) -> str:
    path = [str(part) for part in detail["loc"]]
    key = prefix + ".".join(path)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if detail["type"] == "missing":
        return f"{key}: missing; add it"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = _MUST_BE.get(detail["type"], message[0].lower() + message[1:])
    return f"{key}: {message} (got {detail['input']!r})"


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The known keys of the section at ``path``."""
    found: Any = model
    for part in path:
        found = _inside(found, part)
    fields = found.model_fields if _is_section(found) else {}
    return [field.alias or name for name, field in fields.items()]


def _inside(annotation: Any, key: str) -> Any:
    """What may stand under a key of a section, or of a dict; of ``Gate | None`` it is Gate."""
    if _is_section(annotation):
        fields = annotation.model_fields.items()
        annotation = next((f.annotation for name, f in fields if key in (name, f.alias)), None)
    elif typing.get_origin(annotation) is dict:
        annotation = typing.get_args(annotation)[1]
    else:
        annotation = None
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return next((part for part in parts if part is not types.NoneType), None)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def dump(config: Config) -> str:
    """The config as YAML, every key with its value."""
    tree = config.model_dump(mode="json", by_alias=True)
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


# YAML. PyYAML follows version 1.1, to which `2e-4` is text, `no` is false, `012` is ten, `1:30` is
# ninety and `2024-13-45` a crash. These are the plain values of YAML 1.2, and 1_000.

_PLAIN_VALUES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _PLAIN_VALUES:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
        )


def _read_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)
