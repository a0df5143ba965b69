"""The part of JSON Schema that the generated files use, for checking them without another library."""

import re
from typing import Any

KEYWORDS = {
    *("$schema", "$defs", "$ref", "title", "description", "default", "type", "enum", "const", "anyOf", "oneOf", "not"),
    *("properties", "required", "additionalProperties", "patternProperties", "items", "minItems"),
    *("pattern", "minLength", "minimum", "maximum", "exclusiveMinimum"),
}
TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool}


def mistakes(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None, path: str = "$") -> list[str]:
    """Why the value is not what the schema says."""
    root = root or schema
    unknown = set(schema) - KEYWORDS
    assert not unknown, f"a keyword that this checker doesn't know: {unknown}"
    found: list[str] = []
    if "$ref" in schema:
        found += mistakes(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root, path)
    if "anyOf" in schema and all(mistakes(part, value, root, path) for part in schema["anyOf"]):
        found.append(f"{path}: none of anyOf")
    if "oneOf" in schema and sum(not mistakes(part, value, root, path) for part in schema["oneOf"]) != 1:
        found.append(f"{path}: not exactly one of oneOf")
    if "not" in schema and not mistakes(schema["not"], value, root, path):
        found.append(f"{path}: what must not be")
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(kind, value) for kind in types):
            return [*found, f"{path}: not {types}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: not in enum")
    if "const" in schema and value != schema["const"]:
        found.append(f"{path}: not the constant")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{path}: pattern")
        if len(value) < schema.get("minLength", 0):
            found.append(f"{path}: too short")
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high or value <= schema.get("exclusiveMinimum", value - 1):
            found.append(f"{path}: out of range")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{path}: too few")
        for index, item in enumerate(value):
            found += mistakes(schema.get("items", {}), item, root, f"{path}[{index}]")
    if isinstance(value, dict):
        found += _block(schema, value, root, path)
    return found


def _block(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
    found = [f"{path}: {key} is missing" for key in schema.get("required", ()) if key not in value]
    for key, item in value.items():
        inner = schema.get("properties", {}).get(key)
        patterns = [part for sign, part in schema.get("patternProperties", {}).items() if re.search(sign, key)]
        for part in ([inner] if inner is not None else []) + patterns:
            found += mistakes(part, item, root, f"{path}.{key}")
        if inner is None and not patterns:
            rest = schema.get("additionalProperties", {})
            found += [f"{path}: unknown {key}"] if rest is False else mistakes(rest, item, root, f"{path}.{key}")
    return found


def _is(kind: str, value: Any) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])
