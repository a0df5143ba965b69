"""The rooms joined to the real outside, for the command line: manifests from files or Git, a Reconciler for each pool,
snapshots, exports; and every expected trouble of any room as one kind of exception."""

from __future__ import annotations

import functools
import getpass
import os
import secrets as randomness
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from reconciler.core.checker import check_plan
from reconciler.core.evidence import Survey
from reconciler.core.guard import Allowance
from reconciler.core.model import PoolState
from reconciler.core.plan import Plan
from reconciler.core.planner import make_plan
from reconciler.core.port import Fault, TransportFault, XapiFailure
from reconciler.core.wanted import SecretRef, Wanted
from reconciler.core.words import address_host, utc
from reconciler.execute.desk import LostReply, MasterLost
from reconciler.execute.faults import explain
from reconciler.execute.lease import LeaseBusy
from reconciler.execute.needs import Progress
from reconciler.fencing.agents import run_agent
from reconciler.fencing.probe import run_probe
from reconciler.manifest import Loaded, ManifestError, Problem, Severity, load_file, load_folder, load_many
from reconciler.manifest import schema as schemas
from reconciler.manifest.export import export_yaml
from reconciler.manifest.secrets import SecretError, resolve
from reconciler.outside import Outside
from reconciler.pipeline import Look, Reconciler
from reconciler.repo.git import RepoError, read_manifests, require_signed
from reconciler.solver import installed
from reconciler.state.disk import StateError
from reconciler.state.folder import PoolFolder, state_dir
from reconciler.state.lock import LockBusy
from reconciler.xapi import snapshot as snapshots
from reconciler.xapi.read import read_pool
from reconciler.xapi.sessions import PoolSessions
from reconciler.xapi.trust import Trust, TrustError
from reconciler.xapi.wire import fetch_fingerprint

__all__ = ["Loaded", "LockBusy", "Problem", "Severity", "Trouble", "TroubleKind", "load", "open_pool", "troubles"]


class TroubleKind(StrEnum):
    """What sort of trouble ended a command or one pool of it; each has an exit code."""

    ERROR = "error"
    USAGE = "usage"
    INVALID = "invalid"  # the manifest, or a secret that it names
    UNAVAILABLE = "unavailable"  # the pool
    BUSY = "busy"  # another run holds it
    DENIED = "denied"  # login or rights


