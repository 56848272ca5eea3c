"""Where training is logged, beside the checkpoints and pictures that it always leaves."""

from __future__ import annotations

from pydantic import Field

from synthray.config.strict import Strict


class MlflowConfig(Strict):
    """A run in MLflow. A token comes from the environment: MLFLOW_TRACKING_TOKEN."""

    uri: str | None = Field(None, description="server or store; none: MLFLOW_TRACKING_URI")
    experiment: str = Field("synthray", min_length=1)


class WandbConfig(Strict):
    """A run in Weights & Biases. The key comes from the environment: WANDB_API_KEY; a server of
    one's own, and working offline, too: WANDB_BASE_URL, WANDB_MODE.
    """

    project: str = Field("synthray", min_length=1)
    entity: str | None = Field(None, description="user or team; none: the key's own")


class TrackConfig(Strict):
    """The trackers that hear of a training; see docs/tracking.md."""

    tensorboard: bool = Field(True, description="event files under OUTPUT/logs/")
    mlflow: MlflowConfig | None = Field(None, description="{} for the defaults")
    wandb: WandbConfig | None = Field(None, description="{} for the defaults")
    name: str | None = Field(
        None, min_length=1, description="what runs are called; none: as output's last folder"
    )
