"""The manifest's shape. The docstring under each field is its description in the JSON Schema and in docs/manifest.md.

Checks that need more than one value of the file are in `checks`; what a value means is in `wanted`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue

from reconciler.manifest.fields import (
    Address,
    Agent,
    Count,
    CredName,
    Duration,
    EnvName,
    Fingerprint,
    LevelWord,
    OptionName,
    Options,
    Patience,
    PoolName,
    Port,
    Probe,
    Share,
    Text,
    Uuid,
    clock,
    moment,
    refuse,
)

API_VERSION = "xenrec/v1"

_SOURCES = ("env", "file", "exec", "command", "cred")
_SELECTORS = ("name", "pattern", "tag", "uuid")
_PAGE = re.compile(r"(?:https?://[^\s/?#@]+|(?::[0-9]{1,5})?(?=/))(?:/[^\s#]*)?")
"""A path of the guest's, with a port or without, or a URL; no name and password in it, and no blanks."""
_READY = ("tools", "address", "tcp", "http", "delay")


def _one_of(keys: tuple[str, ...], *, required: bool) -> dict[str, Any]:
    """JSON Schema for "one of these keys", or with required=False "at most one"."""
    one: list[JsonSchemaValue] = [{"required": [key]} for key in keys]
    return {"oneOf": one if required else [*one, {"not": {"anyOf": list(one)}}]}


class _Block(BaseModel):
    """A block of keys: unknown ones are refused, nothing is coerced, nothing changes afterwards."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, alias_generator=to_camel
    )


class Secret(_Block):
    """Where a secret is found when it is needed; exactly one key. The secret itself never stands in a manifest."""

    model_config = ConfigDict(json_schema_extra=_one_of(_SOURCES, required=True))

    env: EnvName | None = None
    """Name of an environment variable that holds it."""
    file: Text | None = None
    """A file that holds it, readable by its owner only; one newline at its end is dropped. Relative to the manifest."""
    exec: list[Text] | None = Field(None, min_length=1)
    """A command and its arguments, run without a shell, that prints it within 30 s: `[pass, show, xen/root]`."""
    command: list[Text] | None = Field(None, min_length=1)
    """The same as `exec`."""
    cred: CredName | None = None
    """Name of a systemd credential (`LoadCredential=`), a file in `$CREDENTIALS_DIRECTORY`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if len(self.model_fields_set) != 1:
            raise refuse(
                "where to find a secret",
                "it needs exactly one of env, file, exec, command, cred",
                "Write for example `{env: XENREC_PASSWORD}`.",
            )
        return self


def _no_literal(value: Any) -> Any:
    if not isinstance(value, dict):
        raise refuse(
            "a secret",
            "it must not stand in the file, which is copied, mailed and kept in Git for ever",
            "Write where it is found, as in `{env: XENREC_PASSWORD}` or `{file: secret/password}`; change it if it was"
            " shared.",
        )
    return value


SecretField = Annotated[Secret, BeforeValidator(_no_literal)]


class Tls(_Block):
    """How the hosts' certificates are verified."""

    ca_file: Text | None = None
    """PEM file of the authorities that signed the hosts' certificates, relative to the manifest. A member's
    fingerprint goes before it."""


class LocalAccount(_Block):
    """A local root of every host: it asks members whether they reach their master, and promotes one."""

    username: Text = "root"
    """An account that every host knows by itself; one of a directory is none."""
    password: SecretField
    """Where its password is found. Where it can't be had, everything but a promotion goes on."""


class Connection(_Block):
    """How to log in to the hosts."""

    username: Text = "root"
    """The account of the pool. Without `local` it must be a local root of every host, or nothing can be promoted."""
    password: SecretField
    """Where its password is found."""
    local: LocalAccount | None = None
    """Who opens local sessions on members, which a promotion needs. Unset: the account above."""
    tls: Tls | None = None
    """How certificates are verified. Unset: by each member's fingerprint; a host without either is refused."""


class Fence(_Block):
    """A fence agent that can power the host off and read its power back."""

    agent: Agent
    """The agent's name (`fence_redfish`) or absolute path."""
    options: Options = Field(default_factory=dict)
    """Its options, sent on stdin; secrets go below. `true` is sent as 1, `false` as 0."""
    password: SecretField | None = None
    """Where the value of its option `password` is found."""
    secrets: dict[OptionName, SecretField] = Field(
        default_factory=dict, json_schema_extra={"additionalProperties": False}
    )
    """Where the values of other secret options are found, by option."""

    @model_validator(mode="after")
    def _each_option_once(self) -> Fence:
        both = sorted(set(self.options) & set(self.secrets)) or (["password"] * ("password" in self.secrets))
        if both and (both[0] != "password" or self.password is not None):
            raise refuse(f"the option `{both[0]}`", "it is given in two places", "Keep one of the two.")
        return self


class MemberTls(_Block):
    """The certificate that this host must show."""

    fingerprint: Fingerprint
    """SHA-256 of the host's certificate, 64 hex digits, colons allowed."""


