"""Telling trackers how training goes: TensorBoard, MLflow, Weights & Biases. Without Ray.

What is told, and under which names: parameters of the whole config; ``train/…`` losses and speed;
``eval/…`` the guard's scores; pictures of samples; what the guard did; the artifact's digest; and
``report/…`` the scores of the dataset's evaluation.
"""

from synthray.tracking.run import Run
from synthray.tracking.telling import Tracking, check, tracking

__all__ = ["Run", "Tracking", "check", "tracking"]
