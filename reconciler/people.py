"""What a person does by hand, beside runs: switch a host off, give their word, take it back. All of it is recorded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic_core import PydanticCustomError

from reconciler.core.armed import Armed
from reconciler.core.brake import storm_brake
from reconciler.core.diagnose import diagnose
from reconciler.core.draft import fence_command
from reconciler.core.evidence import Certificate, CertificateKind, Judged, LoginAnswer, Verdict
from reconciler.core.fence_text import Refusal, device_words
from reconciler.core.judge import uuid_of
from reconciler.core.limits import Pause
from reconciler.core.model import Vm
from reconciler.core.parked import Failing
from reconciler.core.wanted import Member
from reconciler.core.words import address_host, count, names, utc
from reconciler.fencing.fence import Probe
from reconciler.manifest.attestations import Attestation, load_attestations
from reconciler.manifest.fields import moment
from reconciler.pipeline import Look, Reconciler
from reconciler.state.disk import StateError

__all__ = [
    "Pause",
    "Probe",
    "Prospect",
    "attest",
    "attest_all",
    "disarmed",
    "fence_off",
    "load_attestations",
    "moment_of",
    "pause",
    "prospect",
    "revoke",
    "unpark",
    "unpause",
]

log = logging.getLogger(__name__)

MOST_NAMED = 12


@dataclass(frozen=True)
class Prospect:
    """What switching a host off would mean, to be read before it is done. `warnings` in the order of weight."""

    member: Member
    judged: Judged
    look: Look
    warnings: tuple[str, ...]

    @property
    def lives(self) -> bool:
        """Something answers at its address: then it is not a dead host that is made sure of, but a living one that is
        switched off."""
        return self.judged.verdict in (Verdict.ALIVE, Verdict.SUSPECT)


def prospect(rec: Reconciler, member: Member) -> Prospect:
    """Look at the pool and say what `fence_off` of this member would mean."""
    look = rec.observe()
    known = look.state or look.last_known
    diagnosis = diagnose(rec.wanted, look.survey, look.certificates, now=look.at, known=known, incident=look.incident)
    judged = diagnosis.of(member.name)
    assert judged is not None
    warnings = []
    t = look.survey.of(member.name)
    if t is not None and t.login is LoginAnswer.MASTER:
        warnings.append(f"{member.name} acts as the pool's master")
    here = address_host(member.address)
    if followers := [o.name for o in look.survey.testimonies if o.follows == here and o.reaches_master]:
        warnings.append(f"{names(followers)} still {'takes' if len(followers) == 1 else 'take'} orders from it")
    guests = _guests(look, member)
    if guests:
        when = "" if look.state is not None else f" (as the pool was at {utc(known.read_at)})" if known else ""
        told = names((vm.name for vm in guests), MOST_NAMED)
        warnings.append(f"{count(len(guests), 'VM')} recorded as running on it lose power: {told}{when}")
    if known is not None and known.pool.ha_enabled:
        warnings.append("XAPI's own HA is on: it may choose a new master and restart VMs by itself")
    if brake := storm_brake(rec.wanted, look.survey, diagnosis.members)[0]:
        warnings.append(brake)
    return Prospect(member, judged, look, tuple(warnings))


def _guests(look: Look, member: Member) -> Sequence[Vm]:
    known = look.state or look.last_known
    if known is None:
        return ()
    uuid = uuid_of(member, known)
    host = next((h.ref for h in known.hosts.values() if h.uuid == uuid), None)
    return [vm for vm in known.residents.get(host or "", ()) if vm.is_guest and vm.power_state == "Running"]


def fence_off(rec: Reconciler, found: Prospect, *, by: str, reason: str, lifetime: float) -> Certificate | Refusal:
    """Switch the member off, read it back, and record the certificate; lifetime in seconds. The caller holds the
    pool's lock and has asked the person. Raises StateError when nothing was switched, for it can't be recorded."""
    member = found.member
    known = found.look.state or found.look.last_known
    record = _Record(rec, "fence off", by)
    try:
        record.begin()
        agents = [device_words(d) for d in member.fencing]
        record.write("intent", method="fence-off", target=f"host/{member.name}", agents=agents, why=reason)
    except StateError as error:
        raise StateError(f"nothing was switched: {error.what}", error.remedy) from None
    with record:
        made = rec.fencer.off(
            member, pool=rec.wanted.name, host_uuid=uuid_of(member, known), reason=reason, lifetime_s=lifetime
        )
        if isinstance(made, Certificate):
            made = _by_person(made, by)
            try:
                rec.folder.add_certificate(made)
            except OSError as error:
                why = f"{member.name} was switched off, and a second status says so, but no record of it can be kept"
                return Refusal(f"{why}: {error}", f"mend that, then: {fence_command(rec.wanted, member.name)}")
            record.write("reply", method="fence-off", what="off, and a second status says so")
            record.write("certificate", certificate=made)
        else:
            record.write("reply", method="fence-off", what=f"no certificate: {made.why}")
    return made


def _by_person(certificate: Certificate, by: str) -> Certificate:
    """The certificate names its device; the record must say whose hand it was, too."""
    return replace(certificate, reason=f"{certificate.reason} (by {by})")


def attest(rec: Reconciler, host: str, *, by: str, reason: str, lifetime: float) -> Certificate | str:
    """A person's word that a host is dead, recorded; or why it is not taken: the host shows a sign of life."""
    with _Record(rec, "attest", by) as record:
        made = rec.attest(host, by=by, reason=reason, lifetime=lifetime)
        _told(record, host, made)
    return made


