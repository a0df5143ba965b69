"""The verdict on one member and on the pool: a table of cases, each with its exact words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.brake import NO_BRAKE, storm_brake
from reconciler.core.diagnose import diagnose
from reconciler.core.evidence import (
    ANSWERING,
    SIGNS_OF_LIFE,
    BmcPower,
    Certificate,
    CertificateKind,
    LoginAnswer,
    Situation,
    Verdict,
)
from reconciler.core.evidence import (
    Testimony as Said,
)
from reconciler.core.judge import judge_member, told_by_others
from reconciler.core.wanted import Brake, MemberState, Policy
from tests.core.build import NOW, PoolBuilder, address, certificate, survey, uuid, wanted

A = LoginAnswer
V = Verdict
B = BmcPower
W = wanted()
XEN01 = W.members[0]
ATTESTED = certificate("xen01", "attested")
FENCED = certificate("xen01", "fenced")
FENCED_WORDS = "fenced at 2023-11-14 22:13:10 UTC"
ATTESTED_WORDS = "attested dead by op (seen off)"
UP = "its host answers but its toolstack does not (connection refused)"
FOREIGN = "something answers with a certificate that the manifest does not trust"
ODD = "something answers, but not as XAPI does"
HANGS = "its host takes connections, but its toolstack does not answer: it hangs"


def seen(login: LoginAnswer, *, tcp: bool, bmc: BmcPower = B.NONE, **more: object) -> Said:
    detail = {A.EMERGENCY: "HOST_STILL_BOOTING []", A.REJECTED: "SESSION_AUTHENTICATION_FAILED []"}.get(login, "")
    follows = "10.0.0.12" if login is A.SLAVE else None
    base = Said("xen01", address("xen01"), NOW, login, detail=detail, follows=follows, tcp=tcp, bmc=bmc)
    return replace(base, **more)  # type: ignore[arg-type]


CASES: list[tuple[LoginAnswer, bool, BmcPower, Certificate | None, Verdict, str]] = [
    # What answers is alive, whatever a board or a person says: their word is void.
    (A.MASTER, True, B.NONE, None, V.ALIVE, "acts as master"),
    (A.MASTER, True, B.OFF, ATTESTED, V.ALIVE, "acts as master"),
    (A.SLAVE, True, B.NONE, None, V.ALIVE, "follows 10.0.0.12"),
    (A.SLAVE, True, B.OFF, FENCED, V.ALIVE, "follows 10.0.0.12"),
    (A.EMERGENCY, True, B.NONE, None, V.ALIVE, "in emergency mode (HOST_STILL_BOOTING [])"),
    (A.EMERGENCY, True, B.OFF, FENCED, V.ALIVE, "in emergency mode (HOST_STILL_BOOTING [])"),
    (A.REJECTED, True, B.NONE, None, V.ALIVE, "answers, but rejects our login (SESSION_AUTHENTICATION_FAILED [])"),
    (A.REJECTED, True, B.OFF, ATTESTED, V.ALIVE, "answers, but rejects our login (SESSION_AUTHENTICATION_FAILED [])"),
    # Something is powered on there: never dead, also where the board says off or a certificate is held.
    (A.REFUSED, False, B.NONE, None, V.SUSPECT, UP),
    (A.REFUSED, False, B.ON, None, V.SUSPECT, UP),
    (A.REFUSED, False, B.OFF, None, V.SUSPECT, UP),
    (A.REFUSED, False, B.OFF, FENCED, V.SUSPECT, UP),
    (A.REFUSED, False, B.UNKNOWN, ATTESTED, V.SUSPECT, UP),
    (A.UNTRUSTED, True, B.NONE, None, V.SUSPECT, FOREIGN),
    (A.UNTRUSTED, True, B.OFF, FENCED, V.SUSPECT, FOREIGN),
    (A.UNTRUSTED, True, B.UNKNOWN, ATTESTED, V.SUSPECT, FOREIGN),
    (A.STRANGE, True, B.NONE, None, V.SUSPECT, ODD),
    (A.STRANGE, True, B.OFF, FENCED, V.SUSPECT, ODD),
    (A.STRANGE, True, B.UNKNOWN, ATTESTED, V.SUSPECT, ODD),
    (A.SILENT, True, B.NONE, None, V.SUSPECT, HANGS),
    (A.SILENT, True, B.ON, None, V.SUSPECT, HANGS),
    (A.SILENT, True, B.OFF, None, V.SUSPECT, HANGS),
    (A.SILENT, True, B.OFF, FENCED, V.SUSPECT, HANGS),
    (A.SILENT, True, B.UNKNOWN, ATTESTED, V.SUSPECT, HANGS),
    # Silence alone is never death, and neither is a board that says off before anybody fenced.
    (A.SILENT, False, B.ON, None, V.UNREACHABLE, "not answering from here; BMC says power is on: not dead"),
    (A.SILENT, False, B.OFF, None, V.UNREACHABLE, "not answering from here; BMC says power is off"),
    (
        A.SILENT,
        False,
        B.UNKNOWN,
        None,
        V.UNREACHABLE,
        "not answering from here; BMC does not answer either, which proves nothing",
    ),
    (A.SILENT, False, B.NONE, None, V.UNREACHABLE, "not answering from here; no fence agent is declared to ask"),
    # A certificate over silence is death, unless the board contradicts it.
    (A.SILENT, False, B.OFF, FENCED, V.DEAD, f"no answer; {FENCED_WORDS}"),
    (A.SILENT, False, B.UNKNOWN, FENCED, V.DEAD, f"no answer; {FENCED_WORDS}"),
    (A.SILENT, False, B.NONE, ATTESTED, V.DEAD, f"no answer; {ATTESTED_WORDS}"),
    (A.SILENT, False, B.OFF, ATTESTED, V.DEAD, f"no answer; {ATTESTED_WORDS}"),
    (A.SILENT, False, B.UNKNOWN, ATTESTED, V.DEAD, f"no answer; {ATTESTED_WORDS}"),
    (
        A.SILENT,
        False,
        B.ON,
        FENCED,
        V.UNREACHABLE,
        f"not answering from here; {FENCED_WORDS}, but BMC says power is on: not dead",
    ),
    (
        A.SILENT,
        False,
        B.ON,
        ATTESTED,
        V.UNREACHABLE,
        f"not answering from here; {ATTESTED_WORDS}, but BMC says power is on: not dead",
    ),
]


@pytest.mark.parametrize(("login", "tcp", "bmc", "held", "verdict", "why"), CASES)
def test_the_verdict(
    login: LoginAnswer, tcp: bool, bmc: BmcPower, held: Certificate | None, verdict: Verdict, why: str
) -> None:
    judged = judge_member(XEN01, seen(login, tcp=tcp, bmc=bmc), [held] if held else [], uuid("xen01"), NOW)
    assert (judged.verdict, judged.why) == (verdict, why)
    assert judged.certificate == (held if verdict is V.DEAD else None)
    assert judged.voided == ((held,) if held and verdict is not V.DEAD else ())


def test_every_answer_to_a_login_and_every_power_state_is_in_the_table() -> None:
    assert {c[0] for c in CASES} == set(LoginAnswer)
    assert {c[2] for c in CASES} == set(BmcPower)
    assert {c[0] for c in CASES if c[4] is V.ALIVE} == ANSWERING
    assert {c[5] for c in CASES if c[4] is V.DEAD and c[3] is None} == set()


def test_no_testimony_without_a_certificate_is_ever_dead() -> None:
    for login in LoginAnswer:
        for bmc in BmcPower:
            for tcp in (True, False, None):
                for flag in (True, False, None):
                    t = seen(login, tcp=bool(tcp), bmc=bmc)
                    t = replace(t, tcp=tcp, reaches_master=flag, is_emergency=flag, local_login=flag)
                    for member in (XEN01, replace(XEN01, state=MemberState.MAINTENANCE)):
                        assert judge_member(member, t, [], uuid("xen01"), NOW).verdict is not V.DEAD


def test_a_certificate_is_about_one_host_and_one_time() -> None:
    silent = seen(A.SILENT, tcp=False, bmc=B.OFF)

    def verdict(held: Certificate, *, now: float = NOW, known: str | None = uuid("xen01")) -> Verdict:
        return judge_member(XEN01, silent, [held], known, now).verdict

    assert verdict(FENCED) is V.DEAD
    assert verdict(FENCED, now=FENCED.expires_at - 1) is V.DEAD
    assert verdict(FENCED, now=FENCED.expires_at) is V.UNREACHABLE
    assert verdict(FENCED, now=FENCED.issued_at - 5) is V.UNREACHABLE  # our clock was set back
    assert verdict(certificate("xen02", "fenced")) is V.UNREACHABLE
    # Another machine under the same name and address: the uuid decides where both are known.
    assert verdict(FENCED, known="uuid-of-its-replacement") is V.UNREACHABLE
    assert verdict(replace(FENCED, host_uuid=None)) is V.DEAD
    assert verdict(replace(FENCED, host_uuid=None, address="10.0.0.99")) is V.UNREACHABLE


def test_of_several_certificates_the_one_that_holds_longest_is_named() -> None:
    longer = certificate("xen01", "attested", expires=7200)
    silent = seen(A.SILENT, tcp=False, bmc=B.OFF)
    assert judge_member(XEN01, silent, [FENCED, longer, ATTESTED], uuid("xen01"), NOW).certificate == longer


@pytest.mark.parametrize("login", sorted(SIGNS_OF_LIFE))
def test_a_sign_of_life_ends_every_certificate_of_that_host_and_no_other(login: LoginAnswer) -> None:
    early = replace(ATTESTED, issued_at=NOW + 3600, expires_at=NOW + 5400)  # made while our clock was ahead
    over = replace(ATTESTED, issued_at=NOW - 7200, expires_at=NOW - 1)
    held = [early, FENCED, over, certificate("xen02", "attested"), ATTESTED]
    judged = judge_member(XEN01, seen(login, tcp=True, bmc=B.NONE), held, uuid("xen01"), NOW)
    assert judged.voided == (ATTESTED, FENCED, early)


def test_power_that_is_on_ends_a_certificate_that_would_hold_later() -> None:
    early = replace(ATTESTED, issued_at=NOW + 3600, expires_at=NOW + 5400)
    on = seen(A.SILENT, tcp=False, bmc=B.ON)
    assert judge_member(XEN01, on, [early], uuid("xen01"), NOW).voided == (early,)
    assert judge_member(XEN01, replace(on, bmc=B.OFF), [early], uuid("xen01"), NOW).voided == ()


def test_maintenance_expects_silence_but_not_death() -> None:
    member = replace(XEN01, state=MemberState.MAINTENANCE)
    silent = seen(A.SILENT, tcp=False, bmc=B.ON)
    judged = judge_member(member, silent, [], None, NOW)
    assert (judged.verdict, judged.why) == (V.PLANNED_DOWN, "no answer, as its maintenance lets expect")
    assert judge_member(member, silent, [FENCED], None, NOW).verdict is V.UNREACHABLE  # its board says on
    assert judge_member(member, replace(silent, bmc=B.OFF), [FENCED], None, NOW).verdict is V.DEAD
    assert judge_member(member, seen(A.SLAVE, tcp=True), [], None, NOW).verdict is V.ALIVE


# --- what the others know --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"xen01": "silent"}, "3 of 3 members have lost it"),
        ({"xen01": "silent", "xen04": "silent"}, "2 of 2 members have lost it"),
        ({"xen01": "silent", "xen03": "silent", "xen04": "silent"}, "1 of 1 member has lost it"),
        ({"xen01": "silent", "xen03": "reaches xen01"}, "2 of 3 members have lost it, but xen03 still reaches it"),
        ({"xen01": "silent", **{f"xen0{n}": "emergency" for n in (2, 3, 4)}}, ""),
    ],
)
def test_what_followers_say_of_a_silent_master(spec: dict[str, str], words: str) -> None:
    w = wanted(hosts=4)
    found = survey(spec, hosts=4, master=None)
    assert told_by_others(w, found, found.testimonies[0], None) == words
    power = "BMC says power is on: not dead"
    why = diagnose(w, found, (), now=NOW).members[0].why
    assert why == "; ".join(part for part in ("not answering from here", words, power) if part)


@pytest.mark.parametrize(
    ("live", "enabled", "read_at", "words"),
    [
        (True, True, NOW, "xen01 still counts it as live"),
        (False, True, NOW, "xen01 has lost it"),
        (False, False, NOW, ""),  # the master has just started: its `live` says nothing yet
        (True, True, NOW - 60, ""),  # the last known pool is no witness
    ],
)
def test_what_the_acting_master_says_of_a_silent_member(live: bool, enabled: bool, read_at: float, words: str) -> None:
    pool = PoolBuilder()
    pool.host("xen03", live=live)
    pool.host("xen01", enabled=enabled)
    known = replace(pool.state(), read_at=read_at)
    found = survey({"xen03": "silent unknown"})
    judged = diagnose(W, found, (), now=NOW, known=known).of("xen03")
    assert judged is not None
    rest = "BMC does not answer either, which proves nothing"
    assert judged.why == "; ".join(part for part in ("not answering from here", words, rest) if part)
    assert judged.verdict is V.UNREACHABLE


# --- the pool --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "master", "situation", "why"),
    [
        ({}, "xen01", Situation.MANAGED, "xen01 is master; 3 of 3 members answer"),
        ({"xen03": "silent"}, "xen01", Situation.MANAGED, "xen01 is master; 2 of 3 members answer; xen03 does not"),
        (
            {"xen01": "silent"},
            None,
            Situation.LOST,
            "the master xen01 (10.0.0.11) is lost: it answers nobody (xen02 and xen03 hang on it)",
        ),
        (
            {"xen01": "silent", "xen02": "emergency", "xen03": "emergency"},
            None,
            Situation.LOST,
            "the master xen01 (10.0.0.11) is lost: it answers nobody (in emergency mode: xen02 and xen03)",
        ),
        (
            {"xen01": "silent", "xen02": "silent"},
            None,
            Situation.CUT_OFF,
            "no master answers, and only 1 of 3 members answer and policy.brake.minHealthy is 50%: it may be this "
            "machine that is cut off",
        ),
        (
            {"xen01": "silent", "xen02": "silent", "xen03": "silent"},
            None,
            Situation.CUT_OFF,
            "none of the 3 members answers",
        ),
        (
            {"xen01": "hung"},
            None,
            Situation.BOOTING,
            "xen01 (10.0.0.11) is the master and its host takes connections, but its toolstack does not answer: it "
            "hangs",
        ),
    ],
)
def test_the_situation(spec: dict[str, str], master: str | None, situation: Situation, why: str) -> None:
    known = PoolBuilder().state()
    found = diagnose(wanted(), survey(spec, master=master), (), now=NOW, known=replace(known, read_at=NOW - 60))
    assert (found.situation, found.why) == (situation, why)


def test_one_member_that_still_reaches_the_master_means_that_we_are_cut_off() -> None:
    found = diagnose(wanted(), survey({"xen01": "silent", "xen02": "reaches xen01"}, master=None), (), now=NOW)
    assert found.situation is Situation.CUT_OFF
    assert "xen02 still reaches it: the master is alive" in found.why


def test_two_masters_and_a_stranger_and_a_wrong_password_are_told_apart() -> None:
    two = diagnose(wanted(), survey({"xen02": "master"}), (), now=NOW)
    assert two.situation is Situation.TWO_MASTERS
    other = diagnose(wanted(), survey({"xen01": "master uuid-other"}), (), now=NOW, known=PoolBuilder().state())
    assert other.situation is Situation.STRANGER
    denied = diagnose(wanted(), survey({"xen01": "rejected"}, master="xen01"), (), now=NOW)
    assert denied.situation is Situation.DENIED


def test_a_member_that_was_installed_anew_is_a_stranger_with_a_way_out() -> None:
    known = PoolBuilder().state()
    found = diagnose(wanted(), survey({"xen03": "master uuid-new"}), (), now=NOW, known=known)
    assert found.situation is Situation.STRANGER
    assert "if xen03 was installed anew, shut it down" in found.remedy
    assert "xenrec attest pool.yaml xen03 --dead" in found.remedy
    alone = diagnose(
        wanted(), survey({"xen01": "master uuid-new", "xen02": "silent", "xen03": "silent"}), (), now=NOW, known=known
    )
    assert "installed anew" not in alone.remedy


def test_a_certificate_for_a_host_of_another_pool_proves_nothing_here() -> None:
    theirs = replace(certificate("xen03"), pool="another")
    judged = diagnose(wanted(fencing=False), survey({"xen03": "silent"}, bmc="none"), (theirs,), now=NOW).of("xen03")
    assert judged is not None
    assert judged.verdict is Verdict.UNREACHABLE


def test_silent_members_in_maintenance_are_left_out_of_the_brakes_count_and_named() -> None:
    w = wanted(hosts=4, policy=Policy(brake=Brake(0.51, 1)))
    resting = replace(
        w, members=tuple(replace(m, state=MemberState.MAINTENANCE) if m.name == "xen04" else m for m in w.members)
    )
    two = survey({"xen03": "silent", "xen04": "silent"}, hosts=4)
    assert storm_brake(w, two, ())[0].startswith("only 2 of 4 members answer and policy.brake.minHealthy is 51%: ")
    assert storm_brake(resting, two, ()) == NO_BRAKE
    three = survey({"xen02": "silent", "xen03": "silent", "xen04": "silent"}, hosts=4)
    assert storm_brake(resting, three, ())[0] == (
        "only 1 of 3 members answer and policy.brake.minHealthy is 51% (xen04, in maintenance and silent, is not "
        "counted): it may be this machine that is cut off"
    )
    all_off = replace(w, members=tuple(replace(m, state=MemberState.MAINTENANCE) for m in w.members))
    nobody = survey(dict.fromkeys((m.name for m in w.members), "silent"), hosts=4)
    assert storm_brake(all_off, nobody, ())[0], "nobody counts, and nobody answers: that is no pool to act on"
    assert storm_brake(resting, survey({"xen03": "silent"}, hosts=4), ()) == NO_BRAKE, "one that answers is counted"


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        pytest.param(CertificateKind.ATTESTED, False, id="a person's word"),
        pytest.param(CertificateKind.FENCED, True, id="an agent's: one host after the other would be fenced"),
    ],
)
def test_who_is_attested_dead_is_left_out_of_the_brakes_count(kind: CertificateKind, held: bool) -> None:
    w = wanted(hosts=4, policy=Policy(brake=Brake(0.51, 1)))
    two = survey({"xen03": "silent", "xen04": "silent off"}, hosts=4)
    proof = replace(certificate("xen04"), kind=kind)
    judged = diagnose(w, two, (proof,), now=NOW).members
    assert judged[3].verdict is Verdict.DEAD
    assert bool(storm_brake(w, two, judged)[0]) is held
    three = survey({"xen02": "silent", "xen03": "silent", "xen04": "silent off"}, hosts=4)
    why, remedy = storm_brake(w, three, diagnose(w, three, (proof,), now=NOW).members)
    assert ("only 1 of 3 members answer" in why and "(xen04, attested dead, is not counted)" in why) is not held
    assert f" {'xen04' if held else 'xen02'} --dead" in remedy


def test_a_host_that_boots_without_its_master_is_waited_for_only_a_minute() -> None:
    for gone, then in (("silent off", "xenrec attest pool.yaml xen01 --dead"), ("silent on", "xe-toolstack-restart")):
        seen = survey({"xen01": gone, "xen02": "refused"})
        why, remedy = storm_brake(wanted(), seen, ())
        assert why.endswith(": the toolstack of xen02 is down or restarting")
        assert then in remedy, gone


def test_who_still_hears_the_master_shows_that_we_are_cut_off() -> None:
    seen = survey({"xen01": "silent on", "xen02": "silent on", "xen03": "reaches xen01"})
    why, remedy = storm_brake(wanted(), seen, ())
    assert why.endswith("xen03 still reaches the master: it is this machine that is cut off")
    assert remedy == "look from another network"


def test_whoever_hears_the_master_himself_is_not_cut_off_by_who_else_does() -> None:
    w = wanted(hosts=4, policy=Policy(brake=Brake(0.51, 1)))
    seen = survey({"xen01": "master", "xen02": "silent off", "xen03": "silent off", "xen04": "reaches xen01"}, hosts=4)
    why, remedy = storm_brake(w, seen, ())
    assert "still reaches" not in why
    assert "if they are dead, say so of each: xenrec attest pool.yaml xen02 --dead" in remedy


def test_a_word_that_a_sign_of_life_voids_counts_for_nothing() -> None:
    w = wanted(hosts=4, policy=Policy(brake=Brake(0.51, 1)))
    for alive in ("refused", "silent on"):
        seen = survey({"xen03": "silent", "xen04": alive}, hosts=4)
        judged = diagnose(w, seen, (replace(certificate("xen04"), kind=CertificateKind.ATTESTED),), now=NOW).members
        assert storm_brake(w, seen, judged)[0].startswith("only 2 of 4 members answer"), alive


def test_a_persons_word_goes_before_an_agents_that_holds_longer() -> None:
    fenced = replace(certificate("xen03"), kind=CertificateKind.FENCED, expires_at=NOW + 7200)
    word = replace(certificate("xen03"), kind=CertificateKind.ATTESTED, expires_at=NOW + 60)
    judged = diagnose(wanted(), survey({"xen03": "silent off"}), (fenced, word), now=NOW).of("xen03")
    assert judged is not None
    assert judged.certificate == word


def test_a_toolstack_that_is_down_behind_tls_drops_connections() -> None:
    """Its TLS server goes on accepting (recording 12): that is no stranger."""
    for detail, said in (
        ("dropped: 10.0.0.13: the connection was closed", "its toolstack is down or restarting"),
        ("protocol: no JSON", "something answers, but not as XAPI does"),
    ):
        seen = survey({"xen03": "refused"})
        told = (
            replace(t, login=LoginAnswer.STRANGE, detail=detail) if t.name == "xen03" else t for t in seen.testimonies
        )
        judged = diagnose(wanted(), replace(seen, testimonies=tuple(told)), (), now=NOW).of("xen03")
        assert judged is not None
        assert (judged.verdict, said in judged.why) == (Verdict.SUSPECT, True)
