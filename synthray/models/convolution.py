"""Convolutional building blocks of the image families.

Images of any side are drawn by doubling a small map: a side of 28 grows 7, 14, 28; a side that
does not halve evenly is drawn a little larger and cut.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models.base import join_condition
from synthray.models.norm import BatchNorm


def doublings(side: int) -> tuple[int, int]:
    """(side of the smallest map, number of doublings, at least one) with 4 <= smallest <= 8."""
    count = 1
    while -(-side // 2**count) > 8:
        count += 1
    return -(-side // 2**count), count


def image_side(spec: DataSpec, family: str) -> int:
    """The side of a spec's square images.

    Raises:
        ConfigError: the rows are not square images of at least 8 pixels.
    """
    if len(spec.shape) != 3 or spec.shape[1] != spec.shape[2] or spec.shape[1] < 8:
        raise ConfigError(
            f"model.name: {family} draws square images of at least 8 pixels, not rows of shape "
            f"{spec.shape}",
            "choose another family, or set data.image_side",
        )
    return spec.shape[1]


def channels_last(x: Tensor) -> Tensor:
    """Maps in the memory format that convolves fastest; those mapped over rows (vmap) as they are,
    for there it is not known.
    """
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        return x
    return x.contiguous(memory_format=torch.channels_last)


class Decoder(nn.Module):
    """A vector and conditions to an image: transposed convolutions, as in DCGAN's generator.

    Output: [n, c, side, side], without a final non-linearity.
    """

    def __init__(self, inputs: int, width: int, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        self.side = spec.shape[1]
        self.small, ups = doublings(self.side)
        channels = [width * 2 ** (ups - i) for i in range(ups + 1)]
        self.top = channels[0]
        inputs += sum(spec.conditions)
        self.project = nn.Linear(inputs, self.top * self.small**2, bias=False)
        self.norms = nn.ModuleList(BatchNorm(c) for c in channels)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False)
            for a, b in pairwise(channels)
        )
        self.output = nn.Conv2d(width, spec.shape[0], 3, padding=1)

    def forward(self, z: Tensor, cond: Tensor | None) -> Tensor:
        h = self.project(join_condition(z, cond, self.spec))
        h = h.view(-1, self.top, self.small, self.small)
        h = channels_last(h)
        h = torch.relu(self.norms[0](h))
        for up, norm in zip(self.ups, self.norms[1:], strict=True):
            h = torch.relu(norm(up(h)))
        cut = (h.shape[-1] - self.side) // 2
        h = h[..., cut : cut + self.side, cut : cut + self.side]
        return self.output(h)


class Encoder(nn.Module):
    """An image to a flat feature vector, [n, features]: strided convolutions, leaky ReLU 0.2,
    batch norm after all but the first, as in DCGAN's discriminator, or none.
    """

    def __init__(self, width: int, spec: DataSpec, norm: bool = True) -> None:
        super().__init__()
        _, downs = doublings(spec.shape[1])
        channels = [spec.shape[0], *(width * 2**i for i in range(downs))]
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1, bias=index == 0 or not norm)
            for index, (a, b) in enumerate(pairwise(channels))
        )
        self.norms = nn.ModuleList(BatchNorm(c) if norm else nn.Identity() for c in channels[2:])
        side = spec.shape[1]
        for _ in range(downs):
            side = side // 2
        self.features = channels[-1] * side**2

    def forward(self, x: Tensor) -> Tensor:
        h = channels_last(x)
        for index, down in enumerate(self.downs):
            h = down(h)
            if index:
                h = self.norms[index - 1](h)
            h = nn.functional.leaky_relu(h, 0.2)
        return h.flatten(1)


def init_dcgan(module: nn.Module) -> None:
    """Weights from N(0, 0.02), batch norm gains from N(1, 0.02). Radford et al. 2015, section 4."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, BatchNorm):
            nn.init.normal_(layer.weight, 1.0, 0.02)


def init_kaiming(module: nn.Module) -> None:
    """Convolutions that keep the scale of their input under leaky ReLU 0.2. He et al. 2015
    (1502.01852). Without batch norm, DCGAN's small weights would let the signal fade.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
