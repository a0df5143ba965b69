"""Plans, outcomes and surveys of a small pool in every kind of trouble, as the planner would make them."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.evidence import (
    BmcPower,
    Certificate,
    CertificateKind,
    Diagnosis,
    Judged,
    LoginAnswer,
    Situation,
    Survey,
    Testimony,
    Verdict,
)
from reconciler.core.model import Host, Pool, PoolState, PowerState, Vm
from reconciler.core.plan import (
    Action,
    Done,
    Fact,
    Kept,
    Outcome,
    Plan,
    Result,
    Stage,
    Thing,
    Unmet,
    Verb,
    Withheld,
)
from reconciler.core.wanted import Connection, FenceDevice, Member, SecretRef, Wanted

NOW = 1795317247.25  # 2026-11-22 03:14:07.25 UTC
SOURCE = "manifests/madrid.yaml"
POOL_UUID = "4f6c1d3e-7c1d-4b5e-9a55-0c7f3a0b1e10"


def uuid(kind: int, number: int) -> str:
    """A uuid that tells what it is of."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


HOSTS = {n: Thing("host", f"xen{n:02}", uuid(0xA, n), f"10.0.0.{10 + n}") for n in range(1, 5)}
SAN = Thing("sr", "san-1", uuid(0xC, 1))
POOL = Thing("pool", "madrid", POOL_UUID)

WANTED = Wanted(
    name="madrid",
    members=tuple(
        Member(
            h.name,
            h.address,
            fencing=(FenceDevice("fence_redfish", {"ip": f"10.9.0.{10 + n}", "username": "op"}),) if n < 4 else (),
        )
        for n, h in HOSTS.items()
    ),
    connection=Connection("root", SecretRef("env", "XENREC_PASSWORD")),
    uuid=POOL_UUID,
    source=SOURCE,
)


def vm(name: str, number: int = 1) -> Thing:
    """A VM as the target of an action."""
    return Thing("vm", name, uuid(0xB, number))


def judged(*verdicts: tuple[int, Verdict, str], certificates: tuple[Certificate, ...] = ()) -> tuple[Judged, ...]:
    """Verdicts on hosts by number."""
    proof = {c.host: c for c in certificates}
    return tuple(
        Judged(HOSTS[n].name, HOSTS[n].address, v, why, proof.get(HOSTS[n].name) if v is Verdict.DEAD else None)
        for n, v, why in verdicts
    )


def certificate(number: int, kind: CertificateKind = CertificateKind.FENCED) -> Certificate:
    """A proof that a host is dead, made 17 s ago."""
    host = HOSTS[number]
    by = "fence_redfish" if kind is CertificateKind.FENCED else "ana"
    reason = "power off was read back" if kind is CertificateKind.FENCED else "PSU burnt, I pulled both cords"
    return Certificate(kind, "madrid", host.name, host.address, host.uuid, by, reason, NOW - 17, NOW + 1783)


ALL_WELL = judged(*((n, Verdict.ALIVE, "accepts logins" if n == 1 else "member of 10.0.0.11") for n in HOSTS))
MANAGED = Diagnosis(Situation.MANAGED, "xen01 is master; 4 of 4 members answer", ALL_WELL, master="xen01")

CLEAN = Plan(
    pool="madrid",
    pool_uuid=POOL_UUID,
    made_at=NOW,
    diagnosis=MANAGED,
    kept=(Kept(vm("scratch"), "the manifest does not name it"),),
    facts=(Fact("xen01", "master"), Fact("xen02", "alive")),
    fingerprint="ab" * 32,
    source=SOURCE,
    digest="cd" * 32,
)

_LOST = Diagnosis(
    Situation.LOST,
    "the master xen01 (10.0.0.11) is lost: it answers nobody (xen02, xen03 and xen04 hang on it)",
    judged(
        (1, Verdict.UNREACHABLE, "no answer from here; its BMC says that power is on"),
        (2, Verdict.ALIVE, "member of 10.0.0.11, which it does not reach"),
        (3, Verdict.ALIVE, "member of 10.0.0.11, which it does not reach"),
        (4, Verdict.ALIVE, "member of 10.0.0.11, which it does not reach"),
    ),
    lost_master="xen01",
    astray=("10.0.0.11", "xen04's clock is 40 s behind"),
)

