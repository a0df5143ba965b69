"""The steps of the xe runbook: for each verb, what to type, where, what to see first and what to expect.

Which xe commands use a local session (and so work on a member without its master) is in xapi's cli_frontend.ml; xe
takes user and password from the file after -pwf (newcli.ml: it never asks for them).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.core.model import PoolState
from reconciler.core.plan import Action, Plan, Thing, Verb
from reconciler.core.wanted import Wanted
from reconciler.views import words


@dataclass
class Desk:
    """What the steps need to know: the plan, the manifest, the last known pool, and who is master by now."""

    plan: Plan
    wanted: Wanted
    state: PoolState | None
    master: str
    """Name of the host that is master when the step is typed; "" while nobody is."""

    def address(self, host: str) -> str:
        """Where a host answers."""
        member = self.wanted.member(host)
        if member is not None:
            return member.address
        judged = self.plan.diagnosis.of(host)
        return judged.address if judged is not None else host

    def uuid(self, thing: Thing) -> str:
        """The uuid to type: as planned, as last known, or a command that asks for it."""
        if thing.uuid:
            return shell(thing.uuid)
        if self.state is not None:
            if thing.kind == "host" and (host := self.state.host_named(thing.name)) is not None:
                return shell(host.uuid)
            if thing.kind == "pool" and self.state.pool.uuid:
                return shell(self.state.pool.uuid)
        if thing.kind == "pool":
            return f'"$({self.xe("pool-list", "params=uuid", "--minimal")})"'
        given = shell(f"name-label={thing.name}")
        return f'"$({self.xe(f"{thing.kind}-list", given, "params=uuid", "--minimal")})"'

    def known(self, thing: Thing) -> str:
        """What to expect where the thing's uuid is shown."""
        uuid = self.uuid(thing)
        asked = uuid.startswith('"$(')
        return f"the uuid of {words.name(thing.name)}" if asked else f"{uuid} ({words.name(thing.name)})"

    def xe(self, command: str, *arguments: str, at: str = "") -> str:
        """One xe command, sent to the master or to the host named. Arguments are quoted already."""
        address = self.address(at or self.master) if at or self.master else "MASTER-ADDRESS"
        return " ".join(["xe", "-s", shell(address), "-pwf", '"$PWF"', command, *arguments])


def shell(text: str) -> str:
    """The text as one word of a shell, on one line and in ASCII whatever it holds."""
    if text.isascii() and text.isprintable():
        return shlex.quote(text)
    raw = text.encode("utf-8", "surrogatepass")
    plain = "".join(chr(b) if 32 <= b < 127 and chr(b) not in "\\'" else f"\\x{b:02x}" for b in raw)
    return f"$'{plain}'"


Lines = list[str]
"""Comments start with "#"; everything else is to be typed."""


def comment(*texts: str) -> Lines:
    """Comment lines, without wrapping: the writer knows the width."""
    return [f"#   {words.fold(words.clean(t))}" for t in texts]


def _fence(action: Action, desk: Desk) -> Lines:
    host = words.name(action.target.name)
    member = desk.wanted.member(action.target.name)
    lines = comment(f"At the BMC of {host}: power it off, then look again and SEE that it is off.")
    for device in member.fencing if member is not None else ():
        where = next((device.options[k] for k in ("ip", "ipaddr", "ip_address", "plug") if k in device.options), "")
        lines += comment(f"its BMC: {device.agent}{f' at {where}' if where else ''}")
    lines += comment(
        "No BMC: pull its power cords, all of them.",
        "Expected: power is off, read back twice. 'No answer' is not off. Not off: STOP HERE.",
        f"And nothing answers: ping -c 3 {shell(desk.address(action.target.name))}",
    )
    return lines


def _answers(desk: Desk, host: str) -> Lines:
    """Wait until a host accepts a normal login as master."""
    asked = desk.xe("pool-list", "params=master", "--minimal", at=host)
    return [
        *comment(
            "Wait until it answers; in the meantime it refuses, hangs, or says it is a member.",
            "Usual: 10 to 15 s. Ten minutes: STOP, look at /var/log/xensource.log there.",
        ),
        f"until timeout 15 {asked}; do sleep 2; done",
        *comment(f"Expected: the uuid of {words.name(host)}."),
    ]


