"""The one config of every stage: YAML in, one typed model out."""

from synthray.config.guard import GuardConfig
from synthray.config.problems import config_error, explain
from synthray.config.ramps import Ramp, Scheduled, ScheduledShare, ShareRamp, peak, value_at
from synthray.config.reading import dump, load, parse
from synthray.config.sections import (
    BLOCK_ROWS,
    ClusterConfig,
    Config,
    DataConfig,
    EvaluateConfig,
    Gate,
    GenerateConfig,
    ModelConfig,
    ServeConfig,
    TrainConfig,
    TuneConfig,
)
from synthray.config.strict import Strict

__all__ = [
    "BLOCK_ROWS",
    "ClusterConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "Gate",
    "GenerateConfig",
    "GuardConfig",
    "ModelConfig",
    "Ramp",
    "Scheduled",
    "ScheduledShare",
    "ServeConfig",
    "ShareRamp",
    "Strict",
    "TrainConfig",
    "TuneConfig",
    "config_error",
    "dump",
    "explain",
    "load",
    "parse",
    "peak",
    "value_at",
]