def _one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _one_or_list_schema(schema: JsonSchemaValue) -> None:
    schema["anyOf"] = [schema["items"], {"type": schema.pop("type"), "items": schema.pop("items")}]


class Member(_Block):
    """A host of the pool."""

    name: Text
    """The host's name_label, or its uuid where names are not unique. Other keys refer to the host by it."""
    address: Address
    """Its management address: `host` or `host:port`; the port is 443 if not given."""
    state: Literal["active", "maintenance"] = "active"
    """`maintenance`: it is disabled, its VMs are moved off it, it may be off, and it is not made master; back to
    `active`, it is enabled again and its VMs come home."""
    evacuate: Literal["declared", "all"] = "declared"
    """Which VMs maintenance may move: those that the manifest names, or all. One that may not be moved keeps its host
    from being emptied."""
    fencing: Annotated[list[Fence], BeforeValidator(_one_or_list), Field(json_schema_extra=_one_or_list_schema)] = (
        Field(default_factory=list)
    )
    """How to power it off for certain: one agent, or a list that is tried in order."""
    tls: MemberTls | None = None
    """The certificate that it must show."""
    fingerprint: Fingerprint | None = None
    """The same as `tls: {fingerprint: …}`."""
    probe: Probe = Field(default_factory=list)
    """The command that tells how old its copy of the pool's database is, instead of `policy.metadata.probe`."""


class Master(_Block):
    """Who is to be master."""

    host: Text
    """Name of the member that is to be master."""
    successors: list[Text] = Field(default_factory=list)
    """Members that are promoted first if it is lost, the best first. After them come the other active members, in
    the order of the file."""
    failback: Literal["auto", "manual", "never"] = "manual"
    """Whether it becomes master again after another one had to: `auto` in any run, `manual` when `apply --failback`
    asks for it, `never` leaves the other one in office."""


class Storage(_Block):
    """SRs of the whole pool, by name_label or uuid."""

    default_sr: Text | None = Field(None, alias="defaultSR")
    """Where new disks go."""
    suspend_image_sr: Text | None = Field(None, alias="suspendImageSR")
    """Where the memory of suspended VMs goes."""


class Levels(_Block):
    """How far runs may go; each level includes those before it."""

    attended: LevelWord | None = None
    """With a person at the terminal. Unset: crown."""
    unattended: LevelWord | None = None
    """From cron or a service. Unset: power, or `attended` if that is lower."""


class BrakeBlock(_Block):
    """With too many hosts gone at once it is more likely that we are cut off: then nothing is fenced or buried."""

    min_healthy: Share = 0.5
    """Share of the members that must answer, as in `51%`."""
    max_hosts_per_run: Count = 1
    """Hosts that one run may fence or declare dead."""


class PolicyPlacement(_Block):
    """Rules for placing VMs in the whole pool."""

    reserve: int = Field(0, ge=0)
    """Hosts whose loss the others should be able to absorb: their VMs find room there, the most important ones first.
    Room is kept where it can be; a VM that is to run is started all the same, and plan says what the loss would leave
    down."""
    rebalance: bool = False
    """`true`: running VMs are moved live for `home`, `prefer` and `spread`, too. Else they are moved only for hard
    wishes (`require`, `avoid`, `together`, `apart`), or to make room."""
    cool_down: Patience = 3600.0
    """A VM that was moved, by whomever, is not moved again by `rebalance` for so long. `0`: at once."""
    shed: Literal["none", "low", "normal", "high"] = "none"
    """VMs of this priority and lower may be shut down, cleanly, where a VM of a higher one can't start otherwise."""
    migration_network: Text | None = None
    """Network that migrations go over, by name or uuid; each host needs an address on it. Unset: the one that Xen
    Orchestra set for the pool, or the management network."""


class LimitsBlock(_Block):
    """Operations in flight at once, and how long each may take."""

    starts_per_host: Count = 3
    """VMs that start at once on one host."""
    starts_per_pool: Count = 16
    """VMs that start at once in the pool."""
    call_timeout: Duration = 30.0
    """For one answer of a host."""
    start_timeout: Duration = 600.0
    """For a VM to start or resume."""
    shutdown_timeout: Duration = 1260.0
    """For a VM to shut down or suspend; XAPI's own limit is 1200 s."""
    promotion_timeout: Duration = 600.0
    """For a new master to accept logins."""
    rejoin_timeout: Duration = 300.0
    """For the other members to follow it."""
    migrations_per_host: Count = 2
    """VMs that migrate at once from or to one host."""
    migrations_per_pool: Count = 8
    """VMs that migrate at once in the pool."""
    migrate_timeout: Duration = 1800.0
    """For a live migration; then it is cancelled, and the VM goes on where it was."""
    park_after: Count = 3
    """Runs in a row in which an action on a VM may fail before unattended runs leave it alone (`xenrec unpark`)."""


