"""A classifier of the user's own domain, whose features say more than ImageNet's.

ImageNet networks see little difference between good and bad digits or scans (Kynkäänniemi et al.
2023, arXiv 2203.06026). Where images have labels, a small network learns them in seconds, and
its penultimate layer is what the metrics measure in. Weights are safetensors, never pickle.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthray.errors import ArtifactError, NonFiniteError, UsageError
from synthray.metrics.inputs import check_images, digest_of

FEATURES = 64
BATCH = 64  # images per optimiser step
RATE = 5e-3
WEIGHT_DECAY = 1e-2
WARM_UP = 0.2  # share of the steps
SHIFT = 2 / 28  # augmentation: largest shift, as a share of the longer side
FORMAT = 1

Progress = Callable[[int, int, float], None]
"""Called after a step with steps done, steps in all, and the loss in nats."""


_SEEDING = threading.Lock()


@dataclass(frozen=True)
class DomainSpec:
    """What a classifier was made for and how it was trained.

    Attributes:
        classes: number of labels.
        channels: 1 or 3.
        height: pixels.
        width: pixels.
        steps: optimiser steps of `BATCH` images.
        seed: of weights, order and shifts.
    """

    classes: int
    channels: int
    height: int
    width: int
    steps: int
    seed: int


class DomainExtractor:
    """A trained classifier as an extractor: 64 features, softmax over the domain's classes."""

    name = "domain"
    dim = FEATURES

    def __init__(self, net: DomainNet, spec: DomainSpec) -> None:
        self.spec = spec
        self._net = net.requires_grad_(False).eval()
        self.digest = digest_of(self.save())

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 [n, 64], probabilities float32 [n, classes].

        Args:
            images: uint8 [n, channels, height, width], the size it was trained on.

        Raises:
            UsageError: other sizes or types.
        """
        check_images(images)
        spec = self.spec
        if tuple(images.shape[1:]) != (spec.channels, spec.height, spec.width):
            raise UsageError(
                f"images are {list(images.shape[1:])}, the domain classifier was trained on "
                f"{[spec.channels, spec.height, spec.width]}",
                "evaluate images of the size and channels that it was trained on",
            )
        features = self._net.features(_scaled(images))
        return features, self._net.head(features).softmax(dim=1)

    def save(self) -> bytes:
        """Safetensors bytes, equal for equal classifiers."""
        about = json.dumps({"format": FORMAT, **asdict(self.spec)}, sort_keys=True)
        data: bytes = safetensors.torch.save(self._net.state_dict(), {"synthray.domain": about})
        return data

    @classmethod
    def load(cls, data: bytes) -> DomainExtractor:
        """The classifier that `save` wrote.

        Raises:
            ArtifactError: other or damaged bytes.
        """
        try:
            # Header: its length as 8 bytes, then JSON.
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            about = json.loads(header["__metadata__"]["synthray.domain"])
            if about.pop("format") != FORMAT:
                raise ValueError("written by another version")
            spec = DomainSpec(**about)
            net = DomainNet(spec)
            net.load_state_dict(safetensors.torch.load(data))
        except Exception as error:
            raise ArtifactError(
                f"not a domain classifier: {error}", "train it again with train_domain"
            ) from error
        return cls(net, spec)


def train_domain(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    epochs: int = 10,
    seed: int = 0,
    steps: int | None = None,
    progress: Progress | None = None,
) -> DomainExtractor:
    """Trains a classifier of about 100,000 weights on labelled images.

    Deterministic: the same arguments, torch version and number of threads give the same bytes.
    AdamW with a linear warm-up and a cosine decay; images are shifted at random by up to a
    fourteenth of their side.

    Args:
        images: uint8 [n, c, h, w], c is 1 or 3, sides of 16 to 128 pixels.
        labels: int64 [n], 0 … classes - 1.
        classes: number of labels.
        epochs: passes over the images.
        seed: of weights, order and shifts.
        steps: optimiser steps instead of epochs, to spend the same on data sets of other sizes.
        progress: called after every step.

    Raises:
        UsageError: shapes, types or labels that do not fit.
        NonFiniteError: the loss is no longer finite.
    """
    _check(images, labels, classes)
    if steps is None:
        steps = epochs * math.ceil(len(images) / BATCH)
    if steps < 1:
        raise UsageError(f"domain classifier: {steps} steps", "train at least 1 step")
    _, channels, height, width = images.shape
    spec = DomainSpec(classes, channels, height, width, steps, seed)
    # The caller's random stream stays as it is, and other threads do not draw from it meanwhile.
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = DomainNet(spec).train()
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    for step, batch in enumerate(_batches(len(images), steps, rng)):
        for group in optimizer.param_groups:
            group["lr"] = RATE * _schedule(step, steps)
        x = _scaled(_shifted(images[batch], rng))
        loss = F.cross_entropy(net(x), labels[batch])
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteError(
                f"domain classifier: loss {value} at step {step}", "try another seed"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps, value)
    return DomainExtractor(net, spec)


class DomainNet(nn.Module):
    """Four 3x3 convolutions to 64 features, after as many halvings as bring sides to about 7.

    Sides beyond 32 are halved first by cheap strided convolutions, so that the cost of an image
    stays within a small factor whatever its size.
    """

    def __init__(self, spec: DomainSpec) -> None:
        super().__init__()
        halvings = max(1, round(math.log2(max(spec.height, spec.width) / 7)))
        layers: list[nn.Module] = []
        width = spec.channels
        for _ in range(halvings - 2):
            layers += _conv(width, 16, stride=2)
            width = 16
        for outputs in (16, 32):
            layers += _conv(width, outputs)
            width = outputs
            if halvings >= 2 or outputs == 32:
                layers.append(nn.MaxPool2d(2))
        layers += [*_conv(32, 64), *_conv(64, 64), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
        layers += [nn.Linear(64 * 9, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] from images [n, c, h, w] in [-1, 1]."""
        logits: Tensor = self.head(self.features(x))
        return logits


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def _shifted(images: Tensor, rng: torch.Generator) -> Tensor:
    """Each image moved by its own random offset, edges repeated."""
    n, _, height, width = images.shape
    reach = max(1, round(SHIFT * max(height, width)))
    offset = torch.randint(-reach, reach + 1, (n, 2), generator=rng)
    y = (torch.arange(height) + offset[:, :1]).clamp(0, height - 1)  # [n, h]
    x = (torch.arange(width) + offset[:, 1:]).clamp(0, width - 1)  # [n, w]
    row = torch.arange(n)[:, None, None]
    # Indices around a slice put its dimension last: [n, h, w, c].
    return images[row, :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _batches(n: int, steps: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Row numbers of each step: permutations laid end to end, so every batch is full."""
    queue = torch.randperm(n, generator=rng)
    for _ in range(steps):
        while len(queue) < BATCH:
            queue = torch.cat([queue, torch.randperm(n, generator=rng)])
        yield queue[:BATCH]
        queue = queue[BATCH:]


def _schedule(step: int, steps: int) -> float:
    """Share of the full rate: linear up, cosine down."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _check(images: Tensor, labels: Tensor, classes: int) -> None:
    check_images(images)
    if min(images.shape[2:]) < 8:
        raise UsageError(
            f"domain classifier: images of {images.shape[2]} x {images.shape[3]} pixels",
            "use images of at least 8 x 8 pixels",
        )
    if labels.dtype != torch.int64 or labels.shape != (len(images),):
        raise UsageError(
            f"labels are {str(labels.dtype).removeprefix('torch.')} {list(labels.shape)} for "
            f"{len(images)} images",
            "give one int64 label per image",
        )
    if classes < 2:
        raise UsageError(
            f"domain classifier: {classes} class", "use evaluate.features: efficientnet-lite0"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UsageError(
            f"labels from {low} to {high} for {classes} classes", "number labels from 0"
        )
