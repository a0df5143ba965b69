"""What else holds a run back: pauses, freeze windows, the grace after a pool's start, and whoever else drives.

Each is one reason in words with its remedy. Pure: the time comes in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.draft import apply_command
from reconciler.core.model import Host, PoolState
from reconciler.core.plan import Action, Thing, Verb
from reconciler.core.wanted import FreezeWindow, Level, Wanted
from reconciler.core.words import lasting, names, utc

DAY = 86_400.0
CLOCKS_DIFFER = 60.0
"""Seconds by which a host's clock may be ahead of ours before what it says about its boot is not believed."""

HA_LIZARD = "XenCenter.CustomFields.ha-lizard-enabled"
"""pool.other_config of an ha-lizard that keeps its default field name: "true" while it acts."""
AUTOPROMOTE = "autopromote_uuid"
"""pool.other_config: the host that ha-lizard would make master. It is there wherever ha-lizard is installed."""

POOL_BUSY = {
    "ha_enable": "XAPI's HA is being switched on",
    "ha_disable": "XAPI's HA is being switched off",
    "designate_new_master": "somebody hands mastership over",
    "apply_updates": "updates are being applied",
    "cluster_create": "a cluster is being made",
    "tls_verification_enable": "TLS verification is being switched on",
    "cert_refresh": "certificates are being exchanged",
    "exchange_certificates_on_join": "a host is joining",
    "exchange_ca_certificates_on_join": "a host is joining",
    "copy_primary_host_certs": "a host is joining",
}
"""pool.current_operations beside which no other actor may change a pool, in words."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A person's word to leave a pool, or one VM, alone. Times in UTC seconds.

    `vm` is the VM's name as it was given, `vm_uuid` its uuid where it was known; both None for the whole pool.
    """

    by: str
    reason: str
    since: float
    until: float
    vm: str | None = None
    vm_uuid: str | None = None

    def holds(self, now: float) -> bool:
        """It is not over."""
        return now < self.until

    def covers(self, target: Thing) -> bool:
        """It is about this target: everything, or the one VM (by uuid where it is known, else by name)."""
        if self.vm is None:
            return True
        if target.kind != "vm":
            return False
        return target.uuid == self.vm_uuid if self.vm_uuid and target.uuid else target.name == self.vm

    def __str__(self) -> str:
        what = f"VM {self.vm}" if self.vm else "the pool"
        return f"{what} is paused by {self.by} until {utc(self.until)}: {self.reason}"


def ends(window: FreezeWindow, now: float) -> float | None:
    """When the window that holds now ends, in UTC seconds; None while it doesn't hold."""
    if window.since is not None and window.until is not None:
        return window.until if window.since <= now < window.until else None
    day, moment = divmod(now, DAY)
    midnight = day * DAY
    today = int(day + 3) % 7  # the epoch began on a Thursday
    over_midnight = window.end <= window.start
    if today in window.days and moment >= window.start:
        if over_midnight:
            return midnight + DAY + window.end
        if moment < window.end:
            return midnight + window.end
    if over_midnight and (today - 1) % 7 in window.days and moment < window.end:
        return midnight + window.end
    return None


def freeze_of(windows: Sequence[FreezeWindow], now: float) -> tuple[FreezeWindow, float] | None:
    """The strictest window that holds now, and when it ends; of equals the one that ends last."""
    held = [(window, end) for window in windows if (end := ends(window, now)) is not None]
    return min(held, key=lambda item: (item[0].level, -item[1])) if held else None


def booted(host: Host) -> float | None:
    """When the host's machine booted, in UTC seconds by its own clock, as host.other_config:boot_time tells."""
    try:
        return float(host.other_config.get("boot_time", ""))
    except ValueError:
        return None


def grace_left(wanted: Wanted, state: PoolState, now: float) -> tuple[float, str]:
    """(seconds of grace that are left, what is worth saying). Of a clock that is ahead nothing is known."""
    if not wanted.policy.grace or state.master is None:
        return 0.0, ""
    at = booted(state.master)
    if at is None:
        return 0.0, f"policy.grace can't be kept: {state.master.name} does not say when it booted"
    if at > now + CLOCKS_DIFFER:
        return 0.0, (
            f"policy.grace can't be kept: by its own clock {state.master.name} booted at {utc(at)}, which is ahead of "
            "this machine's: compare their clocks"
        )
    return max(0.0, at + wanted.policy.grace - now), ""


