"""What is wrong with a config, one line a problem: the key, the value, and what to do."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from synthray.config.strict import is_union
from synthray.errors import ConfigError


def config_error(where: str, problems: Sequence[str]) -> ConfigError:
    """One error of many problems."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "".join(f"\n  - {line}" for line in problems)
    return ConfigError(f"{where}: {count}{lines}", "correct the keys named above")


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """One line a problem: the dotted key, the value, what is wrong, what to do."""
    return [_explain_one(detail, model, prefix) for detail in error.errors()]


_MUST_BE = {
    "bool_type": "must be true or false",
    "dict_type": "must be a section with keys of its own",
    "float_type": "must be a number, without quotes",
    "int_type": "must be an integer, without quotes or a decimal point",
    "list_type": "must be a list, such as [a, b]",
    "model_type": "must be a section with keys of its own",
    "string_type": "must be text; put it in quotes",
}


def _explain_one(detail: ErrorDetails, model: type[BaseModel], prefix: str) -> str:
    # A part in brackets tells which of several types was meant.
    path = [part for part in map(str, detail["loc"]) if not part.startswith("(")]
    key = prefix + ".".join(path)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, [str(part) for part in detail["loc"][:-1]])
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if detail["type"] == "missing":
        return f"{key}: missing; add it"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = _MUST_BE.get(detail["type"], message[0].lower() + message[1:])
    # A message about a whole section names its keys; the section itself would say little.
    got = "" if isinstance(detail["input"], dict | BaseModel) else f" (got {detail['input']!r})"
    return f"{key.rstrip('.')}: {message}{got}"


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The known keys of the section at ``path``, in which a part in brackets chooses a type."""
    found: Any = model
    for part in path:
        found = _tagged(found, part) if part.startswith("(") else _inside(found, part)
    found = _section(found)
    fields = found.model_fields if found is not None else {}
    return [field.alias or name for name, field in fields.items()]


def _inside(annotation: Any, key: str) -> Any:
    """What may stand under a key of a section, of a dict, or of a list."""
    section = _section(annotation)
    if section is not None:
        fields = section.model_fields.items()
        return next((f.annotation for name, f in fields if key in (name, f.alias)), None)
    bare = _bare(annotation)
    arguments = typing.get_args(bare)
    if typing.get_origin(bare) is dict:
        return arguments[1]
    return arguments[0] if typing.get_origin(bare) in (list, tuple) else None


def _tagged(annotation: Any, tag: str) -> Any:
    """That of several types which a tag chooses."""
    members = typing.get_args(_bare(annotation))
    chosen = (m for m in members if Tag(tag) in getattr(m, "__metadata__", ()))
    return next(chosen, annotation)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation is; of ``Gate | None`` it is Gate."""
    annotation = _bare(annotation)
    parts = typing.get_args(annotation) if is_union(annotation) else (annotation,)
    return next((part for part in map(_bare, parts) if _is_section(part)), None)


def _bare(annotation: Any) -> Any:
    """``Annotated[A, …]`` is A."""
    annotated = typing.get_origin(annotation) is typing.Annotated
    return typing.get_args(annotation)[0] if annotated else annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
