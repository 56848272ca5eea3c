"""What every section of the config has in common."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


def _holds_tuple(annotation: Any) -> bool:
    parts = typing.get_args(annotation) if is_union(annotation) else (annotation,)
    return any((typing.get_origin(part) or part) is tuple for part in parts)


def is_union(annotation: Any) -> bool:
    """Whether an annotation is ``A | B``."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


class Strict(BaseModel):
    """A config section: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _list_as_tuple(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML and JSON have no tuples."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        return tuple(value) if _holds_tuple(annotation) and isinstance(value, list) else value
