"""What later runs must know of a pool besides proofs: pauses, obligations, VMs found stopped or moved, starts whose end
nobody saw, what fails run after run, hosts on which HA is armed, and what drills found. One file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from reconciler.core.armed import Armed
from reconciler.core.buried import Buried
from reconciler.core.drill_news import Finding
from reconciler.core.limits import Pause
from reconciler.core.moved import Moved
from reconciler.core.obligations import Obligation
from reconciler.core.parked import Failing
from reconciler.core.stopped import Stopped
from reconciler.core.unsettled import Unsettled
from reconciler.state.shelf import Shelf

SETTLED_KEPT = 100


class Memory:
    """Readers raise StateError for what can't be believed: a pause or an obligation that is lost would be harm. What is
    not there is empty. Writers are durable when they return."""

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder, "memory")

    # --- pauses ---------------------------------------------------------------------------------------------------

    def pauses(self, *, now: float | None = None) -> tuple[Pause, ...]:
        """Every pause, oldest first; with `now`, those that hold."""
        return tuple(p for p in self._shelf.read("pauses", Pause) if now is None or p.holds(now))

    def pause(self, pause: Pause) -> None:
        """Remember a pause; it replaces one for the same VM or pool. Pauses that are over are dropped."""
        with self._shelf.content() as content:
            kept = [
                p
                for p in self._shelf.listed(content, "pauses", Pause)
                if (p.vm, p.vm_uuid) != (pause.vm, pause.vm_uuid) and p.holds(pause.since)
            ]
            content["pauses"] = [asdict(p) for p in (*kept, pause)]

    def unpause(self, vm: str | None, *, everything: bool = False) -> tuple[Pause, ...]:
        """End the pause of a VM (by the name or uuid), of the pool (None), or every one; those that were ended."""
        if not self._shelf.path.exists():
            return ()
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "pauses", Pause)
            gone = [p for p in found if everything or (vm in (p.vm, p.vm_uuid) if vm else p.vm is None)]
            content["pauses"] = [asdict(p) for p in found if p not in gone]
        return tuple(gone)

    # --- hosts on which XAPI's HA is armed ------------------------------------------------------------------------

    def armed(self) -> tuple[Armed, ...]:
        """Hosts that refused an emergency call for it."""
        return self._shelf.read("armed", Armed)

    def arm(self, one: Armed) -> None:
        """It refused; what is held of the same host is replaced."""
        with self._shelf.content() as content:
            kept = [a for a in self._shelf.listed(content, "armed", Armed) if a.host != one.host]
            content["armed"] = [asdict(a) for a in (*kept, one)]

    def disarm(self, hosts: Sequence[str]) -> tuple[Armed, ...]:
        """Forget it of these hosts: what was forgotten."""
        gone = tuple(one for one in self.armed() if one.host in hosts)
        if gone:
            with self._shelf.content() as content:
                found = self._shelf.listed(content, "armed", Armed)
                content["armed"] = [asdict(a) for a in found if a.host not in hosts]
        return gone

    # --- obligations ----------------------------------------------------------------------------------------------

    def obligations(self) -> tuple[Obligation, ...]:
        """Those that are open, oldest first."""
        return self._shelf.read("obligations", Obligation)

    def oblige(self, obligation: Obligation) -> None:
        """Remember it; it replaces an older one about the same host."""
        with self._shelf.content() as content:
            kept = [o for o in self._shelf.listed(content, "obligations", Obligation) if o.host != obligation.host]
            content["obligations"] = [asdict(o) for o in (*kept, obligation)]

    def withdraw(self, obligation: Obligation) -> None:
        """The promotion that it is about was surely not made."""
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "obligations", Obligation)
            content["obligations"] = [asdict(o) for o in found if o != obligation]

    def settle(self, obligation: Obligation, why: str, *, at: float) -> None:
        """It was met: kept aside with the reason and the time (UTC seconds)."""
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "obligations", Obligation)
            content["obligations"] = [asdict(o) for o in found if o != obligation]
            aside = content.get("settled")
            aside = aside if isinstance(aside, list) else []
            if obligation in found:
                aside.append({"obligation": asdict(obligation), "why": why, "at": at})
            content["settled"] = aside[-SETTLED_KEPT:]

    # --- stops ----------------------------------------------------------------------------------------------------

    def stops(self) -> tuple[Stopped, ...]:
        """VMs that were found stopped."""
        return self._shelf.read("stops", Stopped)

    def keep_stops(self, stops: Sequence[Stopped]) -> None:
        """These and no others; nothing is written where nothing changed."""
        self._shelf.keep("stops", Stopped, stops)

    # --- what fails -----------------------------------------------------------------------------------------------

    def failing(self) -> tuple[Failing, ...]:
        """Actions that failed in the last runs that tried them."""
        return self._shelf.read("failing", Failing)

    def keep_failing(self, failing: Sequence[Failing]) -> None:
        """These and no others; nothing is written where nothing changed."""
        self._shelf.keep("failing", Failing, failing)

    def unpark(self, vm: str | None) -> tuple[Failing, ...]:
        """Forget what failed of a VM (by name or uuid), or of all: what was forgotten."""
        if not self._shelf.path.exists():
            return ()
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "failing", Failing)
            gone = [f for f in found if vm is None or vm in (f.name, f.uuid)]
            content["failing"] = [asdict(f) for f in found if f not in gone]
        return tuple(gone)

    # --- moves ----------------------------------------------------------------------------------------------------

    def moves(self) -> tuple[Moved, ...]:
        """VMs that were found on another host than before."""
        return self._shelf.read("moves", Moved)

    def keep_moves(self, moves: Sequence[Moved]) -> None:
        """These and no others; nothing is written where nothing changed."""
        self._shelf.keep("moves", Moved, moves)

    # --- drills ---------------------------------------------------------------------------------------------------

    def findings(self) -> tuple[Finding, ...]:
        """What the last drill found."""
        return self._shelf.read("findings", Finding)

    def keep_findings(self, findings: Sequence[Finding]) -> None:
        """These and no others; nothing is written where nothing changed."""
        self._shelf.keep("findings", Finding, findings)

    # --- starts whose end nobody saw ------------------------------------------------------------------------------

    def unsettled(self) -> tuple[Unsettled, ...]:
        """Oldest first."""
        return self._shelf.read("unsettled", Unsettled)

    def begin(self, start: Unsettled) -> Unsettled:
        """A start is about to be sent. What is held is returned: an older one of the same VM on the same host stays,
        and its disks may be locked anew."""
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "unsettled", Unsettled)
            for at, one in enumerate(found):
                if (one.uuid, one.host_uuid) == (start.uuid, start.host_uuid):
                    found[at] = replace(one, freed=False)
                    content["unsettled"] = [asdict(u) for u in found]
                    return found[at]
            content["unsettled"] = [asdict(u) for u in (*found, start)]
        return start

    def freed(self, host_uuid: str) -> None:
        """That host was declared dead: no disk is locked for it any more."""
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "unsettled", Unsettled)
            content["unsettled"] = [asdict(replace(u, freed=u.freed or u.host_uuid == host_uuid)) for u in found]

    # --- VMs of hosts that were declared dead ---------------------------------------------------------------------

    def buried(self) -> tuple[Buried, ...]:
        """Oldest first."""
        return self._shelf.read("buried", Buried)

    def bury(self, vms: Sequence[Buried]) -> None:
        """A host is about to be declared dead; what is held of the same VM on the same host is replaced."""
        with self._shelf.content() as content:
            same = {(b.uuid, b.host_uuid) for b in vms}
            kept = [b for b in self._shelf.listed(content, "buried", Buried) if (b.uuid, b.host_uuid) not in same]
            content["buried"] = [asdict(b) for b in (*kept, *vms)]

    def exhume(self, vms: Sequence[Buried]) -> None:
        """Their host has told what it runs, or is gone."""
        if not vms or not self._shelf.path.exists():
            return
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "buried", Buried)
            content["buried"] = [asdict(b) for b in found if b not in vms]

    def end(self, starts: Sequence[Unsettled]) -> None:
        """It is known what came of them."""
        if not starts or not self._shelf.path.exists():
            return
        with self._shelf.content() as content:
            found = self._shelf.listed(content, "unsettled", Unsettled)
            content["unsettled"] = [asdict(u) for u in found if u not in starts]