def _promote(action: Action, desk: Desk) -> Lines:
    host = action.target.name
    others = [m for m in desk.wanted.members if m.name not in (host, *action.certificate_of)]
    lines = comment("STOP unless every line here is true:")
    for dead in action.certificate_of:
        lines += comment(f"- you SAW {words.name(dead)} powered off (not: it does not answer)")
    lines += comment("- no host accepts a login as master; on each of these it is refused or hangs:")
    lines += [f"timeout 15 {desk.xe('pool-list', '--minimal', at=m.name)}" for m in others]
    lines += comment(
        "- XAPI's own HA is off. With HA on, leave it to HA.",
        "Nothing guards the next command but you: it works beside a living master too.",
        "This question must be answered, true or false (current releases say false):",
    )
    lines.append(desk.xe("host-is-in-emergency-mode", at=host))
    lines += comment("Type this ONCE. If the reply is lost, never send it again: wait and look.")
    lines.append(desk.xe("pool-emergency-transition-to-master", at=host))
    lines += comment("Expected: it says that the host agent will restart.")
    desk.master = host
    return lines + _answers(desk, host)


def _await_master(action: Action, desk: Desk) -> Lines:
    desk.master = action.target.name
    return [
        *comment("Its promotion was sent already. Do NOT send it again."),
        *_answers(desk, action.target.name),
    ]


_MEMBERS = ("host-list", "params=name-label,enabled,host-metrics-live")


def _rejoined(desk: Desk, *, gone: Sequence[str]) -> Lines:
    return [
        *comment(
            "Wait (usual: 40 s) until every host that is powered on says enabled: true.",
            "Until then judge nobody: live: false is said of healthy hosts too.",
        ),
        desk.xe(*_MEMBERS),
        *comment(f"Left out: {words.names(gone)}, known dead." if gone else "All of them."),
    ]


def _gone(desk: Desk) -> tuple[str, ...]:
    return tuple(dict.fromkeys(h for a in _all(desk.plan) for h in a.certificate_of))


def _all(plan: Plan) -> tuple[Action, ...]:
    return (*plan.actions, *(w.action for w in plan.withheld))


def _recover(action: Action, desk: Desk) -> Lines:
    if action.to is not None:
        desk.master = action.to.name
    gone = _gone(desk)
    members = [m for m in desk.wanted.members if m.name != desk.master and m.name not in gone]
    lines = comment(
        "AT ONCE, and only on the host that just answered pool-list: on a member this",
        "command tangles the pool, and with two masters whoever is asked wins.",
    )
    lines.append(desk.xe("pool-recover-slaves"))
    told = [h.uuid for m in members if desk.state is not None and (h := desk.state.host_named(m.name)) is not None]
    lines += comment(f"Expected: the uuids of {words.names(m.name for m in members) or 'no other host'}.", *told)
    lines += comment("Whom each follows; expected on every one: " + f"slave:{desk.address(desk.master)}")
    lines += [f"ssh {shell(f'root@{m.address}')} cat /etc/xensource/pool.conf" for m in members]
    return lines + _rejoined(desk, gone=gone)


def _follow(action: Action, desk: Desk) -> Lines:
    host, master = action.target.name, action.to.name if action.to is not None else desk.master
    desk.master = master
    lines = comment(
        f"STOP unless you decided that {words.name(master)} is right: its database wins. When the toolstack",
        f"of {words.name(host)} starts again, it kills the VMs that {words.name(master)} has elsewhere or not at all:",
        *(f"  {words.name(d.name)} on {words.name(d.host)}: {words.clean(d.why)}" for d in action.kills),
        *(() if action.kills else ("  none that is known",)),
        f"And {words.name(master)} must accept a login, as master:",
    )
    lines.append(desk.xe("pool-list", "params=master", "--minimal"))
    address = shell(f"master-address={desk.address(master)}")
    lines.append(desk.xe("pool-emergency-reset-master", address, at=host))
    lines += comment(
        f"Expected within a minute on {words.name(host)}: slave:{desk.address(master)}",
        f"Do not restart the toolstack of {words.name(master)} before that: who starts first gives way.",
    )
    lines.append(f"ssh {shell(f'root@{desk.address(host)}')} cat /etc/xensource/pool.conf")
    return lines + _rejoined(desk, gone=_gone(desk))


