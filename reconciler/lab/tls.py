"""Certificates for the served hosts: one self-signed certificate a host, as XAPI makes them by default (sheet §7.4)."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID_DAYS = 3650
"""xapi's own self-signed certificates last ten years."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One host's certificate and key in one PEM file; `fingerprint` is SHA-256 of the DER form, lower-case hex."""

    file: Path
    fingerprint: str

    @property
    def thumbprint(self) -> str:
        """The fingerprint as XAPI writes it: upper-case pairs with colons."""
        digits = self.fingerprint.upper()
        return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))

    def server_context(self) -> ssl.SSLContext:
        """A server-side TLS context that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.file)
        return context


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate's DER form, lower-case hex without colons."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def identity(directory: Path, name: str, address: str) -> Identity:
    """The identity of host `name` at `address`, kept in `directory`; made when absent or made for another address.

    It outlives the lab that made it, so pins in a manifest stay right over `lab down` and `lab up`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A host's name comes from a pool database and may hold anything: the address is the file's name.
    file = directory / f"{address.replace(':', '_')}.pem"
    try:
        known = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        known = None
    if known is None or not _fits(known, name):
        known = _make(file, name, address)
    return Identity(file, fingerprint_of(known))


def _fits(certificate: x509.Certificate, name: str) -> bool:
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return certificate.not_valid_after_utc > tomorrow and [a.value for a in subject] == [_common_name(name)]


def _common_name(name: str) -> str:
    return name[:64] or "host"  # X.520 allows 1 to 64 characters


def _make(file: Path, name: str, address: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _common_name(name))])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        # CA: true lets a client take the certificate itself as its trust anchor (`caFile`).
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    part = file.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(pem)
    part.replace(file)
    return certificate
