"""Why a host, an SR or the master is as it is, and what the plan does about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.core.drill import drill
from reconciler.core.drill_cases import Case
from reconciler.core.evidence import Judged, Situation, Verdict
from reconciler.core.model import Host, PoolState, PowerState, Sr, Vm
from reconciler.core.plan import Thing, Verb
from reconciler.core.standing import Standing
from reconciler.core.storage import hosts_of
from reconciler.core.wanted import Member, MemberState
from reconciler.core.why import Because, Considered, Ground, Sort, Told, UnknownName, Wish, near
from reconciler.core.words import count, names, size, utc

_UP = (PowerState.RUNNING, PowerState.PAUSED)


def why_host(ground: Ground, name: str) -> Because:
    """The answer about the host of that name, uuid or address. Raises UnknownName."""
    wanted, state = ground.wanted, ground.state
    host = None
    if state is not None:
        host = next((h for h in state.hosts.values() if name in (h.name, h.uuid, h.address)), None)
    member = next((m for m in wanted.members if name in (m.name, m.address)), None)
    stands = ground.stands
    if stands is not None:
        for one in stands.by_ref.values():
            if (member is not None and one.member is member) or (host is not None and one.host.uuid == host.uuid):
                host, member = one.host, one.member
    if host is None and member is None:
        known = [m.name for m in wanted.members]
        known += [h.name for h in state.hosts.values() if h.name not in known] if state is not None else []
        raise UnknownName(f"neither the pool nor the manifest knows a host {name}", near("host", name, known))
    called = member.name if member is not None else host.name if host is not None else name
    thing = Thing("host", called, host.uuid if host is not None else "", host.address if host is not None else "")
    told = ground.told([thing])
    judged = ground.diagnosis.of(called)
    mine = [t.action for t in told if t.sort is Sort.DONE and t.action is not None]
    return Because(
        thing,
        _host_short(judged, member, host, told),
        wished=_member_wishes(ground, member) if member is not None else (),
        known=_host_known(ground, judged, member, host),
        told=told,
        waits=ground.before(mine),
        depends=_guests(ground, host) + _if_lost(ground, called),
        next=ground.next_of(told),
        read_at=ground.read_at,
        live=ground.live,
    )


def _host_short(judged: Judged | None, member: Member | None, host: Host | None, told: Sequence[Told]) -> str:
    if member is None:
        return (
            "it is in the pool, and the manifest does not declare it: it is never judged, and nothing is placed on it"
        )
    if host is None:
        return "the manifest declares it, and the pool has no such host"
    is_ = f"it is {judged.verdict}: {judged.why}" if judged is not None else "nobody was asked about it"
    acts = [t for t in told if t.sort in (Sort.DONE, Sort.WITHHELD, Sort.UNMET)]
    return f"{is_}; {acts[0].sort}: {acts[0].why}" if acts else is_


def _member_wishes(ground: Ground, member: Member) -> tuple[Wish, ...]:
    wanted, place = ground.wanted, str(member.place or "")
    lines = [Wish(f"member at {member.address}, state {member.state}", place)]
    agents = names(device.agent for device in member.fencing) if member.fencing else ""
    lines.append(Wish(f"fenced by {agents}" if agents else "no fence agent: its death needs somebody's word", place))
    if wanted.master is not None:
        office = str(wanted.master.place or "")
        if wanted.master.host == member.name:
            lines.append(Wish("master", office))
        elif member.name in wanted.master.successors:
            rank = wanted.master.successors.index(member.name) + 1
            lines.append(Wish(f"successor number {rank} of the master", office))
    return tuple(lines)


def _host_known(ground: Ground, judged: Judged | None, member: Member | None, host: Host | None) -> tuple[str, ...]:
    lines = []
    t = ground.survey.of(member.name) if member is not None else None
    if t is not None:
        answer = f"to a login: {t.login}" + (f", follows {t.follows}" if t.follows else "")
        lines.append(answer + (f" ({t.detail})" if t.detail else "") + f"; power by its BMC: {t.bmc}")
    if judged is not None and judged.certificate is not None:
        c = judged.certificate
        lines.append(f"proved dead: {c.kind} by {c.by} ({c.reason})")
    if host is None:
        return tuple(lines)
    state, stands = ground.state, ground.stands
    assert state is not None
    record = host
    whose = "the pool's record"
    if not ground.live:  # what stands of it is a forecast, in which who does not answer is disabled and not live
        record = ground.recorded.hosts.get(host.ref, host) if ground.recorded is not None else host
        whose += f" when it was last read, at {utc(state.read_at)}"
    lines.append(
        f"{whose}: {'enabled' if record.enabled else 'disabled'}, {'live' if record.live else 'not live'}"
        + (f", somebody is at it: {names(record.current_operations)}" if record.current_operations else "")
    )
    if ground.live and stands is not None and host.ref in stands.by_ref:
        one = stands.by_ref[host.ref]
        lines.append(f"for placing VMs it is {one.standing}: {one.why}")
        if one.standing is Standing.UNDECLARED:
            lines.append("to let it run VMs, declare it under spec.members")
    used = sum(vm.memory_dynamic_min + vm.memory_overhead for vm in state.residents.get(host.ref, ()))
    free = max(0, host.memory_total - host.memory_overhead - used)
    lines.append(f"{size(free)} of {size(host.memory_total)} memory free, {host.cpus} CPUs")
    return tuple(lines)


def _guests(ground: Ground, host: Host | None) -> tuple[str, ...]:
    state, selection = ground.state, ground.selection
    if host is None or state is None or selection is None:
        return ()
    guests = [vm for vm in state.residents.get(host.ref, ()) if vm.is_guest and vm.power_state in _UP]
    lines = [_listed("declared", [vm for vm in guests if vm.ref in selection.wishes])]
    lines.append(
        _listed("not named by the manifest, never touched", [v for v in guests if v.ref not in selection.wishes])
    )
    coming = [a.target.name for a in ground.plan.actions if a.to is not None and a.to.uuid == host.uuid]
    coming = [n for n in dict.fromkeys(coming) if n != host.name]
    if coming:
        lines.append(f"the plan brings here or makes it the home of {names(coming)}")
    return tuple(line for line in lines if line)


def _listed(what: str, vms: Sequence[Vm]) -> str:
    return f"{count(len(vms), 'VM')} recorded on it, {what}: {names(vm.name for vm in vms)}" if vms else ""


def _if_lost(ground: Ground, name: str) -> tuple[str, ...]:
    """What its loss would mean, where it is not lost already."""
    if not ground.live or ground.state is None:
        return ()
    found = drill(
        ground.wanted,
        ground.survey,
        ground.diagnosis,
        ground.state,
        only=name,
        memory=ground.memory,
        now=ground.plan.made_at,
    )
    return tuple(_lost_words(case) for case in found.cases)


def _lost_words(case: Case) -> str:
    if case.new_master is None:
        return "if it died now: nobody is left who could be master, and nothing would restart"
    told = f"if it died now: {count(len(case.restarted), 'VM') if case.restarted else 'no VM'} would restart"
    if case.lost:
        told += f", {'and ' if case.restarted else ''}{names(loss.vm.name for loss in case.lost)} would not"
    if case.new_master:
        told += f"; {case.new_master} would become master"
        told += f", and its copy of the database may kill {', '.join(case.killed)}" if case.killed else ""
    return told


def why_sr(ground: Ground, name: str) -> Because:
    """The answer about the SR of that name or uuid. Raises UnknownName."""
    state, wanted = ground.state, ground.wanted
    found = state.srs_named(name) if state is not None else ()
    declared = [n for n in (wanted.storage.default_sr, wanted.storage.suspend_image_sr) if n]
    if not found and name not in declared:
        known = [s.name for s in state.srs.values()] if state is not None else []
        raise UnknownName(
            f"neither the pool nor the manifest knows an SR {name}", near("sr", name, [*known, *declared])
        )
    if len(found) > 1:
        assert state is not None
        where = [names(sorted(state.name_of(h) for h in state.sr_hosts.get(s.ref, ()))) for s in found]
        listed = "; ".join(f"{s.uuid} on {hosts}" for s, hosts in zip(found, where, strict=True))
        raise UnknownName(f"{len(found)} SRs are named {name}, say which: {listed}", [f"sr/{found[0].uuid}"])
    if not found or state is None:
        told = ground.told([Thing("sr", name)])
        short = "the manifest names it, and the pool has no such SR"
        wished = _sr_wishes(ground, name, "")
        return Because(Thing("sr", name), short, wished, told=told, next=ground.next_of(told), read_at=ground.read_at)
    return _sr(ground, state, found[0])


def _sr(ground: Ground, state: PoolState, sr: Sr) -> Because:
    thing = Thing("sr", sr.name, sr.uuid)
    about = [
        *ground.told([thing]),
        *(t for t in ground.told([Thing("pool", state.pool.name, state.pool.uuid)]) if _to(t) == sr.uuid),
    ]
    is_ = [what for what, ref in _offices(state) if ref == sr.ref]
    kind = "shared" if sr.shared else "local"
    lines = [f"a {kind} SR of type {sr.type}" + (f"; it is the pool's {names(is_)}" if is_ else "")]
    considered = []
    for ref, host in sorted(state.hosts.items(), key=lambda item: item[1].name):
        has, plugged = ref in state.sr_hosts.get(sr.ref, ()), (ref, sr.ref) in state.attached
        one = ground.stands.by_ref.get(ref) if ground.stands is not None else None
        silent = "" if one is None or one.answers else f", as last recorded: it is {one.standing}"
        why = "has it plugged" if plugged else "has it, unplugged" if has else "has no connection to it"
        considered.append(Considered(host.name, plugged and not silent, why + silent))
    users = sorted({state.name_of(v.vm) for v in state.vbds.values() if _on(state, v.vdi, sr)})
    up = hosts_of(sr, ground.stands, state)[0] if ground.stands is not None else []
    short = f"{count(len(up), 'host')} that answer reach it" if ground.live else "as it was last read"
    if ground.live and not up:
        short = "no host that answers reaches it"
    elif len(up) == 1:
        short = f"only {up[0]} reaches it: with that host its VMs are lost"
    return Because(
        thing,
        short,
        _sr_wishes(ground, sr.name, sr.uuid),
        tuple(lines),
        tuple(about),
        tuple(considered),
        depends=(f"{count(len(users), 'VM')} with a disk or CD on it: {names(users)}",) if users else (),
        next=ground.next_of(about),
        read_at=ground.read_at,
        live=ground.live,
    )


def _offices(state: PoolState) -> tuple[tuple[str, str | None], ...]:
    return (("default SR", state.pool.default_sr), ("suspend image SR", state.pool.suspend_image_sr))


def _to(told: Told) -> str:
    return told.action.to.uuid if told.action is not None and told.action.to is not None else ""


def _on(state: PoolState, vdi: str | None, sr: Sr) -> bool:
    disk = state.vdis.get(vdi or "")
    return disk is not None and disk.sr == sr.ref


def _sr_wishes(ground: Ground, name: str, uuid: str) -> tuple[Wish, ...]:
    wish = ground.wanted.storage
    found = []
    if wish.default_sr in (name, uuid or name):
        found.append(Wish("storage.defaultSR", str(wish.default_sr_place or "")))
    if wish.suspend_image_sr in (name, uuid or name):
        found.append(Wish("storage.suspendImageSR", str(wish.suspend_image_sr_place or "")))
    return tuple(found)


_OFFICE = (Verb.FENCE, Verb.PROMOTE, Verb.AWAIT_MASTER, Verb.RECOVER_MEMBERS, Verb.AWAIT_MEMBERS, Verb.DESIGNATE_MASTER)


def why_master(ground: Ground) -> Because:
    """The answer about the office of master."""
    wanted, diagnosis, plan = ground.wanted, ground.diagnosis, ground.plan
    acting = diagnosis.master or ""
    wish = wanted.master
    wished: list[Wish] = []
    if wish is not None:
        place = str(wish.place or "")
        after = f", then {names(wish.successors)}" if wish.successors else ""
        wished = [Wish(f"master {wish.host}{after}", place), Wish(f"failback {wish.failback}", place)]
    told = [Told(Sort.DONE, a.why, a) for a in plan.actions if a.verb in _OFFICE]
    told += [Told(Sort.WITHHELD, h.why, h.action, remedy=h.remedy) for h in plan.withheld if h.action.verb in _OFFICE]
    told += [Told(Sort.KEPT, k.why) for k in plan.kept if k.target.kind == "pool"]
    promoted = next((a.target.name for a in plan.actions if a.verb in (Verb.PROMOTE, Verb.AWAIT_MASTER)), acting)
    order = [*((wish.host, *wish.successors) if wish is not None else ()), *(m.name for m in wanted.members)]
    considered = [
        _candidate(ground, name, promoted) for name in dict.fromkeys(order) if wanted.member(name) is not None
    ]
    handed = next((a.target.name for a in plan.actions if a.verb is Verb.DESIGNATE_MASTER), "")
    short = diagnosis.why.rstrip(".")
    if handed:
        short += f"; the plan hands the office over to {handed}"
    elif not acting and promoted:
        short += f"; the plan makes {promoted} master"
    return Because(
        Thing("pool", wanted.name, plan.pool_uuid),
        short,
        tuple(wished),
        (f"the pool is {diagnosis.situation}",),
        tuple(told),
        tuple(considered),
        next=diagnosis.remedy or ground.next_of(told),
        read_at=ground.read_at,
        live=ground.live,
    )


def _candidate(ground: Ground, name: str, chosen: str) -> Considered:
    judged, t, member = ground.diagnosis.of(name), ground.survey.of(name), ground.wanted.member(name)
    assert member is not None
    if name == chosen:
        acting = ground.diagnosis.master == name
        return Considered(name, True, "acts as master" if acting else "the first that can be master", chosen=True)
    if judged is not None and judged.verdict is not Verdict.ALIVE:
        return Considered(name, False, f"is {judged.verdict}: {judged.why}")
    if member.state is MemberState.MAINTENANCE:
        return Considered(name, False, "is declared in maintenance")
    if t is not None and t.local_login is False:
        return Considered(name, False, "refuses a local login, which a promotion needs")
    if ground.diagnosis.situation is Situation.MANAGED:
        return Considered(name, True, "could be master")
    return Considered(name, True, "could be master, and comes later in the order")
