"""What the operating system said, as the fault kinds of the port. Texts never hold anything that was sent."""

from __future__ import annotations

import errno
import ssl

from reconciler.core.port import FaultKind, TransportFault

_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL})
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE"})


def of_os_error(error: OSError, place: str, doing: str, *, sent: bool) -> TransportFault:
    """The fault of a failed socket operation at `place` (an address) while `doing` (words for people)."""
    if isinstance(error, TimeoutError):
        return TransportFault(FaultKind.TIMEOUT, f"{place}: no answer in time while {doing}", sent=sent)
    if isinstance(error, ConnectionRefusedError):
        return TransportFault(FaultKind.REFUSED, f"{place}: connection refused", sent=False)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return TransportFault(FaultKind.DROPPED, f"{place}: the connection was closed while {doing}", sent=sent)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "TLS failed").replace("_", " ").lower()
        if error.reason in _NOT_TLS:
            return TransportFault(FaultKind.PROTOCOL, f"{place}: does not speak TLS ({reason})", sent=sent)
        return TransportFault(FaultKind.TLS, f"{place}: {reason} while {doing}", sent=sent)
    if error.errno in _NO_ROUTE:
        return TransportFault(FaultKind.UNREACHABLE, f"{place}: {error.strerror or 'no route'}", sent=sent)
    return TransportFault(
        FaultKind.DROPPED, f"{place}: {error.strerror or 'the connection broke'} while {doing}", sent=sent
    )
