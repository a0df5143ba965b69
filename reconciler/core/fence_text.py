"""What a fence agent's output means. Pure, so that the survey and the fencing edge read it in the same way.

The fence-agents protocol ends `status` with 0 for ON and 2 for OFF, but 2 also means bad arguments, and a wrapper
script may end with 0 whatever it did. So neither the code nor the text alone is believed: they must agree.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from reconciler.core.evidence import BmcPower
from reconciler.core.port import AgentRun
from reconciler.core.wanted import FenceDevice

STATUS_LINE = re.compile(
    r"^\s*(?:(?:power )?status|chassis power)\s*(?:is|[:=])\s*(on|off)\s*\.?\s*$", re.IGNORECASE | re.MULTILINE
)
"""`Status: OFF` of the fence-agents library, `Chassis power = Off` of older IPMI agents."""

HIDDEN = "(hidden)"
SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|cred|community|auth|cookie", re.IGNORECASE)
"""Option names whose values are taken for secrets even where the manifest gave them in plain."""

CODE_ON = 0
CODE_OFF = 2
ACTION = re.compile(r"<action\b[^>]*?\bname\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
PARAMETER = re.compile(r"<parameter\b[^>]*?\bname\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
ALWAYS_UNDERSTOOD = frozenset({"action", "nodename", "plug", "port"})
"""Options that the fence-agents library takes whatever the metadata lists (`port` and `plug` name the outlet)."""


def power_status(run: AgentRun) -> BmcPower:
    """The power state that a run with `action=status` reported; UNKNOWN unless exit code and text agree.

    OFF needs exit code 2 and a line `Status: OFF` and no line that says ON. A timeout, an unreachable BMC, a wrong
    password (all exit 1 or a kill) and contradictions are UNKNOWN: they prove nothing.
    """
    said = {word.lower() for word in STATUS_LINE.findall(run.stdout)}
    if said == {"off"} and run.code == CODE_OFF:
        return BmcPower.OFF
    if said == {"on"} and run.code == CODE_ON:
        return BmcPower.ON
    return BmcPower.UNKNOWN


def explain(run: AgentRun) -> str:
    """One line for people on how the run ended: what the agent said last, and its exit code. No secrets are added."""
    if run.code is None:
        ended = "killed at its deadline"
    elif run.code < 0:
        ended = f"killed by signal {-run.code}"
    else:
        ended = f"exit code {run.code}"
    lines = [line.strip() for line in (run.stderr + "\n" + run.stdout).splitlines() if line.strip()]
    if not lines:
        return f"{ended}, no output"
    # The agents log their reason on stderr and follow it with hints ("Please use '-h' for usage").
    reason = next((line for line in lines if not line.lower().startswith(("please use", "usage:"))), lines[0])
    return f"{ended}: {''.join(c if c.isprintable() else ' ' for c in reason)[:200]}"


def secrets_among(options: Mapping[str, str]) -> tuple[str, ...]:
    """The values among an agent's options that must not be shown, judged by the option's name."""
    return tuple(value for name, value in options.items() if value and SECRET_NAME.search(name))


def hide(text: str, secrets: Iterable[str], *, username: str = "") -> str:
    """`text` with every secret replaced, also where it is URL-encoded or in a basic-auth header.

    A line that is nothing but a power status stays as it is, so that a password "OFF" can't make a status unreadable.
    """
    forms: set[str] = set()
    for secret in secrets:
        if secret:
            plain = (secret, f"{username}:{secret}")
            forms |= {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), secret.replace("'", "'\\''")}
            forms |= {secret.replace("\\", "\\\\").replace('"', '\\"')}
            forms |= {base64.b64encode(words.encode("utf-8", "surrogateescape")).decode() for words in plain}
    if not forms:
        return text
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return "".join(
        line if STATUS_LINE.fullmatch(line.rstrip("\r\n")) else pattern.sub(HIDDEN, line)
        for line in text.splitlines(keepends=True)
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no certificate was given, and the next command to type or thing to do. No secrets."""

    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class AgentMetadata:
    """What an agent says about itself with `action=metadata`: names of its options and of its actions."""

    options: frozenset[str]
    actions: frozenset[str]


def read_metadata(run: AgentRun) -> AgentMetadata | None:
    """The agent's metadata, or None where the output is not metadata (many home-made agents have none).

    Read with patterns and not with an XML parser: agents print broken XML and an outside program's entities are
    nothing to expand. Only names are taken from it.
    """
    if run.code != 0 or "<resource-agent" not in run.stdout:
        return None
    return AgentMetadata(
        options=frozenset(PARAMETER.findall(run.stdout)),
        actions=frozenset(name.lower() for name in ACTION.findall(run.stdout)),
    )


def unknown_options(metadata: AgentMetadata, options: Mapping[str, str]) -> tuple[str, ...]:
    """Options that the agent would ignore with a warning, sorted. Agents take `-` and `_` in names alike."""
    if not metadata.options:
        return ()
    known = {name.replace("-", "_") for name in metadata.options | ALWAYS_UNDERSTOOD}
    return tuple(sorted(name for name in options if name.replace("-", "_") not in known))


def device_words(device: FenceDevice) -> str:
    """A device for people: the agent and the address and outlet that it is pointed at. Never a secret."""
    where = [device.options[name] for name in ("ip", "ipaddr", "plug", "port", "systems_uri") if name in device.options]
    return f"{device.agent} {' '.join(where)}".strip()
