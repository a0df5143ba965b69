"""What can go wrong in a lab, as commands in words: `power off h1`, `partition h1 h2 | h3`, `slow h2 20`.

`deed` reads a command against a lab and gives back what does it: a mistake in the words is found before anything is
done. The words are those of `xenrec lab …`; `xenrec lab do help` lists them all (HELP).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial

from reconciler.lab.carrier import Deed
from reconciler.lab.engine import Lab
from reconciler.lab.fault_links import LINKS, heal_all
from reconciler.lab.fault_words import Command, Note, ScriptError, Usage, host_named, quantity
from reconciler.lab.guests import NEVER
from reconciler.lab.visitor import Visitor

HELP = """\
power off|on HOST [with bmc]       the plug; `with bmc`: its BMC loses power too, and answers again with `on`
bmc silent|answers|lies|honest HOST
cut A B                            a link: host names, client, storage, the name of an SR, * for everybody
heal A B                           undo that
heal HOST | heal all               undo every cut of a host, or every cut that there is
isolate HOST                       cut it from everybody (its storage stays)
partition A B | C [| D …]          cut every link between members of different sets
flap A B TIMES SECONDS             cut and heal a link so many times, every so many seconds
storage cut|heal HOST [SR]         all of its storage, or one SR
sr fail|heal SR                    no host reaches it any more
toolstack hang|restart|stop|start HOST
role broken HOST                   its role file says `broken`, as a hand-over that fails midway leaves it, and its
                                   toolstack restarts
role master HOST | follow HOST MASTER
                                   a person writes its role file and restarts its toolstack
slow HOST FACTOR                   everything takes its toolstack so many times as long; 1 is usual
backup hold|release HOST           the master's backups of the database do not reach it any more
clock HOST SECONDS                 its clock is ahead of the others' by so much, or behind (-30)
memory full|free HOST              less memory is free there than its pool believes: nothing more starts
ha armed|off HOST                  XAPI's HA as that host's own files have it
guest VM tools|network never|SECONDS
guest VM port NUMBER never|SECONDS | guest VM page PATH STATUS
                                   what runs in it: seconds after its start until its tools report, or a port accepts
                                   connections; what a page is answered with; `network never`: nothing reaches it
xo start VM [HOST] | stop VM | migrate VM HOST | reset VM | eject VM | rename VM NAME
xo declare-dead HOST | disable HOST
                                   another client does this at whoever acts as a master
xe METHOD [ARG …], xe@HOST METHOD [ARG …]
                                   another client makes this call: vm:NAME, host:NAME, sr:NAME, cd:VM, pool:,
                                   address:NAME, true, false, {}, [], numbers, or text (text:true is a word)
calm                               undo all of the above: power, links, BMCs, toolstacks, clocks, memory, backups;
                                   a broken role file says whom to follow
