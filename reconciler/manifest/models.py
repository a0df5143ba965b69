"""The manifest's shape. The docstring under each field is its description in the JSON Schema and in docs/manifest.md.

Checks that need more than one value of the file are in `checks`; what a value means is in `wanted`.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from reconciler.manifest.block import Block, one_of
from reconciler.manifest.fields import (
    Duration,
    LevelWord,
    PoolName,
    Port,
    Text,
    Uuid,
    refuse,
)
from reconciler.manifest.models_hosts import Connection, Member
from reconciler.manifest.models_policy import Policy

API_VERSION = "xenrec/v1"

_SELECTORS = ("name", "pattern", "tag", "uuid")

_PAGE = re.compile(r"(?:https?://[^\s/?#@]+|(?::[0-9]{1,5})?(?=/))(?:/[^\s#]*)?")
"""A path of the guest's, with a port or without, or a URL; no name and password in it, and no blanks."""

_READY = ("tools", "address", "tcp", "http", "delay")


class Master(Block):
    """Who is to be master."""

    host: Text
    """Name of the member that is to be master."""
    successors: list[Text] = Field(default_factory=list)
    """Members that are promoted first if it is lost, the best first. After them come the other active members, in
    the order of the file."""
    failback: Literal["auto", "manual", "never"] = "manual"
    """Whether it becomes master again after another one had to: `auto` in any run, `manual` when `apply --failback`
    asks for it, `never` leaves the other one in office."""


class Storage(Block):
    """SRs of the whole pool, by name_label or uuid."""

    default_sr: Text | None = Field(None, alias="defaultSR")
    """Where new disks go."""
    suspend_image_sr: Text | None = Field(None, alias="suspendImageSR")
    """Where the memory of suspended VMs goes."""


class ReadyBlock(Block):
    """What "up" means to VMs that depend on this one; at most one of tools, address, tcp, http, delay."""

    model_config = ConfigDict(json_schema_extra=one_of(_READY, required=False))

    tools: Literal[True] | None = None
    """Its guest tools report."""
    address: Literal[True] | None = None
    """It reports an IP address."""
    tcp: Port | None = None
    """It accepts connections on this port."""
    http: Text | None = None
    """It answers this path (`/health`, `:8080/health`) or URL with a 2xx status."""
    delay: Duration | None = None
    """This long after its start."""
    timeout: Duration = 300.0
    """How long to wait for it."""

    @model_validator(mode="after")
    def _at_most_one(self) -> ReadyBlock:
        given = [key for key in _READY if key in self.model_fields_set]
        if len(given) > 1:
            raise refuse("`ready`", f"it can't mean {' and '.join(given)} at once", "Keep one of them.")
        if self.http is not None and not _PAGE.fullmatch(self.http):
            raise refuse("`http`", "it is neither a path nor a URL", "Write `/health`, `:8080/health` or a whole URL.")
        return self


class Placement(Block):
    """Where a VM may run. Hosts are named as under `members`. A VM is not started against a hard wish, and a running
    one is moved live for it; a soft wish chooses among hosts."""

    prefer: list[Text] = Field(default_factory=list)
    """Hosts that are taken first if they can take it, the best first; soft."""
    require: list[Text] = Field(default_factory=list, min_length=1)
    """The only hosts that it may run on; hard."""
    avoid: list[Text] = Field(default_factory=list)
    """Hosts that it must not run on; hard."""
    spread: Text | None = None
    """VMs with the same word here go to different hosts where possible; soft."""
    together: Text | None = None
    """VMs with the same word here run on one host; hard."""
    apart: Text | None = None
    """VMs with the same word here never run on one host; hard. `spread` is the soft form."""
    stop_for_maintenance: bool = False
    """It may be shut down where it can't be moved off a host that goes into maintenance: it has a local disk or a
    device of that host, or there is no room. It is started again when the host is back,
    so only what is declared `running` is stopped."""


class VmSettings(Block):
    """What a VM should be doing, and how it is treated."""

    state: Literal["running", "halted", "suspended", "as-is"] = "as-is"
    """What it should be doing; `as-is` leaves it alone."""
    home: Text | None = None
    """The host that it belongs to: its affinity."""
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    """Which VMs get a host and are started first."""
    ready: ReadyBlock | None = None
    """What "up" means to VMs that depend on it. Unset: that it runs."""
    placement: Placement | None = None
    """Where it may run."""
    max_level: LevelWord | None = None
    """The highest level at which it may be acted on. Unset: the pool's."""
    optional: bool = False
    """`true`: no VM of that name is fine, too. Patterns and tags may always match nothing."""


class _Selector(Block):
    """Which VMs an entry is about; exactly one key."""

    name: Text | None = None
    """Its name_label. With `*`, `?` or `[` in it, a pattern."""
    pattern: Text | None = None
    """Every VM whose name matches: `*` any text, `?` one character, `[ab]` one of these."""
    tag: Text | None = None
    """Every VM that has this tag."""
    uuid: Uuid | None = None
    """Its uuid, for names that are not unique."""


class VirtualMachine(VmSettings, _Selector):
    """One VM, or every VM that a pattern or a tag selects."""

    model_config = ConfigDict(json_schema_extra=one_of(_SELECTORS, required=True))

    depends_on: list[Text] = Field(default_factory=list)
    """Entries whose VMs must be up before it starts, each by the text of its name, pattern, tag or uuid."""


class Metadata(Block):
    """What the pool is called here."""

    name: PoolName
    """The pool's name in reports, file names and locks: letters, digits, `.`, `_` and `-`."""


class VmSpec(Block):
    """VMs of a pool that another file describes."""

    defaults: VmSettings = VmSettings()
    """Settings that each entry of this file has unless it says otherwise, key by key."""
    virtual_machines: list[VirtualMachine] = Field(default_factory=list)
    """The VMs that xenrec looks after. A VM that is not named is never touched."""


class _PoolOnly(Block):
    """What only a pool's own file says; a base of its own so that its keys come first in schema and reference."""

    uuid: Uuid | None = None
    """The pool's uuid: any other pool is refused."""
    connection: Connection
    """How to log in to the hosts."""
    members: list[Member] = Field(min_length=1)
    """Every host of the pool."""
    master: Master | None = None
    """Who is to be master. Unset: whoever is; if that one is lost, active members in the order of the file."""
    storage: Storage = Storage()
    """SRs of the whole pool."""
    policy: Policy = Policy()
    """How far runs go, what stops them, and how much they do at once."""


class PoolSpec(VmSpec, _PoolOnly):
    """What the pool should be. What is not said stays as it is."""


class PoolManifest(Block):
    """A XenServer or XCP-ng pool as it should be."""

    api_version: Literal["xenrec/v1"]
    """The version of this format."""
    kind: Literal["Pool"]
    """What the file describes."""
    metadata: Metadata
    """What the pool is called here."""
    spec: PoolSpec
    """What it should be."""


class VirtualMachinesManifest(Block):
    """More virtualMachines of a pool that another file of the same folder describes."""

    api_version: Literal["xenrec/v1"]
    """The version of this format."""
    kind: Literal["VirtualMachines"]
    """What the file describes."""
    metadata: Metadata
    """The name of the pool that they belong to."""
    spec: VmSpec
    """The VMs."""


Manifest = PoolManifest | VirtualMachinesManifest

KINDS: dict[str, type[PoolManifest] | type[VirtualMachinesManifest]] = {
    "Pool": PoolManifest,
    "VirtualMachines": VirtualMachinesManifest,
}
