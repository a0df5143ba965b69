"""The certificate, re-checked right before every action that cites it (I1, I7)."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.core.draft import attest_command
from reconciler.core.evidence import BmcPower, Certificate, CertificateKind
from reconciler.core.plan import Action
from reconciler.core.wanted import Member
from reconciler.core.words import utc
from reconciler.execute.bench import Bench, CannotRecord
from reconciler.execute.look import sign_of_life

GOOD_FOR = 10.0
"""Seconds for which a positive re-check serves other actions: 100 starts must not cost 100 BMC calls."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a host's death is not proved now, and what would prove it."""

    why: str
    remedy: str


@dataclass(slots=True)
class Prover:
    """Re-checks certificates. One per run."""

    bench: Bench
    _checked: dict[tuple[str, Certificate], float] = field(default_factory=dict)

    def doubt(self, action: Action, *, fresh: bool = False) -> Doubt | None:
        """Why any host that the action's proof is about may live after all; None when all are proved dead now.

        `fresh` asks again although a check was made a moment ago: for what cannot be undone.
        """
        for host in action.certificate_of:
            if found := self.doubt_of(host, action, fresh=fresh):
                return found
        return None

    def doubt_of(self, host: str, action: Action, *, fresh: bool = False) -> Doubt | None:
        """The same for one host by name."""
        bench = self.bench
        member = bench.wanted.member(host)
        if member is None:
            return Doubt(
                f"{host} is not a declared member, so nothing can prove that it is dead", "declare it in members"
            )
        uuid = action.target.uuid if action.target.kind == "host" and action.target.name == host else ""
        certificates = self.held(member, uuid or None)
        if not certificates:
            return Doubt(self._missing(member), attest_command(bench.wanted, host))
        newest_first = sorted(certificates, key=lambda c: c.expires_at, reverse=True)
        checked = [self._checked.get((host, c)) for c in newest_first]
        if not fresh and any(at is not None and bench.port.now() - at < GOOD_FOR for at in checked):
            return None
        if life := sign_of_life(bench, member):
            self.void(member, life, action, uuid or None)
            return Doubt(f"{host} is not dead: {life}. Its certificate is void", "plan again")
        # A fenced one whose BMC fell silent since must not hide a person's word that still holds.
        reasons = []
        power, words = BmcPower.UNKNOWN, ""
        for certificate in newest_first:
            broken = bench.fencer.recheck(certificate, member)
            if broken or certificate.kind is CertificateKind.ATTESTED:
                power, words = bench.fencer.status(member)
            if not broken and power is not BmcPower.ON:
                self._checked[(host, certificate)] = bench.port.now()
                return None
            reasons.append(broken)
        if power is BmcPower.ON:
            self.void(member, f"its BMC says that power is on ({words})", action, uuid or None)
            return Doubt(f"{host} is not dead: its BMC says that power is on. Its certificate is void", "plan again")
        return Doubt(
            f"the proof that {host} is dead could not be renewed: {reasons[0]}", attest_command(bench.wanted, host)
        )

    def held(self, member: Member, uuid: str | None = None) -> tuple[Certificate, ...]:
        """Certificates of this pool that cover the member now."""
        now, name, address = self.bench.port.now(), member.name, member.address
        found = self._about(member, uuid)
        return tuple(c for c in found if c.covers(host=name, address=address, uuid=uuid, now=now))

    def _about(self, member: Member, uuid: str | None) -> list[Certificate]:
        pool = self.bench.wanted.name
        held = [c for c in self.bench.store.certificates() if c.pool == pool]
        return [c for c in held if c.speaks_of(host=member.name, address=member.address, uuid=uuid)]

    def void(self, member: Member, why: str, action: Action, uuid: str | None = None) -> None:
        """A sign of life: every certificate of that host is void from now on, also one that would hold later."""
        now = self.bench.port.now()
        certificates = [c for c in self._about(member, uuid) if now < c.expires_at]
        for key in [k for k in self._checked if k[0] == member.name]:
            del self._checked[key]
        self.bench.note("void", action=action.id, host=member.name, why=why)
        self.bench.say(action, f"sign of life of {member.name}: {why}; its certificate is void")
        for certificate in certificates:
            try:
                self.bench.store.void_certificate(certificate, why)
            except OSError as error:
                raise CannotRecord(f"the certificate of {member.name} cannot be made void: {error}") from error

    def _missing(self, member: Member) -> str:
        mine = [
            c for c in self.bench.store.certificates() if c.host == member.name and c.pool == self.bench.wanted.name
        ]
        if mine:
            last = max(mine, key=lambda c: c.expires_at)
            return f"the certificate that {member.name} is dead expired at {utc(last.expires_at)}"
        return f"no certificate says that {member.name} is dead"
