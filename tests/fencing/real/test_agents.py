"""fence_redfish and fence_ipmilan over emulated boards: a certificate only where the power is really off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.evidence import BmcPower, Certificate
from reconciler.core.fence_text import Refusal
from reconciler.core.wanted import Member
from reconciler.fencing.fence import Fencer
from tests.fencing.real import rigs

SYSTEMS = {f"00000000-0000-4000-8000-00000000000{n}": f"system-{n}" for n in range(6)}
UUIDS = tuple(SYSTEMS)


@pytest.fixture(scope="module")
def redfish(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rigs.Redfish]:
    if why := rigs.missing("fence_redfish", "sushy_tools"):
        pytest.skip(why)
    with rigs.redfish(tmp_path_factory.mktemp("redfish"), SYSTEMS) as board:
        yield board


@pytest.fixture(scope="module")
def one_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rigs.Ipmi]:
    if why := rigs.missing("fence_ipmilan", "pyghmi", "ipmitool"):
        pytest.skip(why)
    with rigs.ipmi(tmp_path_factory.mktemp("ipmi")) as board:
        yield board


@pytest.fixture
def ipmi(one_board: rigs.Ipmi) -> rigs.Ipmi:
    """The board, powered on."""
    one_board.ask("on")
    return one_board


def off(fencer: Fencer, member: Member) -> Certificate | Refusal:
    return fencer.off(member, pool="madrid", host_uuid="u-1", reason="it is dead", lifetime_s=600)


def no_secret(*texts: str) -> None:
    for text in texts:
        assert rigs.PASSWORD not in text
        assert rigs.IPMI_PASSWORD not in text


# --- Redfish ---------------------------------------------------------------------------------------------------------


def test_redfish_off_certifies_and_power_that_comes_back_voids(redfish: rigs.Redfish) -> None:
    system = UUIDS[0]
    member, fencer = redfish.member(system), rigs.fencer(rigs.PASSWORD)
    assert fencer.check_options(member) == ()
    assert fencer.status(member)[0] is BmcPower.ON
    certificate = off(fencer, member)
    assert isinstance(certificate, Certificate), certificate
    assert redfish.power(system) == "Off"
    assert certificate.by == f"fence_redfish 127.0.0.1 /redfish/v1/Systems/{system}"
    assert fencer.recheck(certificate, member) == ""
    redfish.switch_on(system)
    assert "on" in fencer.recheck(certificate, member)
    no_secret(repr(certificate), fencer.recheck(certificate, member))


def test_redfish_probe_knows_its_options(redfish: rigs.Redfish) -> None:
    member = redfish.member(UUIDS[1])
    (probe,) = rigs.fencer(rigs.PASSWORD).probe([member])["xen01"]
    assert (probe.power, probe.proves, probe.ignored, probe.trouble) == (BmcPower.ON, True, (), "")


def test_redfish_with_a_wrong_password(redfish: rigs.Redfish) -> None:
    fencer = rigs.fencer("not-the-password")
    refusal = off(fencer, redfish.member(UUIDS[2]))
    assert isinstance(refusal, Refusal)
    assert "off failed (exit code 1" in refusal.why
    assert "not-the-password" not in refusal.why + refusal.remedy
    assert redfish.power(UUIDS[2]) == "On"


def test_redfish_on_a_dead_board(redfish: rigs.Redfish) -> None:
    member = redfish.member(UUIDS[3], port=rigs.free_port())
    refusal = off(rigs.fencer(rigs.PASSWORD), member)
    assert isinstance(refusal, Refusal)
    assert "exit code 1" in refusal.why
    no_secret(refusal.why, refusal.remedy)


def test_redfish_through_an_agent_that_lies(redfish: rigs.Redfish, tmp_path: Path) -> None:
    member = redfish.member(UUIDS[4], agent=rigs.liar(tmp_path, "fence_redfish"))
    refusal = off(rigs.fencer(rigs.PASSWORD, settle=1.0), member)
    assert isinstance(refusal, Refusal)
    assert "its agent says that off succeeded, but its status is on" in refusal.why
    assert redfish.power(UUIDS[4]) == "On"


def test_redfish_of_a_system_that_the_board_does_not_have(redfish: rigs.Redfish) -> None:
    refusal = off(rigs.fencer(rigs.PASSWORD), redfish.member("11111111-0000-4000-8000-000000000000"))
    assert isinstance(refusal, Refusal)


# --- IPMI ------------------------------------------------------------------------------------------------------------


def test_ipmi_off_certifies_and_power_that_comes_back_voids(ipmi: rigs.Ipmi) -> None:
    member, fencer = ipmi.member(), rigs.fencer(rigs.IPMI_PASSWORD)
    assert fencer.check_options(member) == ()
    assert fencer.status(member)[0] is BmcPower.ON
    certificate = off(fencer, member)
    assert isinstance(certificate, Certificate), certificate
    assert ipmi.ask("status") == "Chassis Power is off"
    assert fencer.recheck(certificate, member) == ""
    ipmi.ask("on")
    assert "on" in fencer.recheck(certificate, member)


def test_ipmi_with_a_wrong_password(ipmi: rigs.Ipmi) -> None:
    refusal = off(rigs.fencer("not-the-password"), ipmi.member())
    assert isinstance(refusal, Refusal)
    assert "not-the-password" not in refusal.why + refusal.remedy
    assert ipmi.ask("status") == "Chassis Power is on"


def test_ipmi_on_a_dead_board() -> None:
    if why := rigs.missing("fence_ipmilan", "pyghmi", "ipmitool"):
        pytest.skip(why)
    member = rigs.Ipmi(rigs.free_port(rigs.socket.SOCK_DGRAM)).member(patience=1)
    refusal = off(rigs.fencer(rigs.IPMI_PASSWORD), member)
    assert isinstance(refusal, Refusal)
    no_secret(refusal.why, refusal.remedy)


def test_ipmi_through_an_agent_that_lies_and_then_by_an_honest_one(ipmi: rigs.Ipmi, tmp_path: Path) -> None:
    liar = ipmi.member(agent=rigs.liar(tmp_path, "fence_ipmilan"))
    fencer = rigs.fencer(rigs.IPMI_PASSWORD, settle=1.0)
    refusal = off(fencer, liar)
    assert isinstance(refusal, Refusal)
    assert "its agent says that off succeeded, but its status is on" in refusal.why
    assert ipmi.ask("status") == "Chassis Power is on"
    # A second level behind the liar, as a manifest lists it: its word is taken once the first one agrees.
    both = Member("xen01", "10.0.0.11", fencing=(*liar.fencing, *ipmi.member().fencing))
    assert isinstance(off(fencer, both), Certificate)
    assert ipmi.ask("status") == "Chassis Power is off"
