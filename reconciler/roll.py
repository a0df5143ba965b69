"""A rolling maintenance: one host after the other is emptied, worked on by a person's command, and brought back.

Each step is written down before it begins, so that a roll that was killed anywhere goes on where it was; only of a
command whose end nobody saw a person must say whether it is run again. It stops at the first trouble. All that it does
to the pool it does by ordinary runs: levels, freeze, pause, lease, checks and proofs are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.command import Ran
from reconciler.core.evidence import Situation, Verdict
from reconciler.core.guard import ceiling
from reconciler.core.mark import mark_of
from reconciler.core.model import Host, PowerState
from reconciler.core.plan import Outcome, Plan, Result, Stage, Verb
from reconciler.core.roll import Phase, Roll, below_reserve, resting, unfinished
from reconciler.core.standing import Standing, stand
from reconciler.core.wanted import Level, Member, MemberState, Wanted
from reconciler.core.words import count, lasting, names
from reconciler.pipeline import Approval, Look, Reconciler
from reconciler.state.journal import Journal
from reconciler.state.rolls import RollFile

Runner = Callable[[Sequence[str], Mapping[str, str], float], Ran]
"""Runs a command: argv, further variables, deadline in seconds. Raises OSError when it can't be started."""

POLL = 10.0  # s between looks at a host that is waited for
SETTLE = 20.0
"""Seconds after the command before a host that answers counts as back: a reboot that was asked for takes about ten to
begin (sheet §3.4)."""
STEADY = 2  # looks in a row that must find it back
OWN_TROUBLE = 120.0
"""Seconds without one master after which it is the pool itself that needs help: a toolstack restart takes 10 to 40."""
BACK = (Standing.MAINTENANCE, Standing.READY)


