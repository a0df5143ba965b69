"""From a declared fence device to a certificate of death, or to the reason why there is none.

A certificate needs two things that an agent can't give by accident: `off` that succeeds, and later a separate `status`
that reads OFF by text and by exit code. Silence of a BMC, an exit code 0 alone, or a status that reads OFF before we
asked for anything add up to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.evidence import BmcPower, Certificate, CertificateKind
from reconciler.core.fence_text import (
    AgentMetadata,
    Refusal,
    device_words,
    explain,
    hide,
    power_status,
    read_metadata,
    secrets_among,
    unknown_options,
)
from reconciler.core.port import AgentRun, Ask, Port
from reconciler.core.wanted import FenceDevice, Member, SecretRef

NOT_POWER = frozenset(
    {
        *("fence_scsi", "fence_mpath", "fence_sanlock", "fence_kdump", "fence_sbd"),
        *("fence_brocade", "fence_cisco_mds", "fence_ifmib", "fence_sanbox2", "fence_aws_vpc_net"),
        *("fence_dummy", "fence_recorder", "fence_heuristics_ping", "fence_heuristics_resource"),
        *("fence_compute", "fence_evacuate"),
    }
)
"""Agents whose OFF does not mean that the host has no power: they cut its storage or its network, where VMs on local
disks go on and nothing at the host's address answers; or they only listen, write a file, or are for tests."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long fencing may take, in seconds. A dead BMC costs agents 20 s by default; some need 60 s for `off`."""

    off: float = 90.0
    status: float = 30.0
    metadata: float = 10.0
    settle: float = 30.0
    """From a successful `off` until `status` must read OFF."""
    poll: float = 1.0
    """Before the first `status` and between two of them: the second reading must be a later one."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What one device of a member is good for: its words, what it says about the power now, and what is wrong.

    `proves`: its agent can power a host off and read it back, and it answered `status`. `ignored` are options that the
    agent does not know.
    """

    device: str
    power: BmcPower
    said: str
    proves: bool
    trouble: str = ""
    ignored: tuple[str, ...] = ()


class Unusable(Exception):
    """A device that can't be asked as the manifest describes it; the text says why and holds no secret."""


