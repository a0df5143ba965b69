"""XAPI's errors in words: no parameter list, however short or odd, may raise, and nobody is shown a ref."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.port import XapiFailure
from reconciler.execute.faults import _TABLE, Turn, explain

NAMES = {"OpaqueRef:h": "xen02", "OpaqueRef:v": "db01", "OpaqueRef:s": "san-1"}


def told(*error: str) -> tuple[Turn, str, str]:
    found = explain(XapiFailure(*error), lambda cls, ref: NAMES.get(ref, ref))
    return found.turn, found.sentence, found.remedy


def test_names_stand_for_refs() -> None:
    turn, sentence, remedy = told("VM_REQUIRES_SR", "OpaqueRef:v", "OpaqueRef:s")
    assert turn is Turn.PERMANENT
    assert sentence == "its storage san-1 is not attached on the target host (VM_REQUIRES_SR)"
    assert "sr-name-label=san-1" in remedy
    assert told("HOST_DISABLED", "OpaqueRef:h")[:2] == (Turn.RETRY, "xen02 is disabled (HOST_DISABLED)")


@pytest.mark.parametrize(
    ("error", "turn", "words"),
    [
        (
            ("SR_BACKEND_FAILURE_46", "", "The VDI is not available", "locked"),
            Turn.PERMANENT,
            "still locked for a host",
        ),
        (("SR_BACKEND_FAILURE_73", "", "NFS mount error", ""), Turn.PERMANENT, "NFS mount error"),
        (("SYNC_UPDATES_IN_PROGRESS",), Turn.RETRY, "sync updates"),
        (("VM_BAD_POWER_STATE", "OpaqueRef:v", "halted", "running"), Turn.LOOK, "it is running, not halted"),
        (("SOMETHING_NEW", "a", "b"), Turn.PERMANENT, "SOMETHING_NEW [a; b]"),
        (("XAPI_HOOK_FAILED", "host-pre-declare-dead/10", "user", "out", "3"), Turn.PERMANENT, "exit code 3"),
    ],
)
def test_what_to_do(error: tuple[str, ...], turn: Turn, words: str) -> None:
    found = told(*error)
    assert found[0] is turn
    assert words in found[1]


@given(st.sampled_from([*sorted(_TABLE), "NO_SUCH_CODE", "X_IN_PROGRESS"]), st.lists(st.text(), max_size=5))
def test_any_parameters_make_a_sentence(code: str, params: list[str]) -> None:
    found = told(code, *params)
    assert found[1]
    assert code in found[1] or code == "X_IN_PROGRESS"
