"""A command group that imports a command's module when the command is asked for: nothing of manifests and plans is
loaded for `xenrec --help` or `xenrec lab status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class Commands(MutableMapping[str, Any]):
    """Commands by name, each loaded once. `homes`: name -> (module, what is in it: a function or a Typer)."""

    def __init__(self, homes: Mapping[str, tuple[str, str]]) -> None:
        self._homes = homes
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            module, attribute = self._homes[name]
            found = getattr(import_module(module), attribute)
            if not isinstance(found, typer.Typer):
                maker = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
                maker.command(name)(found)
                found = maker
            command: Any = typer.main.get_command(found)
            command.name = name
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are not taken away")

    def __contains__(self, name: object) -> bool:
        return name in self._homes or name in self._loaded

    def __iter__(self) -> Iterator[str]:
        yield from self._homes

    def __len__(self) -> int:
        return len(self._homes)


class LazyGroup(TyperGroup):
    """Its subclass names the commands in `homes` and says in `told` what the list in --help says of each."""

    homes: ClassVar[Mapping[str, tuple[str, str]]] = {}
    told: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": None})
        self.commands = Commands(self.homes)
        self._listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which they are named."""
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; only its name and what it is about while help is written."""
        if self._listing and cmd_name in self.told:
            return TyperCommand(cmd_name, help=self.told[cmd_name])
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without loading what it lists."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False
