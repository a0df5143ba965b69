"""The lines that keep the invariants, each with what its removal looks like. test_guards.py keeps the list fresh."""

from __future__ import annotations

from tests.mutants.guard import DEFAULT, Guard, off
from tests.mutants.guards_masters import MASTERS
from tests.mutants.guards_moves import MOVES

UNSETTLED = ("tests/core/test_unsettled.py", *DEFAULT)
MOVING = ("tests/execute/test_migrate.py",)
UPKEEP = ("tests/execute/test_second_looks.py", "tests/pipeline/test_maintenance.py")
BURYING = ("tests/execute/test_second_looks.py", "tests/execute/test_on_lab.py")
HEARD = ("tests/pipeline/test_heard.py",)
FENCING = ("tests/fencing/test_fence.py",)
FULL_DISK = ("tests/safety/test_full_disk.py",)
PAUSED = ("tests/pipeline/test_stand_back.py",)

JUDGE = "reconciler/core/judge.py"
DIAGNOSE = "reconciler/core/diagnose.py"
MASTERLESS = "reconciler/core/masterless.py"
BURY = "reconciler/core/bury.py"
STARTS = "reconciler/core/starts.py"
STANDING = "reconciler/core/standing.py"
CHECKER_VMS = "reconciler/core/checker_vms.py"
GUARD = "reconciler/core/guard.py"
CREJOIN = "reconciler/core/rejoin.py"
EVIDENCE = "reconciler/core/evidence.py"
CROWN = "reconciler/execute/crown.py"
STRIKE = "reconciler/execute/strike.py"
PROOF = "reconciler/execute/proof.py"
REJOIN = "reconciler/execute/rejoin.py"
SEATS = "reconciler/execute/seats.py"
WATCHING = "reconciler/execute/watching.py"
VMS = "reconciler/execute/vms.py"
FIT = "reconciler/execute/fit.py"
EBURY = "reconciler/execute/bury.py"
HANDOVER = "reconciler/execute/handover.py"
ELEASE = "reconciler/execute/lease.py"
DESK = "reconciler/execute/desk.py"
MAINTENANCE = "reconciler/execute/maintenance.py"
SECOND = "    if others:\n        return _second_master(bench, prover, action, others)\n"
DOUBT = "if doubt := prover.doubt(action, fresh=True):\n"
REFUSE = "        return refused(action, doubt.why, doubt.remedy)\n"

