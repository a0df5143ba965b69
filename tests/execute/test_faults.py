"""XAPI's errors in words: no parameter list, however short or odd, may raise, and nobody is shown a ref."""

from __future__ import annotations

import os
import re
from pathlib import Path

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
            "locked by another host: The VDI is not available",
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


SHEET = Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[3] / "shared")) / "xapi" / "behaviour.md"
ON_PURPOSE = {
    "HOST_NOT_LIVE": "after a master start `live` is false for every host, and passes by itself",
    "SESSION_INVALID": "a new login helps",
    "INTERNAL_ERROR": "anything may have happened: what it did is read, and nothing is sent again",
    "HOST_IN_EMERGENCY_MODE": "never raised",
    "NOT_SUPPORTED_DURING_UPGRADE": "an upgrade takes hours",
    "DESIGNATE_NEW_MASTER_IN_PROGRESS": "after it another host is master",
    "HA_ABORT_NEW_MASTER": "the members' reason does not pass while we wait",
    "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT": "to be tried again by force, which we never do",
    "VM_SHUTDOWN_TIMEOUT": "to be tried again by force, which we never do",
    "UUID_INVALID": "the object is gone, so what we believed is wrong",
    "TASK_CANCELLED": "by a person",
}
"""Codes that are classed otherwise than in the sheet, and why."""


def sheet_rows() -> list[tuple[str, str]]:
    """(code, class) of the sheet's table, its shorthands written out."""
    text = SHEET.read_text(encoding="utf-8")
    rows = []
    for line in text[text.index("## 12. Error codes") : text.index("## 13.")].splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) < 4 or cells[0] in ("Code", "---") or cells[0].startswith("transport"):
            continue
        codes, turn = cells[0], cells[-1]
        if codes.startswith("*_IN_PROGRESS"):
            found = [f"{word}_IN_PROGRESS" for word in re.findall(r"[A-Z][A-Z_]{5,}", codes.partition("(")[2])]
        elif "IOMMU/GPU/VGPU" in codes:
            found = ["VM_HVM_REQUIRED", "VM_REQUIRES_IOMMU", "VM_REQUIRES_GPU", "VM_REQUIRES_VGPU"]
        else:
            found = re.findall(r"[A-Z][A-Z_0-9]{5,}", codes)
            found = [f"HA_CONSTRAINT_VIOLATION_{c}" if c.startswith("NETWORK_NOT") else c for c in found]
        rows += [(code, turn) for code in found]
    return rows


@pytest.mark.skipif(not SHEET.exists(), reason="the sheet on XAPI's behaviour is not here")
def test_every_code_of_the_sheet_has_a_class_and_a_sentence() -> None:
    rows = sheet_rows()
    assert len(rows) > 90
    meant = {"R": {Turn.RETRY}, "P": {Turn.PERMANENT}, "W": {Turn.LOOK}, "re-list": {Turn.LOOK}}
    meant |= {"re-register": {Turn.LOOK}, "R/P": {Turn.RETRY, Turn.PERMANENT}, "R/W": {Turn.RETRY, Turn.LOOK}}
    meant |= {"P re-read": {Turn.LOOK}}
    for code, turn in rows:
        found = explain(XapiFailure(code), lambda cls, ref: ref)
        assert code in found.sentence or code.endswith("_IN_PROGRESS"), code
        assert not found.sentence.startswith("XAPI answered"), code
        if code not in ON_PURPOSE:
            key = turn if turn in meant else turn.split()[0]
            assert found.turn in meant[key], (code, turn, found.turn)
    assert set(ON_PURPOSE) <= {code for code, _ in rows}


def test_storage_is_told_by_name() -> None:
    uuid = "4505f4f6-0a8c-46c7-8921-5f4f9edb95f2"
    failure = XapiFailure("SR_BACKEND_FAILURE_47", "", f"The SR is not available [opterr=SR {uuid}]", "")
    sentence = explain(failure, lambda cls, ref: "san-1" if (cls, ref) == ("SR", uuid) else ref).sentence
    assert sentence == "the storage failed: The SR is not available [opterr=SR san-1] (SR_BACKEND_FAILURE_47)"
    assert uuid in explain(failure, lambda cls, ref: ref).sentence  # better than nothing


def test_a_remedy_says_where_before_the_command() -> None:
    """A command stands last, so that it can be copied."""
    for code, (_, _, _, remedy) in _TABLE.items():
        assert not re.search(r"xe[ -][^;:,]* on (each|it|that)\b", remedy), code
