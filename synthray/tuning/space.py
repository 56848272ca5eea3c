"""The space that is searched: which keys may vary, what is sampled, and whether all of it works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import BaseModel

from synthray import models
from synthray.config import Config, Ramp, Range, changed, config_error
from synthray.data.batches import check_size
from synthray.data.codec import Codec
from synthray.errors import ConfigError
from synthray.metrics.quick import MIN_ROWS
from synthray.training.beginning import check_model

PARAMS = "model.params."
TUNABLE = ("model.name", PARAMS, "train.batch_size", "train.ema_decay", "train.precision")
"""Keys and the beginnings of keys. Steps are not among them: trials are compared at equal steps."""

Sampled = Mapping[str, float | int]
"""By dotted path: a number of a range, or the index of a choice."""


def settings_of(config: Config, sampled: Sampled) -> dict[str, Any]:
    """The values that sampled numbers stand for, by dotted path."""
    found: dict[str, Any] = {}
    for path, value in sampled.items():
        values = config.tune.space[path]
        if not isinstance(values, Range):
            found[path] = values[int(value)]
        else:
            found[path] = int(value) if values.integer else float(value)
    return found


def clipped(config: Config, sampled: Sampled) -> dict[str, float | int]:
    """Numbers that left their ranges, brought back to the nearer end."""
    found: dict[str, float | int] = {}
    for path, value in sampled.items():
        values = config.tune.space[path]
        if isinstance(values, Range):
            value = min(max(value, values.low), values.high)
        found[path] = value
    return found


def tunable(path: str) -> bool:
    """Whether a dotted path may vary."""
    return any(path == key or path.startswith(key.rstrip(".") + ".") for key in TUNABLE)


def candidates(config: Config, path: str) -> list[Any]:
    """All choices of a path, or the ends of its range."""
    values = config.tune.space[path]
    if not isinstance(values, Range):
        return list(values)
    ends = (values.low, values.high)
    return [int(end) if values.integer else end for end in ends]


def check_space(config: Config, codec: Codec) -> None:
    """Try every choice and both ends of every range, one at a time, beside the config's settings.

    Raises:
        ConfigError: every problem of the tune section, in one message.
    """
    problems = list(_problems(config, codec))
    for path in config.tune.space:
        if not tunable(path):
            keys = ", ".join(key + "…" if key.endswith(".") else key for key in TUNABLE)
            problems.append(f"tune.space.{path}: cannot vary; what can: {keys}")
            continue
        found: dict[str, Any] = {}
        for value in candidates(config, path):
            try:
                _check_one(config, codec, path, value)
            except ConfigError as error:
                found.setdefault(_inner(error), value)
        problems += [f"tune.space.{path}: {v!r} does not work: {why}" for why, v in found.items()]
    if not problems and config.tune.grace is not None and config.tune.grace < burn_in(config):
        problems.append(
            f"tune.grace: {config.tune.grace:g} is less than the burn-in, {burn_in(config):g} of "
            "the training; leave it out, or shorten the ramps (until)"
        )
    if problems:
        raise config_error("tune", problems)


def _inner(error: ConfigError) -> str:
    """The problems of a config on one line, without the count before them."""
    first, *problems = error.what.split("\n  - ")
    whole = "; ".join(problems) or first
    return whole + ("; write integer: true" if "must be an integer" in whole else "")


def _problems(config: Config, codec: Codec) -> Iterator[str]:
    tune, guard, steps = config.tune, config.train.guard, config.train.steps
    if not tune.space:
        yield (
            "tune.space: empty; name what to vary, such as "
            "{model.params.generator.lr: {low: 1e-5, high: 1e-2, log: true}}"
        )
    if config.model.name == "adgan":
        yield "model.name: adgan adapts an artifact; tune a family that trains from nothing"
    if not guard.enabled:
        yield "train.guard.enabled: false; trials are judged by the guard's scores, set it to true"
    if codec.spec.rows < MIN_ROWS:
        yield f"data.source: {codec.spec.rows} rows; judging samples needs at least {MIN_ROWS}"
    if guard.warm_up >= steps:
        yield (
            f"train.guard.warm_up: {guard.warm_up:,} of train.steps = {steps:,}; nothing would be "
            "judged, train longer or lower it"
        )
    if config.train.eval_every > steps:
        yield (
            f"train.eval_every: {config.train.eval_every:,} exceeds train.steps = {steps:,}; "
            "trials are compared at evaluations, set it to a tenth"
        )
    if tune.scheduler == "pbt":
        if tune.concurrent is not None:
            yield "tune.concurrent: not for pbt, whose trials train side by side; leave it out"
        if (tune.perturb_every or 0) >= steps:
            yield (
                f"tune.perturb_every: {tune.perturb_every:,} of train.steps = {steps:,}; nothing "
                "would be copied, lower it"
            )
        if config.train.schedule:
            yield "train.schedule: pbt finds one; leave it out, or choose another tune.scheduler"


def _check_one(config: Config, codec: Codec, path: str, value: Any) -> None:
    tried = changed(config, {path: value}, where=f"{path}={value!r}")
    models.check_params(tried.model)
    check_model(tried, codec)
    check_size(codec.spec.rows, tried.train.batch_size)
    if config.tune.scheduler == "pbt":
        if not path.startswith(PARAMS):
            raise ConfigError("pbt varies in mid-training, and only model.params can", "")
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = models.build(config.model, codec.spec)
        models.with_settings(model, {path.removeprefix(PARAMS): value})


def burn_in(config: Config) -> float:
    """The longest burn-in of the config and of all that the space allows, as a share of the
    training: until when the slowest ramp of a penalty, a beta or the EMA moves.
    """
    tried = [config]
    for path in config.tune.space:
        if tunable(path):
            tried += [changed(config, {path: value}) for value in candidates(config, path)]
    return max(
        (
            ramp.until
            for one in tried
            for part in (models.check_params(one.model), one.train)
            for ramp in _ramps(part)
        ),
        default=0.0,
    )


def _ramps(part: Any) -> Iterator[Ramp]:
    if isinstance(part, Ramp):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _ramps(getattr(part, name))
