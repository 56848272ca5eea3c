"""The one config of every stage: YAML in, one typed model out."""

from synthray.config.guard import GuardConfig
from synthray.config.privacy import PrivacyConfig
from synthray.config.problems import config_error, explain
from synthray.config.ramps import Ramp, Scheduled, ScheduledShare, ShareRamp, peak, value_at
from synthray.config.reading import changed, dump, is_config, load, parse
from synthray.config.sections import (
    BLOCK_ROWS,
    Change,
    ClusterConfig,
    Config,
    DataConfig,
    EvaluateConfig,
    Gate,
    GenerateConfig,
    ModelConfig,
    ServeConfig,
    TrainConfig,
)
from synthray.config.strict import Strict
from synthray.config.tracking import MlflowConfig, TrackConfig, WandbConfig
from synthray.config.tuning import Range, TuneConfig

__all__ = [
    "BLOCK_ROWS",
    "Change",
    "ClusterConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "Gate",
    "GenerateConfig",
    "GuardConfig",
    "MlflowConfig",
    "ModelConfig",
    "PrivacyConfig",
    "Ramp",
    "Range",
    "Scheduled",
    "ScheduledShare",
    "ServeConfig",
    "ShareRamp",
    "Strict",
    "TrackConfig",
    "TrainConfig",
    "TuneConfig",
    "WandbConfig",
    "changed",
    "config_error",
    "dump",
    "explain",
    "is_config",
    "load",
    "parse",
    "peak",
    "value_at",
]
