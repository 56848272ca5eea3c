"""From a YAML file and overrides to a checked config, all errors told at once."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from synthray import storage
from synthray.config.plain_yaml import read_yaml, write_yaml
from synthray.config.problems import config_error, explain
from synthray.config.sections import Config
from synthray.errors import ConfigError, NotFoundError, UsageError

VARIABLE = "env:"
"""Before the name of an environment variable that holds a config."""


def is_config(uri: str) -> bool:
    """Whether a word names a config, and not an artifact."""
    return uri.startswith(VARIABLE) or uri.endswith((".yaml", ".yml"))


def load(uri: str, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply ``key=value`` overrides.

    Args:
        uri: a YAML file, local or s3://; or env:NAME, the YAML text in that environment variable.
        overrides: such as ``train.steps=100``; the value is read as YAML.

    Raises:
        ConfigError: every problem of the file and of the overrides, in one message.
    """
    try:
        text = _text(uri)
    except NotFoundError as error:
        raise ConfigError(
            f"config file {uri} does not exist", "write one with: synthray init SOURCE"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{uri} is not UTF-8 text", "give a YAML file") from error
    try:
        tree = read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{uri} is not valid YAML: {error}", "correct the line named") from error
    return parse(tree, overrides, where=uri)


def _text(uri: str) -> str:
    """Raises: StorageError, UnicodeDecodeError; ConfigError: no such variable."""
    if not uri.startswith(VARIABLE):
        return storage.read_bytes(uri).decode()
    name = uri.removeprefix(VARIABLE)
    if name not in os.environ:
        raise ConfigError(f"the variable {name} of {uri} is not set", "set it to the config's text")
    return os.environ[name]


def parse(tree: Any, overrides: Sequence[str] = (), where: str = "config") -> Config:
    """Check a config given as plain data; see `load`."""
    tree = {} if tree is None else copy.deepcopy(tree)
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{where} holds {type(tree).__name__} {tree!r}, not keys with values",
            "write a config with: synthray init SOURCE",
        )
    problems: list[str] = []
    for item in overrides:
        problem = _override(tree, item)
        if problem:
            problems.append(problem)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += explain(error, Config)
    else:
        problems += _cross_checks(config)
        if not problems:
            # Other processes have other working directories.
            return config.model_copy(update={"output": storage.absolute(config.output)})
    raise config_error(where, problems)


def _cross_checks(config: Config) -> Iterable[str]:
    cluster = config.cluster
    if config.train.batch_size < cluster.workers:
        yield (
            f"train.batch_size: {config.train.batch_size} rows are fewer than cluster.workers = "
            f"{cluster.workers}; every worker needs one"
        )
    if (cluster.min_workers or 0) > cluster.workers:
        yield (
            f"cluster.min_workers: {cluster.min_workers} exceeds cluster.workers = "
            f"{cluster.workers}, the most that train together"
        )
    for key, uri in (("output", config.output), ("data.source", config.data.source)):
        try:
            storage.absolute(uri)
        except UsageError as error:
            yield f"{key}: {error.what}; {error.remedy}"
    late = [change.step for change in config.train.schedule if change.step >= config.train.steps]
    if late:
        yield (
            f"train.schedule: a change at step {late[0]:,}, and train.steps is "
            f"{config.train.steps:,}; remove it, or train longer"
        )
    if config.evaluate.features == "inception" and not config.evaluate.weights:
        yield "evaluate.weights: missing; features 'inception' needs the weights file's path or URI"


def _override(tree: dict[str, Any], item: str) -> str | None:
    key, equals, text = item.partition("=")
    if not equals or not key:
        return f"{item}: not of the form key=value, such as train.steps=100"
    try:
        value = read_yaml(text)
    except yaml.YAMLError:
        return f"{key}: the value {text!r} is not valid YAML; quote it"
    return _set(tree, key, value)


def _set(tree: dict[str, Any], key: str, value: Any) -> str | None:
    """Put a value under a dotted key; what is wrong, or None."""
    *path, last = key.split(".")
    for part in path:
        if tree.get(part) is None:
            tree[part] = {}
        tree = tree[part]
        if not isinstance(tree, dict):
            return f"{key}: {part!r} holds the value {tree!r}, not a section; remove one of the two"
    tree[last] = value
    return None


def changed(config: Config, settings: Mapping[str, Any], where: str = "config") -> Config:
    """The config with other values under some dotted keys, checked as a whole.

    Raises:
        ConfigError: every problem, in one message.
    """
    tree = config.model_dump(mode="json", by_alias=True)
    problems = [_set(tree, key, copy.deepcopy(value)) for key, value in settings.items()]
    if any(problems):
        raise config_error(where, [problem for problem in problems if problem])
    return parse(tree, where=where)


def dump(config: Config) -> str:
    """The config as YAML, every key with its value."""
    return write_yaml(config.model_dump(mode="json", by_alias=True))
