"""Whether a training can keep a privacy budget, and on what terms."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from synthray.config import Config
from synthray.errors import ConfigError
from synthray.models.base import GenerativeModel
from synthray.models.norm import BatchNorm
from synthray.training.accounting import Account
from synthray.training.settings import Relief, in_force

RARE = 10
"""The least ``data.rare``: the mechanism does not cover the values that the codec lists."""


def account_of(config: Config, model: GenerativeModel) -> Account | None:
    """The terms on which the config's budget is kept; None without one.

    Raises:
        ConfigError: it cannot be kept: names the setting.
        MissingDependencyError: Opacus is not installed.
    """
    privacy, train = config.train.privacy, config.train
    if privacy is None:
        return None
    _check_data(config, model)
    releases = _releases(config, model)
    _check_networks(model)
    return Account.of(
        privacy,
        rows=model.spec.rows,
        batch_size=train.batch_size,
        steps=train.steps,
        releases=releases,
    )


def _check_data(config: Config, model: GenerativeModel) -> None:
    """Raises: ConfigError."""
    spec, train = model.spec, config.train
    if spec.rows < train.batch_size:
        raise ConfigError(
            f"train.batch_size: {train.batch_size} exceeds the {spec.rows} rows of the source",
            f"set it to {max(spec.rows // 2, 2)} or less",
        )
    if spec.conditions:
        raise _refused(
            "data.conditions: how often each combination of conditions occurs would be published",
            "set data.conditions: []; the family nade holds any column of a table in generation",
        )
    if spec.layout is not None and config.data.rare < RARE:
        raise _refused(
            f"data.rare: {config.data.rare}; the values that the columns' codes stand for are "
            "published without noise, those of single rows too",
            f"set data.rare to {RARE} or more",
        )
    if train.precision != "float32":
        raise _refused(
            f"train.precision: {train.precision} rounds the bound of a row's gradient away",
            "set train.precision: float32",
        )
    if train.guard.patience is not None:
        raise _refused(
            "train.guard.patience: real rows would decide when training ends",
            "leave train.guard.patience out",
        )


def _check_networks(model: GenerativeModel) -> None:
    """Raises: ConfigError: what mixes the rows of a batch, or changes in a forward pass."""
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm | _BatchNorm):
            raise _refused(
                f"model.name: the batch norm of {type(model).__name__}'s {name.split('.')[0]} "
                "mixes the rows of a batch",
                "set model.params.generator_norm and critic_norm to none where the family has "
                "them, or choose nade, tvae or rptgan",
            )
        if parametrize.is_parametrized(module):
            raise _refused(
                f"model.params.spectral_norm: that of {type(model).__name__}'s "
                f"{name.split('.')[0]} changes with every forward pass",
                "set model.params.spectral_norm: none, or choose another family",
            )


def _releases(config: Config, model: GenerativeModel) -> int:
    """Noised gradients a step, the same under all of ``train.schedule``. Raises: ConfigError."""
    original, found = model.config, set()
    try:
        for index in range(len(config.train.schedule) + 1):
            model.config = in_force(model, original, config.train.schedule[:index], Relief())
            reason = model.not_private()
            if reason is not None:
                raise _refused(*reason)
            found.add(sum(phase.repeats for phase in model.phases() if phase.real))
    finally:
        model.config = original
    if len(found) > 1:
        raise _refused(
            f"train.schedule: noised gradients a step change between {min(found)} and {max(found)}",
            "leave critic_steps and loss what they are",
        )
    return found.pop()


def _refused(what: str, remedy: str) -> ConfigError:
    return ConfigError(f"{what}, and train.privacy cannot be kept", remedy)
