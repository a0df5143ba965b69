"""`fence_xenrec_lab`: a fence agent for the BMCs of a served lab.

Speaks the protocol of Debian's fence-agents: `key=value` lines on stdin (or `-o ACTION -n PLUG`), exit code 0 for done
or ON, 2 for OFF, 1 for any failure; no action means reboot. An unknown option is ignored with a warning.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from reconciler.lab.served_client import NoLab, Refused, Silent, ask

OK, FAILED, OFF = 0, 1, 2
NAME = "fence_xenrec_lab"
PAUSE = 0.05
"""Seconds between two looks at the power after it was switched."""
OPTIONS: Mapping[str, tuple[str, str, str]] = {
    # name: (type, default, text)
    "action": ("string", "reboot", "Fencing action"),
    "plug": ("string", "", "Name or uuid of the host to fence"),
    "port": ("string", "", "The same as plug"),
    "lab_dir": ("string", ".lab", "Directory in which the lab was started (`xenrec lab up --dir`)"),
    "login_timeout": ("second", "5", "Wait X seconds for the BMC to answer"),
    "power_timeout": ("second", "20", "Test X seconds for status change after ON/OFF"),
    "power_wait": ("second", "0", "Wait X seconds after issuing ON/OFF"),
    "delay": ("second", "0", "Wait X seconds before fencing is started"),
    "verbose": ("boolean", "", "Verbose mode"),
    "quiet": ("boolean", "", "Disable logging to stderr"),
}
SHORT = {"-o": "action", "-n": "plug"}
ACTIONS = ("on", "off", "reboot", "status", "list", "monitor", "metadata", "validate-all")


class Failure(Exception):
    """Ends the agent with exit code 1 and this text."""


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Do what the arguments, or stdin where there are none, ask; returns the exit code."""
    try:
        options = from_arguments(arguments) if arguments else from_lines(sys.stdin.read())
        return perform(options)
    except Failure as failure:
        print(f"Failed: {failure}", file=sys.stderr)
        return FAILED


def from_lines(text: str) -> dict[str, str]:
    """Options from `key=value` lines; blank lines and comments are skipped, unknown names warned about."""
    options: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in OPTIONS:
            # Never the value: it may be a password meant for another agent.
            print(f"Parse error: Ignoring unknown option '{name}'", file=sys.stderr)
            continue
        options[name] = value.strip()
    return options


def from_arguments(arguments: list[str]) -> dict[str, str]:
    """Options from `-o ACTION`, `-n PLUG`, `--name=value` and `--name value`."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = SHORT.get(name) or (name[2:].replace("-", "_") if name.startswith("--") else "")
        if name not in OPTIONS:
            raise Failure(f"unknown option {word.partition('=')[0]}; options: -o ACTION, -n PLUG, --lab-dir DIR")
        options[name] = value if equals else (rest.pop(0) if rest else "")
    return options


def perform(options: Mapping[str, str]) -> int:
    """Carry out one action."""
    action = (options.get("action") or "reboot").lower()
    if action == "metadata":
        print(metadata())
        return OK
    if action not in ACTIONS:
        raise Failure(f"unrecognised action '{action}'; actions: {', '.join(ACTIONS)}")
    bmc = Bmc(options, needs_plug=action not in ("list", "monitor"))
    if action == "validate-all":
        return OK
    if action == "list":
        for host in bmc.hosts():
            print(f"{host},")
        return OK
    if action == "monitor":
        bmc.hosts()
        return OK
    if action == "status":
        power = bmc.ask("status")
        print(f"Status: {power.upper()}")
        return OFF if power == "off" else OK
    time.sleep(seconds(options, "delay"))
    if action in ("off", "reboot"):
        bmc.switch("off")
    if action in ("on", "reboot"):
        bmc.switch("on")
    print(f"Success: {'Rebooted' if action == 'reboot' else 'Powered ' + action.upper()}")
    return OK


class Bmc:
    """The BMC of one lab host, behind the lab's control socket."""

    def __init__(self, options: Mapping[str, str], *, needs_plug: bool) -> None:
        self.plug = options.get("plug") or options.get("port") or ""
        if needs_plug and not self.plug:
            raise Failure("You have to enter plug number or machine identification")
        self.directory = Path(options.get("lab_dir") or OPTIONS["lab_dir"][1])
        self.login_timeout = seconds(options, "login_timeout")
        self.power_timeout = seconds(options, "power_timeout")
        self.power_wait = seconds(options, "power_wait")

    def ask(self, action: str) -> str:
        """One request of the BMC: `on`, `off` or `status`; returns the power state that it names."""
        return str(self._command("bmc-request", host=self.plug, action=action)["power"])

    def hosts(self) -> list[str]:
        """The names of all hosts that have a BMC here."""
        return [str(name) for name in self._command("hosts")]

    def switch(self, wanted: str) -> None:
        """Order a power state and wait until the BMC reports it."""
        self.ask(wanted)
        time.sleep(self.power_wait)
        until = time.monotonic() + self.power_timeout
        while self.ask("status") != wanted:
            if time.monotonic() >= until:
                raise Failure(f"Timed out waiting to power {wanted.upper()}")
            time.sleep(PAUSE)

    def _command(self, name: str, **arguments: str) -> dict[str, object]:
        try:
            answer: dict[str, object] = ask(self.directory, name, timeout=self.login_timeout, **arguments)
        except Silent as error:
            raise Failure("Unable to connect/login to fencing device") from error
        except NoLab as error:
            raise Failure(f"Unable to connect/login to fencing device: {error}") from error
        except Refused as error:
            raise Failure(str(error)) from error
        return answer


def seconds(options: Mapping[str, str], name: str) -> float:
    """An option that is a time."""
    text = options.get(name) or OPTIONS[name][1]
    try:
        value = float(text)
    except ValueError as error:
        raise Failure(f"{name}: '{text}' is no number of seconds") from error
    if not 0 <= value < 86400:
        raise Failure(f"{name}: {text} is not between 0 and 86400 seconds")
    # A time-out of 0 means "for ever" to the real agents' library; a socket would take it as "don't wait".
    return value if value or not name.endswith("timeout") else 86400.0


def metadata() -> str:
    """The agent's description of itself, in the fence-agents' XML."""
    lines = [
        '<?xml version="1.0" ?>',
        f'<resource-agent name="{NAME}" shortdesc="Fence agent for the hosts of a xenrec lab" >',
        f"<longdesc>{NAME} switches the power of a host in a lab that `xenrec lab up` serves.</longdesc>",
        "<parameters>",
    ]
    for name, (kind, default, text) in OPTIONS.items():
        lines.append(f'\t<parameter name="{name}" unique="0" required="{int(name == "plug")}">')
        lines.append(f'\t\t<getopt mixed="--{name.replace("_", "-")}" />')
        known = f' default="{default}"' if default else ""
        lines.append(f'\t\t<content type="{kind}"{known} />')
        lines.append(f'\t\t<shortdesc lang="en">{text}</shortdesc>')
        lines.append("\t</parameter>")
    lines += ["</parameters>", "<actions>"]
    lines += [f'\t<action name="{name}" automatic="0"/>' for name in ACTIONS]
    lines += ["</actions>", "</resource-agent>"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
