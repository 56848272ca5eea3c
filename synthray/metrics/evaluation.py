"""One evaluation: synthetic images against real ones, beside real ones against real ones.

Reference rows are real; the value compares them with n synthetic rows, the floor with n real rows
that neither the generator nor the classifier saw (the holdout). So the floor is what fresh real
data would get. Without a holdout a fifth of the real rows is kept apart for it: the classifier
does not see them, but the generator did, which the report says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from synthray import rng, storage
from synthray.config import EvaluateConfig
from synthray.data.codec import Encoded
from synthray.data.image_codec import ImageCodec
from synthray.data.images import contact_sheet
from synthray.data.prepare import Mapper
from synthray.errors import ConfigError, NotFoundError, UsageError
from synthray.metrics.base import Features
from synthray.metrics.domain import BATCH, DomainExtractor, train_domain
from synthray.metrics.extractors import NAMES as EXTRACTORS
from synthray.metrics.extractors import Extractor, extract, make_extractor
from synthray.metrics.gates import check_gates, check_names
from synthray.metrics.names import metric_name
from synthray.metrics.panel import Panel, PanelState, with_floor
from synthray.metrics.report import ClassRow, Picture, Report
from synthray.metrics.subjects import Subjects
from synthray.metrics.utility import Utility, accuracy

SCORES = ("frechet", "kernel", "score", "precision", "recall", "density", "coverage")
CHUNK = 2048
"""Rows whose features are computed at a time; fixed, so that no number depends on the workers."""


def evaluate_images(
    subjects: Subjects,
    codec: ImageCodec,
    settings: EvaluateConfig,
    *,
    seed: int = 0,
    compared: Mapping[str, str | int] | None = None,
    environment: Mapping[str, str] | None = None,
    created: str = "",
    mapper: Mapper = map,
) -> Report:
    """Judge synthetic images.

    Args:
        codec: the one that encoded them; it knows the labels.
        compared: what is compared, in words, for the report's head.
        mapper: applies a function to items, here or on a cluster.

    Raises:
        ConfigError: domain features without labels, or a gate on a score that there is not.
        UsageError: too few rows.
        MissingDependencyError, NotFoundError: the extractor's weights.
    """
    labelled = bool(codec.spec.conditions)
    check_settings(settings, labelled)
    notes = []
    real, holdout = subjects.real, subjects.holdout
    if holdout is None:
        real, holdout = _split(real, seed)
        notes.append(
            "No holdout was given: a fifth of the real rows, which the generator may have learned "
            "from, stands in for it."
        )
    # The inception score splits rows by their order, and real rows may be sorted by class.
    real, holdout = _shuffled(real, seed), _shuffled(holdout, seed)
    synthetic = subjects.synthetic
    _check_enough(real, holdout, synthetic)
    classifiers = _classifiers(real, synthetic, codec, settings, seed, mapper) if labelled else None
    extractor = _extractor(settings, classifiers)
    rows = min(len(holdout), len(synthetic))
    panel, states = _states(
        extractor,
        settings,
        {"real": real, "holdout": holdout, "synthetic": synthetic},
        rows,
        mapper,
    )
    values = panel.compare(states["real"], states["synthetic"])
    floor = panel.compare(states["real"], states["holdout"])
    scores = with_floor(values, floor)
    utility = None
    gated: dict[str, Any] = dict(scores)
    if classifiers is not None:
        utility = _utility(classifiers, holdout)
        gated |= {"tstr": utility.tstr.value, "trtr": utility.trtr.value}
    gates = check_gates({k: g.model_dump() for k, g in settings.gates.items()}, gated)
    notes.append(
        f"Values compare {len(real):,} real rows with {rows:,} synthetic ones; floors compare them "
        f"with {rows:,} real rows of the holdout."
    )
    notes += panel.notes(states["real"], states["synthetic"])[:3]
    return Report(
        title="Synthetic against real",
        compared=dict(compared or {}),
        extractor=(extractor.name, extractor.digest),
        scores=scores,
        utility=utility,
        gates=gates,
        classes=_class_rows(real, synthetic, codec, utility),
        pictures=[
            Picture("Real", sheet(real, codec)),
            Picture("Synthetic", sheet(synthetic, codec)),
        ],
        notes=notes,
        environment=dict(environment or {}),
        created=created,
    )


def check_settings(settings: EvaluateConfig, labelled: bool) -> None:
    """Refuse what could only fail after the work.

    Raises:
        ConfigError: domain features without labels, or a gate on a score that there is not.
        UsageError: unknown features, or no weights for them.
        NotFoundError: the file of the weights.
    """
    if settings.features == "domain":
        if not labelled:
            raise ConfigError(
                "evaluate.features: 'domain' is a classifier, and the data has no labels",
                "set data.conditions, or use efficientnet-lite0",
            )
    elif settings.features not in EXTRACTORS:
        raise UsageError(
            f"evaluate.features: {settings.features!r} is unknown",
            f"use one of {', '.join(EXTRACTORS)}",
        )
    if settings.weights is not None and not storage.exists(settings.weights):
        raise NotFoundError(
            f"evaluate.weights: {settings.weights} does not exist", "give the file's path or URI"
        )
    known = [
        name + part
        for name in (metric_name(plain, settings.features) for plain in SCORES)
        for part in ("", ".floor", ".ratio", ".std")
    ]
    gates = {name: gate.model_dump() for name, gate in settings.gates.items()}
    check_names(gates, [*known, "tstr", "trtr"] if labelled else known)


def _split(real: Encoded, seed: int) -> tuple[Encoded, Encoded]:
    order = rng.stream(seed, "holdout").permutation(len(real))
    cut = len(real) // 5
    return _take(real, order[cut:]), _take(real, order[:cut])


def _shuffled(rows: Encoded, seed: int) -> Encoded:
    return _take(rows, rng.stream(seed, "shuffle").permutation(len(rows)))


def _take(rows: Encoded, index: np.ndarray) -> Encoded:
    return Encoded(rows.x[index], rows.cond[index])


def _check_enough(real: Encoded, holdout: Encoded, synthetic: Encoded) -> None:
    for name, rows in (("real", real), ("holdout", holdout), ("synthetic", synthetic)):
        if len(rows) < 20:
            raise UsageError(
                f"{name} data: {len(rows)} rows are too few to judge by", "give at least 20"
            )


def _classifiers(
    real: Encoded,
    synthetic: Encoded,
    codec: ImageCodec,
    settings: EvaluateConfig,
    seed: int,
    mapper: Mapper,
) -> tuple[DomainExtractor, DomainExtractor]:
    """A classifier trained on real and one on synthetic rows, by the same number of steps."""
    steps = settings.epochs * math.ceil(len(real) / BATCH)
    classes = codec.spec.conditions[0]

    def fit(rows: Encoded) -> bytes:
        labels = torch.tensor(rows.cond[:, 0])
        trained = train_domain(torch.tensor(rows.x), labels, classes, seed=seed, steps=steps)
        return trained.save()

    of_real, of_synthetic = mapper(fit, [real, synthetic])
    return DomainExtractor.load(of_real), DomainExtractor.load(of_synthetic)


def _extractor(
    settings: EvaluateConfig, classifiers: tuple[DomainExtractor, DomainExtractor] | None
) -> Extractor:
    if settings.features == "domain" and classifiers is not None:
        return classifiers[0]
    weights = storage.read_bytes(settings.weights) if settings.weights else None
    return make_extractor(settings.features, weights)


def _states(
    extractor: Extractor,
    settings: EvaluateConfig,
    subjects: Mapping[str, Encoded],
    rows: int,
    mapper: Mapper,
) -> tuple[Panel, dict[str, PanelState]]:
    """The metric states of the real rows, and of ``rows`` rows of the others."""

    def features(chunk: tuple[np.ndarray, int]) -> Features:
        x, start = chunk
        return extract(extractor, torch.tensor(x), np.arange(start, start + len(x)))

    states = {}
    for name, subject in subjects.items():
        count = len(subject) if name == "real" else rows
        panel = Panel(
            count,
            extractor=extractor.name,
            digest=extractor.digest,
            subsample=settings.subsample,
        )
        chunks = [(subject.x[i : min(i + CHUNK, count)], i) for i in range(0, count, CHUNK)]
        state = panel.init()
        for part in mapper(features, chunks):
            state = panel.update(state, part)
        states[name] = state
    return panel, states


def _utility(classifiers: tuple[DomainExtractor, DomainExtractor], test: Encoded) -> Utility:
    images, labels = torch.tensor(test.x), torch.tensor(test.cond[:, 0])
    of_real, of_synthetic = classifiers
    return Utility(
        accuracy(of_synthetic, images, labels),
        accuracy(of_real, images, labels),
        of_real.spec.steps,
    )


def _class_rows(
    real: Encoded, synthetic: Encoded, codec: ImageCodec, utility: Utility | None
) -> list[ClassRow]:
    if utility is None:
        return []
    rows = []
    for index, value in enumerate(codec.schema.conditions[0].values or ()):
        scores = {}
        for name, found in (("TSTR", utility.tstr), ("TRTR", utility.trtr)):
            right, total = found.by_class[index]
            scores[name] = right / total if total else math.nan
        of_real, of_synthetic = (int((r.cond[:, 0] == index).sum()) for r in (real, synthetic))
        rows.append(ClassRow(str(value), of_real, of_synthetic, scores))
    return rows


def sheet(rows: Encoded, codec: ImageCodec, lines: int = 8, columns: int = 10) -> bytes:
    """A PNG of some rows; with up to ten labels, a column each."""
    count = min(lines * columns, len(rows))
    chosen = np.arange(count)
    if codec.spec.conditions and codec.spec.conditions[0] <= columns:
        classes = codec.spec.conditions[0]
        columns = classes
        of_class = [np.flatnonzero(rows.cond[:, 0] == c)[:lines] for c in range(classes)]
        lines = min(map(len, of_class))
        if lines:
            chosen = np.stack([index[:lines] for index in of_class], axis=1).reshape(-1)
    pixels = rows.x[chosen].transpose(0, 2, 3, 1)
    return contact_sheet(pixels, columns, max(1, 56 // codec.shape[1]))