_FENCE = Action(Verb.FENCE, HOSTS[1], "nobody hears it and VMs may still run on it", "unreachable", "dead")
_PROMOTE = Action(
    Verb.PROMOTE,
    HOSTS[2],
    "it is the first successor that answers, and its copy of the database is the newest known",
    "member",
    "master",
    certificate_of=("xen01",),
    follows=(_FENCE.id,),
    via="10.0.0.12",
)
_RECOVER = Action(
    Verb.RECOVER_MEMBERS,
    POOL,
    "xen03 and xen04 still follow 10.0.0.11",
    to=HOSTS[2],
    follows=(_PROMOTE.id,),
    via="10.0.0.12",
)
_BURY = Action(
    Verb.DECLARE_DEAD,
    HOSTS[1],
    "3 VMs are recorded as running on it",
    certificate_of=("xen01",),
    follows=(_RECOVER.id,),
)
_START = Action(
    Verb.START,
    vm("db01", 1),
    "it should run, and xen01, where it ran, is dead",
    "Running on xen01",
    "Running on xen02",
    to=HOSTS[2],
    certificate_of=("xen01",),
    follows=(_BURY.id,),
)
_HOME = Action(
    Verb.SET_AFFINITY,
    vm("db01", 1),
    "its declared home is xen02",
    "xen01",
    "xen02",
    to=HOSTS[2],
)
_DEFAULT_SR = Action(
    Verb.SET_DEFAULT_SR,
    POOL,
    "the default SR is a disk inside xen01",
    "Local storage of xen01",
    "san-1",
    to=SAN,
)
_WEB = replace(_START, target=vm("web 1", 2), to=HOSTS[3], after="Running on xen03")
_LOCAL_VM = Unmet(
    vm("build01", 3),
    "run",
    'its disk "build01 root" is on "Local storage" inside xen01, which is dead: it cannot run until xen01 is repaired',
    "repair xen01, power it on, then: xenrec plan manifests/madrid.yaml",
    "manifests/madrid.yaml:41:5",
)

MASTER_DEAD = Plan(
    pool="madrid",
    pool_uuid=POOL_UUID,
    made_at=NOW,
    diagnosis=_LOST,
    stages=(
        Stage("regain", (_FENCE, _PROMOTE, _RECOVER)),
        Stage("restore", (_BURY, _DEFAULT_SR, _HOME, _START, _WEB), forecast=True),
    ),
    unmet=(_LOCAL_VM,),
    kept=(Kept(vm("scratch"), "the manifest does not name it"), Kept(vm("web2", 9), "it runs where it should")),
    notes=("promoting xen02 now would lose at most 4 min of changes to the pool database",),
    facts=(Fact("xen01", "silent"), Fact("xen02", "follows 10.0.0.11"), Fact("db01", "Running on xen01")),
    fingerprint="12" * 32,
    source=SOURCE,
    digest="cd" * 32,
    last_known_at=NOW - 731,
)

_HOW_TO_PROVE = "xenrec attest manifests/madrid.yaml xen01 --dead --reason 'what you saw' --for 30m"
_NO_PROOF = "nothing proves that xen01 is dead, and VMs that still run there would run twice"

MASTER_DEAD_NO_PROOF = replace(
    MASTER_DEAD,
    stages=(),
    withheld=tuple(
        Withheld(replace(a, follows=()), _NO_PROOF, _HOW_TO_PROVE) for a in (_PROMOTE, _RECOVER, _BURY, _START, _WEB)
    ),
)

_MEMBER_PROOF = certificate(3, CertificateKind.ATTESTED)
MEMBER_DEAD = Plan(
    pool="madrid",
    pool_uuid=POOL_UUID,
    made_at=NOW,
    diagnosis=Diagnosis(
        Situation.MANAGED,
        "xen01 is master; 3 of 4 members answer; xen03 does not",
        judged(
            (1, Verdict.ALIVE, "accepts logins"),
            (2, Verdict.ALIVE, "member of 10.0.0.11"),
            (3, Verdict.DEAD, "no answer, and attested dead by ana: PSU burnt, I pulled both cords"),
            (4, Verdict.ALIVE, "member of 10.0.0.11"),
            certificates=(_MEMBER_PROOF,),
        ),
        master="xen01",
    ),
    stages=(
        Stage(
            "restore",
            (
                Action(
                    Verb.DECLARE_DEAD, HOSTS[3], "1 VM is recorded as running on it", certificate_of=(HOSTS[3].name,)
                ),
                replace(_START, why="it should run, and xen03, where it ran, is dead", certificate_of=("xen03",)),
                Action(Verb.SHUTDOWN, vm("old01", 7), "it should be halted", "Running on xen02", "Halted"),
                Action(Verb.DESIGNATE_MASTER, HOSTS[2], "the declared master is xen02", "xen01", "xen02"),
            ),
        ),
    ),
    certificates=(_MEMBER_PROOF,),
    facts=(Fact("xen03", "silent"),),
    fingerprint="34" * 32,
    source=SOURCE,
)

