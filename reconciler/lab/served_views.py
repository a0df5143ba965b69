"""The lab's answers as text for a terminal: 80 columns, words and not colours alone, readable in a pipe."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Columns = list[tuple[str, str]]


def table(columns: Columns) -> Table:
    """A plain table: (heading, style) each, long cells folded."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 2, 0, 0))
    for heading, style in columns:
        made.add_column(heading, style=style, overflow="fold")
    return made


def line(console: Console, text: str, style: str = "") -> None:
    """One line as it is: names may hold brackets, which are no markup here."""
    console.print(Text(text, style=style))


def print_up(console: Console, about: dict[str, Any], directory: str) -> None:
    """What `lab up` started and what to type next."""
    hosts = about["hosts"]
    fast = ", fast" if about["fast"] else ""
    size = f"{len(hosts)} hosts, {about['vms']} VMs"
    line(console, f"The lab is up: pool {about['pool']}, {size}, release {about['release']}{fast}", "bold")
    made = table([("host", ""), ("address", "")])
    for host in hosts:
        made.add_row(Text(host["name"]), f"https://{host['address']}")
    console.print(made)
    option = "" if directory == ".lab" else f" --dir {directory}"
    line(console, f"\nmanifest           {directory}/manifest.yaml")
    line(console, f"password of root   in {directory}/password")
    for name, role in (about.get("accounts") or {}).items():
        line(console, f"{f'and of {name}':18} in {directory}/password-{name} ({role})")
    line(console, f"\nnext               xenrec plan {directory}/manifest.yaml")
    line(console, f"                   xenrec lab power off {hosts[0]['name']}{option}")


def print_status(console: Console, picture: dict[str, Any]) -> None:
    """Hosts and VMs, recorded beside physical."""
    masters = picture["masters"]
    line(console, f"Pool {picture['pool']}, release {picture['release']}", "bold")
    if not masters:
        line(console, f"NO MASTER answers; recorded is what stands on {picture['recorded_by'][0]}", "bold red")
    elif len(masters) > 1:
        line(console, f"{len(masters)} MASTERS: {', '.join(masters)}; recorded is what each of them says", "bold red")
    console.print()
    made = table(
        [("host", ""), ("power", ""), ("toolstack", ""), ("role", ""), ("recorded", ""), ("VMs", ""), ("bmc", "")]
    )
    for host in picture["hosts"]:
        made.add_row(
            Text(host["name"]),
            Text(host["power"], style="" if host["power"] == "on" else "bold red"),
            Text(host["toolstack"]),
            Text(host["role"] + (", emergency" if host["emergency"] else "")),
            Text(" / ".join(_host_words(record) for record in host["recorded"])),
            Text(str(host["running"])),
            Text(host["bmc"]),
        )
    console.print(made)
    for host in picture["hosts"]:
        if host["odd"]:
            line(console, f"odd: {host['name']}: {', '.join(host['odd'])}", "yellow")
    for one, other in picture["cuts"]:
        line(console, f"cut: {one} -- {other}", "yellow")
    vms = picture["vms"]
    odd = [vm for vm in vms if vm["differs"]]
    physically = sum(1 for vm in vms if vm["physical"])
    console.print()
    line(console, f"{len(vms)} VMs, {physically} physically running, {len(odd)} recorded otherwise than they are")
    if odd:
        made = table([("VM", ""), *[(f"recorded ({name})", "") for name in picture["recorded_by"]], ("physical", "")])
        for vm in odd:
            made.add_row(Text(vm["name"]), *[Text(said) for said in vm["recorded"]], _where(vm["physical"]))
        console.print(made)
    if picture["harm"]:
        line(console, f"\n! HARM was done {picture['harm']} times: xenrec lab harm", "bold red")


def _host_words(record: dict[str, Any]) -> str:
    if not record["known"]:
        return "unknown"
    return f"{'live' if record['live'] else 'not live'}, {'enabled' if record['enabled'] else 'disabled'}"


def _where(hosts: list[str]) -> Text:
    if len(hosts) > 1:
        return Text(f"TWICE: {' AND '.join(hosts)}", style="bold red")
    return Text(hosts[0] if hosts else "nowhere")


