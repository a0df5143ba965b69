"""A live pool as a manifest that plans to nothing: what is, written as what should be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import PydanticCustomError

from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.wanted import FenceDevice, SecretRef
from reconciler.manifest import fields
from reconciler.manifest.raw import is_pattern

DEFAULT_PASSWORD = SecretRef("env", "XENREC_PASSWORD")
DEFAULT_SCHEMA = "../schemas/pool.v1.json"

_STATES = {PowerState.RUNNING: "running", PowerState.HALTED: "halted", PowerState.SUSPENDED: "suspended"}
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+()-]+)*|[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))
"""What some YAML reader takes for something else than text."""


def scalar(text: str) -> str:
    """The text as a YAML scalar that every YAML 1.1 and 1.2 reader reads as this text, on one line."""
    if (_PLAIN.fullmatch(text) and text.lower() not in _WORDS) or _UUID.fullmatch(text):
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _comment(text: str) -> str:
    """A text for a comment: on one line, without what YAML would not accept even there."""
    return "".join(c if c.isprintable() else "?" for c in text)


@dataclass(frozen=True)
class _Names:
    """What members are called: by name_label where that is a name of one host, else by uuid."""

    members: Mapping[Ref, str]
    without_address: tuple[Host, ...]

    def of(self, ref: Ref | None) -> str | None:
        return self.members.get(ref) if ref is not None else None


def export_yaml(
    state: PoolState,
    *,
    username: str = "root",
    password: SecretRef = DEFAULT_PASSWORD,
    ca_file: str | None = None,
    fingerprints: Mapping[str, str] | None = None,
    fencing: Mapping[str, FenceDevice | Sequence[FenceDevice]] | None = None,
    name: str | None = None,
    port: int | None = None,
    schema: str = DEFAULT_SCHEMA,
) -> str:
    """The manifest's text, the same for the same state.

    `fingerprints` by host address (with or without `port`), `fencing` by member name, host name_label or uuid. `name`
    becomes metadata.name, changed to fit; without it the pool's own is. `port` is added to every address, for pools
    that are not on 443. References that lead nowhere, as real databases have, are left out. Raises ValueError for a
    pool without a host that has an address.
    """
    names = _members(state)
    if not names.members:
        raise ValueError("no host of this pool has an address, so nobody could be asked")
    lines = [
        *_head(state, name, schema),
        *_connection(username, password, ca_file),
        *_member_lines(state, names, fingerprints or {}, fencing or {}, port),
        *_master(state, names),
        *_storage(state),
        *_policy(len(names.members)),
        *_guests(state, names),
    ]
    return "\n".join(lines) + "\n"


def _members(state: PoolState) -> _Names:
    labels = Counter(host.name for host in state.hosts.values())
    labels.update(host.uuid for host in state.hosts.values())
    addresses: set[str] = set()
    named: dict[Ref, str] = {}
    skipped: list[Host] = []
    master = state.pool.master
    for host in sorted(state.hosts.values(), key=lambda h: (h.ref != master, h.name, h.uuid)):
        try:
            address = fields.address(host.address)
        except PydanticCustomError:
            address = ""
        if not address or address in addresses:
            skipped.append(host)
            continue
        addresses.add(address)
        named[host.ref] = host.name if labels[host.name] == 1 and _can_be_written(host.name) else host.uuid
    return _Names(named, tuple(skipped))


def _can_be_written(text: str) -> bool:
    """Whether a name may stand in a manifest: not empty, no control characters, no half of a surrogate pair."""
    return bool(text) and not re.search("[\x00-\x1f\x7f\ud800-\udfff]", text)


def _head(state: PoolState, name: str | None, schema: str) -> Iterator[str]:
    pool = state.pool
    chosen = re.sub(r"[^A-Za-z0-9._-]+", "-", name or pool.name).lstrip("._-")[:63].rstrip("._-") or "pool"
    yield f"# yaml-language-server: $schema={schema}"
    read = f" from {state.read_from}" if state.read_from else ""
    when = f" at {datetime.fromtimestamp(state.read_at, UTC):%Y-%m-%d %H:%M:%S} UTC" if state.read_at > 0 else ""
    yield _comment(f"# The pool {pool.name or pool.uuid} as it was read{read}{when}.")
    yield "# While nothing changes it plans to nothing. Change what should be otherwise, and remove what xenrec should"
    yield "# leave alone: unset means as it is."
    if pool.ha_enabled:
        yield "# XenServer HA is on: xenrec only observes this pool and changes metadata until that is off."
    if pool.wlb_enabled:
        yield "# Workload balancing is on: it may move VMs, too."
    yield "apiVersion: xenrec/v1"
    yield "kind: Pool"
    yield "metadata:"
    yield f"  name: {scalar(chosen)}"
    yield "spec:"
    if fields.is_uuid(pool.uuid):
        yield "  # Any other pool that answers at these addresses is refused."
        yield f"  uuid: {scalar(pool.uuid.lower())}"


def _secret(ref: SecretRef) -> str:
    value = ref.value if isinstance(ref.value, str) else None
    return f"{{{ref.kind}: {scalar(value) if value is not None else _flow(ref.value)}}}"


def _flow(items: Sequence[str]) -> str:
    return "[" + ", ".join(scalar(item) for item in items) + "]"


def _connection(username: str, password: SecretRef, ca_file: str | None) -> Iterator[str]:
    yield "  connection:"
    yield "    # A local account of every host: a promotion can't ask a directory service."
    yield f"    username: {scalar(username)}"
    yield "    # Where the password is found, never the password: env, file, exec or cred."
    yield f"    password: {_secret(password)}"
    if ca_file is not None:
        yield f"    tls: {{caFile: {scalar(ca_file)}}}"


def _member_lines(
    state: PoolState,
    names: _Names,
    fingerprints: Mapping[str, str],
    fencing: Mapping[str, FenceDevice | Sequence[FenceDevice]],
    port: int | None,
) -> Iterator[str]:
    yield "  # Every host of the pool, the master first. Without fencing, a dead host must be attested by a person."
    yield "  members:"
    for ref, name in names.members.items():
        host = state.hosts[ref]
        yield f"    - name: {scalar(name)}" + (f"  # {_comment(host.name)}" if name != host.name else "")
        address = _with_port(host.address, port)
        yield f"      address: {scalar(address)}"
        if not host.enabled and ref != state.pool.master and any(other.enabled for other in state.hosts.values()):
            # With no host enabled it is the minutes after a master's start, and means nothing (sheet §6).
            yield "      state: maintenance  # it is disabled"
        pin = fingerprints.get(address, fingerprints.get(host.address))
        if pin is not None:
            yield f"      fingerprint: {scalar(fields.fingerprint(pin))}"
        devices = next((fencing[key] for key in (name, host.name, host.uuid) if key in fencing), ())
        yield from _fencing([devices] if isinstance(devices, FenceDevice) else devices)
    for host in names.without_address:
        yield _comment(
            f"    # Left out: {host.name or host.uuid}, whose address {host.address!r} is no host's of its own."
        )


def _with_port(address: str, port: int | None) -> str:
    if port in (None, 443):
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _fencing(devices: Sequence[FenceDevice]) -> Iterator[str]:
    if not devices:
        return
    yield "      fencing:"
    for device in devices:
        yield f"        - agent: {scalar(device.agent)}"
        for title, block in (
            ("options", {key: scalar(value) for key, value in device.options.items()}),
            ("secrets", {key: _secret(value) for key, value in device.secrets.items()}),
        ):
            if block:
                yield f"          {title}:"
                yield from (f"            {scalar(key)}: {value}" for key, value in block.items())


def _master(state: PoolState, names: _Names) -> Iterator[str]:
    master = names.of(state.pool.master)
    if master is None:
        yield "  # master: left out, for the pool's record names no host that is listed above."
        return
    others = sorted((host for ref, host in state.hosts.items() if names.of(ref) not in (None, master)), key=_best_first)
    yield "  # If the master is lost, the first of the successors that answers is promoted."
    yield "  master:"
    yield f"    host: {scalar(master)}"
    if others:
        yield f"    successors: {_flow([str(names.of(host.ref)) for host in others])}"
    yield "    failback: manual"


def _best_first(host: Host) -> tuple[bool, str, str]:
    return (not host.enabled, host.name, host.uuid)


def _storage(state: PoolState) -> Iterator[str]:
    found = []
    for key, ref in (("defaultSR", state.pool.default_sr), ("suspendImageSR", state.pool.suspend_image_sr)):
        if ref is None:
            continue
        sr = state.srs.get(ref)
        if sr is None:
            found.append(f"    # {key}: left out, for the SR that the pool's record names is gone.")
        elif len(state.srs_named(sr.name)) == 1 and _can_be_written(sr.name):
            found.append(f"    {key}: {scalar(sr.name)}")
        else:
            found.append(f"    {key}: {scalar(sr.uuid)}  # {_comment(sr.name)}, a name that is not unique")
    if found:
        # A block of comments only would be a key without a value.
        yield "  storage:" if any(":" in line.split("#")[0] for line in found) else "  # storage:"
        yield from found


def _policy(members: int) -> Iterator[str]:
    share = 51 if members > 2 else 50
    yield "  policy:"
    yield "    # How far a run may go with a person watching, and from cron."
    yield "    # In rising order: observe, metadata, move, power, bury, crown."
    yield "    levels: {attended: crown, unattended: power}"
    yield "    # With fewer members answering, or more hosts to bury, it is more likely we who are cut off."
    yield f"    brake: {{minHealthy: {share}%, maxHostsPerRun: 1}}"


def _guests(state: PoolState, names: _Names) -> Iterator[str]:
    if not state.guests:
        yield "  # virtualMachines: none, for the pool has no guests."
        return
    yield "  # A VM that is not listed is never touched. Templates, snapshots and control domains never are."
    yield "  virtualMachines:"
    labels = Counter(vm.name for vm in state.guests)
    for vm in state.guests:
        yield from _guest(vm, names, is_unique=labels[vm.name] == 1)


def _guest(vm: Vm, names: _Names, *, is_unique: bool) -> Iterator[str]:
    writable = _can_be_written(vm.name)
    if is_unique and writable and not is_pattern(vm.name):
        yield f"    - name: {scalar(vm.name)}"
    elif not fields.is_uuid(vm.uuid):
        yield _comment(f"    # Left out: {vm.name or 'a VM without a name'}, which neither name nor uuid selects.")
        return
    else:
        why = "can't be written here" if not writable else "reads as a pattern" if is_unique else "is not unique"
        yield (
            f"    - uuid: {scalar(vm.uuid)}  # {_comment(vm.name) or 'no name'}: {why}"
            if vm.name
            else (f"    - uuid: {scalar(vm.uuid)}  # has no name")
        )
    word = _STATES.get(vm.power_state)
    yield (
        f"      state: {word}"
        if word
        else f"      state: as-is  # it is {vm.power_state.lower()}, which can't be wished"
    )
    home = names.of(vm.affinity)
    if home is not None:
        yield f"      home: {scalar(home)}"
