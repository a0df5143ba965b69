"""Manifests for tests: a small pool whose spec a test changes."""

import copy
from typing import Any

import pytest
import yaml

from reconciler.core.wanted import Wanted
from reconciler.manifest import ManifestError, load

FINGERPRINT = "ab" * 32
BASE: dict[str, Any] = {
    "apiVersion": "xenrec/v1",
    "kind": "Pool",
    "metadata": {"name": "madrid"},
    "spec": {
        "connection": {"password": {"env": "XENREC_PASSWORD"}, "tls": {"caFile": "ca.pem"}},
        "members": [
            {"name": "xen01", "address": "10.0.0.11"},
            {"name": "xen02", "address": "10.0.0.12"},
            {"name": "xen03", "address": "10.0.0.13"},
        ],
    },
}

DESIGN = """\
# yaml-language-server: $schema=../schemas/pool.v1.json
apiVersion: xenrec/v1
kind: Pool
metadata:
  name: madrid
spec:
  uuid: 4f6c1d3e-0000-4000-8000-00000000000A   # optional: refuse to act on any other pool
  connection:
    username: root
    password: {env: XENREC_PASSWORD}          # env | file | command; never a literal
    tls: {caFile: pool-ca.pem}                # or fingerprints per member; verification is never silently off
  members:
    - name: xen01
      address: 10.0.0.11
      fencing: {agent: fence_redfish, options: {ip: 10.9.0.11, username: op}, password: {env: BMC_PW}}
    - {name: xen02, address: 10.0.0.12, fencing: {agent: fence_ipmilan, options: {ip: 10.9.0.12, lanplus: true}}}
    - {name: xen03, address: 10.0.0.13, state: maintenance}   # active | maintenance
  master: {host: xen01, successors: [xen02, xen03], failback: manual}
  storage: {defaultSR: san-1, suspendImageSR: san-1}
  policy:
    levels: {attended: crown, unattended: power}
    brake: {minHealthy: 51%, maxHostsPerRun: 1}
    placement: {reserve: 1}                    # hosts whose loss the placement must survive
  virtualMachines:
    - name: db01
      state: running                           # running | halted | suspended | as-is
      home: xen01                              # affinity
      priority: critical
      ready: {tcp: 5432}                       # what "up" means to dependants: guest tools, an address, a port
    - name: web-*                              # a pattern, a tag or a uuid
      state: running
      placement: {spread: web, prefer: [xen02, xen03]}
      dependsOn: [db01]
"""


def document(spec: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """The base with keys of spec replaced."""
    made = copy.deepcopy(BASE)
    made["spec"].update(spec or {})
    made.update(top)
    return made


def text(spec: dict[str, Any] | None = None, **top: Any) -> bytes:
    return yaml.safe_dump(document(spec, **top), sort_keys=False, allow_unicode=True).encode()


def wanted(spec: dict[str, Any] | None = None) -> Wanted:
    return load(text(spec), "pool.yaml")


def problems(content: bytes | str, source: str = "pool.yaml") -> list[str]:
    """Every problem as printed; fails the test if there is none."""
    with pytest.raises(ManifestError) as caught:
        load(content.encode() if isinstance(content, str) else content, source)
    found = [str(p) for p in caught.value.problems]
    assert found
    assert str(caught.value).splitlines() == found
    return found


def spec_text(spec: str) -> str:
    """A manifest whose spec ends with the given lines, which begin on line 10."""
    return (
        "apiVersion: xenrec/v1\nkind: Pool\nmetadata: {name: madrid}\nspec:\n"
        "  connection: {password: {env: XENREC_PASSWORD}, tls: {caFile: ca.pem}}\n"
        "  members:\n"
        "    - {name: xen01, address: 10.0.0.11}\n"
        "    - {name: xen02, address: 10.0.0.12}\n"
        "    - {name: xen03, address: 10.0.0.13}\n" + spec
    )
