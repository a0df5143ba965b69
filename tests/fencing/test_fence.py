"""Certificates only from an `off` that worked and a later status that says so; every lie ends in a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from reconciler.core.evidence import BmcPower, Certificate, CertificateKind
from reconciler.core.fence_text import Refusal
from reconciler.core.port import AgentRun, Answer, Ask, Json
from reconciler.core.wanted import FenceDevice, Member, SecretRef
from reconciler.fencing.fence import Bounds, Fencer

OFF, ON = AgentRun(2, "Status: OFF\n", ""), AgentRun(0, "Status: ON\n", "")
DONE = AgentRun(0, "Success: Powered OFF\n", "")
DEAD_BMC = AgentRun(1, "", "ERROR: Unable to connect/login to fencing device\n")
HANGS = AgentRun(None, "", "")
FULL = '<resource-agent name="x"><parameter name="ip"/><parameter name="username"/><parameter name="password"/>'
METADATA = AgentRun(0, FULL + '<action name="off"/><action name="status"/></resource-agent>', "")


@dataclass
class Bmc:
    """One board behind an agent: powered or not, and what it does to each request."""

    on: bool = True
    answers: Callable[[Bmc, str], AgentRun | None] = lambda _bmc, _action: None
    delay: float = 0.0
    """Seconds from an `off` until the power is gone."""
    off_at: float | None = None


@dataclass
class Outside:
    """The port with a virtual clock, where only agents exist; each agent name is one Bmc."""

    bmcs: dict[str, Bmc]
    clock: float = 1_000_000.0
    log: list[tuple[str, str]] = field(default_factory=list)
    options: list[Mapping[str, str]] = field(default_factory=list)

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.clock += seconds

    def call(self, address: str, method: str, params: Sequence[Json], *, deadline: float) -> Json:
        raise AssertionError(f"fencing never calls XAPI: {address} {method} {params} {deadline}")

    def ask_all(self, asks: Sequence[Ask]) -> list[Answer]:
        raise AssertionError(f"fencing asks one agent at a time: {asks}")

    def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
        action = options["action"]
        if agent not in self.bmcs:
            raise FileNotFoundError(f"fence agent {agent} is not installed")
        bmc = self.bmcs[agent]
        if action != "metadata":
            self.log.append((agent, action))
            self.options.append(dict(options))
        self.clock += 0.5
        said = bmc.answers(bmc, action)
        if said is not None:
            self.clock += deadline if said.code is None else 0.0
            return said
        if action == "metadata":
            return METADATA
        if action == "off":
            bmc.off_at = self.clock + bmc.delay
            return DONE
        if bmc.off_at is not None and self.clock >= bmc.off_at:
            bmc.on = False
        return ON if bmc.on else OFF


def member(*agents: str, **secrets: SecretRef) -> Member:
    devices = tuple(
        FenceDevice(a, {"ip": f"10.9.0.{i}", "username": "op"}, dict(secrets)) for i, a in enumerate(agents)
    )
    return Member("xen01", "10.0.0.11", fencing=devices)


def fencer(outside: Outside) -> Fencer:
    return Fencer(outside, lambda ref: f"value-of-{ref.value}")


def off(outside: Outside, who: Member) -> Certificate | Refusal:
    return fencer(outside).off(who, pool="madrid", host_uuid="u-1", reason="dead", lifetime_s=600)


def answering(**table: AgentRun) -> Callable[[Bmc, str], AgentRun | None]:
    return lambda _bmc, action: table.get(action)


def test_off_then_a_later_status_gives_a_certificate_for_this_host_only() -> None:
    outside = Outside({"fence_a": Bmc()})
    cert = off(outside, member("fence_a"))
    assert isinstance(cert, Certificate)
    assert (cert.kind, cert.pool, cert.host, cert.host_uuid) == (CertificateKind.FENCED, "madrid", "xen01", "u-1")
    assert (cert.address, cert.by, cert.reason) == ("10.0.0.11", "fence_a 10.9.0.0", "dead")
    assert cert.issued_at == outside.clock
    assert cert.expires_at == outside.clock + 600
    assert outside.log == [("fence_a", "off"), ("fence_a", "status")]


def test_a_slow_board_is_waited_for_within_the_bound() -> None:
    outside = Outside({"fence_a": Bmc(delay=12.0)})
    assert isinstance(off(outside, member("fence_a")), Certificate)
    outside = Outside({"fence_a": Bmc(delay=120.0)})
    before = outside.clock
    refusal = off(outside, member("fence_a"))
    assert isinstance(refusal, Refusal)
    assert outside.clock - before < 60


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (answering(off=DONE), "its agent says that off succeeded, but its status is on"),  # no effect
        (answering(off=DONE, status=AgentRun(0, "", "")), "no power status"),  # /bin/true
        (answering(off=DONE, status=AgentRun(2, "", "bad argument")), "bad argument"),
        (answering(off=DONE, status=DEAD_BMC), "Unable to connect"),  # the board died with the host
        (answering(off=DEAD_BMC, status=DEAD_BMC), "off failed"),
        (answering(off=HANGS, status=HANGS), "killed at its deadline"),
        (answering(off=DEAD_BMC, status=OFF), "off failed twice"),  # off already, but it can't be commanded
        (
            answering(metadata=AgentRun(0, "<resource-agent><action name='off'/></resource-agent>", "")),
            "no action status",
        ),
        (answering(metadata=AgentRun(0, "<resource-agent><action name='on'/></resource-agent>", "")), "no action off"),
    ],
)
def test_whatever_proves_nothing_is_refused_with_its_reason(
    answers: Callable[[Bmc, str], AgentRun | None], said: str
) -> None:
    refusal = off(Outside({"fence_a": Bmc(answers=answers)}), member("fence_a"))
    assert isinstance(refusal, Refusal)
    assert said in refusal.why
    assert "xen01" in refusal.why
    assert "xenrec attest MANIFEST xen01 --dead" in refusal.remedy


def test_an_off_whose_reply_was_lost_is_sent_again_and_then_believed() -> None:
    def lost_once(bmc: Bmc, action: str) -> AgentRun | None:
        if action == "off" and bmc.off_at is None:
            bmc.off_at = 0.0
            return HANGS
        return None

    outside = Outside({"fence_a": Bmc(answers=lost_once)})
    assert isinstance(off(outside, member("fence_a")), Certificate)
    assert [action for _, action in outside.log] == ["off", "status", "off", "status"]


def test_no_agent_means_no_certificate() -> None:
    refusal = off(Outside({}), member())
    assert isinstance(refusal, Refusal)
    assert "no fence agent is declared for xen01" in refusal.why
    missing = off(Outside({}), member("fence_gone"))
    assert isinstance(missing, Refusal)
    assert "not installed" in missing.why


@pytest.mark.parametrize("agent", ["/usr/sbin/fence_scsi", "fence_ifmib", "/usr/sbin/fence_brocade", "fence_dummy"])
def test_agents_that_do_not_control_power_prove_nothing(agent: str) -> None:
    outside = Outside({agent: Bmc()})
    refusal = off(outside, member(agent))
    assert isinstance(refusal, Refusal)
    assert "does not control power" in refusal.why
    assert outside.log == []


def test_the_second_device_only_if_the_first_fails() -> None:
    outside = Outside({"fence_a": Bmc(), "fence_b": Bmc()})
    assert isinstance(off(outside, member("fence_a", "fence_b")), Certificate)
    assert {agent for agent, _ in outside.log} == {"fence_a"}
    outside = Outside({"fence_a": Bmc(answers=answering(off=DEAD_BMC, status=DEAD_BMC)), "fence_b": Bmc()})
    cert = off(outside, member("fence_a", "fence_b"))
    assert isinstance(cert, Certificate)
    assert cert.by == "fence_b 10.9.0.1"


def test_a_first_device_that_still_says_on_outweighs_the_second() -> None:
    outside = Outside({"fence_a": Bmc(answers=answering(off=DONE, status=ON)), "fence_b": Bmc()})
    refusal = off(outside, member("fence_a", "fence_b"))
    assert isinstance(refusal, Refusal)
    assert "fence_b 10.9.0.1 says off, but fence_a 10.9.0.0 still says on" in refusal.why


def test_the_manifest_cannot_choose_the_action() -> None:
    outside = Outside({"fence_a": Bmc()})
    who = Member("xen01", "10.0.0.11", fencing=(FenceDevice("fence_a", {"option": "reboot"}),))
    refusal = off(outside, who)
    assert isinstance(refusal, Refusal)
    assert "sets its action" in refusal.why
    assert outside.log == []


def test_secrets_reach_the_agent_and_nothing_else() -> None:
    talks = AgentRun(1, "", "login op/value-of-PW failed\n")
    outside = Outside({"fence_a": Bmc(answers=answering(off=talks, status=talks))})
    refusal = off(outside, member("fence_a", pin_word=SecretRef("env", "PW")))
    assert outside.options[0]["pin_word"] == "value-of-PW"
    assert isinstance(refusal, Refusal)
    assert "value-of" not in refusal.why + refusal.remedy
    assert "login op/(hidden) failed" in refusal.why


class NoSecret(Exception):
    """Whatever the resolver raises."""


@pytest.mark.parametrize("error", [NoSecret, LookupError, OSError])
def test_a_secret_that_cannot_be_had_is_a_refusal(error: type[Exception]) -> None:
    def no_secret(ref: SecretRef) -> str:
        raise error(f"the environment has no {ref.value}")

    outside = Outside({"fence_a": Bmc()})
    who = member("fence_a", password=SecretRef("env", "PW"))
    refusal = Fencer(outside, no_secret).off(who, pool="p", host_uuid=None, reason="r", lifetime_s=60)
    assert isinstance(refusal, Refusal)
    assert "the environment has no PW" in refusal.why
    assert outside.log == []


def test_status_takes_the_first_device_that_knows() -> None:
    outside = Outside({"fence_a": Bmc(answers=answering(status=DEAD_BMC)), "fence_b": Bmc(on=False)})
    assert fencer(outside).status(member("fence_a", "fence_b")) == (BmcPower.OFF, "fence_b 10.9.0.1: off")
    power, why = fencer(outside).status(member("fence_a"))
    assert power is BmcPower.UNKNOWN
    assert "Unable to connect" in why
    assert fencer(outside).status(member())[0] is BmcPower.NONE


def test_a_certificate_is_void_when_power_is_back_or_unreadable_or_time_is_over() -> None:
    bmc = Bmc()
    outside = Outside({"fence_a": bmc})
    who = member("fence_a")
    cert = off(outside, who)
    assert isinstance(cert, Certificate)
    same = fencer(outside)
    assert same.recheck(cert, who) == ""
    assert "is about xen01" in same.recheck(cert, Member("xen02", "10.0.0.12"))
    assert "no fence agent is declared" in same.recheck(cert, Member("xen01", "10.0.0.11"))
    bmc.answers = answering(status=DEAD_BMC)
    assert "can't be read again" in same.recheck(cert, who)
    bmc.answers, bmc.on, bmc.off_at = answering(), True, None
    assert "xen01 has power again" in same.recheck(cert, who)
    outside.clock = cert.expires_at + 5
    assert same.recheck(cert, who) == "the certificate expired 5 s ago"
    outside.clock = cert.issued_at - 100
    assert "from the future" in same.recheck(cert, who)


def test_the_device_that_gave_the_certificate_is_the_one_asked_again() -> None:
    outside = Outside({"fence_a": Bmc(answers=answering(off=DEAD_BMC, status=DEAD_BMC)), "fence_b": Bmc()})
    who = member("fence_a", "fence_b")
    cert = off(outside, who)
    assert isinstance(cert, Certificate)
    outside.log.clear()
    assert fencer(outside).recheck(cert, who) == ""
    assert outside.log == [("fence_b", "status")]


def test_an_attestation_needs_no_board() -> None:
    outside = Outside({})
    cert = Certificate(CertificateKind.ATTESTED, "p", "xen01", "10.0.0.11", None, "ana", "seen", 999_999.0, 1_000_100.0)
    assert fencer(outside).recheck(cert, member()) == ""
    assert fencer(outside).recheck(cert, member("fence_a")) == ""
    assert outside.log == []


def test_options_are_checked_against_the_metadata() -> None:
    outside = Outside({"fence_a": Bmc(), "fence_home": Bmc(answers=answering(metadata=HANGS))})
    who = Member(
        "xen01",
        "10.0.0.11",
        fencing=(
            FenceDevice(
                "fence_a",
                {"ip": "x", "ipaddres": "y"},
                {"password": SecretRef("env", "P"), "pasword": SecretRef("env", "P")},
            ),
            FenceDevice("fence_home", {"anything": "goes"}),
            FenceDevice("fence_gone"),
            FenceDevice("fence_kdump"),
        ),
    )
    warnings = fencer(Outside({**outside.bmcs, "fence_kdump": Bmc()})).check_options(who)
    assert [w.split(";")[0] for w in warnings] == [
        "xen01: fence_a does not know the option 'ipaddres' and would ignore it",
        "xen01: fence_a does not know the option 'pasword' and would ignore it",
        "xen01: fence agent fence_gone is not installed",
        "xen01: fence_kdump does not control power: its OFF does not mean that the host is off",
    ]


def test_bounds_reach_the_agent() -> None:
    seen: list[tuple[str, float]] = []

    class Listening(Outside):
        def run_agent(self, agent: str, options: Mapping[str, str], *, deadline: float) -> AgentRun:
            seen.append((options["action"], deadline))
            return super().run_agent(agent, options, deadline=deadline)

    outside = Listening({"fence_a": Bmc()})
    bounds = Bounds(off=7, status=3, metadata=2)
    cert = Fencer(outside, lambda _: "", bounds=bounds).off(
        member("fence_a"), pool="p", host_uuid=None, reason="r", lifetime_s=60
    )
    assert isinstance(cert, Certificate)
    assert seen == [("metadata", 2), ("off", 7), ("status", 3)]