class MetadataBlock(_Block):
    """The members' copies of the pool's database: a promoted member starts from its own."""

    refresh_every: Duration | None = None
    """Copies that were refreshed longer ago are refreshed by the next run (`pool.sync_database`), and after every run
    that starts VMs. Unset: only XAPI's own backups, one per 5 min and member."""
    probe: Probe = Field(default_factory=list)
    """A command and its arguments that tells how old a member's copy is; `{name}` and `{address}` in the arguments are
    the member's. It is run without a shell or our environment, and prints one JSON object with the database's
    `generation` (a number), the copy's `time` (`2026-11-22T03:14:07Z` or seconds since 1970), or both. No secrets here:
    arguments can be seen by every user of the machine."""
    probe_timeout: Duration = 10.0
    """How long it may take."""
    max_killed: int = Field(5, ge=0)
    """A promotion is withheld if it may kill more VMs than this on living hosts, because they started, moved or were
    created after the promoted copy was made."""


class Freeze(_Block):
    """A time in which no run goes far: from a day and time until another, or every week at the same hours, in UTC."""

    from_: Text = Field(alias="from")
    """When it begins: `2026-12-20T18:00Z`, or a time of day, `18:00`."""
    until: Text
    """When it ends, written like `from`. A time of day that is not after `from` is on the next day."""
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(default_factory=list)
    """With times of day: on which days it begins. Unset: every day."""
    level: LevelWord = "observe"
    """The highest level that remains allowed."""
    reason: Text
    """Why, for whoever is told to wait."""

    @model_validator(mode="after")
    def _one_kind_of_time(self) -> Freeze:
        daily = [re.fullmatch(r"[0-9]{2}:[0-9]{2}", word) is not None for word in (self.from_, self.until)]
        if daily[0] != daily[1]:
            raise refuse(
                "`from` and `until`",
                "one is a time of day, the other a day and a time",
                "Write both in the same way: `18:00`, or `2026-12-20T18:00Z`.",
            )
        if all(daily):
            if clock(self.from_) == 86_400:
                raise refuse("`from`", "nothing begins at 24:00", "Write `00:00`, and the next day.")
            clock(self.until)
        elif self.days:
            raise refuse("`days`", "they go with times of day", "Write `from: 18:00`, or remove `days`.")
        elif moment(self.until) <= moment(self.from_):
            raise refuse("`until`", "it is not after `from`", "Write a later time.")
        return self


class Policy(_Block):
    """How far runs go, what stops them, and how much they do at once."""

    levels: Levels = Levels()
    """How far runs may go."""
    brake: BrakeBlock = BrakeBlock()
    """The storm brake."""
    placement: PolicyPlacement = PolicyPlacement()
    """Rules for placing VMs."""
    limits: LimitsBlock = LimitsBlock()
    """Operations at once, and deadlines."""
    metadata: MetadataBlock = MetadataBlock()
    """The members' copies of the pool's database."""
    freeze: list[Freeze] = Field(default_factory=list)
    """Times in which no run goes far."""
    grace: Patience = 600.0
    """After the master's machine booted an unattended run only observes for so long: members are still starting, and
    XAPI starts VMs by itself. `0`: none."""
    respect_manual_stop: Patience = 900.0
    """A VM that ran and was found stopped while its host lives was stopped by somebody, or crashed: an unattended run
    doesn't start it for so long. `0`: none."""


class ReadyBlock(_Block):
    """What "up" means to VMs that depend on this one; at most one of tools, address, tcp, http, delay."""

    model_config = ConfigDict(json_schema_extra=_one_of(_READY, required=False))

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


class Placement(_Block):
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
    device of that host, or there is no room. It is started again when the host is back."""


class VmSettings(_Block):
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


class _Selector(_Block):
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

    model_config = ConfigDict(json_schema_extra=_one_of(_SELECTORS, required=True))

    depends_on: list[Text] = Field(default_factory=list)
    """Entries whose VMs must be up before it starts, each by the text of its name, pattern, tag or uuid."""


class Metadata(_Block):
    """What the pool is called here."""

    name: PoolName
    """The pool's name in reports, file names and locks: letters, digits, `.`, `_` and `-`."""


class VmSpec(_Block):
    """VMs of a pool that another file describes."""

    defaults: VmSettings = VmSettings()
    """Settings that each entry of this file has unless it says otherwise, key by key."""
    virtual_machines: list[VirtualMachine] = Field(default_factory=list)
    """The VMs that xenrec looks after. A VM that is not named is never touched."""


class _PoolOnly(_Block):
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


class PoolManifest(_Block):
    """A XenServer or XCP-ng pool as it should be."""

    api_version: Literal["xenrec/v1"]
    """The version of this format."""
    kind: Literal["Pool"]
    """What the file describes."""
    metadata: Metadata
    """What the pool is called here."""
    spec: PoolSpec
    """What it should be."""


class VirtualMachinesManifest(_Block):
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