"""
LEAVES = 64 << 20
"""Bytes that a full memory has free: less than any VM needs."""


def deed(lab: Lab, words: Sequence[str], note: Callable[[str], None] = lambda _: None) -> Deed:
    """What does the command that these words are. `note` is told what comes of it later (another client's call).

    Raises ScriptError for words that are no command, or that name what is not in the lab.
    """
    words = list(words[1:] if words and words[0] == "lab" else words)
    if not words:
        raise ScriptError("a command is missing")
    name, arguments = words[0], words[1:]
    if name == "xe" or name.startswith("xe@"):
        return _xe(lab, name, arguments, note)
    if name not in _COMMANDS:
        raise ScriptError(f"{name} is no command: there are {', '.join(sorted([*_COMMANDS, 'xe']))}")
    try:
        return _COMMANDS[name](lab, arguments, note)
    except Usage:
        usage = [line.split("   ")[0] for line in HELP.splitlines() if line.startswith(f"{name} ")]
        raise ScriptError(f"{shlex.join(words)}: write {' or '.join(usage)}") from None


def _power(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["off" | "on" as how, host] | ["off" | "on" as how, host, "with", "bmc"]:
            name, with_bmc = host_named(lab, host), len(words) > 2
        case _:
            raise Usage

    def act() -> None:
        if with_bmc:
            lab.bmc_answers[name] = how == "on"
        (lab.power_off if how == "off" else lab.power_on)(name)

    return act


def _bmc(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["silent" | "answers" as how, host]:
            return partial(lab.bmc_answers.__setitem__, host_named(lab, host), how == "answers")
        case ["lies" | "honest" as how, host]:
            return partial(lab.bmc_lies.__setitem__, host_named(lab, host), how == "lies")
    raise Usage


def _toolstack(lab: Lab, words: list[str], note: Note) -> Deed:
    actions = {
        "hang": lab.hang_toolstack,
        "restart": lab.restart_toolstack,
        "stop": lab.stop_toolstack,
        "start": lab.start_toolstack,
    }
    if len(words) != 2 or words[0] not in actions:
        raise Usage
    name = host_named(lab, words[1])

    def act() -> None:
        if lab.hosts[name].up:  # without an operating system there is nothing to hang or start
            actions[words[0]](name)

    return act


def _role(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["broken" | "master" as word, host]:
            name, role = host_named(lab, host), str(word)
        case ["follow", host, master]:
            name, role = host_named(lab, host), f"slave:{lab.hosts[host_named(lab, master)].address}"
        case _:
            raise Usage

    def act() -> None:
        lab.hosts[name].role = role
        if lab.hosts[name].up:
            lab.restart_toolstack(name)

    return act


def _slow(lab: Lab, words: list[str], note: Note) -> Deed:
    if len(words) != 2:
        raise Usage
    return partial(setattr, lab.hosts[host_named(lab, words[0])], "slow", quantity(words[1], low=0.01, what="factor"))


def _backup(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["hold" | "release" as how, host]:
            return partial(setattr, lab.hosts[host_named(lab, host)], "backup_held", how == "hold")
    raise Usage


def _clock(lab: Lab, words: list[str], note: Note) -> Deed:
    if len(words) != 2:
        raise Usage
    skew = quantity(words[1].removeprefix("+"), low=-1e9, what="number of seconds")
    return partial(setattr, lab.world.boxes[host_named(lab, words[0])], "skew", skew)


def _memory(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["full" | "free" as how, host]:
            name = host_named(lab, host)
            world = lab.world
            return lambda: world.fill_memory(name, LEAVES) if how == "full" else world.release_memory(name)
    raise Usage


def _ha(lab: Lab, words: list[str], note: Note) -> Deed:
    match words:
        case ["armed" | "off" as how, host]:
            return partial(setattr, lab.hosts[host_named(lab, host)], "ha_armed", how == "armed")
    raise Usage


def _guest(lab: Lab, words: list[str], note: Note) -> Deed:
    if len(words) < 3:
        raise Usage
    found = [vm["uuid"] for vm in lab.describe()["vms"] if words[0] in (vm["name"], vm["uuid"])]
    if len(found) != 1:
        raise ScriptError(f"{words[0]} means {len(found)} VMs")
    guest = lab.guests.of(found[0])

    def after(word: str) -> float:
        return NEVER if word == "never" else quantity(word, low=0, what="number of seconds")

    match words[1:]:
        case ["tools", when]:
            return partial(setattr, guest, "tools", after(when))
        case ["network", when]:
            return partial(setattr, guest, "network", after(when) != NEVER)
        case ["port", number, when]:
            return partial(guest.ports.__setitem__, int(quantity(number, low=1, what="port")), after(when))
        case ["page", path, status] if path.startswith("/"):
            return partial(guest.pages.__setitem__, path, int(quantity(status, low=100, what="HTTP status")))
    raise Usage


def _calm(lab: Lab, words: list[str], note: Note) -> Deed:
    if words:
        raise Usage

    def act() -> None:
        heal_all(lab)
        for name, host in lab.hosts.items():
            lab.bmc_answers[name], lab.bmc_lies[name] = True, False
            lab.world.boxes[name].skew = 0.0
            lab.world.release_memory(name)
            host.slow, host.backup_held = 1.0, False
            if host.role == "broken":
                _mend_role(lab, name)
            if not host.powered:
                lab.power_on(name)
            elif host.hung:
                lab.restart_toolstack(name)
            elif host.up and host.toolstack is None and not host.wanted:
                lab.start_toolstack(name)

    return act


def _mend_role(lab: Lab, name: str) -> None:
    """As a person would: it follows the one master, or becomes it where there is none."""
    masters = [other.address for other in lab.hosts.values() if other.role == "master"]
    lab.hosts[name].role = f"slave:{masters[0]}" if masters else "master"
    if lab.hosts[name].up:
        lab.restart_toolstack(name)


def _xo(lab: Lab, words: list[str], note: Note) -> Deed:
    visitor = Visitor(lab, note)
    match words:
        case ["start" | "stop" | "reset" as what, vm] | ["start" as what, vm, _]:
            to = host_named(lab, words[2]) if len(words) > 2 else ""
            if what == "start":
                where = [f"host:{to}"] if to else []
                method = "VM.start_on" if to else "VM.start"
                return partial(visitor.call, "", method, [f"vm:{vm}", *where, "false", "false"])
            method = "VM.hard_shutdown" if what == "stop" else "VM.power_state_reset"
            return partial(visitor.call, "", method, [f"vm:{vm}"])
        case ["migrate", vm, to]:
            return partial(visitor.call, "", "VM.pool_migrate", [f"vm:{vm}", f"host:{host_named(lab, to)}", "{}"])
        case ["declare-dead" | "disable" as what, host]:
            method = "host.declare_dead" if what == "declare-dead" else "host.disable"
            return partial(visitor.call, "", method, [f"host:{host_named(lab, host)}"])
        case ["eject", vm]:
            return partial(visitor.call, "", "VBD.eject", [f"cd:{vm}"])
        case ["rename", vm, new]:
            return partial(visitor.call, "", "VM.set_name_label", [f"vm:{vm}", new])
    raise Usage


def _xe(lab: Lab, name: str, words: list[str], note: Note) -> Deed:
    if not words or "." not in words[0]:
        raise ScriptError(f"{name}: write xe METHOD [ARG …], such as xe VM.start vm:web-1 false false")
    host = host_named(lab, name.removeprefix("xe@")) if "@" in name else ""
    return partial(Visitor(lab, note).call, host, words[0], words[1:])


_COMMANDS: dict[str, Command] = {
    **LINKS,
    "power": _power,
    "bmc": _bmc,
    "toolstack": _toolstack,
    "role": _role,
    "slow": _slow,
    "backup": _backup,
    "clock": _clock,
    "memory": _memory,
    "ha": _ha,
    "guest": _guest,
    "calm": _calm,
    "xo": _xo,
}