LOCAL_SR = replace(
    CLEAN,
    diagnosis=MEMBER_DEAD.diagnosis,
    certificates=(_MEMBER_PROOF,),
    unmet=(
        replace(_LOCAL_VM, why=_LOCAL_VM.why.replace("xen01", "xen03")),
        Unmet(
            vm("cad01", 5),
            "run on xen02",
            'its CD drive holds "tools.iso" of "ISO library", which no host that answers has plugged',
            "xe vm-cd-eject uuid=" + vm("cad01", 5).uuid,
            "manifests/madrid.yaml:52:5",
        ),
    ),
)

TWO_MASTERS = replace(
    CLEAN,
    diagnosis=Diagnosis(
        Situation.TWO_MASTERS,
        "xen01 and xen02 all accept logins as master: xen01 is followed by 1 member; xen02 is followed by 1 member. "
        "Whoever is told to recover the members wins, so a person must choose",
        judged(
            (1, Verdict.ALIVE, "accepts logins"),
            (2, Verdict.ALIVE, "accepts logins"),
            (3, Verdict.ALIVE, "member of 10.0.0.12"),
            (4, Verdict.ALIVE, "member of 10.0.0.11"),
        ),
        remedy="stop the toolstack of the one that should yield, then: xenrec plan manifests/madrid.yaml",
    ),
    kept=(),
)

CUT_OFF = replace(
    CLEAN,
    diagnosis=Diagnosis(
        Situation.CUT_OFF,
        "only 1 of 4 members answer and policy.brake.minHealthy is 51%: it may be this machine that is cut off",
        judged(
            (1, Verdict.UNREACHABLE, "no answer from here; its BMC does not answer either"),
            (2, Verdict.UNREACHABLE, "no answer from here; its BMC does not answer either"),
            (3, Verdict.UNREACHABLE, "no answer from here; its BMC does not answer either"),
            (4, Verdict.ALIVE, "member of 10.0.0.11, which it reaches"),
        ),
        remedy="check this machine's network first",
    ),
    unmet=(
        Unmet(
            POOL,
            "be as declared",
            "nothing may be done from a machine that is cut off",
            "xenrec status manifests/madrid.yaml",
        ),
    ),
    kept=(),
)

MANY_VMS = replace(
    MASTER_DEAD,
    stages=(
        MASTER_DEAD.stages[0],
        Stage(
            "restore",
            (
                _BURY,
                *(replace(_HOME, target=vm(f"app-{n:03}", n), to=HOSTS[2 + n % 3]) for n in range(1, 41)),
                *(replace(_START, target=vm(f"app-{n:03}", n), to=HOSTS[2 + n % 3]) for n in range(1, 81)),
            ),
            forecast=True,
        ),
    ),
)

ODD_NAMES = replace(
    MEMBER_DEAD,
    pool="zürich [bold]α[/bold]",
    stages=(
        Stage(
            "restore",
            tuple(
                replace(_START, target=vm(odd, n), certificate_of=("xen03",))
                for n, odd in enumerate(
                    (
                        "Büro-Server 日本語データベース",
                        "[red]not red[/red]",
                        "two\nlines",
                        "esc\x1b[2J",
                        "rtl\u202etxt",
                        "",
                        "x" * 120,
                    )
                )
            ),
        ),
    ),
    unmet=(replace(_LOCAL_VM, why="OpaqueRef:7b1c9f3e-0000 is not plugged → nothing “works”…"),),
)

PLANS = {
    "clean": CLEAN,
    "master-dead": MASTER_DEAD,
    "master-dead-no-proof": MASTER_DEAD_NO_PROOF,
    "member-dead": MEMBER_DEAD,
    "local-sr": LOCAL_SR,
    "two-masters": TWO_MASTERS,
    "cut-off": CUT_OFF,
    "many-vms": MANY_VMS,
    "odd-names": ODD_NAMES,
}

