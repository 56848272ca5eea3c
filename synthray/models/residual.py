"""Residual networks with self-attention, for images of any side that `doublings` can split."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.data.codec import DataSpec
from synthray.models.base import join_condition
from synthray.models.convolution import channels_last, doublings
from synthray.models.norm import BatchNorm

ATTENTION_SIDE = 16
"""Self-attention sits on the largest map of at most this side."""


class SelfAttention(nn.Module):
    """y = x + gamma o, gamma 0 at first. Zhang et al. 2018 (1805.08318), equations 1 to 3.

    Keys and values are of maps halved by max pooling, as in the authors' code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner, self.value = max(channels // 8, 1), max(channels // 2, 1)
        self.queries = nn.Conv2d(channels, self.inner, 1, bias=False)
        self.keys = nn.Conv2d(channels, self.inner, 1, bias=False)
        self.values = nn.Conv2d(channels, self.value, 1, bias=False)
        self.output = nn.Conv2d(self.value, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        queries = self.queries(x).flatten(2).transpose(1, 2)
        keys = F.max_pool2d(self.keys(x), 2).flatten(2)
        values = F.max_pool2d(self.values(x), 2).flatten(2).transpose(1, 2)
        # Plain products: fused attention has no second derivative, which penalties need.
        weights = torch.softmax(queries @ keys, dim=2)
        seen = (weights @ values).transpose(1, 2).reshape(n, self.value, height, width)
        return x + self.gamma * self.output(seen)


class UpBlock(nn.Module):
    """norm, ReLU, double, 3x3, norm, ReLU, 3x3, beside a 1x1 (1802.05957, appendix B.2)."""

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.norm1 = BatchNorm(inputs) if norm else nn.Identity()
        self.norm2 = BatchNorm(outputs) if norm else nn.Identity()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # The 1x1 commutes with the doubling, and is four times cheaper before it.
        h = F.interpolate(F.leaky_relu(self.norm1(x), 0.2), scale_factor=2.0)
        h = self.conv2(F.leaky_relu(self.norm2(self.conv1(h)), 0.2))
        return F.interpolate(self.skip(x), scale_factor=2.0) + h


class DownBlock(nn.Module):
    """leaky ReLU, 3x3, leaky ReLU, 3x3, halve, beside a 1x1; the first begins with its 3x3."""

    def __init__(self, inputs: int, outputs: int, first: bool = False) -> None:
        super().__init__()
        self.first = first
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else F.leaky_relu(x, 0.2)
        h = self.conv2(F.leaky_relu(self.conv1(h), 0.2))
        return self.skip(F.avg_pool2d(x, 2)) + F.avg_pool2d(h, 2)


class ResidualDecoder(nn.Module):
    """A vector and conditions to an image [n, c, side, side], without a final non-linearity."""

    def __init__(
        self, inputs: int, width: int, spec: DataSpec, *, norm: bool, attention: bool
    ) -> None:
        super().__init__()
        self.spec, self.side = spec, spec.shape[1]
        self.small, ups = doublings(self.side)
        channels = [width * 2 ** min(ups - i, 3) for i in range(ups + 1)]
        self.top = channels[0]
        self.project = nn.Linear(inputs + sum(spec.conditions), self.top * self.small**2)
        self.blocks = nn.ModuleList(UpBlock(a, b, norm) for a, b in pairwise(channels))
        self.attention = nn.ModuleList(
            _attention(attention, c, i, [self.small * 2 ** (j + 1) for j in range(ups)])
            for i, c in enumerate(channels[1:])
        )
        self.norm = BatchNorm(width) if norm else nn.Identity()
        self.output = nn.Conv2d(width, spec.shape[0], 3, padding=1)
        init_residual(self)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        h = self.project(join_condition(z, cond, self.spec))
        h = h.view(-1, self.top, self.small, self.small)
        h = channels_last(h)
        for block, attention in zip(self.blocks, self.attention, strict=True):
            h = attention(block(h))
        cut = (h.shape[-1] - self.side) // 2
        h = h[..., cut : cut + self.side, cut : cut + self.side]
        return self.output(F.leaky_relu(self.norm(h), 0.2))


class ResidualEncoder(nn.Module):
    """An image to a flat feature vector, [n, features], without normalisation."""

    def __init__(self, width: int, spec: DataSpec, *, attention: bool) -> None:
        super().__init__()
        side, (_, downs) = spec.shape[1], doublings(spec.shape[1])
        channels = [spec.shape[0], *(width * 2 ** min(i, 3) for i in range(downs))]
        self.blocks = nn.ModuleList(
            DownBlock(a, b, first=i == 0) for i, (a, b) in enumerate(pairwise(channels))
        )
        sides = [side // 2 ** (i + 1) for i in range(downs)]
        self.attention = nn.ModuleList(
            _attention(attention, c, i, sides) for i, c in enumerate(channels[1:])
        )
        self.features = channels[-1] * sides[-1] ** 2
        init_residual(self)

    def forward(self, x: Tensor) -> Tensor:
        h = channels_last(x)
        for block, attention in zip(self.blocks, self.attention, strict=True):
            h = attention(block(h))
        return F.leaky_relu(h, 0.2).flatten(1)


def _attention(wanted: bool, channels: int, index: int, sides: list[int]) -> nn.Module:
    fits = [i for i, side in enumerate(sides) if side <= ATTENTION_SIDE]
    best = max(fits, key=lambda i: sides[i]) if fits else -1
    return SelfAttention(channels) if wanted and index == best else nn.Identity()


def init_residual(module: nn.Module) -> None:
    """He et al. 2015 (1502.01852) for what feeds a ReLU; the skips keep variance; the last
    convolution of a block begins small, so that depth does not add up (Zhang et al. 2019,
    1901.09321).
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            linear = name.endswith(("skip", "project", "output"))
            # A slope of 1 is no non-linearity.
            nn.init.kaiming_normal_(layer.weight, 1.0 if linear else 0.2)
            if name.endswith("conv2"):
                with torch.no_grad():
                    layer.weight.mul_(0.3)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
