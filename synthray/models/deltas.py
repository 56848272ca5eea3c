"""Small changes to a frozen generator, zero at first: what AD-GAN trains.

Every generator gets the same kinds of them, within a budget of parameters:

1. biases, and the gains and offsets of batch norm;
2. a low-rank delta on the affine map that brings z to the first layer;
3. the output layer;
4. the middle block, with as high a rank as the rest of the budget allows.

The deltas of wide layers stand beside them as narrow ones: no gradient of a frozen weight is ever
computed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
VECTOR = 0.4
"""What a shift of 1 adds to a bias, or to a gain or offset of batch norm."""
WEIGHT = 2.0
"""What a delta of 1 adds to a weight, in units of its root mean square."""


class Latent(nn.Module):
    """z + b a z + m: a low-rank delta, and an offset, of the first layer as z sees it.

    The base draws the old data from all of z's space; this chooses where in it the new data lie
    (as the miner of Wang et al. 2020, 1912.05270, does with a network).
    """

    def __init__(self, size: int, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, size) / (rank * size) ** 0.5)
        self.b = nn.Parameter(torch.zeros(size, rank))
        self.d = nn.Parameter(torch.zeros(size))

    def forward(self, z: Tensor) -> Tensor:
        return z + F.linear(F.linear(z, self.a), self.b) + self.d


class Shift(nn.Module):
    """v + size(v) d, of biases, of the gains and offsets of batch norm, and of small weights."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.d = nn.Parameter(torch.zeros_like(value))

    def forward(self, value: Tensor) -> Tensor:
        return value + (VECTOR if value.dim() == 1 else size_of(value)) * self.d


class LowRank(nn.Module):
    """W + size(W) b a: one learning rate fits all.

    Computed as a narrow layer beside the wide one.
    """

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__()
        rows, columns = _sides(layer)
        self.a = nn.Parameter(torch.randn(rank, columns) / rank**0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, layer: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        x = args[0]
        weight: Any = layer.weight
        b = size_of(weight.detach()) * self.b
        if isinstance(layer, nn.Linear):
            return y + F.linear(F.linear(x, self.a), b)
        rank = len(self.a)
        a = self.a.view(rank, *weight.shape[1:])
        if isinstance(layer, nn.ConvTranspose2d):
            h = F.conv2d(x, b.t().reshape(rank, -1, 1, 1))
            return y + F.conv_transpose2d(
                h, a, None, layer.stride, layer.padding, layer.output_padding, 1, layer.dilation  # type: ignore[arg-type]
            )  # fmt: skip
        assert isinstance(layer, nn.Conv2d)
        h = F.conv2d(x, a, None, layer.stride, layer.padding, layer.dilation)
        return y + F.conv2d(h, b.view(-1, rank, 1, 1))


def size_of(weight: Tensor) -> Tensor:
    """Twice the root mean square: deltas of weights move twice as fast as the map of z."""
    return WEIGHT * weight.square().mean().sqrt()


def adapt(
    base: nn.Module, latent_dim: int, rank: int, budget: int
) -> tuple[Latent | None, nn.ModuleList]:
    """Attach deltas of at most ``budget`` parameters to a frozen generator.

    Returns:
        What z passes through, None where there is no room for it, and the low-rank deltas, whose
        hooks are on their layers.
    """
    left = budget - _shift(_vectors(base), budget)
    rank = min(rank, latent_dim // 2, (left // 2 - latent_dim) // (2 * latent_dim))
    latent = Latent(latent_dim, rank) if rank > 0 else None
    left -= _size(latent) if latent else 0
    layers = {name: m for name, m in base.named_modules() if _plain(m)}
    *rest, output = list(layers) or [""]
    block = [layers[name] for name in _middle(rest[1:])]
    if output and math.prod(_sides(layers[output])) <= left // 4:
        left -= _shift([(layers[output], "weight")], left)
    elif output:
        block.append(layers[output])
    while block and _cost(block) > left:
        block.pop()
    deltas = nn.ModuleList()
    for layer in block:
        delta = LowRank(layer, min(left // _cost(block), *_sides(layer)))
        deltas.append(delta)
        layer.register_forward_hook(delta)
    return latent, deltas


def _plain(module: nn.Module) -> bool:
    """Whether the module is a layer that a low-rank delta can stand beside."""
    return isinstance(module, LAYERS) and getattr(module, "groups", 1) == 1


def _vectors(base: nn.Module) -> list[tuple[nn.Module, str]]:
    """Biases, and the gains and offsets of norms, the smallest first."""
    found = []
    for module in base.modules():
        for name in ("weight", "bias"):
            value = getattr(module, name, None)
            if isinstance(value, Tensor) and value.dim() == 1:
                found.append((module, name))
    return sorted(found, key=lambda item: getattr(*item).numel())


def _shift(values: list[tuple[nn.Module, str]], budget: int) -> int:
    """Shift the values that fit; returns how many parameters that takes."""
    used = 0
    for module, name in values:
        value = getattr(module, name)
        if used + value.numel() <= budget:
            parametrize.register_parametrization(module, name, Shift(value))
            used += value.numel()
    return used


def _middle(names: list[str]) -> list[str]:
    """The layers of the middle block, of two the first; blocks are what lists of modules hold."""
    blocks: dict[str, list[str]] = {}
    for name in names:
        parts = name.split(".")
        while parts and not parts[-1].isdigit():
            parts.pop()
        blocks.setdefault(".".join(parts) or name, []).append(name)
    return list(blocks.values())[(len(blocks) - 1) // 2] if blocks else []


def _sides(layer: nn.Module) -> tuple[int, int]:
    weight: Any = layer.weight
    return weight.shape[0], weight[0].numel()


def _cost(layers: list[nn.Module]) -> int:
    """Parameters of deltas of rank 1."""
    return sum(sum(_sides(layer)) for layer in layers)


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
