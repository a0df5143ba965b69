"""Which certificates are trusted. There is no way to say "any": an address with neither a fingerprint nor a CA is
refused, with the fingerprint that it shows, so that a person can compare and declare it."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.core.port import FaultKind, TransportFault

_HEX = re.compile(r"[0-9a-f]{64}")
_ON_CONSOLE = "openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint -sha256"
"""The command that shows a host's own fingerprint on its console."""


class TrustError(ValueError):
    """What the manifest trusts cannot be used: an unreadable CA file, a malformed fingerprint."""


def plain_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint as lower-case hex without colons, from any usual spelling; raises TrustError."""
    plain = re.sub(r"[\s:]", "", text.strip().lower().removeprefix("sha256").removeprefix("=").removeprefix(":"))
    if not _HEX.fullmatch(plain):
        raise TrustError(f"{text!r} is not a SHA-256 fingerprint: it needs 64 hexadecimal digits")
    return plain


def fingerprint_of(certificate: bytes) -> str:
    """SHA-256 of a certificate in DER, lower-case hex."""
    return hashlib.sha256(certificate).hexdigest()


@dataclass(frozen=True)
class Trust:
    """Fingerprints by address (as the manifest spells the address) and a CA file for the addresses without one.

    A fingerprint is the narrower statement, so where both are given it alone decides. Raises TrustError.
    """

    fingerprints: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprints", {a: plain_fingerprint(f) for a, f in self.fingerprints.items()})
        if self.ca_file is not None:
            try:
                verified = ssl.create_default_context(cafile=self.ca_file)
            except ssl.SSLError as error:
                raise TrustError(f"{self.ca_file}: holds no usable CA certificate in PEM ({error.reason})") from None
            except OSError as error:
                raise TrustError(f"{self.ca_file}: cannot be read: {error.strerror}") from None
            object.__setattr__(self, "_verified", verified)

    def context(self, address: str) -> ssl.SSLContext:
        """The context to connect with. Where no CA decides, `check` must pass before anything is sent."""
        verified = getattr(self, "_verified", None)
        if address in self.fingerprints or verified is None:
            return unverified_context()
        assert isinstance(verified, ssl.SSLContext)
        return verified

    def check(self, address: str, certificate: bytes) -> None:
        """Raises TransportFault(TLS) unless this certificate (DER) may be spoken to at this address."""
        seen = fingerprint_of(certificate)
        expected = self.fingerprints.get(address)
        if expected is None and self.ca_file is None:
            raise TransportFault(
                FaultKind.TLS,
                f"{address}: neither a fingerprint nor a CA is declared for it. It shows SHA-256 {seen}; if its "
                f"console shows the same ({_ON_CONSOLE}), declare that as the member's fingerprint",
                sent=False,
            )
        if expected is not None and seen != expected:
            raise TransportFault(
                FaultKind.TLS,
                f"{address}: its certificate is not the declared one: expected SHA-256 {expected}, seen {seen}. If the "
                f"host was reinstalled or its certificate renewed, compare on its console ({_ON_CONSOLE}) and change "
                "the member's fingerprint; otherwise something else answers there",
                sent=False,
            )

    def rejected(self, address: str, why: str, seen: str | None) -> TransportFault:
        """The fault of a certificate that the CA check refused; `seen` is its fingerprint if it could be fetched."""
        shown = f"; it shows SHA-256 {seen}" if seen else ""
        return TransportFault(
            FaultKind.TLS,
            f"{address}: its certificate is not trusted by {self.ca_file}: {why}{shown}. Correct the CA file, or "
            f"declare the member's fingerprint after comparing it on the host's console ({_ON_CONSOLE})",
            sent=False,
        )


def unverified_context() -> ssl.SSLContext:
    """A context that verifies nothing by itself: for reading a fingerprint, and for pins, checked after it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
