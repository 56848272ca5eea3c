"""The families. Built-ins are a literal table, imported on use; third parties come by name.

A third party's family is ``model.name: my_package.flow:Flow``, or an entry point in the group
``synthray.models``.
"""

from __future__ import annotations

import difflib
import importlib
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from synthray.config import ModelConfig, config_error, explain
from synthray.data.codec import DataSpec
from synthray.errors import ConfigError
from synthray.models.base import GenerativeModel

BUILT_IN = {
    "gan": "synthray.models.gan:GAN",
    "dcgan": "synthray.models.dcgan:DCGAN",
    "vae": "synthray.models.vae:VAE",
    "cvae": "synthray.models.cvae:CVAE",
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
    """``model.params`` as the family's own Config."""
    cls = family(config.name)
    try:
        return cls.Config.model_validate(config.params)
    except ValidationError as error:
        problems = explain(error, cls.Config, prefix="model.params.")
        raise config_error(f"family {config.name}", problems) from error
