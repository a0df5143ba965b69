"""Whether a VM that others depend on is ready: its tools and addresses as XAPI reports them, its ports and pages as
they answer this machine. It only looks: nothing is written, and what does not get ready costs its dependants only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

from reconciler.core.draft import apply_command
from reconciler.core.plan import Action, Done
from reconciler.core.port import Answer, Ask, FaultKind, Json, TransportFault, XapiFailure
from reconciler.core.wanted import Ready
from reconciler.execute.bench import Bench, Steps, Wait, already, done, failed, refused, vm_now
from reconciler.execute.desk import NULL

POLL = 5.0
"""Seconds between two looks, at times that all waits share, so that their questions go out together."""
PROBE = 2.0  # s for one connection
PAGE = 5.0  # s for one page
ADDRESSES = 3  # of a guest are tried at most


def await_ready(bench: Bench, action: Action) -> Steps:
    """Wait until it is ready. One that was started before this run, and longer ago than it may take, is asked once."""
    ready = action.ready
    if ready is None:
        return refused(action, "the plan does not say what ready means", "plan again")
    began = bench.port.now()
    until: float | None = None
    told = ""
    while True:
        found = vm_now(bench, action)
        if isinstance(found, Done):
            return found
        _, vm = found
        if (state := str(vm.get("power_state"))) != "Running":
            return failed(action, f"it is {state}", f"see why, then: {apply_command(bench.wanted)}")
        if until is None:
            until = _until(bench, action, ready, vm)
        now = bench.port.now()
        if ready.delay is not None:
            why = f"it has run for less than {ready.delay:g} s" if now < until else ""
        else:
            why, asks = _seen(bench, ready, vm)
            if asks:
                wait = Wait(None, now, asks)
                yield wait
                why = _judged(asks, wait.answers)
                now = bench.port.now()
        if not why:
            words = f"it {ready.words}"
            return done(action, words) if told else already(action, words)
        if now >= until:
            after = f"; waited {now - began:.0f} s" if told else ""
            remedy = f"see what {action.target.name} does (its console), then: {apply_command(bench.wanted)}"
            return failed(action, f"{why}{after}", remedy)
        if why != told:
            bench.say(action, f"not yet: {why}")
            told = why
        following = (now // POLL + 1) * POLL
        yield Wait(None, until if ready.delay is not None else min(until, following))


def _until(bench: Bench, action: Action, ready: Ready, vm: Mapping[str, Json]) -> float:
    """Until when it is waited for, UTC seconds: so long after its start as the manifest allows. When that was is
    known for one that this run started, and otherwise told by the clock of its host."""
    now = bench.port.now()
    if action.follows:
        return now + ready.longest
    try:
        metrics = dict(bench.desk().read("VM_metrics.get_record", vm.get("metrics", "")))
    except XapiFailure:
        return now
    return min(now + ready.longest, max(now, _seconds(metrics.get("start_time")) + ready.longest))


def _seen(bench: Bench, ready: Ready, vm: Mapping[str, Json]) -> tuple[str, tuple[Ask, ...]]:
    """Why it is not ready by what XAPI knows, "" if it is; and what must be asked of the guest itself."""
    if ready.http is not None and "://" in ready.http:
        return "", (Ask("http", PAGE, url=ready.http),)
    ref = str(vm.get("guest_metrics", ""))
    guest: dict[str, Json] = {}
    if ref not in NULL:
        try:
            guest = dict(bench.desk().read("VM_guest_metrics.get_record", ref))
        except XapiFailure as failure:
            if failure.code != "HANDLE_INVALID":
                raise
    if not guest:
        return "its guest tools do not report", ()
    if not (ready.address or ready.tcp or ready.http):
        told = guest.get("PV_drivers_detected") or guest.get("PV_drivers_version")
        return ("" if told else "its guest tools do not report"), ()
    found = addresses(guest.get("networks"))
    if not found:
        return "it reports no IP address", ()
    if ready.address:
        return "", ()
    if ready.tcp is not None:
        return "", tuple(Ask("tcp", PROBE, address=_bracketed(one), port=ready.tcp) for one in found)
    return "", tuple(Ask("http", PAGE, url=f"http://{_bracketed(one)}{ready.http}") for one in found)


def addresses(networks: Json) -> tuple[str, ...]:
    """The addresses in VM_guest_metrics.networks ("0/ip", "0/ipv4/1", "1/ipv6/0", …), IPv4 first, without those that
    nobody else can reach."""
    found: list[str] = []
    for _, text in sorted(dict(networks or {}).items()):
        try:
            address = ip_address(str(text).strip())
        except ValueError:
            continue
        if not (address.is_link_local or address.is_loopback or address.is_unspecified or address.is_multicast):
            found.append(str(address))
    return tuple(sorted(dict.fromkeys(found), key=lambda a: ":" in a))[:ADDRESSES]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _judged(asks: tuple[Ask, ...], answers: list[Answer]) -> str:
    """ "" when one of the questions got the right answer, else what the first got instead."""
    reasons = [_wrong(ask, answer) for ask, answer in zip(asks, answers, strict=True)]
    return "" if "" in reasons else reasons[0]


def _wrong(ask: Ask, answer: Answer) -> str:
    where = ask.url if ask.kind == "http" else f"{ask.address}:{ask.port}"
    if answer.fault is None:
        if ask.kind == "tcp" or 200 <= int(answer.value) < 300:
            return ""
        return f"{where} answers with status {answer.value}"
    if isinstance(answer.fault, TransportFault) and answer.fault.kind is FaultKind.REFUSED:
        return f"{where} refuses connections"
    if isinstance(answer.fault, TransportFault) and answer.fault.kind in (FaultKind.TIMEOUT, FaultKind.UNREACHABLE):
        return f"{where} does not answer"
    return f"{where}: {answer.fault}"


def _seconds(stamp: Json) -> float:
    """A date of XAPI's in UTC seconds, 0.0 for none; with Z or without (sheet §7.1)."""
    text = str(stamp or "").removesuffix("Z").replace("-", "")
    try:
        return datetime.strptime(text, "%Y%m%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
