"""A release of the other kind: emergency mode after a toolstack restart, and live=true for ten minutes (sheet §1.2)."""

from __future__ import annotations

from reconciler.lab import Lab, Release, Seed
from tests.lab.story import HANGS, Story


def _classic() -> Story:
    s = Story(Lab(Seed.generate(3, 9), release=Release.CLASSIC))
    s.login("xen01")
    return s


def test_members_enter_emergency_mode_a_minute_after_their_master_died() -> None:
    s = _classic()
    s.lab.power_off("xen01")
    s.wait(10.0)
    assert s.sign_in("xen02") == ["HOST_IS_SLAVE", s.address("xen01")]
    assert s.ask_locally("xen02", "host.is_in_emergency_mode") is False
    s.wait(60.0)
    s.local.clear()
    assert s.ask_locally("xen02", "host.is_in_emergency_mode") is True
    seen = set()
    for _ in range(12):
        answer = s.sign_in("xen02")
        seen.add(answer[0])
        s.wait(1.0)
    assert seen == {"HOST_STILL_BOOTING", "INTERNAL_ERROR"}  # they alternate
    for refused in ("Async.pool.emergency_transition_to_master", "VM.get_all", "session.logout"):
        assert s.refusal_locally("xen02", refused)[0] in seen
    assert s.ask_locally("xen02", "pool.is_slave", "xen02", deadline=20.0) == HANGS
    assert s.ask_locally("xen02", "pool.emergency_transition_to_master") == ""


def test_after_a_promotion_everybody_is_live_the_dead_too_and_probes_are_made() -> None:
    s = _classic()
    s.lab.power_off("xen01")
    s.wait(90.0)
    s.promote("xen02")
    assert s.hosts("xen02") == {"xen01": (False, True), "xen02": (False, True), "xen03": (False, True)}
    s.ask("xen02", "pool.recover_slaves")
    s.until_ready("xen02", "xen02", "xen03")
    dead = [v for v in s.ask("xen02", "VM.get_all_records").values() if v["resident_on"] == s.ref("xen01")]
    guests = [v for v in dead if not v["is_control_domain"]]
    assert guests
    start = s.lab.now
    assert s.ask("xen02", "host.declare_dead", "xen01") == ""
    assert s.lab.now - start >= 10.0 * (1 + len(guests))
    assert s.hosts("xen02")["xen01"] == (False, True)  # live stays
    s.until(lambda: not s.hosts("xen02")["xen01"][1], 700.0, step=5.0)


def test_a_member_without_its_master_recovers_by_itself_when_that_returns() -> None:
    s = _classic()
    s.lab.power_off("xen01")
    s.wait(100.0)
    s.lab.power_on("xen01")
    s.until_master("xen01")
    s.until_ready("xen01", "xen01", "xen02", "xen03")
    s.local.clear()
    assert s.ask_locally("xen03", "host.is_in_emergency_mode") is False


def test_a_broken_role_file_is_shown_and_repeated_by_who_follows_it() -> None:
    s = _classic()
    s.lab.hosts["xen02"].role = "broken"
    s.lab.hosts["xen03"].role = f"slave:{s.address('xen02')}"
    for name in ("xen02", "xen03"):
        s.lab.restart_toolstack(name)
    s.wait(20.0)
    assert s.sign_in("xen02") == ["HOST_BROKEN"]
    heard = set()
    for _ in range(4):
        heard.add(s.sign_in("xen03")[0])
        s.wait(s.lab.timing.handshake_retry)
    assert heard == {"HOST_STILL_BOOTING", "HOST_BROKEN"}
    local = s.local_login("xen02")
    assert s.raw("xen02", "pool.emergency_reset_master", local, s.address("xen01")) in (None, "")
    s.wait(40.0)
    assert s.sign_in("xen02") == ["HOST_IS_SLAVE", s.address("xen01")]
