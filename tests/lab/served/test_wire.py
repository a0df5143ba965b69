"""The two encodings, against what a real pool put on the wire."""

from __future__ import annotations

import json
import os
import xmlrpc.client
from pathlib import Path

import pytest

from reconciler.lab import wire
from reconciler.lab.database import Records
from reconciler.lab.wire import Call, Encoding, Malformed

RECORDING = (
    Path(os.environ.get("XENREC_SHARED", Path(__file__).parents[4] / "shared")) / "xapi/recordings/01-healthy.jsonl"
)


def xml_call(*params: object, method: str = "VM.get_record") -> Call:
    return Call(method, list(params), Encoding.XML)


def inner(body: bytes) -> str:
    text = body.decode()
    start = text.index("<name>Value</name>") + len("<name>Value</name>")
    return text[start : text.index("</member></struct></value></param>")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "<value>0</value>"),
        (2**40, f"<value>{2**40}</value>"),
        (1.0, "<value><double>1</double></value>"),
        (0.1, "<value><double>0.1</double></value>"),
        (False, "<value><boolean>0</boolean></value>"),
        (True, "<value><boolean>1</boolean></value>"),
        ("19700101T00:00:00Z", "<value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>"),
        ("", "<value></value>"),
        (None, "<value></value>"),
        ("a<b>&c", "<value>a&lt;b&gt;&amp;c</value>"),
        ("bell\x07", "<value>bell?</value>"),
        ([], "<value><array><data></data></array></value>"),
        (["a", 1], "<value><array><data><value>a</value><value>1</value></data></array></value>"),
        ({}, "<value><struct></struct></value>"),
        ({"k&": {"n": 3}}, "<value><struct><member><name>k&amp;</name><value><struct><member><name>n</name>"
         "<value>3</value></member></struct></value></member></struct></value>"),
    ],
)  # fmt: skip
def test_xml_values(value: object, expected: str) -> None:
    assert inner(wire.answer(xml_call(), value)) == expected


def test_xml_carries_valid_ref_counts_as_typed_integers_and_nothing_else() -> None:
    reply = {"events": [{"id": "7", "snapshot": {"order": 4}}], "valid_ref_counts": {"vm": 12}, "token": "1,2"}
    text = wire.answer(xml_call(method="event.from"), reply).decode()
    assert "<name>vm</name><value><i4>12</i4></value>" in text
    assert "<name>order</name><value>4</value>" in text
    as_json = json.loads(wire.answer(Call("event.from", [], Encoding.JSON1, 3), reply))
    assert as_json["result"]["valid_ref_counts"] == {"vm": 12}


def test_list_methods_has_no_envelope_in_xml() -> None:
    body = wire.answer(xml_call(method="system.listMethods"), ["VM.start"])
    (value,), _ = xmlrpc.client.loads(body)
    assert value == ["VM.start"]


def test_answers_equal_those_recorded_from_a_real_pool() -> None:
    if not RECORDING.exists():
        pytest.skip(f"needs the recordings of a real pool at {RECORDING}")
    seen = 0
    for text in RECORDING.read_text().splitlines()[1:]:
        line = json.loads(text)
        if line.get("http") != 200 or "raw" not in line or line["to"] != "h1":
            continue
        (envelope,), _ = xmlrpc.client.loads(line["raw"])
        call = xml_call(method=line["method"])
        if envelope["Status"] == "Success":
            ours = wire.answer(call, _native(line["method"], envelope["Value"]))
        else:
            ours = wire.refusal(call, envelope["ErrorDescription"])
        assert ours.decode() == line["raw"]
        seen += 1
    assert seen >= 8


def _native(method: str, value: object) -> object:
    """The engine's value of what came as text."""
    if isinstance(value, xmlrpc.client.DateTime):
        return value.value
    return int(value) if method == "VM.get_order" and isinstance(value, str) else value


