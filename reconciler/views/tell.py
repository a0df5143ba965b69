"""What a plan's actions do and rest on, told with the whole plan in view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reconciler.core.evidence import Certificate, CertificateKind
from reconciler.core.plan import Action, Plan, Thing, Verb
from reconciler.views import words


def proof(certificate: Certificate, now: float) -> str:
    """A certificate in words: what it proves, how, when, until when."""
    return f"{words.name(certificate.host)} is dead: {proved(certificate, now)}"


def proved(certificate: Certificate, now: float) -> str:
    """How, when and until when a certificate proves it; for one that is void, too."""
    how = "fenced" if certificate.kind is CertificateKind.FENCED else "attested"
    by = f" by {words.clean(certificate.by)}" if certificate.by else ""
    until = words.near(certificate.expires_at, now)
    issued = words.near(certificate.issued_at, now)
    return f"{how}{by} at {issued}, valid until {until}"


class Teller:
    """Tells the actions of one plan. Names that several objects of one kind share come with their uuids."""

    def __init__(self, plan: Plan) -> None:
        actions = (*plan.actions, *(w.action for w in plan.withheld))
        self._fenced = {a.target.name for a in actions if a.verb is Verb.FENCE}
        self._proofs = {c.host: proof(c, plan.made_at) for c in reversed(plan.certificates)}
        things = {(t.kind, t.name, t.uuid) for t in _things(plan, actions)}
        self._twins = {key for key, number in Counter((kind, name) for kind, name, _ in things).items() if number > 1}

    def name(self, thing: Thing) -> str:
        """The thing's name, with its uuid when another has the same name."""
        shown = words.name(thing.name)
        if (thing.kind, thing.name) in self._twins and thing.uuid:
            return f"{shown} ({words.clean(thing.uuid)})"
        return shown

    def thing(self, thing: Thing) -> str:
        """A thing by its kind and name."""
        twin = self.name(thing) != words.name(thing.name)
        return words.thing(thing) + (f" ({words.clean(thing.uuid)})" if twin else "")

    def does(self, action: Action) -> str:
        """What an action does, in the imperative."""
        text = words.does(action)
        twin = self.name(action.target) != words.name(action.target.name)
        return f"{text} (uuid {words.clean(action.target.uuid)})" if twin else text

    def rests_on(self, action: Action) -> tuple[str, ...]:
        """For each host whose death the action rests on: the proof, in words."""
        return tuple(dict.fromkeys(self._proof_of(host) for host in action.certificate_of))

    def _proof_of(self, host: str) -> str:
        if host in self._proofs:
            return self._proofs[host]
        if host in self._fenced:
            return f"the proof that fencing {words.name(host)} gives"
        return f"a proof that {words.name(host)} is dead, which there is not yet"


def _things(plan: Plan, actions: Iterable[Action]) -> Iterable[Thing]:
    for action in actions:
        yield action.target
        if action.to is not None:
            yield action.to
    for unmet in plan.unmet:
        yield unmet.target
