"""Groups of VMs that are kept apart, in releases that have them."""

from __future__ import annotations

import pytest

from reconciler.lab import Lab, Release, Seed
from tests.lab.story import Story


def told(release: Release = Release.CLASSIC, chance: int = 0) -> tuple[Story, str]:
    story = Story(Lab(Seed.generate(hosts=3, vms=9), release=release, random_seed=chance))
    story.names.clear()  # several disks and SRs have the same
    return story, str(story.lab.describe()["master"])


def test_the_recorded_release_has_none() -> None:
    story, host = told(Release.V24_16)
    assert story.refusal(host, "VM_group.get_all") == ["MESSAGE_METHOD_UNKNOWN", "VM_group.get_all"]
    assert all("groups" not in record for record in story.ask(host, "VM.get_all_records").values())
    assert "VM_group.get_all" not in story.raw(host, "system.listMethods")


@pytest.mark.parametrize("chance", range(5))
def test_a_vm_starts_where_fewest_of_its_group_are(chance: int) -> None:
    story, host = told(chance=chance)
    group = story.ask(host, "VM_group.create", {"name_label": "apart", "placement": "anti_affinity"})
    vms: list[str] = []
    for ref, record in story.ask(host, "VM.get_all_records").items():
        assert record["groups"] == []
        drives = [story.ask(host, "VBD.get_VDI", vbd) for vbd in record["VBDs"]]
        local = [vdi for vdi in drives if vdi != "OpaqueRef:NULL" and not _shared(story, host, vdi)]
        if record["is_a_template"] or record["is_control_domain"] or local or len(vms) == 3:
            continue
        if record["power_state"] == "Running":
            story.ask(host, "VM.hard_shutdown", ref)
        story.ask(host, "VM.set_affinity", ref, "OpaqueRef:NULL")
        story.ask(host, "VM.set_groups", ref, [group])
        vms.append(ref)
    assert len(vms) == 3
    for ref in vms:
        story.ask(host, "VM.start", ref, False, False)
    assert len({story.ask(host, "VM.get_resident_on", ref) for ref in vms}) == 3
    assert len(story.ask(host, "VM_group.get_VMs", group)) == 3
    story.ask(host, "VM_group.destroy", group)
    assert story.ask(host, "VM.get_groups", vms[0]) == []


def _shared(story: Story, host: str, vdi: str) -> bool:
    return bool(story.ask(host, "SR.get_shared", story.ask(host, "VDI.get_SR", vdi)))


def test_one_group_at_most() -> None:
    story, host = told()
    two = [story.ask(host, "VM_group.create", {"name_label": name}) for name in ("a", "b")]
    vm = next(iter(story.ask(host, "VM.get_all")))
    assert story.refusal(host, "VM.set_groups", vm, two) == ["TOO_MANY_GROUPS"]
    story.ask(host, "VM.set_groups", vm, two[:1])
    story.ask(host, "VM.set_groups", vm, two[1:])
    assert [len(story.ask(host, "VM_group.get_VMs", group)) for group in two] == [0, 1]
