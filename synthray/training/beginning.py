"""An engine at its first step, and whether a config can have one."""

from __future__ import annotations

from collections.abc import Callable

import torch

from synthray import models, rng
from synthray.config import Config
from synthray.data.codec import Codec
from synthray.errors import ConfigError
from synthray.models.base import GenerativeModel
from synthray.rng import Rows
from synthray.training.engine import Engine
from synthray.training.privacy import account_of
from synthray.training.private import Mechanism
from synthray.training.settings import Relief, in_force


def check_model(config: Config, codec: Codec) -> None:
    """Build the config's model without memory for its weights, to see whether it fits the data.

    Raises:
        ConfigError: the family does not model such rows, or not with such settings;
            train.schedule changes what cannot be changed in mid-training; or train.privacy cannot
            be kept.
        MissingDependencyError: train.privacy without Opacus.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = models.build(config.model, codec.spec)
    for index in range(len(config.train.schedule)):
        changes = config.train.schedule[: index + 1]
        try:
            in_force(model, model.config, changes, Relief())
        except ConfigError as error:
            step = changes[-1].step
            raise ConfigError(
                f"train.schedule, step {step:,}: {error.what}", error.remedy
            ) from error
    account_of(config, model)


def new_engine(
    config: Config,
    codec: Codec,
    rows: Rows,
    device: torch.device | str = "cpu",
    prepare: Callable[[GenerativeModel], None] = lambda _: None,
) -> Engine:
    """An engine at step 0; the first weights are a function of the config's seed.

    Args:
        prepare: given the new model, such as `synthray.adapting.adopt_base`.
    """
    initial = rng.stream(config.seed, "weights").integers(2**63 - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(initial))
        model = models.build(config.model, codec.spec)
    prepare(model)
    account = account_of(config, model)
    mechanism = None if account is None else Mechanism(account, rows)
    return Engine(
        model, config.train, seed=config.seed, rows=rows, device=device, mechanism=mechanism
    )
