"""Who holds a disk that a start wants: XAPI keeps its storage's locks in VDI.sm_config, as `host_<ref>`."""

from __future__ import annotations

import re
from dataclasses import replace

from reconciler.core.draft import attest_command
from reconciler.core.plan import Action
from reconciler.core.port import XapiFailure
from reconciler.core.words import address_host, names
from reconciler.execute.bench import Bench
from reconciler.execute.desk import MasterLost
from reconciler.execute.faults import Explained

HELD = "SR_BACKEND_FAILURE_46"
_DISK = re.compile(r"\bVDI ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_LOCK = "host_OpaqueRef:"


def explained(bench: Bench, action: Action, failure: XapiFailure) -> Explained:
    """XAPI's error in words; of a locked disk, which hosts hold it. A lock is no proof that its host is dead: it may
    be all that shows that the VM runs there."""
    told = bench.explain(failure)
    found = _DISK.search(" ".join(failure.params)) if failure.code == HELD else None
    if found is None:
        return told
    try:
        _, disk = bench.desk().record("VDI", found[1])
        refs = [key.removeprefix("host_") for key in dict(disk.get("sm_config") or {}) if key.startswith(_LOCK)]
        known = bench.desk().read("host.get_all_records")
    except (XapiFailure, MasterLost):
        return told
    hosts = [known[ref] for ref in refs if ref in known]
    name = disk.get("name_label") or found[1]
    if not hosts:
        if not refs:
            return told
        why = f"its disk {name} is locked by a host that is no longer in the pool ({HELD})"
        free = f"/opt/xensource/sm/resetvdis.py single {found[1]}"
        return replace(
            told, sentence=why, remedy=f"once you are sure that no machine writes to it, on the master: {free}"
        )
    holders = names(str(h["name_label"]) for h in hosts)
    first = f"root@{address_host(str(hosts[0]['address']))}"
    one = str(hosts[0]["name_label"])
    return replace(
        told,
        sentence=f"its disk {name} is locked by {holders}: it may run there, whatever is recorded ({HELD})",
        remedy=f"look there: ssh {first} list_domains | grep {action.target.uuid}; if it runs, this tells the pool and "
        f"kills no VM: ssh {first} xe-toolstack-restart; if {one} is dead: {attest_command(bench.wanted, one)}",
    )