def print_running(console: Console, hosts: dict[str, list[dict[str, Any]]]) -> None:
    """Which domain runs where, those that run twice first and loudly."""
    places: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for host, domains in hosts.items():
        for domain in domains:
            places.setdefault(domain["vm"], []).append(host)
            names[domain["vm"]] = domain["name"]
    twice = {vm: where for vm, where in places.items() if len(where) > 1}
    for vm, where in twice.items():
        line(console, f"! {names[vm]} RUNS {len(where)} TIMES: on {' AND '.join(where)}", "bold red")
    made = table([("host", ""), ("runs", "")])
    for host, domains in hosts.items():
        words = [d["name"] + (" (paused)" if d["paused"] else "") for d in domains]
        made.add_row(Text(host), Text(", ".join(words) if words else "nothing"))
    console.print(made)
    total = sum(len(domains) for domains in hosts.values())
    line(console, f"{len(places)} VMs in {total} domains" + ("" if twice else "; none runs twice"))


HARM_MEANS = {
    "two-domains": "two copies of one VM: both write to the same disks, and these are being destroyed",
    "two-writers": "two writers of one disk: its file system is being destroyed",
    "no-storage": "a VM on a host that can't reach its disks",
    "resync-kill": "a toolstack that started killed a running VM, because its database had it elsewhere or not at all",
    "two-masters": "two masters of one pool both changed something",
}


def print_harm(console: Console, harm: list[dict[str, Any]]) -> None:
    """Every harm in order, and what its kinds mean."""
    if not harm:
        line(console, "No harm was done: no VM ran twice, no disk had two writers.")
        return
    line(console, "HARM was done once:" if len(harm) == 1 else f"HARM was done {len(harm)} times:", "bold red")
    made = table([("at (UTC)", ""), ("kind", "bold red"), ("what", "")])
    for one in harm:
        made.add_row(time.strftime("%H:%M:%S", time.gmtime(one["at"])), Text(one["kind"]), Text(one["text"]))
    console.print(made)
    console.print()
    for kind in dict.fromkeys(one["kind"] for one in harm):
        line(console, f"{kind}: {HARM_MEANS.get(kind, 'must never happen')}")


def duration(seconds: float) -> str:
    """12.5s, 2m05s."""
    if seconds < 60:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m{rest:02d}s" if hours else f"{minutes}m{rest:02d}s"


def print_incidents(console: Console, incidents: dict[str, dict[str, Any]]) -> None:
    """What there is to train."""
    made = table([("incident", "bold"), ("what", ""), ("pool", "")])
    for one in incidents.values():
        made.add_row(Text(one["name"]), Text(one["title"]), f"{one['hosts']} hosts, {one['vms']} VMs")
    console.print(made)
    line(console, "\nnext   xenrec lab incident NAME")


def print_scene(console: Console, incident: dict[str, Any], directory: str) -> None:
    """The scene, and what to type."""
    option = "" if directory == ".lab" else f" --dir {directory}"
    line(console, incident["title"], "bold")
    line(console, f"\n{incident['scene']}")
    line(console, f"look       xenrec lab status{option}")
    line(console, f"           xenrec plan {directory}/manifest.yaml")
    line(console, f"password   of root: in {directory}/password")
    line(console, f"done?      xenrec lab check{option}")
    line(console, f"the end    xenrec lab down{option}")


def print_check(console: Console, found: dict[str, Any]) -> None:
    """What was looked at, what is wrong last."""
    findings = sorted(found["findings"], key=lambda one: not one["good"])
    for one in findings:
        mark, style = ("[ok]", "") if one["good"] else ("[no]", "bold red")
        line(console, f"{mark} {one['text']}", style)
    wrong = sum(1 for one in findings if not one["good"])
    title = f"{found['title']}: " if found["incident"] else ""
    if wrong:
        line(console, f"\n{title}not solved yet, {wrong} of {len(findings)} are not as they must be", "bold")
    else:
        line(console, f"\n{title}{'solved, without harm' if found['incident'] else 'the pool is whole'}", "bold green")
