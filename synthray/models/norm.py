"""Batch normalisation over the batch of all workers.

torch.nn.SyncBatchNorm runs on GPUs only; this one runs wherever torch.distributed does, and one
worker and several agree within float tolerance on the same global batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def _world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015, 1502.03167) of [n, c] or [n, c, h, w]."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or _world() == 1:
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
        y, mean, var, count = _SyncBatchNorm.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            unbiased = var * (count / (count - 1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return y


class _SyncBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Any, ...]:
        # What torch's own batch norm computes: its var_mean over all but the channels is twenty
        # times as slow.
        mean, var = torch.batch_norm_update_stats(x.float(), None, None, 0.0)
        # Sums of values and of squares, and how many. In float64 the difference below does not
        # cancel.
        mean, var = mean.double(), var.double()
        mine = x.numel() // x.shape[1]
        packed = torch.cat([mean, var + mean.square(), torch.ones_like(mean[:1])]) * mine
        dist.all_reduce(packed)
        count = packed[-1]
        mean, squares = (packed[:-1] / count).chunk(2)
        var = (squares - mean.square()).clamp_(min=0).float()
        mean, count = mean.float(), count.float()
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps, ctx.mine = eps, mine
        ctx.mark_non_differentiable(mean, var, count)
        y = F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)
        return y, mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, count = ctx.saved_tensors
        inverse = (var + ctx.eps).rsqrt()
        # With the statistics held fixed, then what flows through the statistics.
        grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True],
        )  # fmt: skip
        # A loss is a mean over its worker's rows, and counts as many as these are: here, and where
        # the gradient that is given back is averaged.
        sums = torch.stack([grad_bias, grad_weight]) * ctx.mine
        dist.all_reduce(sums)
        sums /= ctx.mine
        shape = [1, -1] + [1] * (x.dim() - 2)
        slope = weight * inverse.square() * sums[1] / count
        offset = weight * inverse * sums[0] / count - slope * mean
        # In float32, whatever the rows are in; in place, for this is memory-bound.
        through = (x * slope.view(shape)).add_(offset.view(shape))
        return through.neg_().add_(grad_x).to(grad_x.dtype), grad_weight, grad_bias, None
