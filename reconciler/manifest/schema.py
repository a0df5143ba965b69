"""Writes what is generated from the models: the JSON Schemas and the reference in docs/manifest.md.

`python -m reconciler.manifest.schema [ROOT]` writes them under the repository's root; with `--check` it only says
which are stale, and exits 1 if any is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from reconciler.manifest.models import PoolManifest, VirtualMachinesManifest
from reconciler.manifest.reference import write_into

SCHEMAS: dict[str, type[BaseModel]] = {
    "schemas/pool.v1.json": PoolManifest,
    "schemas/virtual-machines.v1.json": VirtualMachinesManifest,
}
REFERENCE = "docs/manifest.md"


class _Generator(GenerateJsonSchema):
    """Unset is not null: a key without a value is refused by the loader, so no schema allows null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = super().default_schema(schema)
        if generated.get("default", ...) in (None, {}) or isinstance(generated.get("default"), dict):
            generated.pop("default", None)
        return generated

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema(model: type[BaseModel] = PoolManifest) -> dict[str, Any]:
    """The JSON Schema of one kind of document."""
    generated = model.model_json_schema(schema_generator=_Generator)
    return {"$schema": GenerateJsonSchema.schema_dialect, **generated}


def text(model: type[BaseModel] = PoolManifest) -> str:
    """The schema's file."""
    return json.dumps(schema(model), indent=2, ensure_ascii=False) + "\n"


def generated(root: Path) -> dict[Path, str]:
    """Every generated file with the content that it should have."""
    files = {root / name: text(model) for name, model in SCHEMAS.items()}
    reference = root / REFERENCE
    if reference.exists():
        files[reference] = write_into(reference.read_text(encoding="utf-8"), schema(PoolManifest))
    return files


def main(arguments: list[str]) -> int:
    """Writes or checks; 0 done or fresh, 1 stale."""
    only_check = "--check" in arguments
    roots = [a for a in arguments if not a.startswith("-")]
    stale = 0
    for path, content in generated(Path(roots[0] if roots else ".")).items():
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        if only_check:
            print(f"{path} is stale: run `python -m reconciler.manifest.schema`", file=sys.stderr)
            stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
