"""Random schedules: faults that a pool may meet together, each with its end, made from a seed."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable, Sequence

from reconciler.lab.engine import Lab
from reconciler.lab.schedule import Entry

Made = list[Entry]

WRITES = (
    "pool.emergency_transition_to_master",
    "pool.emergency_reset_master",
    "pool.recover_slaves",
    "pool.designate_new_master",
    "host.declare_dead",
    "host.enable",
    "VM.power_state_reset",
    "VM.start",
    "VM.start_on",
    "VM.resume_on",
    "VM.clean_shutdown",
    "VM.hard_shutdown",
    "VM.set_affinity",
    "PBD.plug",
    "pool.set_default_SR",
)
READS = ("session.login_with_password", "session.slave_local_login_with_password", "VM.get_all_records", "event.from")
BMC = ("bmc:status", "bmc:off", "bmc:on")


class _Maker:
    """Draws faults for one lab from one source of chance."""

    def __init__(self, seed: int, lab: Lab, span: float) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.span = span
        self.hosts = list(lab.hosts)
        picture = lab.describe()
        self.master = picture["master"] or self.hosts[0]
        self.members = [name for name in self.hosts if name != self.master]
        names = [vm["name"] for vm in picture["vms"]]
        self.running = [v["name"] for v in picture["vms"] if v["runs_on"] and names.count(v["name"]) == 1]
        self.halted = [
            v["name"] for v in picture["vms"] if v["power_state"] == "Halted" and names.count(v["name"]) == 1
        ]
        self.shared = [sr["name"] for sr in picture["srs"] if sr["shared"] and sr["content_type"] != "iso"]
        self.dark: list[tuple[str, float, float]] = []
        """(host, from, to) of the power losses."""

    def begin(self) -> float:
        """Some time in the first two thirds."""
        return round(self.chance.uniform(0.0, self.span * 2 / 3), 1)

    def length(self, low: float, high: float) -> float:
        """Some seconds, shorter ones more often."""
        return float(round(low * (high / low) ** self.chance.random(), 1))

    def host(self) -> str:
        """Any; the master as often as all the others."""
        return self.master if self.chance.random() < 0.5 or not self.members else self.chance.choice(self.members)

    def pair(self, at: float, length: float, command: str, end: str) -> Made:
        """A fault and its end."""
        return [Entry(command, time=at), Entry(end, time=round(at + length, 1))]


def _power(m: _Maker) -> Made:
    return _power_of(m, m.host(), m.begin())


def _power_of(m: _Maker, host: str, at: float) -> Made:
    with_bmc = " with bmc" if m.chance.random() < 0.3 else ""
    if m.chance.random() < 0.4:
        m.dark.append((host, at, float("inf")))
        return [Entry(f"power off {_q(host)}{with_bmc}", time=at)]
    length = m.length(20, 900)
    m.dark.append((host, at, at + length))
    return m.pair(at, length, f"power off {_q(host)}{with_bmc}", f"power on {_q(host)}{with_bmc}")


def _isolate(m: _Maker) -> Made:
    host = _q(m.host())
    return m.pair(m.begin(), m.length(5, 900), f"isolate {host}", f"heal {host}")


def _partition(m: _Maker) -> Made:
    if len(m.hosts) < 3:
        return _isolate(m)
    shuffled = m.chance.sample(m.hosts, len(m.hosts))
    size = m.chance.randint(1, len(shuffled) - 1)
    sets = [shuffled[:size], shuffled[size:]]
    if m.chance.random() < 0.7:  # else every side is seen by who repairs
        sets[m.chance.randrange(2)].append("client")
    text = " | ".join(" ".join(_q(end) for end in one) for one in sets)
    at, length = m.begin(), m.length(10, 900)
    return [Entry(f"partition {text}", time=at), Entry("heal all", time=round(at + length, 1))]


def _link(m: _Maker) -> Made:
    a, b = m.chance.sample([*m.hosts, "client"], 2)
    return m.pair(m.begin(), m.length(5, 600), f"cut {_q(a)} {_q(b)}", f"heal {_q(a)} {_q(b)}")


def _flap(m: _Maker) -> Made:
    a, b = m.chance.sample([*m.hosts, "client"], 2)
    every = m.chance.choice((2, 5, 20, 60))
    return [Entry(f"flap {_q(a)} {_q(b)} {m.chance.randint(2, 8)} {every}", time=m.begin())]


def _storage(m: _Maker) -> Made:
    host = _q(m.host())
    return m.pair(m.begin(), m.length(10, 600), f"storage cut {host}", f"storage heal {host}")


def _sr(m: _Maker) -> Made:
    if not m.shared:
        return []
    sr = _q(m.chance.choice(m.shared))
    return m.pair(m.begin(), m.length(10, 600), f"sr fail {sr}", f"sr heal {sr}")


def _hang(m: _Maker) -> Made:
    host = _q(m.host())
    return m.pair(m.begin(), m.length(20, 900), f"toolstack hang {host}", f"toolstack restart {host}")


def _restart(m: _Maker) -> Made:
    return [Entry(f"toolstack restart {_q(m.host())}", time=m.begin())]


def _slow(m: _Maker) -> Made:
    host = _q(m.host())
    return m.pair(m.begin(), m.length(30, 600), f"slow {host} {m.chance.choice((3, 10, 50))}", f"slow {host} 1")


def _clock(m: _Maker) -> Made:
    return [Entry(f"clock {_q(m.host())} {m.chance.choice((-3600, -90, 90, 3600, 86400))}", time=0.0)]


def _backup(m: _Maker) -> Made:
    return [Entry(f"backup hold {_q(m.chance.choice(m.members or m.hosts))}", time=0.0)]


def _memory(m: _Maker) -> Made:
    host = _q(m.chance.choice(m.hosts))
    return m.pair(m.begin(), m.length(60, 900), f"memory full {host}", f"memory free {host}")


def _call(m: _Maker) -> Made:
    method = m.chance.choice(WRITES if m.chance.random() < 0.7 else READS)
    number = m.chance.choice((1, 1, 1, 2, 3, 5))
    what = m.chance.random()
    if what < 0.45:
        silently = " silently" if m.chance.random() < 0.3 else ""
        return [Entry(f"lose{silently}", "after", method=method, number=number)]
    if what < 0.65:
        return [Entry("lose", "before", method=method, number=number)]
    if what < 0.75:
        return [Entry(f"delay {m.chance.choice((2, 10, 40))}", "before", method=method, number=number)]
    if what < 0.85 and method.startswith(("VM.", "session.")):
        return [Entry("double", "before", method=method, number=number)]
    act = m.chance.choice(("toolstack restart", "power off", "isolate"))
    host = m.host()
    if act == "power off":
        m.dark.append((host, 0.0, float("inf")))
    return [Entry(f"{act} {_q(host)}", m.chance.choice(("before", "after")), method=method, number=number)]


def _bmc(m: _Maker) -> Made:
    what = m.chance.random()
    host = _q(m.host())
    if what < 0.5:
        return m.pair(m.begin(), m.length(60, 900), f"bmc silent {host}", f"bmc answers {host}")
    return [Entry("lose", m.chance.choice(("before", "after")), method=m.chance.choice(BMC))]


def _visitor(m: _Maker) -> Made:
    """Somebody who knows what he does: nothing that is harmful by itself in a pool at rest."""
    what, at = m.chance.random(), m.begin()
    if what < 0.4 and m.running:
        return [Entry(f"xo migrate {_q(m.chance.choice(m.running))} {_q(m.chance.choice(m.hosts))}", time=at)]
    if what < 0.65 and m.halted:
        return [Entry(f"xo start {_q(m.chance.choice(m.halted))}", time=at)]
    if what < 0.85 and m.running:
        return [Entry(f"xo stop {_q(m.chance.choice(m.running))}", time=at)]
    dark = [(h, start) for h, start, end in m.dark if end == float("inf") and start > 0 and h != m.master]
    if dark:
        host, start = m.chance.choice(dark)
        return [Entry(f"xo declare-dead {_q(host)}", time=round(start + m.length(30, 300), 1))]
    return []


KINDS: dict[str, Callable[[_Maker], Made]] = {
    "power": _power,
    "isolate": _isolate,
    "partition": _partition,
    "link": _link,
    "flap": _flap,
    "storage": _storage,
    "sr": _sr,
    "hang": _hang,
    "restart": _restart,
    "slow": _slow,
    "clock": _clock,
    "backup": _backup,
    "memory": _memory,
    "call": _call,
    "bmc": _bmc,
    "visitor": _visitor,
}
WEIGHTS = {"power": 4, "isolate": 3, "partition": 2, "call": 5, "hang": 2, "visitor": 2}
"""How often a kind is drawn; 1 where it is not named."""


def make(
    seed: int,
    lab: Lab,
    *,
    faults: int = 6,
    span: float = 1200.0,
    kinds: Sequence[str] = tuple(KINDS),
    lose_master: bool = True,
) -> list[Entry]:
    """So many faults in the first `span` seconds, of these kinds, in the order of their times; commands at calls last.

    `lose_master`: the first one is a power loss of the master at the very beginning. What other clients do is what
    somebody may do who knows the pool: a host is declared dead only when its power is off for good.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"no such kinds of faults: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    maker = _Maker(seed, lab, span)
    made = _power_of(maker, maker.master, 0.0) if lose_master else []
    weights = [WEIGHTS.get(kind, 1) for kind in kinds]
    for _ in range(faults - bool(lose_master)):
        made += KINDS[maker.chance.choices(list(kinds), weights)[0]](maker)
    timed = sorted((e for e in made if e.when == "at"), key=lambda e: e.time)
    return [*timed, *(e for e in made if e.when != "at")]


def _q(word: str) -> str:
    return shlex.quote(word)
