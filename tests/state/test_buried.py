"""The VMs of a host that was declared dead, as the state folder keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconciler.core.buried import Buried
from reconciler.state.folder import PoolFolder

WEB = Buried("web", "uuid-web", "xen03", "uuid-xen03", "1700000000.", 5.0, "run-1")
APP = replace(WEB, name="app", uuid="uuid-app")


def test_they_are_kept_replaced_and_forgotten(tmp_path: Path) -> None:
    folder = PoolFolder(tmp_path, "lab")
    folder.prepare()
    assert folder.memory.buried() == ()
    folder.memory.exhume([WEB])
    folder.bury([WEB, APP])
    again = replace(WEB, at=9.0, run="run-2")
    folder.bury([again])
    assert PoolFolder(tmp_path, "lab").memory.buried() == (APP, again)
    folder.memory.exhume([APP])
    assert folder.memory.buried() == (again,)
