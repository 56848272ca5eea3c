"""The families. Built-ins are a literal table, imported on use; third parties come by name.

A third party's family is ``model.name: my_package.flow:Flow``, or an entry point in the group
``synthray.models``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from synthray.config import ModelConfig, config_error, explain
from synthray.data.codec import Coding, DataSpec
from synthray.errors import ConfigError
from synthray.models.base import GenerativeModel, OptimizerConfig

BUILT_IN = {
    "gan": "synthray.models.gan:GAN",
    "dcgan": "synthray.models.dcgan:DCGAN",
    "wgan": "synthray.models.wgan:WGAN",
    "wgan_gp": "synthray.models.wgan_gp:WGANGP",
    "sngan": "synthray.models.sngan:SNGAN",
    "sagan": "synthray.models.sagan:SAGAN",
    "rpgan": "synthray.models.rpgan:RpGAN",
    "adgan": "synthray.models.adgan:AdGAN",
    "vae": "synthray.models.vae:VAE",
    "cvae": "synthray.models.cvae:CVAE",
    "ctgan": "synthray.models.ctgan:CTGAN",
    "tvae": "synthray.models.tvae:TVAE",
    "rptgan": "synthray.models.rptgan:RpTGAN",
    "nade": "synthray.models.nade:NADE",
}


def available() -> dict[str, str]:
    """All families by name: where each is defined."""
    found = {point.name: point.value for point in metadata.entry_points(group="synthray.models")}
    return found | BUILT_IN


def family(name: str) -> type[GenerativeModel]:
    """The class of a family.

    Raises:
        ConfigError: no such family, or it cannot be imported.
    """
    families = available()
    target = name if ":" in name else families.get(name)
    if target is None:
        close = difflib.get_close_matches(name, families, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(families))}"
        raise ConfigError(f"model.name: unknown family {name!r}", hint)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the code of a third party raises
        raise ConfigError(
            f"model.name: {target} cannot be imported: {error}",
            "name it as module:Class, and install its package where training runs",
        ) from error
    if not (isinstance(found, type) and issubclass(found, GenerativeModel)):
        raise ConfigError(f"model.name: {target} is not a GenerativeModel", "subclass it")
    return found


def coding(config: ModelConfig) -> Coding:
    """How the config's family takes a table.

    Raises:
        ConfigError: no such family.
    """
    return family(config.name).coding


def installed(name: str) -> bool:
    """Whether a family is built in, or an entry point of an installed package: not a name that
    would have any module of this machine imported.
    """
    return name in available()


def build(config: ModelConfig, spec: DataSpec) -> GenerativeModel:
    """A new model, with weights drawn from torch's global generator.

    Raises:
        ConfigError: unknown family, or ``model.params`` that its Config does not take.
    """
    check_conditions(config, spec)
    return family(config.name)(check_params(config), spec)


def check_conditions(config: ModelConfig, spec: DataSpec) -> None:
    """Raises: ConfigError: the data has conditions, and the family models none."""
    if spec.conditions and not family(config.name).conditional:
        raise ConfigError(
            f"model.name: {config.name} does not model conditions, and the data has "
            f"{len(spec.conditions)}",
            "set data.conditions: [] to leave them out, or choose a conditional family",
        )


def check_params(config: ModelConfig) -> Any:
    """``model.params`` as the family's own Config. What a section leaves out keeps the family's
    default: ``generator: {lr: 1e-3}`` changes the learning rate and nothing else.
    """
    cls = family(config.name).Config
    return _checked(cls, _over_defaults(cls, config.params), f"family {config.name}")


def rows_together(config: ModelConfig) -> int:
    """How many rows the config's family needs together; see `GenerativeModel.together`."""
    return family(config.name).together(check_params(config))


def with_settings(model: GenerativeModel, settings: Mapping[str, Any], config: Any = None) -> Any:
    """A model's config with some settings changed, by dotted path: {"generator.lr": 1e-4}.

    Args:
        config: the settings to start from; None: those in force.

    Raises:
        ConfigError: no such setting, or one that is not read at every step.
    """
    start = config or model.config
    tree = start.model_dump(mode="json")
    for path, value in settings.items():
        *sections, name = path.split(".")
        place = tree
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name not in place:
            raise ConfigError(
                f"model.params.{path}: no such setting of {type(model).__name__}",
                f"known: {', '.join(place if isinstance(place, dict) else tree)}",
            )
        _check_live(model, start, path)
        place[name] = value
    changed = _checked(type(model.config), tree, type(model).__name__)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        type(model)(changed, model.spec)  # the family may refuse a combination
    return changed


def _check_live(model: GenerativeModel, config: Any, path: str) -> None:
    """Raises: ConfigError: a change that would do nothing: what depends on it is built once."""
    section, _, rest = path.partition(".")
    optimizer = isinstance(getattr(config, section), OptimizerConfig)
    if (section in model.live) or (optimizer and rest and rest != "name"):
        return
    settings = {name: getattr(config, name) for name in type(config).model_fields}
    known = [f"{name}.lr" for name, v in settings.items() if isinstance(v, OptimizerConfig)]
    known += model.live
    raise ConfigError(
        f"model.params.{path}: cannot change in mid-training, for what depends on it is built once",
        f"change what is read at every step: {', '.join(known)} and the like",
    )


def _over_defaults(cls: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given``, with sections filled up from the defaults of ``cls``."""
    merged = dict(given)
    for name, value in given.items():
        info = cls.model_fields.get(name)
        default = info.default if info is not None else None
        if isinstance(value, Mapping) and isinstance(default, BaseModel):
            merged[name] = default.model_dump(mode="json") | _over_defaults(type(default), value)
    return merged


def _checked(cls: type[BaseModel], tree: dict[str, Any], what: str) -> Any:
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        problems = explain(error, cls, prefix="model.params.")
        raise config_error(what, problems) from error