class Trouble(Exception):
    """An expected trouble: a message for people and the next command or step."""

    def __init__(self, kind: TroubleKind, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy


@contextmanager
def troubles() -> Iterator[None]:
    """Turn every trouble that a room expects into Trouble. Anything else is a bug and comes through."""
    try:
        yield
    except LockBusy as busy:
        since = f" since {utc(busy.since)}" if busy.since else ""
        raise Trouble(TroubleKind.BUSY, f"{busy}{since}", "wait for it to end; nothing was done") from None
    except (ManifestError, SecretError, TrustError) as error:
        raise Trouble(TroubleKind.INVALID, str(error)) from None
    except RepoError as error:
        raise Trouble(TroubleKind.ERROR, error.what, error.remedy) from None
    except (StateError, snapshots.SnapshotError) as error:
        raise Trouble(TroubleKind.ERROR, str(error)) from None
    except LeaseBusy as busy:
        raise Trouble(
            TroubleKind.BUSY,
            f"{busy}; nothing was done",
            f"wait for it to end; if that run is dead: xenrec lock release {busy.argument}",
        ) from None
    except (MasterLost, LostReply) as lost:
        raise Trouble(TroubleKind.UNAVAILABLE, str(lost)) from None
    except XapiFailure as failure:
        denied = failure.code in ("SESSION_AUTHENTICATION_FAILED", "RBAC_PERMISSION_DENIED")
        told = explain(failure, lambda cls, ref: ref)
        kind = TroubleKind.DENIED if denied else TroubleKind.ERROR
        raise Trouble(kind, f"XAPI refused: {told.sentence}", told.remedy) from None
    except TransportFault as fault:
        raise Trouble(TroubleKind.UNAVAILABLE, str(fault)) from None
    except Fault as fault:
        raise Trouble(TroubleKind.ERROR, str(fault)) from None


def load(
    path: str, repo: Path | None, revision: str, *, signed: bool = False, signers: Path | None = None
) -> list[Loaded]:
    """Every pool of a manifest, a folder of manifests, or either of them inside a Git repository at a revision.

    Raises Trouble for what spoils all of them; a pool with problems comes back with them.
    """
    with troubles():
        if repo is None:
            if signed:
                raise Trouble(TroubleKind.USAGE, "--require-signed needs --repo")
            where = Path(path)
            if where.is_dir():
                return load_folder(where)
            wanted = load_file(where)
            return [Loaded(str(where), wanted.name, wanted)]
        if signed:
            revision = require_signed(repo, revision, signers)
        commit, files = read_manifests(repo, revision, None if path == "." else path)
        found = load_many(((content, f"{commit[:12]}:{name}") for name, content in files), commit=commit)
        return [replace(one, wanted=replace(one.wanted, repo=str(repo))) if one.wanted else one for one in found]


def load_one_bad(path: str) -> list[Loaded]:
    """A single file as Loaded whatever is wrong with it, for machine formats."""
    try:
        return [Loaded(path, None, load_file(path))]
    except ManifestError as error:
        return [Loaded(path, None, None, error.problems)]


def schema_text() -> str:
    """The manifest's JSON Schema."""
    return schemas.text()


def operator() -> str:
    """Who is at the keyboard, as user@host, for the record. A user without a name is told by number."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def new_run() -> str:
    """A run's id: sorts by time, unique on this machine."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + randomness.token_hex(3)


def open_pool(
    wanted: Wanted,
    state: Path | None,
    *,
    base: Path | None = None,
    attended: bool = True,
    failback: bool = False,
    progress: Progress = lambda event: None,
) -> Reconciler:
    """All rooms for one pool over the real outside. Files that a manifest names are relative to `base`, by default its
    own folder. Raises Trouble."""
    where = base or (Path(wanted.source).parent if wanted.commit is None else Path.cwd())
    ca_file = wanted.connection.ca_file
    with troubles():
        trust = Trust(
            {m.address: m.fingerprint for m in wanted.members if m.fingerprint},
            str(where / ca_file) if ca_file else None,
        )

    @functools.cache
    def secret(ref: SecretRef) -> str:
        return resolve(ref, environ=os.environ, base=where)

    return Reconciler(
        wanted,
        Outside(trust, run_agent, run_probe, [address_host(m.address) for m in wanted.members]),
        PoolFolder(state or state_dir(), wanted.name),
        secret,
        new_run(),
        allowance=Allowance(attended=attended),
        failback=failback,
        progress=progress,
        by=operator(),
        pid=os.getpid(),
        solver=installed(),
    )


def save_capture(wanted: Wanted, look: Look, file: Path) -> None:
    """Save what a look gave. Raises Trouble."""
    with troubles():
        snapshots.save(snapshots.Snapshot(wanted.name, look.at, look.survey, look.state), file)


@dataclass(frozen=True)
class Taken:
    """A look that was captured: what every witness said, and the pool if a master answered."""

    at: float
    survey: Survey
    state: PoolState | None


def load_capture(wanted: Wanted, file: Path) -> Taken:
    """A captured look of this manifest's members. Raises Trouble."""
    with troubles():
        taken = snapshots.load(file)
    if taken.survey is None:
        raise Trouble(TroubleKind.ERROR, f"{file} holds no survey", "make one: xenrec capture MANIFEST FILE")
    members = tuple((t.name, t.address) for t in taken.survey.testimonies)
    if members != tuple((m.name, m.address) for m in wanted.members):
        raise Trouble(TroubleKind.ERROR, f"{file} was captured with other members than {wanted.source} declares")
    return Taken(taken.taken_at, taken.survey, taken.state)


def plan_capture(wanted: Wanted, file: Path, *, failback: bool, attended: bool) -> tuple[Plan, Taken]:
    """The plan that a captured look gives, with no network. Raises Trouble."""
    taken = load_capture(wanted, file)
    plan = make_plan(
        wanted,
        taken.survey,
        now=taken.at,
        state=taken.state,
        failback=failback,
        allowance=Allowance(attended=attended),
        solver=installed(),
    )
    return plan, taken


def check_capture(wanted: Wanted, plan: Plan, taken: Taken) -> tuple[str, ...]:
    """What the independent checker finds wrong with a plan on a captured pool, with the plan's own proofs of death."""
    return check_plan(
        plan,
        wanted,
        taken.survey,
        taken.state,
        certificates=plan.certificates,
        now=taken.at,
        limit=wanted.policy.attended,
    )


def export_pool(
    address: str,
    *,
    username: str,
    password: SecretRef,
    fingerprint: str | None,
    trust: bool,
    name: str | None,
    note: Callable[[str], None],
) -> tuple[str, PoolState]:
    """A manifest that describes the live pool whose master is at `address`, and the pool. Raises Trouble.

    Without a fingerprint the one that is shown is told and nothing is sent, unless `trust` takes it on first use.
    """
    with troubles():
        seen = fetch_fingerprint(address, 10.0)
        if fingerprint is None and not trust:
            raise Trouble(
                TroubleKind.USAGE,
                f"{address} shows a certificate with SHA-256 {seen}",
                "compare it on the host's console (openssl x509 -in /etc/xensource/xapi-ssl.pem -noout -fingerprint "
                f"-sha256), then: xenrec export {address} --fingerprint {seen}",
            )
        pinned = fingerprint or seen
        port = Outside(Trust({address: pinned}), run_agent)
        secret = resolve(password, environ=os.environ, base=Path.cwd())
        try:
            session = PoolSessions(port, username, lambda: secret).login(address)
        except XapiFailure as failure:
            if failure.code != "HOST_IS_SLAVE":
                raise
            master = failure.params[0] if failure.params else "MASTER"
            why = f"{address} is a member, not the master"
            raise Trouble(TroubleKind.ERROR, why, f"xenrec export {master}") from None
        try:
            state = read_pool(session, now=port.now())
        finally:
            session.close()
    service = address.rpartition(":")[2] if address.count(":") == 1 else ""
    found = {}
    for host in state.hosts.values():
        where = f"{host.address}:{service}" if service else host.address
        try:
            found[host.address] = pinned if where == address else fetch_fingerprint(where, 5.0)
        except TransportFault as fault:
            note(f"{host.name}: no certificate to pin: {fault}")
    text = export_yaml(
        state,
        username=username,
        password=password,
        fingerprints=found,
        name=name,
        port=int(service) if service else None,
    )
    return text, state
