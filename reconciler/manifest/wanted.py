"""Validated models to core's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.wanted import (
    Account,
    Brake,
    Connection,
    Failback,
    FenceDevice,
    FreezeWindow,
    Level,
    Limits,
    MasterWish,
    Member,
    MemberState,
    MetadataPolicy,
    PlacementWish,
    Policy,
    Priority,
    Ready,
    SecretRef,
    StorageWish,
    VmWish,
    Wanted,
    WantedState,
)
from reconciler.manifest import models, models_hosts, models_policy
from reconciler.manifest.fields import clock, is_uuid, moment
from reconciler.manifest.raw import selector
from reconciler.manifest.reader import Document, Path


@dataclass(frozen=True)
class VmPart:
    """The virtualMachines of one document."""

    doc: Document
    spec: models.VmSpec


def build(doc: Document, pool: models.PoolManifest, parts: Sequence[VmPart], digest: str, commit: str | None) -> Wanted:
    """The whole wish: a pool's document and every document with its VMs, its own included."""
    spec = pool.spec
    vms = tuple(wish for part in parts for wish in _vms(part))
    storage = spec.storage
    return Wanted(
        name=pool.metadata.name,
        members=tuple(_member(doc, ("spec", "members", n), m) for n, m in enumerate(spec.members)),
        connection=Connection(
            username=spec.connection.username,
            password=_secret(spec.connection.password),
            ca_file=spec.connection.tls.ca_file if spec.connection.tls else None,
            place=doc.place(("spec", "connection"), key=True),
            local=_local(spec.connection.local),
        ),
        uuid=spec.uuid,
        master=_master(doc, spec.master),
        storage=StorageWish(
            default_sr=storage.default_sr,
            suspend_image_sr=storage.suspend_image_sr,
            default_sr_place=doc.place(("spec", "storage", "defaultSR")) if storage.default_sr else None,
            suspend_image_sr_place=doc.place(("spec", "storage", "suspendImageSR"))
            if storage.suspend_image_sr
            else None,
        ),
        policy=_policy(doc, spec.policy),
        vms=vms,
        source=doc.source,
        digest=digest,
        commit=commit,
    )


def _local(account: models_hosts.LocalAccount | None) -> Account | None:
    return None if account is None else Account(account.username, _secret(account.password))


def _secret(secret: models_hosts.Secret) -> SecretRef:
    argv = secret.exec or secret.command
    if argv:
        return SecretRef("exec", tuple(argv))
    for kind in ("env", "file", "cred"):
        value = getattr(secret, kind)
        if value is not None:
            return SecretRef(kind, value)
    raise AssertionError("the model lets no empty secret through")


def _member(doc: Document, path: Path, member: models_hosts.Member) -> Member:
    return Member(
        name=member.name,
        address=member.address,
        state=MemberState(member.state),
        fencing=tuple(_fence(doc, (*path, "fencing", n), fence) for n, fence in enumerate(member.fencing)),
        fingerprint=member.tls.fingerprint if member.tls else member.fingerprint,
        place=doc.place(path),
        evacuate_all=member.evacuate == "all",
        probe=tuple(member.probe),
    )


def _fence(doc: Document, path: Path, fence: models_hosts.Fence) -> FenceDevice:
    options = {}
    for key, value in fence.options.items():
        if isinstance(value, bool):
            options[key] = "1" if value else "0"
        else:
            # As written: `plug: 007` means 007.
            options[key] = value if isinstance(value, str) else doc.find((*path, "options", key)).text
    secrets = {key: _secret(value) for key, value in fence.secrets.items()}
    if fence.password is not None:
        secrets["password"] = _secret(fence.password)
    return FenceDevice(fence.agent, options, secrets)


def _master(doc: Document, master: models.Master | None) -> MasterWish | None:
    if master is None:
        return None
    place = doc.place(("spec", "master"), key=True)
    return MasterWish(master.host, tuple(master.successors), Failback(master.failback), place)


def level(word: str) -> Level:
    """The level of a manifest's word."""
    return Level[word.upper()]


