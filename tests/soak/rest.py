"""The proof that all came to rest (I10): nothing left to do, everything that is left named with its next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.evidence import Situation
from reconciler.core.plan import Plan, Verb
from reconciler.core.wanted import MemberState, SelectorKind, WantedState
from tests.soak.placing import faults_of
from tests.soak.reserve import places_of, worst
from tests.soak.watch import Violation

if TYPE_CHECKING:
    from tests.soak.world import World

ROUNDS = 8
"""Applies after the last fault until nothing is left to do, at most."""


class Rest:
    """The last plan of a schedule against what is physically so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lab, self.wanted, self.watch = world.lab, world.wanted, world.actors[0].watch
        self.found: list[Violation] = []

    def _unrest(self, text: str) -> None:
        self.found.append(Violation("I10", self.lab.now - self.world.start, text))

    def prove(self, plan: Plan) -> list[Violation]:
        """What is not at rest, or not told."""
        self._prove(plan)
        return self.found

    def _prove(self, plan: Plan) -> None:
        if plan.actions:
            todo = ", ".join(f"{a.verb} {a.target.name}" for a in plan.actions)
            self._unrest(f"it does not come to rest: after {ROUNDS} applies it still wants to {todo}")
        situation = plan.diagnosis.situation
        up = sum(h.up for h in self.lab.hosts.values())
        resting = {m.name for m in self.wanted.members if m.state == "maintenance"}
        counted = sum(h.up or name not in resting for name, h in self.lab.hosts.items())
        braked = up / max(1, counted) < self.wanted.policy.brake.min_healthy
        if situation is not Situation.MANAGED:
            if not plan.diagnosis.why or not (plan.diagnosis.remedy or plan.withheld or plan.notes):
                self._unrest(f"{situation}, and no next step: {plan.diagnosis.why}")
            # A host that booted beside no master takes no connection (recordings 09, 14): that is told.
            deaf = any(h.up and not self.watch.answers(h) for h in self.lab.hosts.values())
            if up and not deaf and not braked and not any(h.ha_armed for h in self.lab.hosts.values()) and self._free():
                self._unrest(f"{situation} though everything is repaired: {plan.diagnosis.why}")
            return
        for held in plan.withheld:
            if not held.why or not held.remedy:
                self._unrest(f"{held.action.verb} {held.action.target.name} is withheld without reason or remedy")
        for wish in plan.unmet:
            if not wish.why or not wish.remedy:
                self._unrest(f"{wish.target} {wish.wish} is not met, without reason or remedy")
        self._prove_wishes(plan)

    def _free(self) -> bool:
        """Nothing of the manifest's keeps a run from getting the pool back."""
        active = all(m.state is MemberState.ACTIVE for m in self.wanted.members)
        return active and self.wanted.policy.attended.word == "crown"

    def _prove_places(self, plan: Plan, told: set[str]) -> None:
        """Hard wishes about places hold, or the plan names one of those whom it concerns, or the member on which one of
        them runs, which goes into maintenance and can't be emptied: then nothing on it moves."""
        held = {h.action.target.name for h in plan.withheld if h.action.verb is Verb.DISABLE_HOST}
        wishes = self.watch.wishes
        found = {uuid: self.lab.world.copies(uuid) for uuid in wishes}
        hosts = {uuid: copies[0].host for uuid, copies in found.items() if len(copies) == 1}
        for uuid, fault in faults_of(hosts, wishes).items():
            group = {wishes[uuid].placement.apart, wishes[uuid].placement.together} - {None}
            others = {u for u, w in wishes.items() if {w.placement.apart, w.placement.together} & group}
            concerned = {uuid, *others}
            if not told & concerned and not held & {hosts.get(u) for u in concerned}:
                self._unrest(f"{uuid}: {fault}, and the plan is silent")

    def _prove_reserve(self, plan: Plan, db: Any) -> None:
        """A loss that the declared reserve does not cover is told, and none that it covers."""
        if any(h.action.target.kind == "vm" for h in plan.withheld):
            return  # the plan tells of the pool as it would be then
        down = sum(worst(self.watch, db, places_of(db)))
        told = any(wish.wish.startswith("reserve ") for wish in plan.unmet)
        if told and not down and db.tables["VGPU"]:
            return  # slots of GPUs are not counted here, and one VM may take what another needs
        if told != bool(down):
            self._unrest(f"a loss of hosts leaves {down} VMs down, and the plan {'says so' if told else 'is silent'}")

    def _prove_wishes(self, plan: Plan) -> None:
        told = {u.target.uuid for u in plan.unmet} | {h.action.target.uuid for h in plan.withheld}
        told |= {k.target.uuid for k in plan.kept if "somebody is at it" in k.why or "is stopped while" in k.why}
        waits = any(h.action.verb in (Verb.AWAIT_MEMBERS, Verb.RECOVER_MEMBERS) for h in plan.withheld)
        if not waits:
            self._prove_places(plan, told)
        db = next((h.toolstack.db for h in self.lab.masters() if h.toolstack is not None), None)
        recorded = {} if db is None else {r["uuid"]: r["power_state"] for r in db.tables["VM"].values()}
        if db is not None and not plan.actions and not waits:
            self._prove_reserve(plan, db)
        for uuid, wish in self.watch.wishes.items():
            if uuid in told or wish.kind is not SelectorKind.UUID or wish.value in {u.target.name for u in plan.unmet}:
                continue
            copies = [c for c in self.lab.world.copies(uuid) if not c.paused]
            if len(copies) != 1 and any("not told what runs there" in note for note in plan.notes):
                continue  # recorded as running on a host of which the plan says that its records may be too old
            if wish.state is WantedState.RUNNING and len(copies) != 1 and not waits:
                self._unrest(f"{uuid} is declared running, runs on {[c.host for c in copies]}, and the plan is silent")
            # One that runs although the pool has it as halted is known to nobody who asks the pool.
            known = recorded.get(uuid) in ("Running", "Paused")
            if wish.state in (WantedState.HALTED, WantedState.SUSPENDED) and copies and known and not waits:
                self._unrest(f"{uuid} is declared {wish.state}, runs on {copies[0].host}, and the plan is silent")