def attest_all(rec: Reconciler, given: Sequence[Attestation], *, by: str) -> list[tuple[str, Certificate | str]]:
    """The attestations of a file, each recorded or with the reason why it is not taken. One look serves all.

    `by` brought the file; the certificates name who says so in it. A uuid that is not the known one is refused: the
    word is about another machine under that name.
    """
    look = rec.observe()
    known = look.state or look.last_known
    diagnosis = diagnose(rec.wanted, look.survey, (), now=look.at, known=known, incident=look.incident)
    made: list[tuple[str, Certificate | str]] = []
    with _Record(rec, "attest --from", by) as record:
        for one in given:
            member, judged = rec.wanted.member(one.host), diagnosis.of(one.host)
            assert member is not None, "the file was checked against the manifest"
            assert judged is not None
            uuid = uuid_of(member, known)
            taken: Certificate | str
            if one.uuid is not None and uuid is not None and one.uuid != uuid:
                taken = f"the file is about the host {one.uuid}, and {one.host} is {uuid}"
            elif judged.verdict in (Verdict.ALIVE, Verdict.SUSPECT):
                taken = f"{one.host} is not dead: {judged.why}"
            elif unsure := rec.powered(member, look) or _ended(rec, one):
                taken = unsure
            else:
                now = rec.port.now()
                taken = Certificate(
                    CertificateKind.ATTESTED,
                    rec.wanted.name,
                    member.name,
                    member.address,
                    uuid or one.uuid,
                    one.by,
                    one.reason,
                    now,
                    one.until,
                )
                rec.folder.prepare()
                rec.folder.add_certificate(taken)
            _told(record, one.host, taken)
            made.append((one.host, taken))
    return made


def _ended(rec: Reconciler, one: Attestation) -> str:
    """Why the same word is not taken again: it was made void by a sign of life, or taken back, and a file that lies
    there is read again and again."""
    for old, why in rec.folder.voided():
        if (old.host, old.by, old.reason, old.expires_at) == (one.host, one.by, one.reason, one.until):
            return f"this word about {one.host} counts no more ({why}): say it anew, with another `until`"
    return ""


def revoke(rec: Reconciler, host: str, *, by: str) -> tuple[Certificate, ...]:
    """Take back every certificate of a host."""
    with _Record(rec, "attest --revoke", by) as record:
        gone = rec.folder.revoke(host, f"revoked by {by}")
        record.write("revoked", host=host, certificates=gone)
    return gone


def _told(record: _Record, host: str, made: Certificate | str) -> None:
    if isinstance(made, Certificate):
        record.write("certificate", certificate=made)
    else:
        record.write("refused", host=host, why=made)


LONGEST_PAUSE = 30 * 86_400.0
"""Seconds: what is to rest for longer belongs into the manifest, where others read it."""


def pause(rec: Reconciler, *, by: str, reason: str, until: float, vm: str | None = None) -> Pause | str:
    """A person's word to leave the pool, or one VM, alone until then (UTC seconds); or why it can't be taken."""
    now = rec.port.now()
    if not now < until <= now + LONGEST_PAUSE:
        return "a pause ends in the future, and after 30 days at most"
    uuid = None
    if vm is not None:
        known = rec.last_known()
        found = [v for v in known.guests if vm in (v.name, v.uuid)] if known else []
        if known is not None and not found:
            return f"the pool has no VM {vm}, as it was at {utc(known.read_at)}"
        if len(found) == 1:  # of several of one name all are paused
            uuid, vm = found[0].uuid, found[0].name
    made = Pause(by, reason, now, until, vm, uuid)
    with _Record(rec, "pause", by) as record:
        rec.folder.memory.pause(made)
        record.write("pause", pause=made)
    return made


def unpause(rec: Reconciler, *, by: str, vm: str | None = None, everything: bool = False) -> tuple[Pause, ...]:
    """End the pause of the pool, of one VM, or every one; those that were ended."""
    with _Record(rec, "pause --clear", by) as record:
        gone = rec.folder.memory.unpause(vm, everything=everything)
        record.write("unpause", pauses=gone)
    return gone


def disarmed(rec: Reconciler, *, by: str, host: str) -> tuple[Armed, ...]:
    """A person's word that XAPI's HA is not armed on a host any more; what was forgotten."""
    with _Record(rec, "unpark", by) as record:
        gone = rec.folder.memory.disarm([host])
        record.write("disarmed", armed=gone)
    return gone


def unpark(rec: Reconciler, *, by: str, vm: str | None = None) -> tuple[Failing, ...]:
    """Let unattended runs try again what failed of one VM, or of all; what was forgotten."""
    with _Record(rec, "unpark", by) as record:
        gone = rec.folder.memory.unpark(vm)
        record.write("unpark", failing=gone)
    return gone


def moment_of(text: str) -> float | None:
    """UTC seconds from a time with its zone, as in 2026-12-20T18:00Z; None for anything else."""
    try:
        return moment(text)
    except PydanticCustomError:
        return None


class _Record:
    """The journal of one thing done by hand; it reads like a run's."""

    def __init__(self, rec: Reconciler, command: str, by: str) -> None:
        self._rec = rec
        self._journal = rec.folder.journal(rec.run)
        self._command = command
        self._by = by
        self._begun = False

    def write(self, kind: str, **fields: object) -> None:
        """Append a line."""
        self._journal.write(kind, run=self._rec.run, at=self._rec.port.now(), **fields)

    def begin(self) -> None:
        """Write who does what, once. Raises StateError."""
        if self._begun:
            return
        self._begun = True
        self._rec.folder.prepare()
        self.write(
            "run", by=self._by, command=self._command, pool=self._rec.wanted.name, source=self._rec.wanted.source
        )

    def __enter__(self) -> _Record:
        self.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            self.write("run-end", stopped="" if kind is None else kind.__name__)
        except OSError as failure:
            log.warning("that this is over can't be recorded: %s", failure)
        finally:
            self._journal.close()
