"""XAPI's own word for what went wrong."""

from __future__ import annotations


class Failure(Exception):
    """An XAPI error: `code` and `params` as sent; all strings."""

    def __init__(self, code: str, *params: str) -> None:
        super().__init__(code, *params)
        self.code = code
        self.params = list(params)

    @property
    def description(self) -> list[str]:
        """ErrorDescription as on the wire."""
        return [self.code, *self.params]


class BmcSilent(Exception):
    """The BMC does not answer."""
