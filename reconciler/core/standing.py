"""What each host of a managed pool is good for now: the verdict joined with its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.evidence import BmcPower, Certificate, Diagnosis, LoginAnswer, Survey, Testimony, Verdict
from reconciler.core.judge import uuid_of
from reconciler.core.mark import mark_of
from reconciler.core.model import Host, PoolState, PowerState, Ref, Vm
from reconciler.core.plan import Thing
from reconciler.core.wanted import Member, MemberState, Wanted
from reconciler.core.words import address_host


class Standing(StrEnum):
    """A host's part in a plan."""

    READY = "ready"  # answers, follows the master, live and enabled: VMs may be started on it
    MAINTENANCE = "maintenance"  # answers, declared in maintenance or still disabled by us for it: nothing starts there
    REJOINING = "rejoining"  # answers, but the window after a master start is not over
    DISABLED = "disabled"  # answers and is live, but not enabled, and nobody declared that
    ASTRAY = "astray"  # answers, but follows another master
    DEAD = "dead"  # certified
    SILENT = "silent"  # no answer, no proof
    SUSPECT = "suspect"  # something is alive at its address
    UNDECLARED = "undeclared"  # in the pool, not in the manifest: never judged


@dataclass(frozen=True, slots=True)
class Stand:
    """One host of the pool as the planner sees it."""

    host: Host
    member: Member | None
    standing: Standing
    why: str
    certificate: Certificate | None = None
    bmc: BmcPower = BmcPower.NONE
    imagined: bool = False
    """Its loss is only imagined, by a drill."""
    stuck_under: str = ""
    """Of a SUSPECT one whose toolstack has been down for so long that the master lost it: the master's address."""

    @property
    def thing(self) -> Thing:
        """The host as the target of an action, under the name that the manifest gives it."""
        name = self.member.name if self.member else self.host.name
        return Thing("host", name, self.host.uuid, self.member.address if self.member else self.host.address)

    @property
    def in_maintenance(self) -> bool:
        """The manifest declares it in maintenance."""
        return self.member is not None and self.member.state is MemberState.MAINTENANCE

    @property
    def answers(self) -> bool:
        """Its XAPI answered us."""
        return self.standing in (
            Standing.READY,
            Standing.MAINTENANCE,
            Standing.REJOINING,
            Standing.DISABLED,
            Standing.ASTRAY,
        )


@dataclass(frozen=True)
class Stands:
    """Every host of the pool, by ref, in the order of names; and members that the pool does not know."""

    by_ref: Mapping[Ref, Stand]
    by_member: Mapping[str, Stand]
    missing: tuple[Member, ...] = ()

    def runs(self, vm: Vm) -> bool:
        """It runs on a host that answers. Anything else is not known to run."""
        if vm.power_state is not PowerState.RUNNING:
            return False
        one = self.by_ref.get(vm.resident_on or "")
        return one is not None and (one.answers or (one.standing is Standing.UNDECLARED and one.host.live))

    @property
    def ready(self) -> tuple[Host, ...]:
        """Hosts on which VMs may be started: none that somebody is emptying or restarting."""
        return tuple(s.host for s in self.by_ref.values() if s.standing is Standing.READY and not s.host.leaving)

    def hosts(self) -> dict[str, Host]:
        """Host records by member name."""
        return {name: s.host for name, s in self.by_member.items()}


def stand(wanted: Wanted, survey: Survey, diagnosis: Diagnosis, state: PoolState) -> Stands:
    """Join verdicts and records. A host is READY only when its own login names the acting master, it is live and it is
    enabled: right after a master start `live` says nothing (recordings 11, 14, 21), only rejoining does."""
    by_uuid = {h.uuid: h for h in state.hosts.values()}
    found: dict[Ref, Stand] = {}
    by_member: dict[str, Stand] = {}
    missing = []
    called = {address_host(m.address): m.name for m in wanted.members}
    declared = {uuid_of(m, state): m for m in wanted.members}
    master_settled = state.master is not None and (
        state.master.enabled or resting(state.master, declared.get(state.master.uuid))
    )
    for member in wanted.members:
        uuid = uuid_of(member, state)
        if uuid is None:
            missing.append(member)
            continue
        host = by_uuid[uuid]
        one = _stand(member, host, survey, diagnosis, master=state.master, master_settled=master_settled, called=called)
        found[host.ref] = by_member[member.name] = one
    for host in state.hosts.values():
        if host.ref not in found:
            found[host.ref] = Stand(host, None, Standing.UNDECLARED, "the manifest does not declare it")
    ordered = dict(sorted(found.items(), key=lambda item: (item[1].thing.name, item[1].host.uuid)))
    return Stands(ordered, by_member, tuple(missing))