class Stopped(Exception):
    """Why a roll goes no further, and the next command."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why = why
        self.remedy = remedy


@dataclass(frozen=True)
class Turn:
    """What a host's turn would begin with, as the pool is now: its plan, and why it can't begin ("" if it can)."""

    host: str
    plan: Plan
    obstacle: str
    remedy: str


@dataclass
class Rolling:
    """One roll over one pool. `make` gives a new run for a manifest; `run` runs the command; `say` tells a person."""

    wanted: Wanted
    make: Callable[[Wanted], Reconciler]
    run: Runner
    say: Callable[[str], None]
    roll: Roll = field(init=False)
    left: tuple[str, str] = field(default=("", ""), init=False)
    """(What waits for a person's word after the last turn: the office of master, and the command), or empty."""
    _journal: Journal | None = field(default=None, init=False)
    _first: Reconciler | None = field(default=None, init=False)

    def held(self) -> Roll | None:
        """The roll that is under way on this machine. Raises StateError when its file can't be believed."""
        return self._file().read()

    # --- looking -------------------------------------------------------------------------------------------------

    def preview(self, hosts: Sequence[str]) -> list[Turn]:
        """Every turn as it would begin if the pool were then as it is now. Nothing is written."""
        return [self._look_ahead(host, "") for host in hosts]

    def _look_ahead(self, host: str, roll: str) -> Turn:
        rec = self.make(resting(self.wanted, host, roll))
        look = rec.observe()
        plan = rec.plan_of(look)
        why, remedy = _blocked(plan)
        if not why and look.state is not None:
            why = below_reserve(self.wanted, look.survey, plan.diagnosis, look.state, plan.actions, host)
            remedy = f"make room, or lower it: xenrec drill {self.wanted.argument} says what each loss would mean"
        return Turn(host, plan, why, remedy if why else "")

    # --- going ---------------------------------------------------------------------------------------------------

    def begin(self, roll: Roll) -> None:
        """Write a new roll down. The caller holds the pool's lock."""
        self._save(roll)

    def resume(self, roll: Roll, *, again: bool = False, skip: bool = False) -> None:
        """Carry one on. Of a command whose end is not known or was bad, `again` runs it once more, `skip` goes on as if
        it had ended well; without either `go` stops there."""
        self.roll = roll
        if roll.phase is Phase.COMMAND and again:
            self._save(replace(roll, sent_at=None, code=None))
        elif roll.phase is Phase.COMMAND and skip:
            self._save(replace(roll, phase=Phase.BACK, sent_at=roll.sent_at or self._now(), code=0))

    def go(self) -> None:
        """All turns that are left. Raises Stopped at the first trouble; the roll stays written down. The caller holds
        the pool's lock. Raises as Reconciler.apply."""
        self._note("run", by=self.roll.by, command="roll", source=self.wanted.source, hosts=self.roll.hosts)
        try:
            while (host := self.roll.host) is not None:
                self._turn(host)
                self._save(self.roll.after())
                self.say(f"{host}: done ({len(self.roll.done)} of {len(self.roll.hosts)})")
            self._file().clear()
            held = [w for w in self.make(self.wanted).plan().withheld if w.action.verb is Verb.DESIGNATE_MASTER]
            self.left = (held[0].why, held[0].remedy) if held else ("", "")
            self._note("run-end", final="clean")
        except Stopped as stopped:
            self._note("run-end", stopped=stopped.why)
            raise
        finally:
            if self._journal is not None:
                self._journal.close()

    def _turn(self, host: str) -> None:
        self._note("turn", host=host, phase=str(self.roll.phase))
        if self.roll.phase is Phase.EMPTY:
            self._empty(host)
            self._save(replace(self.roll, phase=Phase.COMMAND))
        if self.roll.phase is Phase.COMMAND:
            self._command(host)
            self._save(replace(self.roll, phase=Phase.BACK))
        if self.roll.phase is Phase.BACK:
            self._await(host)
            self._save(replace(self.roll, phase=Phase.HOME))
        self._home(host)

    # --- one turn ------------------------------------------------------------------------------------------------

    def _empty(self, host: str) -> None:
        rec = self.make(replace(self.wanted, rolling=self.roll.id))
        look = rec.observe()
        record = _record(look, self._member(host))
        begun = record is not None and (m := mark_of(record.other_config)) is not None and m.roll == self.roll.id
        if not begun:  # what is begun is not as declared
            why, remedy = unfinished(rec.plan_of(look))
            if why:
                raise Stopped(f"before the turn of {host} the pool is not as declared: {why}", remedy)
        ahead = self._look_ahead(host, self.roll.id)
        why, remedy = _missing(ahead.plan, self.wanted, host)
        if why:
            raise Stopped(f"before {host} is emptied: {why}", f"{remedy}; then: {self._again()}")
        if ahead.obstacle:
            raise Stopped(f"{host} can't be emptied: {ahead.obstacle}", ahead.remedy)
        relief = next((a.target.name for a in ahead.plan.actions if a.verb is Verb.DESIGNATE_MASTER), "")
        moves = sum(a.verb is Verb.MIGRATE for a in ahead.plan.actions)
        handing = f"handing the office over to {relief}, " if relief else ""
        self.say(f"{host}: {handing}disabling, {count(moves, 'VM')} to move")
        left = self._apply(resting(self.wanted, host, self.roll.id), f"emptying {host}")
        record = _record(left, self._member(host))
        if record is None or record.enabled or _guests(left, record):
            raise Stopped(f"{host} is not disabled and empty", self._again())

    def _command(self, host: str) -> None:
        roll = self.roll
        if roll.sent_at is not None:
            known = "ended with exit code {0}" if roll.code is not None else "was begun and its end was not seen"
            raise Stopped(
                f"the command on {host} {known.format(roll.code)}",
                self._either(host),
            )
        member = self._member(host)
        record = self._at_rest(host)
        argv = tuple(w.replace("{host}", member.name).replace("{address}", member.address) for w in roll.command)
        env = {
            "XENREC_POOL": self.wanted.name,
            "XENREC_HOST": member.name,
            "XENREC_ADDRESS": member.address,
            "XENREC_HOST_UUID": record.uuid,
        }
        self._save(
            replace(
                roll,
                sent_at=self._now(),
                booted=record.other_config.get("boot_time", ""),
                agent=record.other_config.get("agent_start_time", ""),
            )
        )
        self.say(f"{host}: running {' '.join(argv)}")
        self._note("command", host=host, argv=argv)
        try:
            ran = self.run(argv, env, roll.deadline)
        except OSError as error:
            self._save(replace(self.roll, sent_at=None))
            raise Stopped(
                f"the command can't be started: {error.strerror or error}: {argv[0]}",
                f"{self._again(abandon=True)}, and begin anew with a command that can",
            ) from None
        self._note("command-end", host=host, code=ran.code, output=ran.output)
        for line in ran.output.splitlines()[-20:]:
            self.say(f"{host}: | {line}")
        if ran.code != 0:
            # A killed one has no code: its end is known as little as that of one that we did not live to see.
            self._save(replace(self.roll, code=ran.code))
            how = f"with exit code {ran.code}" if ran.code is not None else f"by us, after {lasting(roll.deadline)}"
            raise Stopped(
                f"the command on {host} ended {how}; {host} stays in maintenance",
                self._either(host),
            )

    def _at_rest(self, host: str) -> Host:
        """Its record, disabled and empty, right before the command. It may have been emptied hours ago, and since been
        enabled, got VMs or the office: then it is emptied again, as a turn begins. Raises Stopped."""
        for _ in range(2):
            look = self.make(resting(self.wanted, host, self.roll.id)).observe()
            record = _record(look, self._member(host))
            if record is None or look.state is None:
                raise Stopped(f"the pool does not tell of {host}", f"xenrec status {self.wanted.argument}")
            if not (record.enabled or _guests(look, record) or look.state.pool.master == record.ref):
                return record
            self.say(f"{host}: it is in use again since it was emptied")
            self._empty(host)
        raise Stopped(f"{host} is not disabled and empty", self._again())

    def _await(self, host: str) -> None:
        """Until it answers, follows the master and is live, and where that was promised, has booted since."""
        roll, rec = self.roll, self.make(resting(self.wanted, host, self.roll.id))
        began = self._now()
        told, steady, managed_at = "", 0, began
        while True:
            look = rec.observe()
            plan = rec.plan_of(look)
            ready, why = self._is_back(host, look, plan)
            steady = steady + 1 if ready else 0
            if steady >= STEADY:
                self.say(f"{host}: back after {lasting(self._now() - (roll.sent_at or began))}")
                return
            if plan.diagnosis.situation is Situation.MANAGED:
                managed_at = self._now()
            if self._now() - managed_at >= OWN_TROUBLE:
                raise Stopped(
                    f"the pool needs help first: {plan.diagnosis.why}",
                    f"xenrec plan {self.wanted.argument}; when it is as declared again: {self._again()}",
                )
            if why and why != told:
                self.say(f"{host}: waiting: {why}")
                told = why
            if self._now() - began >= roll.patience:
                raise Stopped(
                    f"{host} is not back after {lasting(roll.patience)}: {why or 'it comes and goes'}",
                    f"look at its console; when it is back: {self._again()}",
                )
            rec.port.wait(POLL)

    def _is_back(self, host: str, look: Look, plan: Plan) -> tuple[bool, str]:
        if look.state is None:
            return False, plan.diagnosis.why
        one = stand(
            rested := resting(self.wanted, host, self.roll.id), look.survey, plan.diagnosis, look.state
        ).by_member.get(host)
        if one is None or rested.member(host) is None:
            return False, "the pool does not know it"
        if one.standing not in BACK:
            return False, one.why
        if self.roll.reboots:
            config = one.host.other_config
            if config.get("boot_time", "") == self.roll.booted:
                return False, "it has not rebooted yet"
            if config.get("agent_start_time", "") == self.roll.agent:
                return False, "its toolstack has not told what it runs yet"
        if self._now() - (self.roll.sent_at or 0.0) < SETTLE:
            return False, ""
        return True, ""

    def _home(self, host: str) -> None:
        self.say(f"{host}: enabling it, bringing its VMs home")
        wanted, doing = replace(self.wanted, rolling=self.roll.id), f"bringing {host} back"
        self._release(wanted, doing, self._again())  # whatever became of the pool meanwhile
        look = self._apply(wanted, doing)
        record = _record(look, self._member(host))
        if record is None or not record.enabled:
            raise Stopped(f"{host} is not enabled", self._again())

    def abandon(self, roll: Roll | None) -> tuple[str, ...]:
        """End a roll, ours or one that another machine left behind: what it disabled is enabled, its VMs come home. The
        hosts that it concerned. Raises Stopped while one of them can't be enabled."""
        rec = self.make(self.wanted)
        look = rec.observe()
        plan = rec.plan_of(look)
        marks = [
            (h.name, m.roll)
            for h in (look.state.hosts.values() if look.state is not None else ())
            if (m := mark_of(h.other_config)) is not None and m.roll
        ]
        if look.state is None:
            raise Stopped("the pool has no master that could be asked", f"xenrec plan {self.wanted.argument}")
        for left in sorted({one for _, one in marks}):
            self.roll = roll or Roll(left, rec.by, self._now(), (), (), 0.0, 0.0, False)
            doing = f"ending the rolling maintenance {left}"
            done = self._release(replace(self.wanted, rolling=left), doing, self._again(abandon=True))
            still = {h.name: h for h in (done.state.hosts.values() if done.state else ()) if mark_of(h.other_config)}
            for name in sorted(n for n, of in marks if of == left and n in still):
                if still[name].enabled:
                    told = f"{name} is enabled, but not all its VMs could be brought home"
                    raise Stopped(told, f"xenrec plan {self.wanted.argument}; then: {self._again(abandon=True)}")
                judged = plan.diagnosis.of(name)
                silent = judged is not None and judged.verdict is not Verdict.ALIVE
                raise Stopped(
                    f"{name} can't be enabled: {'it does not answer' if silent else 'see the plan'}",
                    f"xenrec status {self.wanted.argument}; when it is back: {self._again(abandon=True)}",
                )
        if roll is not None:
            RollFile(rec.folder.path).clear()
        return tuple(sorted(name for name, _ in marks))

    # --- helpers -------------------------------------------------------------------------------------------------

    def _apply(self, wanted: Wanted, doing: str) -> Look:
        """One ordinary run; the last look, of a pool that is as declared. Raises Stopped otherwise."""
        rec = self.make(wanted)
        plan = rec.plan()
        why, remedy = _blocked(plan)
        if why:
            raise Stopped(f"{doing}: {why}", remedy)
        if plan.actions:
            outcome = rec.apply(plan, Approval())
            why, remedy = _went_wrong(outcome)
            if why:
                raise Stopped(f"{doing}: {why}", remedy or self._again())
        assert rec.look is not None
        return rec.look

    def _release(self, wanted: Wanted, doing: str, again: str) -> Look:
        """One run that enables what the roll disabled and brings its VMs home; the last look. It does no more, and
        nothing else that is amiss keeps a host from a pool that may need it. Raises Stopped."""
        rec = self.make(wanted)
        plan = rec.plan()
        if held := next((w for w in plan.withheld if w.action.verb is Verb.ENABLE_HOST), None):
            raise Stopped(f"{doing}: enable host {held.action.target.name} is withheld: {held.why}", held.remedy)
        approved = _only_release(plan)
        if (limited := ceiling(plan, approved)).actions:
            outcome = rec.apply(limited, Approval(approved))
            why, remedy = _failed(outcome)
            if why:
                raise Stopped(f"{doing}: {why}", remedy or again)
        assert rec.look is not None
        return rec.look

    def _member(self, host: str) -> Member:
        member = self.wanted.member(host)
        if member is None:
            raise Stopped(f"{host} is not a declared member any more", self._again(abandon=True))
        return member

    def _again(self, *, abandon: bool = False) -> str:
        return f"xenrec roll {self.wanted.argument} {'--abandon' if abandon else '--resume'}"

    def _either(self, host: str) -> str:
        return f"look at {host}; to go on without it give --skip instead of --again: {self._again()} --again"

    def _now(self) -> float:
        return self._rec().port.now()

    def _rec(self) -> Reconciler:
        if self._first is None:
            self._first = self.make(self.wanted)
        return self._first

    def _file(self) -> RollFile:
        return RollFile(self._rec().folder.path)

    def _save(self, roll: Roll) -> None:
        """Durable before whatever comes next."""
        self._file().write(roll)
        self.roll = roll

    def _note(self, kind: str, **fields: object) -> None:
        if self._journal is None:
            self._journal = self._rec().folder.journal(self._rec().run)
        self._journal.write(kind, run=self._rec().run, roll=self.roll.id, at=self._now(), **fields)


def _only_release(plan: Plan) -> Plan:
    """What of it enables hosts and brings their VMs home."""
    wanted = {a.id for a in plan.actions if a.verb in (Verb.ENABLE_HOST, Verb.END_MAINTENANCE)}
    for action in reversed(plan.actions):
        wanted |= set(action.follows) if action.id in wanted else set()
    kept = tuple(a for a in plan.actions if a.id in wanted and a.level <= Level.MOVE)
    return replace(plan, stages=(Stage("restore", kept),))


def _missing(plan: Plan, wanted: Wanted, host: str) -> tuple[str, str]:
    """Another member that is declared active and not there: with it and `host` out the pool is short of two."""
    for judged in plan.diagnosis.members:
        member = wanted.member(judged.name)
        active = member is not None and member.state is MemberState.ACTIVE
        if active and judged.name != host and judged.verdict is not Verdict.ALIVE:
            return f"{judged.name} is not there: {judged.why}", f"bring it back: xenrec status {plan.argument}"
    return "", ""


def _blocked(plan: Plan) -> tuple[str, str]:
    """Why a turn's plan may not be begun: a wish that can't be met, an action that is withheld, a host to be fenced or
    buried, for which nobody gave their word when they began a roll."""
    if grave := next((a for a in plan.actions if a.level >= Level.BURY), None):
        told = f"{str(grave.verb).replace('-', ' ')} {grave.target.name}: {grave.why}"
        return f"the pool needs help first: {told}", f"xenrec apply {plan.argument}"
    if plan.unmet or [w for w in plan.withheld if w.action.verb is not Verb.DESIGNATE_MASTER]:
        return unfinished(plan)
    if plan.diagnosis.situation is not Situation.MANAGED:
        return plan.diagnosis.why, plan.diagnosis.remedy or f"xenrec plan {plan.argument}"
    return "", ""


def _went_wrong(outcome: Outcome) -> tuple[str, str]:
    why, remedy = _failed(outcome)
    if why:
        return why, remedy
    if outcome.final is None:
        return "the pool could not be read at the end", ""
    return unfinished(outcome.final)


def _failed(outcome: Outcome) -> tuple[str, str]:
    if outcome.stopped:
        return outcome.stopped, ""
    bad = [d for d in outcome.done if d.result not in (Result.DONE, Result.ALREADY)]
    if bad:
        first = bad[0]
        others = f"; and {names(d.action.target.name for d in bad[1:])}" if len(bad) > 1 else ""
        verb = str(first.action.verb).replace("-", " ")
        return f"{verb} {first.action.target.name} {first.result}: {first.why}{others}", first.remedy
    return "", ""


def _record(look: Look, member: Member) -> Host | None:
    """The host that a member is, as the pool records it now."""
    if look.state is None:
        return None
    found = look.state.host_named(member.name)
    if found is not None:
        return found
    address = member.address.rpartition(":")[0] or member.address
    return next((h for h in look.state.hosts.values() if h.address in (member.address, address)), None)


def _guests(look: Look, host: Host) -> bool:
    """A guest runs there."""
    assert look.state is not None
    return any(
        vm.is_guest and vm.power_state in (PowerState.RUNNING, PowerState.PAUSED)
        for vm in look.state.residents.get(host.ref, ())
    )
