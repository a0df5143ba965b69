"""The control channel of a served lab: a unix socket that takes one JSON object a line and answers with one.

`{"command": NAME, "arguments": {...}}` is answered by `{"result": ...}` or `{"error": TEXT}`. Commands change or show
the physical world; none of them touches a database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reconciler.lab.engine import Lab
from reconciler.lab.errors import BmcSilent
from reconciler.lab.fault_words import ScriptError
from reconciler.lab.incidents import Trial
from reconciler.lab.served_client import SOCKET, socket_path
from reconciler.lab.served_picture import picture
from reconciler.lab.served_script import Scripts
from reconciler.lab.server import ServedLab

MAX_LINE = 1 << 16
log = logging.getLogger(__name__)


class CommandError(Exception):
    """A command that cannot be carried out; the text says why and what would work."""


class Control:
    """Serves the control socket in `directory` (mode 0600). `on_down` is called when somebody asks the lab to end."""

    def __init__(
        self,
        served: ServedLab,
        directory: Path,
        *,
        about: dict[str, Any],
        on_down: Callable[[], None],
        trial: Trial | None = None,
    ) -> None:
        self._served = served
        self._directory = directory
        self._about = about
        self._on_down = on_down
        self._server: asyncio.AbstractServer | None = None
        self._commands: dict[str, Callable[..., Any]] = {
            "about": lambda: self._about,
            "hosts": self._hosts,
            "describe": lambda: self._look(lambda lab: lab.describe()),
            "picture": lambda: self._look(picture),
            "running": self._running,
            "harm": lambda: self._look(lambda lab: [asdict(one) for one in lab.harm()]),
            "power": self._power,
            "link": self._link,
            "storage": self._storage,
            "toolstack": self._toolstack,
            "bmc": self._bmc,
            "bmc-request": self._bmc_request,
            **Scripts(served, trial).commands(),
            "down": self._down,
        }

    def start(self) -> None:
        """Listen. A socket left by a lab that died is replaced."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._served.loop).result()
        self._served.at_stop(self.close)

    async def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._directory / SOCKET).unlink()
        before = os.umask(0o177)
        try:
            with socket_path(self._directory) as path:
                self._server = await asyncio.start_unix_server(self._converse, path, limit=MAX_LINE)
        finally:
            os.umask(before)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
            with contextlib.suppress(FileNotFoundError):
                (self._directory / SOCKET).unlink()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = self._answer(line)
                if answer is None:  # a BMC that is silent: whoever asked waits for nothing
                    await reader.read()
                    return
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError) as error:
            log.debug("control: %s", error)
        finally:
            writer.close()

    def _answer(self, line: bytes) -> dict[str, Any] | None:
        try:
            request = json.loads(line)
            command, arguments = request["command"], request.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            return {"error": "a line must be an object with `command` and `arguments`"}
        action = self._commands.get(command)
        if action is None:
            return {"error": f"no such command: {command}; there are {', '.join(sorted(self._commands))}"}
        try:
            result = action(**arguments)
            log.info("control: %s %s", command, " ".join(f"{k}={v}" for k, v in arguments.items()))
        except BmcSilent:
            return None
        except (CommandError, ScriptError) as error:
            return {"error": str(error)}
        except TypeError as error:
            return {"error": f"{command}: {error}"}
        except Exception as error:
            log.exception("control: %s", command)
            return {"error": f"{command}: {type(error).__name__}: {error}"}
        return {"result": result}

    # -- commands

    def _look(self, read: Callable[[Lab], Any]) -> Any:
        with self._served.world() as lab:
            return read(lab)

    def _hosts(self) -> list[str]:
        return self._look(lambda lab: list(lab.hosts))  # type: ignore[no-any-return]

    def _host(self, lab: Lab, word: str) -> str:
        """A host's name from its name, uuid or address."""
        for host in lab.hosts.values():
            if word in (host.name, host.uuid, host.address):
                return host.name
        raise CommandError(f"no host is called {word}; the lab has {', '.join(lab.hosts)}")

    def _running(self) -> dict[str, Any]:
        with self._served.world() as lab:
            return {
                host: [{"vm": d.uuid, "name": d.name, "since": d.since, "paused": d.paused} for d in domains]
                for host, domains in lab.running().items()
            }

    def _power(self, host: str, action: str) -> dict[str, str]:
        with self._served.world() as lab:
            name = self._host(lab, host)
            if action not in ("on", "off", "cycle", "status"):
                raise CommandError(f"power {action}: there are on, off, cycle and status")
            if action in ("off", "cycle"):
                lab.power_off(name)
            if action in ("on", "cycle"):
                lab.power_on(name)
            return {"host": name, "power": "on" if lab.hosts[name].powered else "off"}

    def _link(self, action: str, a: str, b: str) -> dict[str, str]:
        with self._served.world() as lab:
            ends = [word if word in ("client", "storage", "*") else self._host(lab, word) for word in (a, b)]
            if ends[0] == ends[1]:
                raise CommandError("a link has two ends: name two hosts, or a host and one of client, storage, *")
            if action not in ("cut", "heal"):
                raise CommandError(f"link {action}: there are cut and heal")
            (lab.cut if action == "cut" else lab.heal)(ends[0], ends[1])
            return {"a": ends[0], "b": ends[1], "link": action}

    def _storage(self, action: str, host: str, sr: str = "storage") -> dict[str, str]:
        with self._served.world() as lab:
            name = self._host(lab, host)
            known = lab.world.sr_names
            if sr != "storage" and sr not in known and sr not in known.values():
                raise CommandError(f"no SR is called {sr}; the lab has {', '.join(sorted(set(known.values())))}")
            if action not in ("cut", "heal"):
                raise CommandError(f"storage {action}: there are cut and heal")
            (lab.cut if action == "cut" else lab.heal)(name, sr)
            return {"host": name, "sr": sr, "storage": action}

    def _toolstack(self, action: str, host: str) -> dict[str, str]:
        with self._served.world() as lab:
            name = self._host(lab, host)
            actions = {
                "restart": lab.restart_toolstack,
                "stop": lab.stop_toolstack,
                "start": lab.start_toolstack,
                "hang": lab.hang_toolstack,
            }
            if action not in actions:
                raise CommandError(f"toolstack {action}: there are {', '.join(actions)}")
            if not lab.hosts[name].powered:
                raise CommandError(f"{name} has no power: `xenrec lab power on {name}` first")
            actions[action](name)
            return {"host": name, "toolstack": lab.hosts[name].toolstack_state}

    def _bmc(self, host: str, answers: bool | None = None, lies: bool | None = None) -> dict[str, Any]:
        """Set how a BMC behaves: whether it answers, and whether it says `off` without switching off."""
        with self._served.world() as lab:
            name = self._host(lab, host)
            if answers is not None:
                lab.bmc_answers[name] = answers
            if lies is not None:
                lab.bmc_lies[name] = lies
            return {"host": name, "answers": lab.bmc_answers[name], "lies": lab.bmc_lies[name]}

    def _bmc_request(self, host: str, action: str) -> dict[str, str]:
        with self._served.world() as lab:
            name = self._host(lab, host)
            if action not in ("status", "on", "off"):
                raise CommandError(f"a BMC knows status, on and off, not {action}")
            return {"host": name, "power": lab.bmc(name, action)}

    def _down(self) -> dict[str, Any]:
        self._served.loop.call_later(0.05, self._on_down)  # after this answer is out
        return {"pid": os.getpid()}
