"""The exponential moving average of weights: what is sampled from and becomes the artifact."""

from __future__ import annotations

import copy

import torch
from torch import nn

from synthray.models.base import GenerativeModel

DIRECTIONS = ("parametrizations.weight.0._u", "parametrizations.weight.0._v")


class EMA:
    """An averaged copy of the modules that sampling needs.

    The decay of step t is min(decay, (1 + t) / (10 + t)): early steps, far from the end, are
    forgotten quickly; how quickly, the 10, is the family's `forgetting`. Running statistics of
    batch norm are averaged like weights, so that they belong to the averaged network. The unit
    vectors of spectral norm are directions: averaged, they are no unit vectors, so they are taken
    as they are.
    """

    def __init__(self, model: GenerativeModel) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: GenerativeModel, step: int, decay: float) -> None:
        decay = min(decay, (1 + step) / (model.forgetting + step))
        for name, module in model.sampler_modules():
            self._blend(getattr(self.model, name), module, 1 - decay)

    @staticmethod
    def _blend(average: nn.Module, live: nn.Module, weight: float) -> None:
        mine, theirs = average.state_dict(), live.state_dict()
        floats = [
            key
            for key, value in mine.items()
            if value.is_floating_point() and not key.endswith(DIRECTIONS)
        ]
        torch._foreach_lerp_([mine[k] for k in floats], [theirs[k] for k in floats], weight)
        for key in mine.keys() - set(floats):
            mine[key].copy_(theirs[key])