class Fencer:
    """Powers hosts off with the agents that the manifest declares, and reads power back.

    `resolve_secret` turns a reference into its value, or raises an error whose text holds no secret; it is called anew
    for every run of an agent, so that no secret is kept. Nothing here raises for an agent's or a device's trouble.
    """

    def __init__(self, port: Port, resolve_secret: Callable[[SecretRef], str], *, bounds: Bounds | None = None) -> None:
        self._port = port
        self._resolve = resolve_secret
        self._bounds = bounds or Bounds()
        self._metadata: dict[str, AgentMetadata | None] = {}

    def status(self, member: Member) -> tuple[BmcPower, str]:
        """What the first device that knows says about the member's power, and in words who said it or why nobody did.

        NONE: no device is declared. UNKNOWN: none could tell, which proves nothing.
        """
        if not member.fencing:
            return BmcPower.NONE, "no fence agent is declared"
        reasons = []
        for device in member.fencing:
            power, said = self._read_power(device)
            if power is not BmcPower.UNKNOWN:
                return power, f"{device_words(device)}: {power}"
            reasons.append(f"{device_words(device)}: {said}")
        return BmcPower.UNKNOWN, "; ".join(reasons)

    def probe(self, members: Sequence[Member]) -> dict[str, tuple[Probe, ...]]:
        """Every device of every member, asked at once, nothing switched: what a recovery could do with each.

        By member name, in the order of the devices. Never raises for an agent's or a device's trouble.
        """
        devices = [(member, device) for member in members for device in member.fencing]
        agents = list(dict.fromkeys(device.agent for _, device in devices))
        told = self._port.ask_all(
            [Ask("agent", self._bounds.metadata, agent=agent, options={"action": "metadata"}) for agent in agents]
        )
        metadata: dict[str, AgentMetadata | None] = {}
        missing: dict[str, str] = {}
        for agent, answer in zip(agents, told, strict=True):
            if isinstance(answer.value, AgentRun):
                metadata[agent] = read_metadata(answer.value)
            else:
                missing[agent] = getattr(answer.fault, "detail", None) or str(answer.fault)
        asks: dict[int, Ask] = {}
        troubles: dict[int, str] = {}
        for index, (_, device) in enumerate(devices):
            try:
                options = {"action": "status", **self._options(device)}
            except Unusable as error:
                troubles[index] = str(error)
                continue
            if device.agent in missing:
                troubles[index] = missing[device.agent]
            else:
                asks[index] = Ask("agent", self._bounds.status, agent=device.agent, options=options)
        answers = dict(zip(asks, self._port.ask_all(list(asks.values())), strict=True)) if asks else {}
        found: dict[str, list[Probe]] = {member.name: [] for member in members}
        for index, (member, device) in enumerate(devices):
            known = metadata.get(device.agent)
            trouble = troubles.get(index) or self._no_power_agent(device.agent, known)
            given = dict(device.options) | dict.fromkeys(device.secrets, "")
            ignored = unknown_options(known, given) if known is not None else ()
            power, said = BmcPower.UNKNOWN, "not asked"
            if index in answers:
                run = answers[index].value
                if isinstance(run, AgentRun):
                    power, said = _told(self._hidden(run, device, asks[index].options))
                else:
                    said = str(answers[index].fault)
            proves = not trouble and power is not BmcPower.UNKNOWN
            found[member.name].append(Probe(device_words(device), power, said, proves, trouble, ignored))
        return {name: tuple(probes) for name, probes in found.items()}

    def off(
        self, member: Member, *, pool: str, host_uuid: str | None, reason: str, lifetime_s: float
    ) -> Certificate | Refusal:
        """Power the member off and prove it: a certificate valid for `lifetime_s` seconds, or why there is none.

        Devices are tried in the manifest's order, the next one only when the one before failed. A device that read ON
        after its own `off` is asked again before another one's word is taken: it may still be right.
        """
        if not member.fencing:
            return Refusal(
                f"no fence agent is declared for {member.name}",
                f"power {member.name} off by hand, look at it, then: "
                f"xenrec attest MANIFEST {member.name} --dead --reason '…' --for 30m",
            )
        reasons: list[str] = []
        objectors: list[FenceDevice] = []
        for device in member.fencing:
            power, said = self._off_by(device)
            if power is BmcPower.OFF:
                contradiction = self._contradiction(objectors)
                if contradiction:
                    reasons.append(f"{device_words(device)} says off, but {contradiction}")
                    continue
                now = self._port.now()
                return Certificate(
                    kind=CertificateKind.FENCED,
                    pool=pool,
                    host=member.name,
                    address=member.address,
                    host_uuid=host_uuid,
                    by=device_words(device),
                    reason=reason,
                    issued_at=now,
                    expires_at=now + lifetime_s,
                )
            if power is BmcPower.ON:
                objectors.append(device)
            reasons.append(f"{device_words(device)}: {said}")
        return Refusal(
            f"{member.name} could not be powered off for certain: " + "; ".join(reasons),
            f"look at the BMC of {member.name} or pull its power, then: "
            f"xenrec attest MANIFEST {member.name} --dead --reason '…' --for 30m",
        )

    def recheck(self, cert: Certificate, member: Member) -> str:
        """ "" while the certificate still holds for the member, else why it is void; to be asked before every use.

        Any certificate is void past its time or for another host. A fenced one is void unless the device that gave it
        (or, if the manifest has changed since, the first that answers) says OFF now. An attested one rests on a
        person's word alone.
        """
        if cert.host != member.name or cert.address != member.address:
            return f"the certificate is about {cert.host} at {cert.address}, not {member.name} at {member.address}"
        now = self._port.now()
        if not cert.covers(host=member.name, address=member.address, uuid=cert.host_uuid, now=now):
            if now >= cert.expires_at:
                return f"the certificate expired {now - cert.expires_at:.0f} s ago"
            return "the certificate is from the future: a clock has been set back"
        if cert.kind is CertificateKind.ATTESTED:
            return ""
        givers = [device for device in member.fencing if device_words(device) == cert.by]
        if givers:
            power, said = self._read_power(givers[0])
            words = f"{cert.by}: {said}"
        else:
            power, words = self.status(member)
        if power is BmcPower.OFF:
            return ""
        if power is BmcPower.ON:
            return f"{member.name} has power again ({words})"
        if power is BmcPower.NONE:
            return f"no fence agent is declared for {member.name} any more, so its power can't be read again"
        return f"the power of {member.name} can't be read again ({words})"

    def check_options(self, member: Member) -> tuple[str, ...]:
        """Warnings on the member's devices: agents missing, options that an agent would ignore, no-op agents."""
        warnings = []
        for device in member.fencing:
            try:
                metadata = self._metadata_of(device.agent)
            except (FileNotFoundError, ValueError) as error:
                warnings.append(f"{member.name}: {error}")
                continue
            trouble = self._no_power_agent(device.agent, metadata)
            if trouble:
                warnings.append(f"{member.name}: {trouble}")
            if metadata is not None:
                given = dict(device.options) | dict.fromkeys(device.secrets, "")
                warnings += [
                    f"{member.name}: {device.agent} does not know the option {name!r} and would ignore it; "
                    f"see {device.agent} -o metadata"
                    for name in unknown_options(metadata, given)
                ]
        return tuple(warnings)

    def _off_by(self, device: FenceDevice) -> tuple[BmcPower, str]:
        """Ask one device for `off`, then for its status until it reads OFF or the time to settle is over."""
        try:
            trouble = self._no_power_agent(device.agent, self._metadata_of(device.agent))
            if trouble:
                return BmcPower.UNKNOWN, trouble
            run = self._run(device, "off", self._bounds.off)
            if run.code != 0:
                power, _ = self._read_power(device)
                if power is not BmcPower.OFF:
                    return power, f"off failed ({explain(run)})"
                # It worked and its answer was lost, or the host was off all along: `off` of an off host must succeed.
                run = self._run(device, "off", self._bounds.off)
                if run.code != 0:
                    return BmcPower.UNKNOWN, f"its status reads off, but off failed twice ({explain(run)})"
        except (Unusable, FileNotFoundError, ValueError) as error:
            return BmcPower.UNKNOWN, str(error)
        power, said = BmcPower.UNKNOWN, ""
        give_up = self._port.now() + self._bounds.settle
        while True:
            self._port.wait(self._bounds.poll)
            power, said = self._read_power(device)
            if power is BmcPower.OFF:
                return power, said
            if self._port.now() >= give_up:
                claim = "its agent says that off succeeded, but " if power is BmcPower.ON else "after off, "
                return power, f"{claim}its status is {said}"

    def _contradiction(self, objectors: list[FenceDevice]) -> str:
        """Which device that failed to power the host off still sees it on; "" when none does."""
        for device in objectors:
            if self._read_power(device)[0] is BmcPower.ON:
                return f"{device_words(device)} still says on"
        return ""

    def _read_power(self, device: FenceDevice) -> tuple[BmcPower, str]:
        """One status of one device: the state, and for people the word or why there is none."""
        try:
            run = self._run(device, "status", self._bounds.status)
        except (Unusable, FileNotFoundError, ValueError) as error:
            return BmcPower.UNKNOWN, str(error)
        return _told(run)

    def _options(self, device: FenceDevice) -> dict[str, str]:
        """The device's options with the values of its secrets. Raises Unusable, without secrets."""
        if any(name.lower() in ("action", "option") for name in (*device.options, *device.secrets)):
            raise Unusable("the manifest sets its action; remove the option: the action is never the manifest's choice")
        secrets: dict[str, str] = {}
        for name, where in device.secrets.items():
            try:
                secrets[name] = self._resolve(where)
            except Exception as error:  # noqa: BLE001 - another room's errors; whichever it is, no secret means no answer
                raise Unusable(f"the value of its option {name} can't be had: {error}") from None
        return {**device.options, **secrets}

    def _run(self, device: FenceDevice, action: str, deadline: float) -> AgentRun:
        """Run the device's agent. Raises Unusable, FileNotFoundError or ValueError, without secrets."""
        options = {"action": action, **self._options(device)}
        return self._hidden(self._port.run_agent(device.agent, options, deadline=deadline), device, options)

    @staticmethod
    def _hidden(run: AgentRun, device: FenceDevice, options: Mapping[str, str]) -> AgentRun:
        """The run without secrets: where the manifest refers to one it is one, whatever its option is called."""
        hidden = (*(options[name] for name in device.secrets), *secrets_among(device.options))
        username = options.get("username", options.get("login", ""))
        return AgentRun(
            code=run.code,
            stdout=hide(run.stdout, hidden, username=username),
            stderr=hide(run.stderr, hidden, username=username),
        )

    def _metadata_of(self, agent: str) -> AgentMetadata | None:
        """The agent's metadata, asked once; None where it has none. Raises FileNotFoundError or ValueError."""
        if agent not in self._metadata:
            run = self._port.run_agent(agent, {"action": "metadata"}, deadline=self._bounds.metadata)
            self._metadata[agent] = read_metadata(run)
        return self._metadata[agent]

    @staticmethod
    def _no_power_agent(agent: str, metadata: AgentMetadata | None) -> str:
        """Why an agent can't prove anybody dead; "" when it can."""
        if agent.rsplit("/", 1)[-1] in NOT_POWER:
            return f"{agent} does not control power: its OFF does not mean that the host is off"
        if metadata is not None:
            missing = [action for action in ("off", "status") if action not in metadata.actions]
            if missing:
                return f"{agent} has no action {' and no action '.join(missing)} and can't prove that a host is off"
        return ""


def _told(run: AgentRun) -> tuple[BmcPower, str]:
    """What a run of `status` says, and for people the word or why there is none."""
    power = power_status(run)
    return power, str(power) if power is not BmcPower.UNKNOWN else f"no power status ({explain(run)})"
