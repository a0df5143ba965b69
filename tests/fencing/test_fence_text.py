"""Reading what agents print: code and text must agree, and secrets must not survive."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.evidence import BmcPower
from reconciler.core.fence_text import explain, hide, power_status, read_metadata, unknown_options
from reconciler.core.port import AgentRun


@pytest.mark.parametrize(
    ("code", "stdout", "power"),
    [
        (2, "Status: OFF\n", BmcPower.OFF),
        (0, "Status: ON\n", BmcPower.ON),
        (0, "Chassis power = On\n", BmcPower.ON),
        (2, "warning\nstatus: off.\n", BmcPower.OFF),
        (2, "", BmcPower.UNKNOWN),  # bad arguments end with 2 as well
        (2, "ERROR: Failed: You have to enter fence address\n", BmcPower.UNKNOWN),
        (0, "Status: OFF\n", BmcPower.UNKNOWN),  # a wrapper that always ends with 0
        (1, "Status: OFF\n", BmcPower.UNKNOWN),
        (None, "Status: OFF\n", BmcPower.UNKNOWN),  # killed at its deadline
        (2, "Status: OFF\nStatus: ON\n", BmcPower.UNKNOWN),
        (2, "the last Status: OFF was long ago\n", BmcPower.UNKNOWN),
        (0, "", BmcPower.UNKNOWN),
        (-9, "", BmcPower.UNKNOWN),
    ],
)
def test_power_needs_code_and_text(code: int | None, stdout: str, power: BmcPower) -> None:
    assert power_status(AgentRun(code, stdout, "")) is power


@given(code=st.one_of(st.none(), st.integers(-15, 255)), stdout=st.text(), stderr=st.text())
def test_off_never_comes_out_of_noise(code: int | None, stdout: str, stderr: str) -> None:
    if power_status(AgentRun(code, stdout, stderr)) is BmcPower.OFF:
        assert code == 2
        assert "off" in stdout.lower()


def test_explanation_is_one_line_with_the_reason() -> None:
    run = AgentRun(1, "", "2026-11-22 ERROR: Unable to connect/login to fencing device\nPlease use '-h' for usage\n")
    assert explain(run) == "exit code 1: 2026-11-22 ERROR: Unable to connect/login to fencing device"
    assert explain(AgentRun(None, "", "")) == "killed at its deadline, no output"
    assert explain(AgentRun(-11, "", "")) == "killed by signal 11, no output"
    assert "\x1b" not in explain(AgentRun(1, "\x1b[31mred", ""))


@pytest.mark.parametrize("secret", ["s3cret", "p@ss w/rd", 'a"b\\c', "it's"])
def test_secrets_are_hidden_in_every_common_form(secret: str) -> None:
    basic = base64.b64encode(f"op:{secret}".encode()).decode()
    url = secret.replace("%", "%25").replace("@", "%40").replace(" ", "%20").replace("/", "%2F")
    text = f"-P '{secret}' http://op:{url}@bmc/ Authorization: Basic {basic}\n"
    shown = hide(text, [secret], username="op")
    assert secret not in shown
    assert basic not in shown
    assert f"op:{url}@" not in shown or url in ('a"b\\c', "it's")


def test_a_password_that_spells_a_status_does_not_make_the_status_unreadable() -> None:
    shown = hide("login OFF failed\nStatus: OFF\n", ["OFF"])
    assert shown == "login (hidden) failed\nStatus: OFF\n"


METADATA = """<?xml version="1.0" ?>
<resource-agent name="fence_x" shortdesc="x">
<parameters>
  <parameter name="ip" unique="0" required="1"><content type="string"/></parameter>
  <parameter name="power_timeout" unique="0"></parameter>
</parameters>
<actions><action name="on" automatic="0"/><action name="off" /><action name='status' /></actions>
</resource-agent>"""


def test_metadata_tells_options_and_actions() -> None:
    metadata = read_metadata(AgentRun(0, METADATA, ""))
    assert metadata is not None
    assert metadata.actions == {"on", "off", "status"}
    assert unknown_options(metadata, {"ip": "", "power-timeout": "5", "plug": "1", "ipadr": ""}) == ("ipadr",)


@pytest.mark.parametrize("run", [AgentRun(1, METADATA, ""), AgentRun(0, "usage: …", ""), AgentRun(None, "", "")])
def test_what_is_not_metadata_is_none(run: AgentRun) -> None:
    assert read_metadata(run) is None
