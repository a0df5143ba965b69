"""Guards of what moves VMs and stops them for others, and of rolling maintenances.

core/clash.py has none: it finds words for what can not be, and changes nothing that is done. Of core/placing.py three
lines are not listed, for without them the next test in the same room comes to the same: hosts that are not ready, VMs
that go already, and a source that is not live.
"""

from __future__ import annotations

from tests.mutants.guard import Guard, off

PLACING = "reconciler/core/placing.py"
CARRY = "reconciler/core/carry.py"
ROLL = "reconciler/roll.py"
MAINTENANCE = "reconciler/execute/maintenance.py"
PIPELINE = "reconciler/pipeline.py"
OFFICE = "reconciler/core/office.py"
HANDOVER = "reconciler/execute/handover.py"
ROLLED = "reconciler/core/roll.py"
PLACED = ("tests/core/test_placed.py", "tests/core/test_unsettled.py", "tests/core/test_maintenance.py")
ROLLING = ("tests/pipeline/test_roll.py",)
MEANWHILE = ("tests/pipeline/test_roll_meanwhile.py",)
BESIDE = ("tests/pipeline/test_office_beside_moves.py",)
READ = ("tests/pipeline/test_read_for_long.py",)

MOVES: tuple[Guard, ...] = (
    # --- where a VM may go, and who may be touched ----------------------------------------------------------------
    Guard(
        "I8", PLACING, "n for n in self.open if not lasting_obstacle(vm, self.hosts[n], state))", "self.open)", PLACED
    ),
    Guard(
        "I1",
        PLACING,
        "can = item.can if one.only is None else item.can & {self.index.get(one.only, -1)}",
        "can = item.can",
        PLACED,
    ),
    Guard("I5", PLACING, "movable = allowed and not", "movable = not", PLACED),
    Guard("I5", PLACING, "movable = allowed and not immovable(vm) and", "movable = allowed and", PLACED),
    Guard("I5", PLACING, "        and wish.priority <= limit\n", "", PLACED),
    Guard("I5", PLACING, "        and (wish.max_level is None or wish.max_level >= Level.POWER)\n", "", PLACED),
    Guard("I5", PLACING, "        and not vm.current_operations\n", "", PLACED),
    Guard(
        "I5",
        PLACING,
        '        and not {"clean_shutdown", "shutdown"} & set(vm.blocked_operations)\n',
        "",
        PLACED,
    ),
    # --- the order in which they go: never more on a host than it can hold ----------------------------------------
    Guard(
        "order",
        CARRY,
        "waits = (*self.site.room.waits_for(vm, spot.ref), *self._mates(index))",
        "waits = tuple(self._mates(index))",
        PLACED,
    ),
    Guard(
        "order",
        CARRY,
        "follows = [*room.waits_for(vm, target.host.ref), *self._mates(move.item),",
        "follows = [*self._mates(move.item),",
        PLACED,
    ),
    Guard(
        "order",
        CARRY,
        "*self._mates(move.item), *self.before.get(vm.ref, ())]",
        "*self.before.get(vm.ref, ())]",
        PLACED,
    ),
    Guard("order", CARRY, "            follows.append(self._last[move.item])\n", "            pass\n", PLACED),
    Guard("I5", CARRY, "            follows=self.before.get(other.ref, ()),\n", "", PLACED),
    Guard(
        "I5",
        CARRY,
        "            follows += self.before.get(self.framed.vms[move.beneficiary].ref, ())\n",
        "            pass\n",
        PLACED,
    ),
    Guard("I5", CARRY, "            self.site.draft.serves[action] = start\n", "            pass\n", PLACED),
    # --- one host after the other ---------------------------------------------------------------------------------
    off("I3", ROLL, "if roll.sent_at is not None", ROLLING),
    off("I7", ROLL, "if record is None or record.enabled or _guests(left, record)", ROLLING),
    off("I7", ROLL, "if ahead.obstacle", ROLLING),
    off("I7", ROLL, "if ran.code != 0", ROLLING),
    off("I1", ROLL, "if one.standing not in BACK", ROLLING),
    off("I7", ROLL, 'if config.get("boot_time", "") == self.roll.booted', ROLLING),
    off("I1", ROLL, 'if config.get("agent_start_time", "") == self.roll.agent', ROLLING),
    off("I7", ROLL, "if record is None or not record.enabled", ROLLING),
    off("I7", ROLL, "if not begun", ROLLING, then="  # what is begun is not as declared"),
    Guard("I7", ROLL, "            if steady >= STEADY:", "            if ready:", ROLLING),
    Guard(
        "I10", ROLL, "                sent_at=self._now(),\n                booted=", "                booted=", ROLLING
    ),
    Guard(
        "I7",
        ROLL,
        "if plan.unmet or [w for w in plan.withheld if w.action.verb is not Verb.DESIGNATE_MASTER]:",
        "if False:",
        ROLLING,
    ),
    Guard(
        "I7",
        ROLL,
        "if not (record.enabled or _guests(look, record) or look.state.pool.master == record.ref):",
        "if True:",
        MEANWHILE,
    ),
    off("I1", ROLL, "if grave := next((a for a in plan.actions if a.level >= Level.BURY), None)", MEANWHILE),
    off("I6", ROLL, "if active and judged.name != host and judged.verdict is not Verdict.ALIVE", MEANWHILE),
    off("I5", MAINTENANCE, "if seen.mark.roll and seen.mark.roll != bench.wanted.rolling", READ),
    Guard("I7", PIPELINE, "while not 0.0 <= self.port.now() - plan.made_at <= FRESH:", "while False:", READ),
    off(
        "I1",
        OFFICE,
        "if moving := [vm.name for vm in state.guests if MOVING.intersection(vm.current_operations)]",
        BESIDE,
    ),
    Guard("I7", HANDOVER, "        return refused(action, *on_the_way(moving))\n", "        pass\n", BESIDE),
    off("I6", ROLLED, "if len(active) < 2", ROLLING),
    off("I6", ROLLED, "if idle := [h for h in hosts if h not in active]", ROLLING),
    off("I6", ROLLED, "if len(set(hosts)) != len(hosts)", ROLLING),
    Guard("I6", ROLLED, "        if host in case.hosts or not fresh:", "        if True:", ROLLING),
)
