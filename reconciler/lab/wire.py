"""XAPI's two encodings, as bytes in and bytes out: XML-RPC and JSON-RPC 1.0 and 2.0.

Values are what the engine speaks: str, bool, int, float, lists and dicts. The facts are those of sheet §7.1 and of
recording 01 (raw answers): XML-RPC carries 64-bit integers as untyped text, JSON-RPC as numbers; a date is a string
such as `20261122T01:10:39Z` and becomes a `dateTime.iso8601` in XML only; a void answer is the empty string.
"""

from __future__ import annotations

import json
import re
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape as html_escape
from typing import Any
from xml.parsers.expat import ExpatError

from reconciler.lab.database import Records

DATE = re.compile(r"\d{8}T\d{2}:\d{2}:\d{2}Z?\Z")
ILLEGAL_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
NEEDS_ESCAPE = re.compile("[&<>\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class Encoding(StrEnum):
    """How a call was written, and so how it is answered."""

    XML = "xml"
    JSON1 = "jsonrpc 1.0"
    JSON2 = "jsonrpc 2.0"


class Malformed(Exception):
    """A body that is no call. xapi answers HTTP 500 with a page of HTML that ends in this text (recording 01)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as a client wrote it. `ident` is JSON-RPC's id, given back unchanged."""

    method: str
    params: list[Any]
    encoding: Encoding
    ident: Any = None

    @property
    def content_type(self) -> str:
        """The answer's Content-Type."""
        return "text/xml" if self.encoding is Encoding.XML else "application/json"


def parse_xml(body: bytes) -> Call:
    """The call in an XML-RPC body; raises Malformed."""
    try:
        params, method = xmlrpc.client.loads(body, use_builtin_types=False)
    except ExpatError as error:
        raise Malformed(f"Xmlm.Error({error})") from error
    except Exception as error:
        raise Malformed(f"Xmlm.Error({type(error).__name__}: {error})") from error
    if not method:
        raise Malformed("Xmlm.Error(expected methodCall)")
    return Call(method, [_plain(value) for value in params], Encoding.XML)


def parse_json(body: bytes) -> Call:
    """The call in a JSON-RPC body, version 2.0 where it says so and 1.0 otherwise; raises Malformed."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f'Yojson.Json_error("{error}")') from error
    if not isinstance(document, dict):
        raise Malformed("Jsonrpc.Malformed_method_request(an object was expected)")
    version2 = document.get("jsonrpc") == "2.0"
    method, params, ident = document.get("method"), document.get("params", []), document.get("id")
    if not isinstance(method, str) or not isinstance(params, list):
        raise Malformed("Jsonrpc.Malformed_method_request(method and params were expected)")
    if version2 and (isinstance(ident, bool) or not isinstance(ident, int | str)):
        raise Malformed("Jsonrpc.Malformed_method_request(id must be an integer or a string)")
    return Call(method, params, Encoding.JSON2 if version2 else Encoding.JSON1, ident)


class RecordTexts:
    """Records as they were written out before: a pool of thousands of VMs is read again and again, and few of them
    change meanwhile. A record is never changed in place, so that it is the same one says that its text is."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], dict[str, tuple[Any, str]]] = {}

    def json(self, records: Records) -> str:
        """The JSON object of these records."""
        return (
            "{" + ",".join([f"{_encode(ref)}:{text}" for ref, text in self._texts(records, _encode, xml=False)]) + "}"
        )

    def xml(self, records: Records) -> str:
        """The XML-RPC value of these records."""
        texts = self._texts(records, _xml, xml=True)
        parts = [f"<member><name>{_text(ref)}</name>{text}</member>" for ref, text in texts]
        return f"<value><struct>{''.join(parts)}</struct></value>"

    def _texts(self, records: Records, write: Callable[[Any], str], *, xml: bool) -> Iterator[tuple[str, str]]:
        known = self._known.setdefault((records.cls, xml), {})
        if len(known) > 2 * len(records) + 100:
            known.clear()  # mostly of objects that are gone
        for ref, record in records.items():
            found = known.get(ref)
            if found is None or found[0] is not record:
                found = known[ref] = (record, write(record))
            yield ref, found[1]


def answer(call: Call, value: Any, texts: RecordTexts | None = None) -> bytes:
    """The body that says that `call` succeeded with `value`; `texts` remembers how records are written."""
    value = _marked(call, value)
    if call.encoding is not Encoding.XML:
        told = texts.json(value) if texts is not None and isinstance(value, Records) else _encode(value)
        if call.encoding is Encoding.JSON2:
            return f'{{"jsonrpc":"2.0","result":{told},"id":{_encode(call.ident)}}}'.encode("utf-8", "replace")
        return f'{{"result":{told},"error":null,"id":{_encode(call.ident)}}}'.encode("utf-8", "replace")
    told = texts.xml(value) if texts is not None and isinstance(value, Records) else _xml(value)
    if call.method == "system.listMethods":  # XML-RPC's own answer, without XenAPI's envelope
        return _method_response(told)
    status = "<member><name>Status</name><value>Success</value></member>"
    return _method_response(f"<value><struct>{status}<member><name>Value</name>{told}</member></struct></value>")


def refusal(call: Call, failure: Sequence[str], *, by_gate: bool = False) -> bytes:
    """The body that says that `call` failed with ErrorDescription `failure`.

    `by_gate`: refused by the emergency gate, whose JSON answer has 2.0's frame round 1.0's array (sheet §1.3).
    """
    words = [str(word) for word in failure]
    if call.encoding is not Encoding.XML and by_gate:
        return _json({"jsonrpc": "2.0", "error": words, "id": call.ident})
    if call.encoding is Encoding.JSON2:
        error = {"code": 1, "message": words[0], "data": words[1:]}
        return _json({"jsonrpc": "2.0", "error": error, "id": call.ident})
    if call.encoding is Encoding.JSON1:
        return _json({"result": None, "error": words, "id": call.ident})
    status = "<member><name>Status</name><value>Failure</value></member>"
    why = f"<member><name>ErrorDescription</name>{_xml(words)}</member>"
    return _method_response(f"<value><struct>{status}{why}</struct></value>")


def server_error_page(text: str) -> bytes:
    """The page that comes with HTTP 500 (recording 01)."""
    return (
        "<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred; please wait a while and try "
        "again. If the problem persists, please contact your support representative.<h1> Additional information </h1>"
        f"{html_escape(text)}</body></html>"
    ).encode("utf-8", "replace")


class _CInt(int):
    """An integer that XML-RPC carries as `<i4>`."""


def _marked(call: Call, value: Any) -> Any:
    # valid_ref_counts is the one place where xapi sends typed integers (sheet §7.1).
    if call.encoding is Encoding.XML and call.method in ("event.from", "event_from") and isinstance(value, Mapping):
        counts = value.get("valid_ref_counts")
        if isinstance(counts, Mapping):
            return {**value, "valid_ref_counts": {name: _CInt(count) for name, count in counts.items()}}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, xmlrpc.client.DateTime):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    raise Malformed(f"Xmlrpc.Parse_error({type(value).__name__})")


