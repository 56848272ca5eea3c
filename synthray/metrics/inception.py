"""Inception v3 as the FID uses it.

The network is that of Szegedy et al. 2016 (arXiv 1512.00567) with the weights that Google
published on 2015-12-05 and Heusel et al. 2017 measured with. Three things differ from other
ports, and each changes every value: average pooling leaves the padding out of its count, the last
block pools by maximum, and images are resized as TensorFlow 1 did, without half-pixel centres.

The weights are a file the user has: `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity
or `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid, which are the same bytes.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.errors import ArtifactError
from synthray.metrics.inputs import check_images, digest_of, read_weights, to_rgb
from synthray.metrics.names import INCEPTION

SIDE = 299
FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Inception:
    """2,048 features and the softmax of the logits without bias, 1,008 classes.

    Its name is 'inception', and its Fréchet distance 'fid', only with the published weights;
    any others make it 'inception-custom'.

    Args:
        weights: bytes or local path of the state dict.

    Raises:
        NotFoundError: no such file.
        ArtifactError: not a state dict of this network.
    """

    dim = 2048

    def __init__(self, weights: bytes | str | Path) -> None:
        data = read_weights(weights)
        self.digest = digest_of(data)
        self.name = INCEPTION if self.digest == SHA256 else f"{INCEPTION}-custom"
        # On "meta" no memory is filled with random numbers only to be overwritten.
        with torch.device("meta"):
            self._net = InceptionV3()
        where = "the bytes given" if isinstance(weights, bytes) else repr(str(weights))
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            self._net.load_state_dict(state, assign=True)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
            raise ArtifactError(
                f"Inception weights: {where}: not a state dict of this network ({first})",
                f"use {FILE} of torch-fidelity, or the same file of pytorch-fid",
            ) from error
        self._net.requires_grad_(False).eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 [n, 2048], probabilities float32 [n, 1008].

        Args:
            images: uint8 [n, 1 or 3, h, w].
        """
        check_images(images)
        x = resize_tf1(to_rgb(images.float()), SIDE)
        features = self._net((x - 128) / 128)
        return features, (features @ self._net.fc.weight.T).softmax(dim=1)


def resize_tf1(x: Tensor, side: int) -> Tensor:
    """Bilinear resize of [n, c, h, w] to [n, c, side, side] by TensorFlow 1's rule.

    Output pixel i lies at i · (in / out): corners not aligned, centres not shifted by a half.
    """
    top, bottom, dy = _taps(x.shape[2], side)
    left, right, dx = _taps(x.shape[3], side)
    rows_top, rows_bottom = x[:, :, top], x[:, :, bottom]
    upper = torch.lerp(rows_top[..., left], rows_top[..., right], dx)
    lower = torch.lerp(rows_bottom[..., left], rows_bottom[..., right], dx)
    return torch.lerp(upper, lower, dy[:, None])


def _taps(size: int, out: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each output pixel: the two input pixels it lies between, and how far along."""
    at = torch.arange(out, dtype=torch.float32) * torch.tensor(size / out, dtype=torch.float32)
    low = at.long().clamp(max=size - 1)
    return low, (low + 1).clamp(max=size - 1), at - low


class Conv(nn.Module):
    """Convolution, batch normalisation, ReLU. The names of its parts are the file's keys."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _mean_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


def _shrink(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2)


class Block(nn.Module):
    """A block of parallel branches whose outputs are concatenated."""

    def path(self, x: Tensor, *names: str) -> Tensor:
        """x through the named layers, one after another."""
        for name in names:
            x = getattr(self, name)(x)
        return x


class BlockA(Block):
    """35 x 35: 1x1, 5x5, double 3x3 and pooling branches."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1 = Conv(inputs, 48, 1)
        self.branch5x5_2 = Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.path(x, "branch5x5_1", "branch5x5_2")
        three = self.path(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean_pool(x))], 1)


class BlockB(Block):
    """35 x 35 to 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.path(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch3x3(x), double, _shrink(x)], 1)


class BlockC(Block):
    """17 x 17: 7x7 convolutions taken apart into 1x7 and 7x1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        row: tuple[int, int] = (1, 7)
        column: tuple[int, int] = (7, 1)
        self.branch1x1 = Conv(inputs, 192, 1)
        self.branch7x7_1 = Conv(inputs, width, 1)
        self.branch7x7_2 = Conv(width, width, row, padding=(0, 3))
        self.branch7x7_3 = Conv(width, 192, column, padding=(3, 0))
        self.branch7x7dbl_1 = Conv(inputs, width, 1)
        self.branch7x7dbl_2 = Conv(width, width, column, padding=(3, 0))
        self.branch7x7dbl_3 = Conv(width, width, row, padding=(0, 3))
        self.branch7x7dbl_4 = Conv(width, width, column, padding=(3, 0))
        self.branch7x7dbl_5 = Conv(width, 192, row, padding=(0, 3))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.path(x, *(f"branch7x7_{i}" for i in (1, 2, 3)))
        double = self.path(x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5)))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean_pool(x))], 1)


class BlockD(Block):
    """17 x 17 to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Conv(inputs, 192, 1)
        self.branch3x3_2 = Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Conv(inputs, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.path(x, "branch3x3_1", "branch3x3_2")
        seven = self.path(x, *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4)))
        return torch.cat([three, seven, _shrink(x)], 1)


class BlockE(Block):
    """8 x 8: branches that fork into 1x3 and 3x1."""

    def __init__(self, inputs: int, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Conv(inputs, 448, 1)
        self.branch3x3dbl_2 = Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.path(x, "branch3x3dbl_1", "branch3x3dbl_2")
        pooled = _max_pool(x) if self.last else _mean_pool(x)
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(branches, 1)


class InceptionV3(nn.Module):
    """The network up to the pooled features; `fc` is there for the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = BlockA(192, pooled=32)
        self.Mixed_5c = BlockA(256, pooled=64)
        self.Mixed_5d = BlockA(288, pooled=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, width=128)
        self.Mixed_6c = BlockC(768, width=160)
        self.Mixed_6d = BlockC(768, width=160)
        self.Mixed_6e = BlockC(768, width=192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, last=False)
        self.Mixed_7c = BlockE(2048, last=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """Features [n, 2048] from images [n, 3, 299, 299] in [-1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [n, 64, 147, 147]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_shrink(x)))  # [n, 192, 71, 71]
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(_shrink(x))))  # [n, 288, 35, 35]
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # [n, 768, 17, 17]
        x = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [n, 2048, 8, 8]
        return x.mean(dim=(2, 3))
