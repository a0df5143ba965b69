"""Examples, page and schema: each loads, and the generated parts are fresh."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.manifest import load, load_file, load_many
from reconciler.manifest import schema as generator
from reconciler.manifest.models import PoolManifest, VirtualMachinesManifest
from tests.manifest.build import DESIGN, document, problems, text
from tests.manifest.schema_check import mistakes

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "manifests").glob("*.yaml"))
PAGE = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCHEMA = json.loads((ROOT / "schemas" / "pool.v1.json").read_text(encoding="utf-8"))
HEADER = "# yaml-language-server: $schema=../schemas/pool.v1.json\n"


def test_there_are_the_examples_that_the_page_promises() -> None:
    names = {path.name for path in EXAMPLES}
    assert names >= {"small-pool.yaml", "maintenance.yaml", "patterns-tags-defaults.yaml", "recovery-with-fencing.yaml"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    assert content.startswith(HEADER)
    loaded = load_file(path)
    assert loaded.vms
    assert loaded.master
    assert not [note for _, note in loaded.notes if "certificates" in note or "minHealthy" in note]
    assert mistakes(SCHEMA, yaml.safe_load(content)) == []


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_yaml_block_of_the_page_loads(block: str) -> None:
    value: dict[str, Any] = yaml.safe_load(block)
    if value.get("kind") == "VirtualMachines":
        (one,) = load_many([(text(), "base.yaml"), (block.encode(), "page.yaml")])
        assert one.problems == ()
    elif "kind" in value:
        assert load(block.encode(), "page.yaml").notes == ()
    else:
        spec = document()["spec"] | value
        if "master" not in value and "members" in value:
            spec["members"] = value["members"] + [m for m in spec["members"] if m["name"] != "xen01"]
        assert load(text(spec), "page.yaml").members


def test_the_page_has_blocks_and_its_problem_is_real() -> None:
    assert len(BLOCKS) >= 6
    (shown,) = re.findall(r"^madrid\.yaml:.*$", PAGE, re.MULTILINE)
    found = problems(text({"master": {"host": "xen01", "successors": ["xn02"]}}), "madrid.yaml")
    without_place = [re.sub(r":\d+:\d+:", "", line, count=1) for line in (*found, shown)]
    assert without_place == [without_place[0]] * 2


@pytest.mark.parametrize("name", generator.SCHEMAS)
def test_the_schema_files_are_fresh(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generator.text(generator.SCHEMAS[name])


def test_the_reference_is_fresh_and_knows_every_key() -> None:
    for path, content in generator.generated(ROOT).items():
        assert path.read_text(encoding="utf-8") == content, f"{path} is stale: python -m reconciler.manifest.schema"
    for block in SCHEMA["$defs"].values():
        for key, field in block["properties"].items():
            assert f"| `{key}` |" in PAGE
            assert field.get("description") or "$ref" in field, f"{key} has no description"


def test_the_generator_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "manifest.md", tmp_path / "docs")
    assert generator.main([str(tmp_path), "--check"]) == 1
    assert "pool.v1.json is stale" in capsys.readouterr().err
    assert generator.main([str(tmp_path)]) == 0
    assert generator.main([str(tmp_path), "--check"]) == 0
    (tmp_path / "docs" / "manifest.md").write_text("no marks")
    with pytest.raises(ValueError, match="marks"):
        generator.main([str(tmp_path)])


def test_the_schema_accepts_and_refuses_what_the_loader_does() -> None:
    assert mistakes(SCHEMA, yaml.safe_load(DESIGN)) == []
    assert mistakes(SCHEMA, document()) == []
    members = document()["spec"]["members"]
    fences = [{"agent": "a"}, {"agent": "b", "secrets": {"community": {"cred": "c"}}}]
    assert mistakes(SCHEMA, document({"members": [{**members[0], "fencing": fences}]})) == []
    wrong: list[dict[str, Any]] = [
        {"unknown": 1},
        {"members": []},
        {"members": [{"name": "a"}]},
        {"members": [{**members[0], "fencing": {"options": {}}}]},
        {"members": [{**members[0], "fencing": {"agent": "a", "secrets": {"a=b": {"env": "A"}}}}]},
        {"connection": {"password": "hunter2"}},
        {"connection": {"password": {"env": "A", "file": "b"}}},
        {"connection": {"password": {}}},
        {"policy": {"brake": {"minHealthy": "much"}}},
        {"policy": {"limits": {"startTimeout": "soon"}}},
        {"policy": {"levels": {"attended": "root"}}},
        {"virtualMachines": [{"state": "running"}]},
        {"virtualMachines": [{"name": "a", "tag": "b"}]},
        {"virtualMachines": [{"name": "a", "state": None}]},
        {"virtualMachines": [{"name": "a", "optional": "yes"}]},
        {"virtualMachines": [{"name": "a", "ready": {"tcp": 22, "tools": True}}]},
        {"virtualMachines": [{"name": "a", "ready": {"tcp": 0}}]},
        {"virtualMachines": [{"name": "a", "placement": {"require": []}}]},
    ]
    for spec in wrong:
        assert mistakes(SCHEMA, document(spec)), spec
        assert problems(text(spec)), spec


def test_the_schema_suits_editors() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for model in (PoolManifest, VirtualMachinesManifest):
        for block in [generator.schema(model), *generator.schema(model)["$defs"].values()]:
            assert block["additionalProperties"] is False
            assert block["description"]
    assert '"null"' not in json.dumps(SCHEMA)
