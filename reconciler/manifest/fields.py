"""Types of single values: each refuses with what, why and a remedy, and returns the one normal form."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_POOL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_OPTION = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENV = r"[A-Za-z_][A-Za-z0-9_]*"
_DURATION = r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_SECONDS = 7 * 86400.0
_SECRET_OPTION = re.compile(r"(passw(or)?d|passphrase|secret|token|api_?key)$|^snmp_(priv|auth)_passw", re.IGNORECASE)


def refuse(what: str, why: str, remedy: str, key: str = "") -> PydanticCustomError:
    """An error whose texts become those of the Problem; `key`: the key within the value that it is about."""
    context = {"what": what, "why": why, "remedy": remedy, "key": key}
    return PydanticCustomError("xenrec", "{what}: {why}. {remedy}", context)


def duration(value: Any) -> float:
    """Seconds from `90s`, `30m`, `1h30m` or a bare number of seconds."""
    seconds: float | None = None
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
        seconds = sum(
            float(number) * _UNITS[unit] for number, _, unit in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|[smhd])", value)
        )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None:
        raise refuse("a time", "it can't be read as one", "Write a number and a unit, as in `90s`, `30m` or `1h30m`.")
    if not 0 < seconds <= _MAX_SECONDS:
        raise refuse("a time", "it must be more than zero and at most 7 days", "Write for example `30s` or `10m`.")
    return seconds


def patience(value: Any) -> float:
    """A `duration`, or 0 for none."""
    return 0.0 if value in (0, "0", "0s") and not isinstance(value, bool) else duration(value)


def moment(value: Any) -> float:
    """UTC seconds since the epoch from a time with its zone: `2026-12-20T18:00Z`, `2026-12-20T19:00:00+01:00`."""
    found: datetime | None = None
    if isinstance(value, str) and re.fullmatch(_MOMENT, value):
        try:
            found = datetime.fromisoformat(value.upper())
        except ValueError:
            found = None
    if found is None:
        raise refuse("a time", "it is not a day and a time", "Write for example `2026-12-20T18:00Z`.")
    if found.tzinfo is None or found.utcoffset() is None:
        raise refuse("a time", "it does not say its zone", f"Write `{value}Z` for UTC, or an offset as in `+01:00`.")
    try:
        return found.timestamp()
    except (OverflowError, ValueError, OSError):
        raise refuse("a time", "it is out of range", "Write for example `2026-12-20T18:00Z`.") from None


def clock(value: Any) -> float:
    """Seconds after midnight from `18:00` or `24:00`."""
    found = re.fullmatch(r"([0-9]{2}):([0-9]{2})", value) if isinstance(value, str) else None
    seconds = timedelta(hours=int(found[1]), minutes=int(found[2])).total_seconds() if found else -1.0
    if found is None or int(found[2]) > 59 or seconds > 86_400:
        raise refuse("a time of day", "it can't be read as one", "Write hours and minutes, as in `18:00`; it is UTC.")
    return seconds


def share(value: Any) -> float:
    """A share 0..1 from `51%` or `0.51`."""
    found: float | None = None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?\s*%", value):
        found = float(value.rstrip("% ")) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    if found is None:
        raise refuse("a share", "it can't be read as one", "Write a percentage, as in `51%`, or a share, as in `0.51`.")
    if not 0 < found <= 1:
        hint = f"write `{value}%`" if isinstance(value, int) and 1 < value <= 100 else "write for example `51%`"
        raise refuse(
            "a share",
            "it must be above 0% (nothing would brake) and at most 100%",
            f"{hint[0].upper()}{hint[1:]}.",
        )
    return found


def address(value: str) -> str:
    """`host`, `host:port`, an IPv4 or IPv6 address, `[IPv6]:port`; lower case, IPv6 in its short form."""
    if "://" in value or "/" in value:
        raise refuse(
            "an address", "it is a URL or a network", "Write the host alone: `10.0.0.11`, `xen01.example.org`."
        )
    host, port = value, ""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", value)
    if bracketed:
        host, port = bracketed[1], bracketed[2] or ""
    elif value.count(":") == 1:
        host, port = value.split(":")
        if not port:
            raise refuse("an address", "there is no port after the `:`", "Write `host` or `host:port`.")
    if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise refuse("an address", "its port is not a number from 1 to 65535", "Write `host` or `host:port`.")
    try:
        ip = ipaddress.ip_address(host)
        host = f"[{ip}]" if ip.version == 6 and port else str(ip)
    except ValueError:
        if re.fullmatch(r"[0-9.]+", host) or not _DNS.fullmatch(host) or bracketed:
            raise refuse(
                "an address", "it is neither an IP address nor a host name", "Write `10.0.0.11` or `xen01.example.org`."
            ) from None
        host = host.lower().rstrip(".")
    return f"{host}:{int(port)}" if port else host


def fingerprint(value: str) -> str:
    """A SHA-256 as 64 lower-case hex digits, from any case, with or without colons."""
    digits = re.sub(r"^sha-?256[:=]?", "", value.strip(), flags=re.IGNORECASE).replace(":", "").replace(" ", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        why = "it has the length of a SHA-1" if re.fullmatch(r"[0-9a-f]{40}", digits) else "it is not 64 hex digits"
        raise refuse(
            "a fingerprint",
            why,
            "Write the SHA-256 of the host's certificate: `openssl x509 -noout -fingerprint -sha256` prints it.",
        )
    return digits


def _text(value: str) -> str:
    if not value or _CONTROL.search(value):
        raise refuse("a text", "it is empty or holds control characters", "Write it as XenCenter or `xe` shows it.")
    return value


def _pool_name(value: str) -> str:
    if not re.fullmatch(_POOL_NAME, value):
        raise refuse(
            "a pool's name here",
            "files and locks are named after it",
            "Use letters, digits, `.`, `_` and `-`, at most 63; it needn't be the pool's name_label.",
        )
    return value


def is_uuid(value: str) -> bool:
    """Whether the text has a uuid's form."""
    return re.fullmatch(_UUID, value) is not None