def test_failures() -> None:
    failure = ["HANDLE_INVALID", "VM", "OpaqueRef:NULL"]
    text = wire.refusal(xml_call(), failure).decode()
    assert "<name>Status</name><value>Failure</value>" in text
    assert text.endswith(
        "<name>ErrorDescription</name><value><array><data><value>HANDLE_INVALID</value><value>VM</value>"
        "<value>OpaqueRef:NULL</value></data></array></value></member></struct></value></param></params>"
        "</methodResponse>"
    )
    v1 = json.loads(wire.refusal(Call("VM.get_record", [], Encoding.JSON1, 3), failure))
    assert v1 == {"result": None, "error": failure, "id": 3}
    v2 = json.loads(wire.refusal(Call("VM.get_record", [], Encoding.JSON2, "x"), failure))
    error = {"code": 1, "message": "HANDLE_INVALID", "data": ["VM", "OpaqueRef:NULL"]}
    assert v2 == {"jsonrpc": "2.0", "error": error, "id": "x"}


def test_the_emergency_gate_answers_json_with_a_frame_of_2_and_an_error_of_1() -> None:
    for encoding in (Encoding.JSON1, Encoding.JSON2):
        answer = json.loads(wire.refusal(Call("VM.get_all", [], encoding, 9), ["HOST_STILL_BOOTING"], by_gate=True))
        assert answer == {"jsonrpc": "2.0", "error": ["HOST_STILL_BOOTING"], "id": 9}


def test_xml_calls_are_read_whatever_way_integers_are_written() -> None:
    body = xmlrpc.client.dumps(
        ("s", 5, True, 1.5, ["a"], {"k": "v"}, xmlrpc.client.DateTime("20260101T00:00:00Z")), "VM.set_order"
    )
    call = wire.parse_xml(body.encode())
    assert (call.method, call.encoding) == ("VM.set_order", Encoding.XML)
    assert call.params == ["s", 5, True, 1.5, ["a"], {"k": "v"}, "20260101T00:00:00Z"]
    untyped = b"<methodCall><methodName>m</methodName><params><param><value>5</value></param></params></methodCall>"
    assert wire.parse_xml(untyped).params == ["5"]
    typed = untyped.replace(b"<value>5</value>", b"<value><i8>5</i8></value>")
    assert wire.parse_xml(typed).params == [5]


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"<a/>", b"<methodResponse/>", b"<methodCall></methodCall>", b"\xff\xfe", b"{}"]
)
def test_malformed_xml(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.parse_xml(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"3",
        b"{}",
        b'{"method": 3, "params": []}',
        b'{"method": "a", "params": {}}',
        b'{"jsonrpc": "2.0", "method": "a", "params": []}',
        b'{"jsonrpc": "2.0", "method": "a", "params": [], "id": true}',
        b'{"jsonrpc": "2.0", "method": "a", "params": [], "id": 1.5}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_malformed_json(body: bytes) -> None:
    with pytest.raises(Malformed):
        wire.parse_json(body)


def test_json_versions_and_ids() -> None:
    one = wire.parse_json(b'{"method": "a", "params": [1], "id": null}')
    assert (one.encoding, one.ident, one.params) == (Encoding.JSON1, None, [1])
    two = wire.parse_json(b'{"jsonrpc": "2.0", "method": "a", "params": [], "id": "four"}')
    assert (two.encoding, two.ident) == (Encoding.JSON2, "four")


def test_error_page_escapes_what_it_quotes() -> None:
    assert b"<script>" not in wire.server_error_page("<script>")


def test_records_are_written_once_and_again_when_they_changed() -> None:
    texts = wire.RecordTexts()
    first, second = {"uuid": "a", "order": 1, "other_config": {"k": "<v>"}}, {"uuid": "b", "order": 2}
    records = {"OpaqueRef:1": first, "OpaqueRef:2": second}
    calls = [Call("VM.get_all_records", [], encoding, 7) for encoding in Encoding]
    for _ in range(2):
        for call in calls:
            assert wire.answer(call, Records("VM", records), texts) == wire.answer(call, records)
    records = {"OpaqueRef:1": {**first, "order": 9}, "OpaqueRef:3": second}
    for call in calls:
        assert wire.answer(call, Records("VM", records), texts) == wire.answer(call, records)
        assert wire.answer(call, Records("SR", {}), texts) == wire.answer(call, {})


def test_texts_of_objects_that_are_gone_are_forgotten() -> None:
    texts = wire.RecordTexts()
    call = Call("task.get_all_records", [], Encoding.JSON2, 1)
    for number in range(1000):
        wire.answer(call, Records("task", {f"OpaqueRef:{number}": {"uuid": str(number)}}), texts)
    assert sum(len(known) for known in texts._known.values()) <= 103
