"""Dead hosts of a managed pool: which must be buried, on what proof, and what stays in doubt until then (I1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from reconciler.core.draft import Draft, enable_remedy, look_and_attest, tell_again, toolstack_command
from reconciler.core.evidence import BmcPower
from reconciler.core.mark import mark_of
from reconciler.core.model import Host, PoolState, PowerState, Vm
from reconciler.core.plan import Action, Verb
from reconciler.core.standing import Stand, Standing, Stands
from reconciler.core.unsettled import Tie
from reconciler.core.wanted import MemberState, VmWish, Wanted, WantedState
from reconciler.core.words import count, elsewhere, names, utc


@dataclass(frozen=True, slots=True)
class Doubt:
    """A host that may be running VMs that the database has as halted, and how to end the doubt."""

    stand: Stand
    why: str
    remedy: str
    forgotten: bool = False
    """It answers and went on while its master's machine restarted: what is recorded of its VMs may be older."""


def doubts(wanted: Wanted, stands: Stands, state: PoolState, *, forecast: bool = False) -> tuple[Doubt, ...]:
    """Hosts whose real VMs the database may not know.

    `enabled` tells: every master start sets it false for all hosts and only a host that rejoined sets it true again
    (xapi_ha.ml:on_database_engine_ready; recordings 14, 21), so a silent host that is still enabled was lost under the
    present master, whose records of it are right. A host that is live but not enabled may be the healed member of
    recording 07, which runs VMs that were started elsewhere.

    A member tells what it runs only when its toolstack starts (recordings 15, 21): when its master's machine lost power
    and came back, the member goes on, enabled, and what the database had not yet written (seconds, up to minutes:
    sheet §2.7) is forgotten. One whose toolstack is older than its machine is in doubt, also if it answers nobody by
    now; not in a `forecast`, for recovering the members restarts it.
    """
    found = []
    master = state.master
    for one in stands.by_ref.values():
        untold = not forecast and master is not None and _started_before(one.host, master)
        came_back = f"the machine of {state.name_of(master.ref)} restarted" if master is not None else ""
        if one.standing is Standing.DISABLED:
            found.append(
                Doubt(
                    one,
                    f"{one.thing.name} is live but not enabled: it may run VMs that the database has as halted",
                    enable_remedy(one),
                )
            )
        elif one.standing in (Standing.ASTRAY, Standing.REJOINING):
            found.append(
                Doubt(one, f"{one.thing.name} has not rejoined: {one.why}", f"xenrec status {wanted.argument}".strip())
            )
        elif one.standing in (Standing.SILENT, Standing.SUSPECT) and (untold or not one.host.enabled):
            if _surely_empty(one, state):
                continue
            remedy = look_and_attest(wanted, one.thing.name)
            if one.standing is Standing.SUSPECT:
                remedy = toolstack_command(one)
            since = f"told what it runs since {came_back}" if untold else "been heard from since the master started"
            found.append(
                Doubt(
                    one,
                    f"{one.thing.name} has not {since} and is not proved dead: it may run VMs that the database has as "
                    "halted",
                    remedy,
                )
            )
        elif untold and (one.answers or one.standing is Standing.UNDECLARED):
            found.append(
                Doubt(
                    one,
                    f"{one.thing.name} has not told what it runs since {came_back}, which may have forgotten the last "
                    "VMs that were started: it may run VMs that the database has as halted",
                    tell_again(one),
                    forgotten=True,
                )
            )
        elif one.standing is Standing.UNDECLARED and not (one.host.enabled and one.host.live):
            found.append(
                Doubt(
                    one,
                    f"{one.host.name} is in the pool but not in the manifest, and the master has not heard it",
                    f"declare {one.host.name} under spec.members",
                )
            )
    return tuple(found)


def forgotten_words(in_doubt: Sequence[Doubt], state: PoolState) -> str:
    """Whose VMs the database may have otherwise than they are, though it looks as declared; "" where nobody's."""
    found = [d for d in in_doubt if d.forgotten]
    if not found or state.master is None:
        return ""
    who, one = names(d.stand.thing.name for d in found), found[0]
    has, their = ("has", "its") if len(found) == 1 else ("have", "their")
    where = "" if len(found) == 1 else f"on each, as on {one.stand.thing.name}: "
    return (
        f"{who} {has} not told what runs there since the machine of {state.name_of(state.master.ref)} restarted: what "
        f"the pool says of {their} VMs may be older than that. To be sure, {where}{one.remedy}"
    )


def _surely_empty(one: Stand, state: PoolState) -> bool:
    """A silent member in maintenance that nothing unknown can run on: we emptied and disabled it (our mark), or its BMC
    says that it is off. That it is declared so, and has no VM in a database that may be older than what it runs, says
    nothing: so is one that was cut off when its master died, and declared in maintenance to quiet the alarm."""
    if one.member is None or one.member.state is not MemberState.MAINTENANCE or _guests_on(one, state):
        return False
    return one.bmc is BmcPower.OFF or (not one.host.enabled and mark_of(one.host.other_config) is not None)


def _started_before(host: Host, master: Host) -> bool:
    """The host's toolstack started before the master's machine did, by what each wrote at its start (recording 01)."""
    mine, theirs = (
        _number(h.other_config.get(key, "")) for h, key in ((host, "agent_start_time"), (master, "boot_time"))
    )
    return host.ref != master.ref and mine is not None and theirs is not None and mine < theirs


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _guests_on(one: Stand, state: PoolState) -> tuple[Vm, ...]:
    return tuple(
        vm
        for vm in state.residents.get(one.host.ref, ())
        if vm.is_guest and vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
    )