def uuid(value: str) -> str:
    """A uuid in lower case."""
    if not is_uuid(value):
        raise refuse("a uuid", "it is not 8-4-4-4-12 hex digits", "Copy it from `xe pool-list` or `xe vm-list`.")
    return value.lower()


def _env_name(value: str) -> str:
    if not re.fullmatch(_ENV, value):
        raise refuse(
            "the name of an environment variable",
            "it must be letters, digits and `_`",
            "Write the variable's name, never the secret itself.",
        )
    return value


def _cred_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,255}", value) or value in (".", ".."):
        raise refuse(
            "the name of a credential", "it is no file name", "Write the name given to systemd's LoadCredential=."
        )
    return value


def _agent(value: str) -> str:
    if not value.isprintable() or value.startswith("-") or ("/" in value and not value.startswith("/")) or not value:
        raise refuse(
            "a fence agent",
            "it is neither a command's name nor an absolute path",
            "Write for example `fence_redfish` or `/opt/site/fence_pdu`.",
        )
    return value


def _option_name(value: str) -> str:
    if not re.fullmatch(_OPTION, value):
        raise refuse("an option's name", "it must be letters, digits, `_` and `-`", "See the agent's manual page.")
    return value


def _options(value: Any) -> dict[str, str | int | bool]:
    """Options of a fence agent. They are sent as `key=value` lines, so neither may break a line."""
    if not isinstance(value, dict):
        raise refuse(
            "`options`", "they are a block of `option: value`", "Write `options: {ip: 10.9.0.11, username: op}`."
        )
    for key, option in value.items():
        _option_name(key)
        if key in ("action", "option"):
            raise refuse(f"the option `{key}`", "xenrec itself says off, on or status", "Remove it.", key)
        if _SECRET_OPTION.search(key):
            raise refuse(
                f"the option `{key}`",
                "a secret would stand in the file",
                f"Move it beside `options`: `secrets: {{{key}: {{env: BMC_PASSWORD}}}}`, or use `password:`.",
                key,
            )
        if isinstance(option, float | list | dict) or (isinstance(option, str) and _CONTROL.search(option)):
            raise refuse(f"the option `{key}`", "it must be one line of text", "Put the value in quotes.", key)
    return value


