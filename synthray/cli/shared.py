"""What the commands share: options, the screen, and the way to the parts that run on Ray."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from yaml import YAMLError

from synthray import config as configs
from synthray.config import Config
from synthray.config.plain_yaml import read_yaml
from synthray.config.sections import Shares
from synthray.console import Screen
from synthray.errors import MissingDependencyError, UsageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train generative models and turn them into synthetic data at any scale, on Ray.",
)
screen = Screen()

ConfigPath = Annotated[
    str, typer.Argument(metavar="CONFIG", help="YAML file, local or s3://, or env:NAME")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="such as train.steps=100")
]
Address = Annotated[
    str | None, typer.Option(help="a running Ray cluster; none: a local one, started and stopped")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Seed = Annotated[int, typer.Option(help="of the virtual dataset")]


def load(uri: str, overrides: list[str] | None, address: str | None) -> Config:
    extra = [f"cluster.address={address}"] if address else []
    return configs.load(uri, [*(overrides or []), *extra])


def words(config: str | None, overrides: list[str] | None) -> list[str]:
    """All positional words, where the first is no config but an override too."""
    return [*([config] if config else []), *(overrides or [])]


def refuse(options: dict[str, Any], with_what: str, remedy: str) -> None:
    """Options that would be ignored are errors."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: only with {with_what}", remedy)


def where_of(items: list[str] | None) -> dict[str, str]:
    fixed: dict[str, str] = {}
    for item in items or []:
        name, _, value = item.partition("=")
        if not name or not value:
            raise UsageError(f"--where {item}: not col=value", "e.g. label=3")
        if name in fixed:
            raise UsageError(f"--where {name}: given more than once", "fix a column to one value")
        fixed[name] = value
    return fixed


def balance_of(items: list[str] | None) -> Mapping[str, Shares]:
    """Shares by column, each written as in the config."""
    tree: dict[str, Any] = {}
    for item in items or []:
        name, _, text = item.partition("=")
        try:
            tree[name] = read_yaml(text)
        except YAMLError:
            tree[name] = None
        if not name or tree[name] is None:
            raise UsageError(f"--balance {item}: not col=share", "e.g. 'income={>50K: 0.5}'")
    whole = {"data": {"source": "."}, "output": ".", "generate": {"balance": tree}}
    return configs.parse(whole, where="rows").generate.balance


def pipeline_of() -> Any:
    return on_ray("pipeline")


def cluster_of(config: Config) -> Any:
    return on_ray("cluster").connect(config.cluster)


def on_ray(name: str) -> Any:
    """A module of `synthray.distributed`, imported on use: the other commands work without Ray."""
    try:
        return importlib.import_module(f"synthray.distributed.{name}")
    except ImportError as error:
        raise MissingDependencyError(
            f"this command runs on Ray: {error}", "pip install 'synthray[ray]'"
        ) from error


def print_result(as_json: bool, tree: Any, line: str) -> None:
    print(json.dumps(tree, indent=2, sort_keys=True) if as_json else line)
