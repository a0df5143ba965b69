"""What every block of keys of a manifest has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue


def one_of(keys: tuple[str, ...], *, required: bool) -> dict[str, Any]:
    """JSON Schema for "one of these keys", or with required=False "at most one"."""
    one: list[JsonSchemaValue] = [{"required": [key]} for key in keys]
    return {"oneOf": one if required else [*one, {"not": {"anyOf": list(one)}}]}


class Block(BaseModel):
    """A block of keys: unknown ones are refused, nothing is coerced, nothing changes afterwards."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, alias_generator=to_camel
    )