_SECRET_ARGUMENT = re.compile(r"(passw(or)?d|passphrase|secret|token|api_?key)(=|:|$)", re.IGNORECASE)


def _probe(value: list[str]) -> list[str]:
    if value and "/" in value[0] and not value[0].startswith("/"):
        raise refuse(f"the program `{value[0]}`", "its path is relative", "Write its name, or its absolute path.")
    for argument in value:
        if _CONTROL.search(argument):
            raise refuse("an argument", "it must be one line of text", "Remove the line break.")
        if _SECRET_ARGUMENT.search(argument):
            raise refuse(
                f"the argument `{argument.partition('=')[0].partition(':')[0]}`",
                "a secret would stand in the file, and every user of the machine sees arguments",
                "Let the program read it from a file of its own.",
            )
    return value


Probe = Annotated[list[str], AfterValidator(_probe)]
"""A command and its arguments; no secrets."""
Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"minLength": 1})]
"""A name as XenAPI has it: any text but nothing, on one line."""
PoolName = Annotated[str, AfterValidator(_pool_name), Field(json_schema_extra={"pattern": f"^{_POOL_NAME}$"})]
"""A name that is fit for file names."""
Uuid = Annotated[str, AfterValidator(uuid), Field(json_schema_extra={"pattern": f"^{_UUID}$"})]
"""A uuid."""
Address = Annotated[str, AfterValidator(address), Field(json_schema_extra={"minLength": 1})]
"""`host` or `host:port`."""
Fingerprint = Annotated[str, AfterValidator(fingerprint), Field(json_schema_extra={"minLength": 64})]
"""SHA-256 of a certificate."""
EnvName = Annotated[str, AfterValidator(_env_name), Field(json_schema_extra={"pattern": f"^{_ENV}$"})]
"""An environment variable."""
CredName = Annotated[str, AfterValidator(_cred_name), Field(json_schema_extra={"minLength": 1})]
"""A file of $CREDENTIALS_DIRECTORY."""
Agent = Annotated[str, AfterValidator(_agent), Field(json_schema_extra={"minLength": 1})]
"""A fence agent by name or absolute path."""
OptionName = Annotated[str, AfterValidator(_option_name), Field(json_schema_extra={"pattern": f"^{_OPTION}$"})]
"""Name of a fence agent's option."""
Options = Annotated[
    dict[str, str | int | bool],
    PlainValidator(_options),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}}),
]
"""Options of a fence agent that are not secret."""
Duration = Annotated[
    float,
    PlainValidator(duration),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": f"^{_DURATION}$"}, {"type": "number", "exclusiveMinimum": 0}]}
    ),
]
"""Seconds."""
Patience = Annotated[
    float,
    PlainValidator(patience),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^({_DURATION}|0)$"}, {"type": "number", "minimum": 0}]}),
]
"""Seconds; 0: none."""
Moment = Annotated[
    float,
    PlainValidator(moment),
    WithJsonSchema({"type": "string", "pattern": f"^{_MOMENT}$"}),
]
"""UTC seconds since the epoch."""
Share = Annotated[
    float,
    PlainValidator(share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]+)?\s*%$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            ]
        }
    ),
]
"""0..1."""
Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port."""
Count = Annotated[int, Field(ge=1, le=1000)]
"""How many at once."""
LevelWord = Literal["observe", "metadata", "move", "power", "bury", "crown"]
"""How far a run may go."""