def ha_lizard(known: PoolState | None) -> bool:
    """Whether ha-lizard says that it acts on this pool."""
    return known is not None and known.pool.other_config.get(HA_LIZARD, "").strip().lower() == "true"


def paused_words(pauses: Sequence[Pause], action: Action, now: float) -> tuple[str, str] | None:
    """Why a person's pause forbids an action, and how it ends."""
    held = [p for p in pauses if p.holds(now) and p.covers(action.target)]
    if not held or action.level <= Level.OBSERVE:
        return None
    pause = max(held, key=lambda p: p.until)
    return str(pause), "" if pause.vm is None else pause.vm


def withheld_by(
    wanted: Wanted,
    action: Action,
    *,
    attended: bool,
    pauses: Sequence[Pause],
    state: PoolState | None,
    known: PoolState | None,
    now: float,
) -> tuple[str, str]:
    """The one reason why an action must wait, and the remedy; ("", "") when nothing here holds it back.

    `state` is the pool as read now, `known` the one last known where there is none.
    """
    manifest = wanted.argument
    if paused := paused_words(pauses, action, now):
        vm = f" --vm {paused[1]}" if paused[1] else ""
        return paused[0], f"xenrec pause {manifest}{vm} --clear"
    if frozen := freeze_of(wanted.policy.freeze, now):
        window, end = frozen
        # A promotion that was begun is finished: without it the new master may stay disabled for ever (recording 14).
        if action.level > window.level and action.verb is not Verb.RECOVER_MEMBERS:
            where = f" ({window.place})" if window.place else ""
            return (
                f"policy.freeze allows {window.level.word} at most until {utc(end)} ({window.reason}) and this is "
                f"{action.level.word}",
                f"wait, or change the window in the manifest{where}",
            )
    last = state or known
    if last is None or action.level <= Level.METADATA:
        return "", ""
    if ha_lizard(last):
        return (
            "ha-lizard is enabled on this pool, and it chooses masters, fences hosts and starts VMs by itself",
            f"let it finish, or switch it off: xe pool-param-set uuid={last.pool.uuid} other-config:{HA_LIZARD}=false",
        )
    if state is None:
        return "", ""  # what is under way, and since when, only an acting master can tell
    if busy := [POOL_BUSY[o] for o in state.pool.current_operations if o in POOL_BUSY]:
        return f"somebody else changes the pool: {names(dict.fromkeys(busy))}", "wait for it: xe task-list"
    if not attended:
        left, _ = grace_left(wanted, state, now)
        if left > 0 and state.master is not None:
            return (
                f"{state.master.name} booted less than {lasting(wanted.policy.grace)} ago (policy.grace): members may "
                "still be starting, and XAPI starts VMs by itself",
                f"it ends in {lasting(left)}; a person need not wait: {apply_command(wanted)}",
            )
    return "", ""


def others_words(state: PoolState, declared: Mapping[str, str]) -> list[str]:
    """Who else drives this pool, a sentence for each. `declared`: VM uuid -> the state that the manifest wishes."""
    pool = state.pool
    told = []
    if pool.ha_enabled:
        told.append("XAPI's own HA is on: it restarts VMs and chooses masters; xenrec stands back")
    if ha_lizard(state):
        told.append("ha-lizard is enabled on this pool: it starts VMs and chooses masters; xenrec stands back")
    elif AUTOPROMOTE in pool.other_config or HA_LIZARD in pool.other_config:
        told.append(
            "ha-lizard is installed in this pool and not enabled, as far as its own keys tell (a pool that renamed its "
            "field can't be recognised)"
        )
    if pool.wlb_enabled:
        told.append(
            "Workload Balancing is on: it may power hosts off and move running VMs, also those that xenrec moved"
        )
    for host in sorted(state.hosts.values(), key=lambda h: h.name):
        if host.leaving:
            told.append(f"somebody works on {host.name} ({names(host.leaving)}): nothing is started on it")
    own = [vm for vm in state.guests if vm.other_config.get("auto_poweron") == "true" and vm.uuid in declared]
    if own and pool.other_config.get("auto_poweron") == "true":
        kept_down = [vm for vm in own if declared[vm.uuid] in ("halted", "suspended")]
        told += [
            f"XAPI starts {vm.name} whenever a host boots (auto_poweron), although the manifest declares otherwise: "
            f"xe vm-param-set uuid={vm.uuid} other-config:auto_poweron=false"
            for vm in kept_down
        ]
        others = [vm.name for vm in own if vm not in kept_down]
        if others:
            told.append(f"XAPI starts {names(others)} by itself when a host boots (auto_poweron)")
    return told