OUTCOME_GOOD = Outcome(
    run="20261122T031407Z-1",
    done=(
        Done(_FENCE, Result.DONE, "power was read back off", took=6.5),
        Done(_PROMOTE, Result.DONE, "it accepts logins", took=13.3),
        Done(_RECOVER, Result.DONE, "xen03 and xen04 follow 10.0.0.12", took=36.7),
        Done(_BURY, Result.DONE, took=0.1),
        Done(_HOME, Result.ALREADY, "it is xen02 already"),
        Done(_START, Result.DONE, took=4.2),
    ),
    final=replace(CLEAN, made_at=NOW + 75),
    started_at=NOW,
    ended_at=NOW + 75,
    timeline=((0.0, "fencing xen01"), (6.5, "xen01 is off"), (19.8, "xen02 accepts logins")),
    milestones=((6.5, "xen01 is proved dead: power off, read back"), (19.8, "xen02 accepts logins")),
)

OUTCOME_PART = replace(
    OUTCOME_GOOD,
    done=(
        *OUTCOME_GOOD.done[:4],
        Done(
            _START,
            Result.FAILED,
            "SR_BACKEND_FAILURE_46 [; The VDI is not available; ]: the storage still holds a lock of xen01",
            "xenrec apply manifests/madrid.yaml",
            31.0,
        ),
        Done(_WEB, Result.SKIPPED, "it depends on db01, which did not start", "xenrec apply manifests/madrid.yaml"),
    ),
    final=replace(MEMBER_DEAD, made_at=NOW + 99, certificates=()),
    ended_at=NOW + 99,
)

OUTCOME_STOPPED = replace(
    OUTCOME_GOOD,
    done=(
        Done(_FENCE, Result.DONE, "", took=6.5),
        Done(_PROMOTE, Result.REFUSED, "xen01 answers again, so its certificate is void", "xenrec status " + SOURCE),
        Done(_RECOVER, Result.SKIPPED, "there is no new master"),
    ),
    final=None,
    stopped="xen01 shows signs of life",
)

OUTCOMES = {"good": OUTCOME_GOOD, "part": OUTCOME_PART, "stopped": OUTCOME_STOPPED}


def _testimony(number: int, login: LoginAnswer, **more: object) -> Testimony:
    return Testimony(HOSTS[number].name, HOSTS[number].address, NOW, login, **more)  # type: ignore[arg-type]


SURVEY_LOST = Survey(
    NOW,
    (
        _testimony(1, LoginAnswer.SILENT, detail="timeout", tcp=False, bmc=BmcPower.ON, took=5.0),
        *(
            _testimony(
                n,
                LoginAnswer.SLAVE,
                follows="10.0.0.11",
                local_login=True,
                is_emergency=False,
                reaches_master=False,
                tcp=True,
                bmc=BmcPower.ON if n < 4 else BmcPower.NONE,
            )
            for n in (2, 3, 4)
        ),
    ),
    took=5.02,
)
SURVEY_WELL = Survey(
    NOW,
    (
        _testimony(1, LoginAnswer.MASTER, pool_uuid=POOL_UUID, bmc=BmcPower.ON),
        *(
            _testimony(n, LoginAnswer.SLAVE, follows="10.0.0.11", reaches_master=True, bmc=BmcPower.ON)
            for n in (2, 3, 4)
        ),
    ),
    took=0.31,
)


def pool_state() -> PoolState:
    """The last known pool of MASTER_DEAD: three VMs on xen01, one on xen02."""
    hosts = {
        f"h{n}": Host(
            ref=f"h{n}",
            uuid=h.uuid,
            name=h.name,
            address=h.address,
            enabled=True,
            live=True,
            memory_total=64 << 30,
            memory_overhead=1 << 30,
        )
        for n, h in HOSTS.items()
    }
    guests = {"db01": ("h1", 1), "web 1": ("h1", 2), "build01": ("h1", 3), "web2": ("h2", 9)}
    vms = {
        f"v{number}": Vm(f"v{number}", uuid(0xB, number), name, PowerState.RUNNING, host, None)
        for name, (host, number) in guests.items()
    }
    vms["dom0"] = Vm("dom0", uuid(0xD, 1), "Control domain", PowerState.RUNNING, "h1", None, is_control_domain=True)
    return PoolState(
        pool=Pool("p", POOL_UUID, "madrid", "h1", None, None),
        hosts=hosts,
        vms=vms,
        vbds={},
        vdis={},
        srs={},
        pbds={},
        vifs={},
        networks={},
        pifs={},
        read_at=NOW - 731,
        read_from="10.0.0.11",
    )