def _json(document: Any) -> bytes:
    return _encode(document).encode("utf-8", "replace")


def _unusual(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"the engine gave a {type(value).__name__}, which XenAPI has no word for")


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_unusual).encode


def _method_response(value: str) -> bytes:
    text = '<?xml version="1.0"?><methodResponse><params><param>' + value + "</param></params></methodResponse>"
    return text.encode()


def _text(text: str) -> str:
    if NEEDS_ESCAPE.search(text) is None:
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return ILLEGAL_IN_XML.sub("?", text)


_names: dict[str, str] = {}
"""Field name -> how a struct's member begins. Keys of maps come here too, so it is emptied when it gets big."""


def _member(name: str) -> str:
    if len(_names) > 10_000:
        _names.clear()
    text = _names[name] = f"<member><name>{_text(name)}</name>"
    return text


def _xml(value: Any) -> str:
    """`<value>…</value>` for a value. By exact type first, and a struct's plain members in place: a big pool is half a
    million values."""
    kind = type(value)
    if kind is str:
        return _xml_string(value)
    if kind is bool:
        return "<value><boolean>1</boolean></value>" if value else "<value><boolean>0</boolean></value>"
    if kind is int:
        return f"<value>{value}</value>"
    if isinstance(value, dict):
        out = []
        for name, item in value.items():
            of = type(item)
            if of is str:
                text = _xml_string(item) if item else "<value></value>"
            elif of is int:
                text = f"<value>{item}</value>"
            else:
                text = _xml(item)
            out.append(f"{_names.get(name) or _member(name)}{text}</member>")
        return f"<value><struct>{''.join(out)}</struct></value>"
    if kind is list or kind is tuple:
        return f"<value><array><data>{''.join([_xml(item) for item in value])}</data></array></value>"
    if kind is float:
        return f"<value><double>{value:.16g}</double></value>"
    if kind is _CInt:
        return f"<value><i4>{int(value)}</i4></value>"
    if value is None:
        return "<value></value>"
    return _xml(str(value) if isinstance(value, str) else _unusual(value))


def _xml_string(value: str) -> str:
    if len(value) in (17, 18) and DATE.match(value):
        return f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>"
    return f"<value>{value if NEEDS_ESCAPE.search(value) is None else _text(value)}</value>"
