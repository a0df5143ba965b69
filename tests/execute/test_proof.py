"""A certificate is asked for again at the last moment, and is about this pool."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.plan import Action, Result, Verb
from tests.execute.world import Rig, certificate, host_thing

FENCE = Action(Verb.FENCE, host_thing("xen01"), "the master is lost")
PROMOTE = Action(
    Verb.PROMOTE, host_thing("xen02"), "no master", certificate_of=("xen01",), follows=(FENCE.id,), via="10.0.0.2"
)


def lost_master() -> Rig:
    rig = Rig()
    rig.world.pull("xen01")
    rig.store.kept.append(certificate("xen01", rig.world.now(), uuid="uuid-xen01"))
    return rig


def test_a_check_of_a_moment_ago_does_not_serve_a_promotion() -> None:
    rig = lost_master()

    def back() -> None:
        rig.world.host("xen01").up = True

    rig.world.at("session.slave_local_login_with_password", back)
    done = rig.run(FENCE, PROMOTE, master=None, lost="xen01")
    assert done[FENCE.id].result is Result.ALREADY  # the certificate was found good, less than 10 s before
    assert done[PROMOTE.id].result is Result.REFUSED
    assert rig.world.promotions == 0


def test_a_certificate_for_another_pool_proves_nothing_here() -> None:
    rig = lost_master()
    rig.store.kept[:] = [replace(c, pool="another") for c in rig.store.kept]
    done = rig.run(replace(PROMOTE, follows=()), master=None, lost="xen01")
    assert done[PROMOTE.id].result is Result.REFUSED
    assert rig.world.promotions == 0


def test_a_sign_of_life_ends_also_what_would_hold_later() -> None:
    rig = lost_master()
    early = certificate("xen01", rig.world.now() + 3600)  # made while our clock was ahead
    rig.store.kept.append(early)
    rig.world.host("xen01").up = True
    rig.run(replace(PROMOTE, follows=()), master=None, lost="xen01")
    assert rig.store.kept == []
    assert early in [one for one, _ in rig.store.voided]
