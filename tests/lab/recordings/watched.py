"""What surveys would see of the lab at this instant, read off it: for the time between the recorded surveys."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.lab import Lab, LabHost


def watched(lab: Lab, *, pbds: bool) -> Iterator[tuple[str, str | bool]]:
    """(signal, value), named as the judge names what surveys sampled."""
    for name, host in lab.hosts.items():
        reached = lab.reaches("client", host)
        for port in (80, 443):
            state = lab.tcp(host.address, port)
            yield f"port {port} of {name}", {"open": "connected", "unreachable": "silent"}.get(state, state)
        yield f"session.login_with_password at {name}", _login(lab, host, reached)
        local = "SESSION" if reached and _up(host) else "refused" if reached else "silent"
        yield f"session.slave_local_login_with_password at {name}", local
        ts = host.toolstack
        if ts is not None and ts.api_up:
            yield f"host.is_in_emergency_mode at {name}", str(ts.emergency)
        if ts is not None and ts.db is not None and ts.api_up:
            yield from _flags(name, ts.db, pbds=pbds)


def _up(host: LabHost) -> bool:
    return host.toolstack is not None and host.toolstack.api_up


def _login(lab: Lab, host: LabHost, reached: bool) -> str:
    ts = host.toolstack
    if not reached:
        return "silent"
    if ts is None or not ts.api_up:
        return "refused"
    if ts.emergency:
        failure = ts.emergency_error()
        return " ".join([failure.code, *failure.params])
    return "SESSION" if ts.is_master else f"HOST_IS_SLAVE {ts.master_address}"


def _flags(name: str, db: object, *, pbds: bool) -> Iterator[tuple[str, bool]]:
    from reconciler.lab.database import Database  # noqa: PLC0415 - for the type alone

    assert isinstance(db, Database)
    for record in db.tables["host"].values():
        label = record["name_label"]
        yield f"{name} says: enabled of host {label}", record["enabled"]
        yield f"enabled of {label}, as told", record["enabled"]
        metrics = db.find("host_metrics", record["metrics"])
        if metrics is not None:
            yield f"{name} says: live of host_metrics metrics of {label}", metrics["live"]
            yield f"live of {label}, as told", metrics["live"]
    for pbd in db.tables["PBD"].values() if pbds else ():
        host, sr = db.find("host", pbd["host"]), db.find("SR", pbd["SR"])
        if host is not None and sr is not None:
            what = f"currently_attached of PBD {host['name_label']}/{sr['name_label']}"
            yield f"{name} says: {what}", pbd["currently_attached"]
