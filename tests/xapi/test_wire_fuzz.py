"""Whatever bytes come back, the caller sees a value or a Fault, and nothing waits for ever."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.port import Fault, TransportFault
from reconciler.xapi.tasks import plain_result
from reconciler.xapi.transport import JsonRpcTransport
from reconciler.xapi.trust import Trust
from reconciler.xapi.wire import Channel


class Pieces:
    """A socket that gives scripted pieces and then ends."""

    def __init__(self, pieces):
        self.pieces = [p for p in pieces if p]
        self.closed = False

    def settimeout(self, seconds):
        assert seconds > 0

    def send(self, data):
        return max(1, len(data) // 2)

    def recv(self, size):
        return self.pieces.pop(0) if self.pieces else b""

    def close(self):
        self.closed = True


def channel_on(pieces, limit=10_000):
    channel = Channel.__new__(Channel)
    channel.address, channel.max_answer, channel.sent, channel.heard = "x", limit, False, False
    channel._buffer, channel._tls = b"", Pieces(pieces)
    return channel


def cut(data, places):
    ends = sorted({min(p, len(data)) for p in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


heads = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200",
        b"HT",
        b"",
    ]
)
tails = st.one_of(
    st.binary(max_size=60), st.sampled_from([b"5\r\nhello\r\n0\r\n\r\n", b"-1\r\n", b"ffffffffff\r\n", b"hello"])
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(heads, tails), max_size=3), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_are_an_answer_or_a_fault(parts, places):
    channel = channel_on(cut(b"".join(h + t for h, t in parts), places))
    try:
        status, body, _ = channel.exchange("/jsonrpc", "application/json", b"{}", time.monotonic() + 60)
    except TransportFault as fault:
        status, body, said = 0, b"", fault
    else:
        said = None
    assert said is None or (said.sent and channel._tls.closed)
    assert status >= 200 or status < 100
    assert len(body) <= 10_000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 400), max_size=10), st.booleans())
def test_an_answer_in_any_pieces_is_whole(body, places, chunked):
    if chunked:
        framed = b"".join(b"%x;x=1\r\n%s\r\n" % (len(p), p) for p in cut(body, places) if p) + b"0\r\n\r\n"
        data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed
    else:
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    channel = channel_on(cut(data, places))
    assert channel.exchange("/", "text/xml", b"x" * 50, time.monotonic() + 60) == (200, body, True)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["message", "data", "code", "k"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["result", "error", "id", "jsonrpc"]), values, max_size=4), values)
def test_any_json_is_an_envelope_or_a_fault(frame, other):
    transport = JsonRpcTransport("x", Trust())
    for said in (frame, other):
        try:
            envelope = transport._json_answer(200, json.dumps(said).encode(), "VM.get_all")
        except Fault:
            continue
        if envelope["Status"] == "Failure":
            assert envelope["ErrorDescription"]
            assert all(isinstance(p, str) for p in envelope["ErrorDescription"])
        else:
            assert envelope["Value"] == said["result"]


@given(st.text(max_size=30))
def test_any_text_is_a_task_result(text):
    assert plain_result(f"<value>{text}</value>") is None or isinstance(plain_result(text), str | None)


def test_a_deadline_that_is_over_sends_nothing():
    channel = channel_on([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    with pytest.raises(TransportFault) as caught:
        channel.exchange("/jsonrpc", "application/json", b"{}", time.monotonic() - 1)
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"a\\ud800b", "a?b"),
        (b"\\uD83D\\uDE00", "\U0001f600"),
        ("ü→".encode(), "ü→"),
    ],
)
def test_what_is_no_unicode_hides_no_answer(sent: bytes, read: str) -> None:
    """A guest's own words stand among the pool's: they must be readable, and a file must be able to hold them."""
    transport = JsonRpcTransport("x", Trust())
    answer = b'{"jsonrpc":"2.0","result":{"' + sent + b'":["' + sent + b'"]}}'
    value = transport._json_answer(200, answer, "VM.get_all_records")["Value"]
    assert value == {read: [read]}
    assert json.dumps(value, ensure_ascii=False).encode()
