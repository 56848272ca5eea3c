"""YAML as people write it. PyYAML follows version 1.1, to which `2e-4` is text, `no` is false,
`012` is ten, `1:30` is ninety and `2024-13-45` a crash; here are the plain values of YAML 1.2, and
1_000.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLAIN_VALUES = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _PLAIN_VALUES:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
        )


def read_yaml(text: str) -> Any:
    """Plain data.

    Raises:
        yaml.YAMLError: not YAML, or a key given twice.
    """
    return yaml.load(text, Loader=_Loader)


def write_yaml(tree: Any) -> str:
    """Text that `read_yaml`, and other readers of YAML, read back as it was."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