GUARDS: tuple[Guard, ...] = (
    # --- certificates: what they cover, and what ends them -------------------------------------------------------
    off("I1", EVIDENCE, "if not self.issued_at - 1.0 <= now < self.expires_at"),
    Guard("I1", EVIDENCE, "return self.host_uuid == uuid", "return True"),
    Guard("I1", EVIDENCE, "return self.host == host and self.address == address", "return True"),
    Guard("I1", DIAGNOSE, "ours = [c for c in certificates if c.pool == wanted.name]", "ours = list(certificates)"),
    Guard(
        "I1", JUDGE, "void = (*held, *(c for c in found if c not in held and now < c.expires_at))", "void = held[:1]"
    ),
    off("I1", JUDGE, "if life", then="\n        return Judged"),
    off("I1", JUDGE, "if certificate is not None and t.bmc is BmcPower.ON"),
    Guard(
        "I1", JUDGE, 'Verdict.UNREACHABLE, f"{unheard}; {power}", voided', 'Verdict.DEAD, f"{unheard}; {power}", voided'
    ),
    off("I7", PROOF, "if life := sign_of_life(bench, member)"),
    Guard("I7", PROOF, "if not broken and power is not BmcPower.ON:", "if not broken:"),
    Guard("I7", PROOF, "            broken = bench.fencer.recheck(certificate, member)", '            broken = ""'),
    Guard("I7", PROOF, "if not fresh and any(", "if any("),
    Guard("I7", PROOF, "bench.port.now() - at < GOOD_FOR", "bench.port.now() - at < 1e9"),
    Guard("I1", PROOF, "if c.pool == pool]", "]"),
    Guard("I1", PROOF, "in self._about(member, uuid) if now < c.expires_at]", "in self.held(member, uuid)]"),
    off("I1", "reconciler/fencing/fence.py", "if cert.host != member.name or cert.address != member.address", FENCING),
    Guard(
        "I1",
        "reconciler/fencing/fence.py",
        'if power is BmcPower.ON:\n            return f"{member.name} has power',
        'if False:\n            return f"{member.name} has power',
        FENCING,
    ),
    *MASTERS,
    # --- who has rejoined, and who is in doubt --------------------------------------------------------------------
    off("I1", STANDING, "if member.name in diagnosis.astray"),
    off("I1", STANDING, "if t.login is LoginAnswer.EMERGENCY"),
    off("I1", STANDING, "if not host.live"),
    off("I1", STANDING, "if not host.enabled and not master_settled"),
    off("I1", STANDING, "if not host.enabled"),
    off("I1", BURY, "if one.standing is Standing.DISABLED"),
    off("I1", BURY, "elif one.standing in (Standing.SILENT, Standing.SUSPECT) and (untold or not one.host.enabled)"),
    Guard("I1", BURY, "and (untold or not one.host.enabled):", "and not one.host.enabled:"),
    Guard("I1", BURY, "and (untold or not one.host.enabled):\n", "and untold:\n"),
    off("I1", BURY, "elif untold and (one.answers or one.standing is Standing.UNDECLARED)"),
    Guard("I1", BURY, "mine is not None and theirs is not None and mine < theirs", "False"),
    off("I1", BURY, "elif one.standing is Standing.UNDECLARED and not (one.host.enabled and one.host.live)"),
    Guard(
        "I1",
        BURY,
        'if one.standing is Standing.SUSPECT:\n        return f"{name} shows',
        'if False:\n        return f"{name} shows',
    ),
    Guard("I6", BURY, "    if brake[0]:\n        return brake", "    if False:\n        return brake"),
    off("I1", BURY, "if one.bmc is BmcPower.UNKNOWN"),
    Guard("I1", BURY, "MAINTENANCE and one.bmc is not BmcPower.OFF:", "MAINTENANCE and False:"),
    off("I1", BURY, "if one.member is not None and elsewhere(one.member.address, one.host.address)"),
    Guard("I1", BURY, "return one.bmc is BmcPower.OFF or (not one.host.enabled and", "return True or (True and"),
    off("I1", BURY, "if one.host.live and one.bmc is not BmcPower.OFF"),
    off("I1", BURY, "if one.standing is not Standing.DEAD"),
    Guard("I1", STARTS, "[d for d in in_doubt if d.stand.standing is not Standing.DEAD]", "list[Doubt]()"),
    off("I1", STARTS, "elif vm.power_state is PowerState.RUNNING and one is None"),
    off(
        "I1", STARTS, "if other.standing is Standing.DEAD and not other.host.enabled and other.thing.name not in rests"
    ),
    Guard(
        "I1",
        STANDING,
        "return one is not None and (one.answers or (one.standing",
        "return one is not None and (True or (one.standing",
    ),
    off("I2", CREJOIN, "if elsewhere"),
    Guard(
        "I4",
        CREJOIN,
        "if (t := survey.of(s.thing.name)) and _may_obey(",
        "if False and (t := survey.of(s.thing.name)) and _may_obey(",
    ),
    Guard("I4", CREJOIN, "return not dead and (theirs is None or", "return False and (theirs is None or"),
    # --- storage --------------------------------------------------------------------------------------------------
    Guard(
        "I8",
        "reconciler/core/placement.py",
        "if drive.sr is None or (host.ref, drive.sr) not in state.attached:",
        "if drive.sr is None:",
    ),
    Guard("I8", FIT, "    if action.verb in PLACED:\n        try:", "    if False:\n        try:"),
    # --- what is nobody's business ----------------------------------------------------------------------------------
    Guard(
        "I11",
        "reconciler/core/model.py",
        "return not (self.is_template or self.is_snapshot or self.is_control_domain)",
        "return True",
    ),
    off("I5", "reconciler/core/select.py", "if wish.kind is SelectorKind.NAME and len(found) > 1"),
    Guard(
        "I5",
        "reconciler/core/stops.py",
        "if wish.state not in (WantedState.HALTED, WantedState.SUSPENDED):",
        "if wish.state in ():",
    ),
    off("I11", FIT, 'if vm.get("is_control_domain") or vm.get("is_a_template") or vm.get("is_a_snapshot")'),
    # --- limits -----------------------------------------------------------------------------------------------------
    off("I6", GUARD, "if action.level > limit"),
    Guard("I6", GUARD, "wish.max_level is not None and action.level > wish.max_level:", "False:"),
    off("I9", GUARD, "if state is not None and state.pool.ha_enabled and action.level > Level.METADATA"),
    off("I6", GUARD, "if brake[0] and action.level >= Level.MOVE"),
    Guard("I6", GUARD, "action.target.name not in hosts and len(hosts) >= most:", "False:"),
    Guard("I6", "reconciler/execute/bench.py", "if name in self.struck or len(self.struck) < limit:", "if True:"),
    # --- fence and promote ------------------------------------------------------------------------------------------
    off("I1", STRIKE, "if life := sign_of_life(bench, member)"),
    off("I7", STRIKE, "if why := _otherwise(bench, action) or _heard(bench, action, member)"),
    off("I7", STRIKE, "if told.situation is not bench.plan.diagnosis.situation"),
    Guard("I6", STRIKE, "return refused(action, brake, remedy) if brake and", "return None if brake and"),
    Guard("I7", STRIKE, "        if live:\n", "        if False:\n"),
    Guard("I7", STRIKE, "if bench.port.now() >= until:", "if True:"),
    off("I3", CROWN, "if sent is not None", then="\n        if sent.candidate"),
    off("I3", CROWN, "if sent.candidate != candidate.name"),
    off("I2", CROWN, "if why := _unfit(bench, prover, action, candidate, lost, survey, diagnosis)"),
    off("I2", CROWN, "if why_not := taken(bench, survey, candidate, lost.address)"),
    Guard(
        "I2",
        CROWN,
        "        if seen.answer in (LoginAnswer.MASTER, LoginAnswer.REJECTED):\n            return f",
        "        if False:\n            return f",
    ),
    Guard(
        "I2",
        CROWN,
        "not any(same_address(seen.follows, one) for one in known):\n            return f",
        "False:\n            return f",
    ),
    Guard(
        "I2",
        CROWN,
        f"        {DOUBT}    {REFUSE}        return transition",
        "        return transition",
    ),
    Guard("I3", CROWN, "    bench.save_incident(incident)\n    try:", "    try:"),
    off("I3", CROWN, 'if failure.code == "INTERNAL_ERROR"'),
    Guard(
        "I3",
        CROWN,
        "        if not fault.sent:\n            bench.withdraw_incident()",
        "        if True:\n            bench.withdraw_incident()",
    ),
    off("I2", CROWN, "if theirs is not None and (life := _life_of(theirs))"),
    off("I2", CROWN, "if diagnosis.situation is not Situation.LOST"),
    off("I2", CROWN, "if mine is None or not mine.answers"),
    off("I2", CROWN, "if astray"),
    off("I2", CROWN, "if t.login in (LoginAnswer.UNTRUSTED, LoginAnswer.STRANGE)"),
    off("I2", CROWN, "if seen.answer in (LoginAnswer.MASTER, LoginAnswer.REJECTED, LoginAnswer.UNTRUSTED)"),
    Guard("I2", WATCHING, '    if named:\n        return ""', '    if True:\n        return ""'),
    # --- recover, bury, hand over -------------------------------------------------------------------------------------
    Guard(
        "I2",
        REJOIN,
        SECOND + "    if strange",
        "    if strange",
    ),
    off("I2", REJOIN, "if rival"),
    Guard(
        "I2",
        REJOIN,
        SECOND + "    bench.clear_incident()",
        "    bench.clear_incident()",
    ),
    Guard("I2", REJOIN, SECOND + "    return wait_for", "    return wait_for"),
    off("I2", REJOIN, "if seen.answer not in (LoginAnswer.SLAVE, LoginAnswer.EMERGENCY)"),
    Guard("I1", SEATS, "return self.follows and self.live and (self.enabled", "return self.live and (self.enabled"),
    Guard(
        "I1",
        SEATS,
        "return self.follows and self.live and (self.enabled or self.resting)",
        "return self.follows and self.live",
    ),
    off("I1", EBURY, "if host not in action.certificate_of"),
    off("I9", EBURY, 'if desk.pool().get("ha_enabled")'),
    off("I1", EBURY, 'if desk.pool().get("master") == ref'),
    off("I6", EBURY, "if brake := bench.may_strike(host)"),
    Guard(
        "I1",
        EBURY,
        f"    {DOUBT}{REFUSE}    bench.struck",
        "    bench.struck",
    ),
    off("I1", EBURY, "if attempt == 2 and (doubt := prover.doubt(action, fresh=True))"),
    Guard("I1", EBURY, '    if failure.code == "HOST_IS_LIVE":\n        member', "    if False:\n        member"),
    off("I9", HANDOVER, 'if pool.get("ha_enabled")'),
    off("I3", HANDOVER, "if sent := _sent_before(bench)"),
    off("I2", HANDOVER, "if unwell"),
    # --- starts and stops -------------------------------------------------------------------------------------------
    off("I7", FIT, "if doubt := prover.doubt(action)"),
    off("I7", FIT, "if state != way.needs"),
    Guard("I1", FIT, '        if way.goal == "Running" and (dead :=', "        if False and (dead :="),
    off("I9", FIT, 'if protected and bench.desk().pool().get("ha_enabled")'),
    off("I7", FIT, "if not live"),
    off("I7", FIT, 'if not host.get("enabled")'),
    # --- the master's desk ------------------------------------------------------------------------------------------
    off("I5", DESK, "if len(pools) != 1 or (self.pool_uuid and uuid != self.pool_uuid)"),
    Guard(
        "I3",
        DESK,
        "            if fault.sent:\n                raise LostReply",
        "            if False:\n                raise LostReply",
    ),
    Guard(
        "I7",
        DESK,
        '            raise XapiFailure("NOT_SENT", str(fault)) from fault',
        "            return checked(method, send())",
        HEARD,
    ),
    Guard(
        "I7",
        DESK,
        "            self._not_executed(failure)\n            raise",
        "            self._not_executed(failure)\n            return checked(method, send())",
        HEARD,
    ),
    off(
        "I1",
        "reconciler/survey/survey.py",
        "elif t.login is LoginAnswer.SLAVE and t.is_emergency and not t.reaches_master",
        ("tests/survey",),
    ),
    Guard("I5", ELEASE, "        if lease in read_leases(desk):", "        if True:", HEARD),
    # --- what can't be recorded is not done, and what was done is told ----------------------------------------------
    off("I10", "reconciler/pipeline.py", "if self.unkept is not None", FULL_DISK, then="\n            raise"),
    off("I10", "reconciler/pipeline.py", "if self.unkept is not None", FULL_DISK, then="\n                    stopped"),
    off("I5", "reconciler/execute/run.py", "if pause := bench.paused(action)", PAUSED),
    off("I2", "reconciler/execute/bench.py", "if action.verb is Verb.RECOVER_MEMBERS", PAUSED),
    Guard(
        "I7",
        REJOIN,
        "        others, _ = rivals(bench, bench.desk().address)\n        if others:\n            return _second_master"
        "(bench, prover, action, others)\n        outcome = _send",
        "        outcome = _send",
    ),
    # --- whom nobody names, and who died after a promotion ------------------------------------------------------------
    Guard("I2", MASTERLESS, "or not all(t.is_emergency for t in answering):", "or False:"),
    Guard(
        "I2",
        MASTERLESS,
        "return tuple(m.name for m in wanted.members if m.name in silent and uuid_of(m, known) == known.master.uuid)",
        "return ()",
    ),
    Guard("I2", MASTERLESS, "or len(missing) != 1 or", "or not missing or"),
    Guard(
        "I2",
        MASTERLESS,
        "return missing[0] if all(host.uuid in declared for host in known.hosts.values()) else None",
        "return missing[0]",
    ),
    Guard(
        "I2",
        MASTERLESS,
        "            o.follows == address_host(incident.candidate_address) and o.reaches_master is not False\n",
        "            False\n",
    ),
    # --- starts that were cut off -------------------------------------------------------------------------------------
    off(
        "I1",
        STARTS,
        "if tie.again and tie.stand.standing is Standing.READY",
        UNSETTLED,
        then="\n        return replace(one, only=host)",
    ),
    Guard("I1", STARTS, "candidate = _tied(site, candidate, ties.get(vm.uuid), proved)", "pass", UNSETTLED),
    Guard(
        "I1",
        "reconciler/core/unsettled.py",
        "        if not runs and not told:",
        "        if not runs and not told and not host.live:",
        UNSETTLED,
    ),
    Guard("I1", VMS, "        held = bench.store.begin(start)\n", "        held = start\n"),
    Guard(
        "I1", VMS, "        if not _cut_off(result.failure):\n            start.refused()", "        start.refused()"
    ),
    # --- moves and maintenance ----------------------------------------------------------------------------------------
    off(
        "I7", FIT, "if (action.verb is Verb.MIGRATE or action.source) and (wrong := astray(bench, action, vm))", MOVING
    ),
    off("I7", FIT, "if action.verb is Verb.MIGRATE and (trouble := source_trouble(bench, action))", MOVING),
    off("I9", MAINTENANCE, 'if pool.get("ha_enabled")', UPKEEP),
    off("I5", MAINTENANCE, "if member is None or member.state is not MemberState.MAINTENANCE", UPKEEP),
    off("I5", MAINTENANCE, "if seen.master", UPKEEP),
    off("I5", MAINTENANCE, "if seen.mark is None", UPKEEP, then="\n            return refused("),
    off("I7", MAINTENANCE, "if isinstance(after, Done) or after.mark != mark", UPKEEP),
    off("I9", "reconciler/execute/refresh.py", 'if desk.pool().get("ha_enabled")', UPKEEP),
    # --- hosts that were declared dead and were only cut off; what is shed ------------------------------------------
    Guard(
        "I4",
        "reconciler/core/buried.py",
        'if host.live and host.enabled and host.other_config.get("agent_start_time", "") != one.toolstack:',
        "if host.live and host.enabled:",
        ("tests/core/test_buried.py",),
    ),
    Guard("I4", EBURY, "    _remember(bench, action, ref, guests)\n", "", BURYING),
    Guard(
        "I5",
        CHECKER_VMS,
        "if wish.priority > limit or world.state is None:",
        "if world.state is None:",
        ("tests/core/test_checker_shed.py",),
    ),
    Guard(
        "I5",
        CHECKER_VMS,
        "if other is not None and other.priority > wish.priority:",
        "if other is not None:",
        ("tests/core/test_checker_shed.py",),
    ),
    *MOVES,
)