def _await_members(action: Action, desk: Desk) -> Lines:
    return _rejoined(desk, gone=_gone(desk))


def _declare_dead(action: Action, desk: Desk) -> Lines:
    host = words.name(action.target.name)
    uuid = desk.uuid(action.target)
    left = desk.xe("vm-list", f"resident-on={uuid}", "is-control-domain=false", "params=uuid,name-label,power-state")
    lines = comment(
        f"STOP unless you SAW {host} powered off: XAPI does not check. If it lives, its VMs",
        "will run twice and their disks will be destroyed.",
        "Which VMs it frees:",
    )
    lines.append(left)
    lines += comment("It asks whether you mean it.")
    lines.append(desk.xe("host-declare-dead", f"uuid={uuid}"))
    lines += comment("Expected afterwards: no VM is left there.")
    lines.append(left)
    lines += comment(
        "ONLY where host-declare-dead does not exist or fails, for each VM that is left:",
        f"  {desk.xe('vm-reset-powerstate', 'uuid=UUID', '--force')}",
        "WARNING: it leaves the locks of the VM's disks behind; the next start may fail with",
        '"VDI not available" until /opt/xensource/sm/resetvdis.py HOST-UUID SR-UUID freed them.',
    )
    if desk.state is not None and (dead := desk.state.host_named(action.target.name)) is not None:
        guests = sorted(
            (v for v in desk.state.residents.get(dead.ref, ()) if v.is_guest), key=lambda v: (v.name, v.uuid)
        )
        lines += comment(*(f"  {v.uuid}  {words.name(v.name)}" for v in guests))
    return lines


def _pool_sr(key: str) -> Callable[[Action, Desk], Lines]:
    def steps(action: Action, desk: Desk) -> Lines:
        pool = desk.uuid(Thing("pool", desk.plan.pool, desk.plan.pool_uuid))
        sr = desk.uuid(action.to) if action.to is not None else ""
        return [
            desk.xe("pool-param-set", f"uuid={pool}", f"{key}={sr}"),
            desk.xe("pool-param-get", f"uuid={pool}", f"param-name={key}"),
            *comment(f"Expected: {desk.known(action.to) if action.to is not None else '<not in database>'}."),
        ]

    return steps


def _affinity(action: Action, desk: Desk) -> Lines:
    home = desk.uuid(action.to) if action.to is not None else ""
    return [desk.xe("vm-param-set", f"uuid={desk.uuid(action.target)}", f"affinity={home}")]


def _designate(action: Action, desk: Desk) -> Lines:
    lines = comment("Every host must be up. Type it ONCE; the API is away for about 20 s.", "VMs go on running.")
    lines.append(desk.xe("pool-designate-new-master", f"host-uuid={desk.uuid(action.target)}"))
    desk.master = action.target.name
    return [*lines, *_answers(desk, action.target.name), *_rejoined(desk, gone=())]


def _sync_database(action: Action, desk: Desk) -> Lines:
    return [
        *comment(
            "Every host that is up gets a copy of the database as it is now. With a host down it ends with an",
            "error that names that host; the others have their copy. It may take 2 min then.",
        ),
        desk.xe("pool-sync-database"),
        *comment("Expected: no output, or HOST_OFFLINE and the name of a host that you know is down."),
    ]


def _power(command: str, expected: str) -> Callable[[Action, Desk], Lines]:
    def steps(action: Action, desk: Desk) -> Lines:
        uuid = desk.uuid(action.target)
        lines: Lines = []
        if action.certificate_of:
            seen = words.names(action.certificate_of)
            lines += comment(f"STOP unless you SAW {seen} powered off, and it says halted:")
            lines.append(desk.xe("vm-param-get", f"uuid={uuid}", "param-name=power-state"))
        on = [f"on={desk.uuid(action.to)}"] if action.to is not None and command in ("vm-start", "vm-resume") else []
        lines.append(desk.xe(command, f"uuid={uuid}", *on))
        lines.append(desk.xe("vm-list", f"uuid={uuid}", "params=name-label,power-state,resident-on"))
        where = f" on {desk.known(action.to)}" if action.to is not None else ""
        return lines + comment(f"Expected: {expected}{where}.")

    return steps