def fence_obstacle(one: Stand, brake: tuple[str, str], guests: Sequence[Vm] = ()) -> tuple[str, str]:
    """(why a silent host must not be fenced now, what to do instead); ("", "") if it may be. `guests` are recorded as
    running there: one that we emptied for maintenance is expected to restart."""
    name = one.thing.name
    if one.standing is Standing.SUSPECT:
        return f"{name} shows life: {one.why}", toolstack_command(one)
    mark = mark_of(one.host.other_config)
    if mark is not None and not one.host.enabled and not guests:
        return (
            f"{name} does not answer, and xenrec itself disabled it for maintenance at {utc(mark.at)}: it may be "
            "restarting",
            "",
        )
    if one.member is not None and one.member.state is MemberState.MAINTENANCE and one.bmc is not BmcPower.OFF:
        return f"{name} is declared in maintenance and not known to be off: somebody may be working on it", ""
    if one.member is not None and elsewhere(one.member.address, one.host.address):
        return (
            f"{name} was asked at {one.member.address}, which is not its address: the pool has it at "
            f"{one.host.address}",
            f"correct the address of {name} under spec.members",
        )
    if one.member is None or not one.member.fencing:
        return f"{name} does not answer and is not proved dead, and no fence agent is declared for it", ""
    if brake[0]:
        return brake
    if one.bmc is BmcPower.UNKNOWN:
        return f"{name} is not proved dead, and its BMC does not answer, which proves nothing", ""
    if one.host.live and one.bmc is not BmcPower.OFF:
        return (
            f"{name} does not answer us, but its BMC says that power is on and the master still counts it as live "
            "(it takes XAPI up to 10 minutes to notice a loss)",
            "look at it: if it hangs, power it off and run again; if it works, mend the network between it and this "
            "machine",
        )
    return "", ""


def plan_burials(
    wanted: Wanted,
    stands: Stands,
    state: PoolState,
    wishes: Mapping[str, VmWish],
    *,
    in_doubt: Sequence[Doubt],
    starts_wanted: bool,
    brake: tuple[str, str],
    draft: Draft,
    ties: Mapping[str, Tie] = MappingProxyType({}),
) -> dict[str, tuple[str, ...]]:
    """Add FENCE and DECLARE_DEAD actions for hosts whose VMs a wish concerns; one burial serves all VMs of a host.

    Returns, for each host ref that is or will be proved dead, the ids that what rests on its death must follow.
    A host of no wish's concern is left as it is.
    """
    proved: dict[str, tuple[str, ...]] = {}
    doubtful = {d.stand.host.ref for d in in_doubt}
    for one in stands.by_ref.values():
        if one.answers or one.standing is Standing.UNDECLARED:
            continue
        guests = _guests_on(one, state)
        concerned = [vm for vm in guests if vm.ref in wishes and wishes[vm.ref].state not in (WantedState.AS_IS,)]
        tied = [t for t in ties.values() if t.stand.host.ref == one.host.ref]
        if not concerned and not tied and not (one.host.ref in doubtful and starts_wanted):
            if one.standing is Standing.DEAD:
                proved[one.host.ref] = ()
            continue
        follows: tuple[str, ...] = ()
        rests = (one.thing.name,)
        why_fence = _why(one, concerned, [d.why for d in in_doubt if d.stand is one] + [t.why for t in tied])
        if one.standing is not Standing.DEAD:
            fence = Action(Verb.FENCE, one.thing, why_fence, before=one.why, after="power off, read back from its BMC")
            why, remedy = fence_obstacle(one, brake, guests)
            if why and one.standing is Standing.SUSPECT:
                continue  # it lives: to declare it dead would be wrong, not only withheld
            if why:
                burial = _burial(one, guests, concerned, rests, ()) if concerned else fence
                draft.hold(
                    burial,
                    why,
                    remedy or look_and_attest(wanted, one.thing.name),
                )
                continue
            draft.actions.append(fence)
            follows = (fence.id,)
        locking = [t for t in tied if not t.freed]
        if concerned or locking:  # a start that was cut off left its disks locked for that host, too
            burial = _burial(one, guests, concerned, rests, follows, locking)
            draft.actions.append(burial)
            follows = (burial.id,)
        proved[one.host.ref] = follows
    return proved


def _why(one: Stand, concerned: Sequence[Vm], in_doubt: Sequence[str]) -> str:
    if concerned:
        them = "it" if len(concerned) == 1 else "them"
        return (
            f"{count(len(concerned), 'declared VM')} can't be started elsewhere while {one.thing.name} may run {them}"
        )
    return in_doubt[0] if in_doubt else ""


def _burial(
    one: Stand,
    guests: Sequence[Vm],
    concerned: Sequence[Vm],
    rests: tuple[str, ...],
    follows: tuple[str, ...],
    tied: Sequence[Tie] = (),
) -> Action:
    others = [vm.name for vm in guests if vm not in concerned]
    also = f"; it also resets {names(others)}, which the manifest does not name" if others else ""
    verb = "is" if len(guests) == 1 else "are"
    why = f"{names(vm.name for vm in guests)} {verb} still recorded as running on it{also}" if guests else tied[0].why
    return Action(
        Verb.DECLARE_DEAD,
        one.thing,
        why,
        before=f"{count(len(guests), 'VM')} recorded on it",
        after="its VMs Halted, their disks unlocked",
        certificate_of=rests,
        follows=follows,
    )