def _policy(doc: Document, policy: models_policy.Policy) -> Policy:
    attended = level(policy.levels.attended) if policy.levels.attended else Policy().attended
    unattended = level(policy.levels.unattended) if policy.levels.unattended else min(Policy().unattended, attended)
    limits = policy.limits
    return Policy(
        attended=attended,
        unattended=unattended,
        brake=Brake(policy.brake.min_healthy, policy.brake.max_hosts_per_run),
        reserve=policy.placement.reserve,
        rebalance=policy.placement.rebalance,
        cool_down=policy.placement.cool_down,
        shed=None if policy.placement.shed == "none" else Priority[policy.placement.shed.upper()],
        migration_network_place=doc.place(("spec", "policy", "placement", "migrationNetwork"))
        if policy.placement.migration_network
        else None,
        reserve_place=doc.place(("spec", "policy", "placement", "reserve")) if policy.placement.reserve else None,
        limits=Limits(
            starts_per_host=limits.starts_per_host,
            starts_per_pool=limits.starts_per_pool,
            call_timeout=limits.call_timeout,
            start_timeout=limits.start_timeout,
            shutdown_timeout=limits.shutdown_timeout,
            promotion_timeout=limits.promotion_timeout,
            rejoin_timeout=limits.rejoin_timeout,
            migrations_per_host=limits.migrations_per_host,
            migrations_per_pool=limits.migrations_per_pool,
            migrate_timeout=limits.migrate_timeout,
            park_after=limits.park_after,
        ),
        freeze=tuple(_freeze(doc, n, window) for n, window in enumerate(policy.freeze)),
        grace=policy.grace,
        respect_manual_stop=policy.respect_manual_stop,
        migration_network=policy.placement.migration_network,
        metadata=MetadataPolicy(
            policy.metadata.refresh_every,
            policy.metadata.max_killed,
            tuple(policy.metadata.probe),
            policy.metadata.probe_timeout,
        ),
    )


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _freeze(doc: Document, index: int, window: models_policy.Freeze) -> FreezeWindow:
    place = doc.place(("spec", "policy", "freeze", index))
    if ":" in window.from_[:3]:  # a time of day: the model lets only both or neither through
        days = tuple(sorted({_DAYS.index(day) for day in window.days})) or tuple(range(7))
        return FreezeWindow(
            window.reason,
            level(window.level),
            days=days,
            start=clock(window.from_),
            end=clock(window.until),
            place=place,
        )
    since, until = moment(window.from_), moment(window.until)
    return FreezeWindow(window.reason, level(window.level), since=since, until=until, place=place)


def _ready(ready: models.ReadyBlock | None) -> Ready | None:
    if ready is None:
        return None
    return Ready(bool(ready.tools), bool(ready.address), ready.tcp, ready.http, ready.delay, ready.timeout)


def _placement(wish: models.Placement | None) -> PlacementWish:
    if wish is None:
        return PlacementWish()
    return PlacementWish(
        tuple(wish.prefer),
        tuple(wish.require),
        tuple(wish.avoid),
        wish.spread,
        wish.together,
        stop_for_maintenance=wish.stop_for_maintenance,
        apart=wish.apart,
    )


def _as_selected(word: str) -> str:
    """A dependsOn word as the entry that it means has it: a uuid in lower case."""
    return word.lower() if is_uuid(word) else word


def _vms(part: VmPart) -> list[VmWish]:
    defaults = part.spec.defaults
    wishes = []
    for index, entry in enumerate(part.spec.virtual_machines):
        chosen = selector({"name": entry.name, "pattern": entry.pattern, "tag": entry.tag, "uuid": entry.uuid})
        assert chosen is not None, "checks refuse an entry without exactly one selector"
        own = entry.model_fields_set
        settings: dict[str, models.VmSettings] = {
            key: entry if key in own else defaults for key in models.VmSettings.model_fields
        }
        max_level = settings["max_level"].max_level
        wishes.append(
            VmWish(
                kind=chosen[0],
                value=chosen[1],
                state=WantedState(settings["state"].state),
                home=settings["home"].home,
                priority=Priority[settings["priority"].priority.upper()],
                ready=_ready(settings["ready"].ready),
                placement=_placement(settings["placement"].placement),
                depends_on=tuple(_as_selected(word) for word in entry.depends_on),
                max_level=level(max_level) if max_level else None,
                optional=settings["optional"].optional,
                place=part.doc.place(("spec", "virtualMachines", index)),
            )
        )
    return wishes