def _migrate(action: Action, desk: Desk) -> Lines:
    uuid = desk.uuid(action.target)
    source, to = action.source, action.to
    lines: Lines = []
    if source is not None:
        lines += comment(f"Go on only if it still runs on {words.name(source.name)}: {desk.known(source)}.")
        lines.append(desk.xe("vm-param-get", f"uuid={uuid}", "param-name=resident-on"))
    lines += comment("It goes on running. If the reply is lost, look where it runs before you type it again.")
    host = [f"host-uuid={desk.uuid(to)}"] if to is not None else []
    lines.append(desk.xe("vm-migrate", f"uuid={uuid}", *host, "live=true"))
    lines.append(desk.xe("vm-list", f"uuid={uuid}", "params=name-label,power-state,resident-on"))
    where = f" on {desk.known(to)}" if to is not None else ""
    return lines + comment(f"Expected: running{where}.")


def _disable(action: Action, desk: Desk) -> Lines:
    uuid = desk.uuid(action.target)
    return [
        *comment(
            "Where xe does not know auto-enable, leave it out: the host is enabled again when it restarts.",
            "The key tells xenrec that it may enable the host again.",
        ),
        desk.xe("host-param-set", f"uuid={uuid}", shell('other-config:xenrec-maintenance={"at":0,"run":"by hand"}')),
        desk.xe("host-disable", f"uuid={uuid}", "auto-enable=false"),
        desk.xe("host-param-get", f"uuid={uuid}", "param-name=enabled"),
        *comment("Expected: false."),
    ]


def _enable(action: Action, desk: Desk) -> Lines:
    uuid = desk.uuid(action.target)
    return [
        desk.xe("host-enable", f"uuid={uuid}"),
        desk.xe("host-param-get", f"uuid={uuid}", "param-name=enabled"),
        *comment("Expected: true."),
    ]


def _end(action: Action, desk: Desk) -> Lines:
    uuid = desk.uuid(action.target)
    return [desk.xe("host-param-remove", f"uuid={uuid}", "param-name=other-config", "param-key=xenrec-maintenance")]


def _await_ready(action: Action, desk: Desk) -> Lines:
    who, ready = words.name(action.target.name), action.ready
    uuid = desk.uuid(action.target)
    patience = f" It may take {words.lasting(ready.longest)} from its start." if ready is not None else ""
    lines = comment(f"Go on only when {who} {ready.words if ready else 'is ready'}.{patience}")
    lines.append(desk.xe("vm-param-get", f"uuid={uuid}", "param-name=networks"))
    if ready is not None and ready.tcp is not None:
        lines += comment("With one of the addresses that it shows:", f"  nc -z -w 3 ADDRESS {ready.tcp}")
    elif ready is not None and ready.http is not None:
        url = ready.http if "://" in ready.http else f"http://ADDRESS{ready.http}"
        lines += comment("With one of the addresses that it shows:", f"  curl -fsS -o /dev/null {shell(url)}")
    return lines + comment("If it does not come: what depends on it stays down.")


STEPS: dict[Verb, Callable[[Action, Desk], Lines]] = {
    Verb.FENCE: _fence,
    Verb.PROMOTE: _promote,
    Verb.AWAIT_MASTER: _await_master,
    Verb.FOLLOW: _follow,
    Verb.RECOVER_MEMBERS: _recover,
    Verb.AWAIT_MEMBERS: _await_members,
    Verb.DECLARE_DEAD: _declare_dead,
    Verb.SET_DEFAULT_SR: _pool_sr("default-SR"),
    Verb.SET_SUSPEND_SR: _pool_sr("suspend-image-SR"),
    Verb.SET_AFFINITY: _affinity,
    Verb.SYNC_DATABASE: _sync_database,
    Verb.DESIGNATE_MASTER: _designate,
    Verb.START: _power("vm-start", "running"),
    Verb.RESUME: _power("vm-resume", "running"),
    Verb.UNPAUSE: _power("vm-unpause", "running"),
    Verb.SHUTDOWN: _power("vm-shutdown", "halted"),
    Verb.SUSPEND: _power("vm-suspend", "suspended"),
    Verb.MIGRATE: _migrate,
    Verb.DISABLE_HOST: _disable,
    Verb.ENABLE_HOST: _enable,
    Verb.END_MAINTENANCE: _end,
    Verb.AWAIT_READY: _await_ready,
}
"""How each verb is done by hand. Every verb has an entry."""