def resting(host: Host, member: Member | None) -> bool:
    """It may be disabled without having been cut off: in maintenance, or disabled by us for one that is over.

    Once disabled so, it got no VM that the database does not know: XAPI starts and moves none there, and a member that
    follows a new master's older database restarted its toolstack first, which tells what it runs (sheet §2.5, §2.6).
    """
    if member is None:
        return False
    return member.state is MemberState.MAINTENANCE or (not host.enabled and mark_of(host.other_config) is not None)


def _suspect(member: Member, host: Host, why: str, t: Testimony, master: Host | None) -> Stand:
    """Something lives there that is no XAPI. A toolstack that restarts is down for seconds, in which the master goes on
    counting its host as live (recording 15); one that the master has lost is stopped, or dies at each start, as where
    the role file is broken (recording 12)."""
    if master is None or host.live or t.login not in (LoginAnswer.REFUSED, LoginAnswer.STRANGE):
        return Stand(host, member, Standing.SUSPECT, why, bmc=t.bmc)
    why += ", and the master has lost it: it was stopped, or its role file is broken and it dies at each start"
    return Stand(host, member, Standing.SUSPECT, why, bmc=t.bmc, stuck_under=master.address)


def _stand(
    member: Member,
    host: Host,
    survey: Survey,
    diagnosis: Diagnosis,
    *,
    master: Host | None,
    master_settled: bool,
    called: Mapping[str, str],
) -> Stand:
    judged, t = diagnosis.of(member.name), survey.of(member.name)
    assert judged is not None
    assert t is not None
    followed = called.get(t.follows or "")
    if judged.verdict is Verdict.DEAD:
        return Stand(host, member, Standing.DEAD, judged.why, judged.certificate, t.bmc)
    if judged.verdict is Verdict.SUSPECT:
        return _suspect(member, host, judged.why, t, master if master_settled else None)
    if judged.verdict is not Verdict.ALIVE:
        return Stand(host, member, Standing.SILENT, judged.why, bmc=t.bmc)
    if member.name in diagnosis.astray:
        return Stand(host, member, Standing.ASTRAY, f"it still follows {followed or t.follows}", bmc=t.bmc)
    if t.broken:
        why = "its role file is broken, or that of the host which it follows: it must be told whom to follow"
        return Stand(host, member, Standing.REJOINING, why, bmc=t.bmc)
    if t.login is LoginAnswer.EMERGENCY:
        return Stand(host, member, Standing.REJOINING, f"it is starting ({t.detail})", bmc=t.bmc)
    if not host.live and t.reaches_master is False:
        why = f"it can't reach the master: look at the network between {member.name} and {followed or t.follows}"
        return Stand(host, member, Standing.REJOINING, why, bmc=t.bmc)
    if not host.live:
        return Stand(host, member, Standing.REJOINING, "it answers, but the master has not heard it yet", bmc=t.bmc)
    if not host.enabled and not master_settled:
        return Stand(host, member, Standing.REJOINING, "the master has just started and enables hosts", bmc=t.bmc)
    if resting(host, member):
        why = "declared in maintenance" if member.state is MemberState.MAINTENANCE else "disabled for its maintenance"
        return Stand(host, member, Standing.MAINTENANCE, why, bmc=t.bmc)
    if not host.enabled:
        return Stand(host, member, Standing.DISABLED, "it is disabled, and the manifest does not say so", bmc=t.bmc)
    return Stand(host, member, Standing.READY, "live and enabled", bmc=t.bmc)
