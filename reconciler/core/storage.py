"""Pool-wide SRs: default SR and suspend-image SR. Only what the manifest names is set; the rest is told."""

from __future__ import annotations

from reconciler.core.draft import Draft
from reconciler.core.model import PoolState, Ref, Sr
from reconciler.core.plan import Action, Thing, Unmet, Verb
from reconciler.core.standing import Stands
from reconciler.core.wanted import Place, Wanted
from reconciler.core.words import names


def hosts_of(sr: Sr, stands: Stands, state: PoolState) -> tuple[list[str], list[str]]:
    """(hosts that answer and have it plugged, hosts that have a PBD for it and don't answer)."""
    up, down = [], []
    for ref in state.sr_hosts.get(sr.ref, frozenset()):
        one = stands.by_ref.get(ref)
        if one is None:
            continue
        if one.answers or (one.member is None and one.host.live):
            if (ref, sr.ref) in state.attached:
                up.append(one.thing.name)
        else:
            down.append(one.thing.name)
    return sorted(up), sorted(down)


def unreachable_words(sr: Sr, stands: Stands, state: PoolState) -> str:
    """Why nobody can use an SR now; "" if somebody can."""
    up, down = hosts_of(sr, stands, state)
    if up:
        return ""
    if down:
        only = "a local SR of" if not sr.shared and len(down) == 1 else "plugged only on"
        if any(stands.by_ref[ref].imagined for ref in state.sr_hosts.get(sr.ref, ()) if ref in stands.by_ref):
            if len(down) == 1:
                return f"{sr.name} is {only} {down[0]} itself"
            return f"{sr.name} is {only} {names(down)}, none of which would be left"
        return f"{sr.name} is {only} {names(down)}, which " + ("is" if len(down) == 1 else "are") + " down"
    return f"{sr.name} is plugged on no host"


def plan_storage(wanted: Wanted, stands: Stands, state: PoolState, draft: Draft) -> None:
    """Add the actions that set the declared SRs, or say why they can't be set."""
    wish = wanted.storage
    _plan_one(
        Verb.SET_DEFAULT_SR,
        "default SR",
        wish.default_sr,
        wish.default_sr_place,
        state.pool.default_sr,
        stands,
        state,
        draft,
    )
    _plan_one(
        Verb.SET_SUSPEND_SR,
        "suspend image SR",
        wish.suspend_image_sr,
        wish.suspend_image_sr_place,
        state.pool.suspend_image_sr,
        stands,
        state,
        draft,
    )


def _plan_one(
    verb: Verb,
    what: str,
    name: str | None,
    place: Place | None,
    now: Ref | None,
    stands: Stands,
    state: PoolState,
    draft: Draft,
) -> None:
    present = state.srs.get(now or "")
    lost = unreachable_words(present, stands, state) if present else ""
    if name is None:
        key = "defaultSR" if verb is Verb.SET_DEFAULT_SR else "suspendImageSR"
        if lost:
            draft.notes.append(f"the pool's {what} can't be used: {lost}. To change it declare storage.{key}")
        elif now and present is None:
            draft.notes.append(f"the pool's {what} names an SR that is gone. To change it declare storage.{key}")
        return
    found = state.srs_named(name)
    where = str(place or "")
    wish = f"{what} {name}"
    if not found:
        why = "the pool has no SR of this name or uuid"
        draft.unmet.append(Unmet(Thing("sr", name), wish, why, "correct the name; to see them: xe sr-list", where))
        return
    if len(found) > 1:
        listed = "; ".join(
            f"{sr.uuid} on {names([h for hosts in hosts_of(sr, stands, state) for h in hosts])}" for sr in found
        )
        draft.unmet.append(
            Unmet(
                Thing("sr", name),
                wish,
                f"{len(found)} SRs have this name: {listed}",
                "write the uuid in the manifest",
                where,
            )
        )
        return
    sr = found[0]
    thing = Thing("sr", sr.name, sr.uuid)
    if unusable := unreachable_words(sr, stands, state):
        draft.unmet.append(
            Unmet(thing, wish, unusable, "repair that host, or declare an SR that living hosts reach", where)
        )
        return
    if sr.ref == now:
        draft.keep(thing, f"is the {what}, as declared")
        return
    before = present.name if present is not None else ("an SR that is gone" if now else "none")
    draft.actions.append(
        Action(
            verb,
            Thing("pool", state.pool.name, state.pool.uuid),
            f"the manifest declares {sr.name}" + (f", and {lost}" if lost else ""),
            before=before,
            after=sr.name,
            to=thing,
        )
    )
