"""The manifest's shape: how the hosts are reached, and powered off. See models.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import JsonSchemaValue

from reconciler.manifest.block import Block, one_of
from reconciler.manifest.fields import (
    Address,
    Agent,
    CredName,
    EnvName,
    Fingerprint,
    OptionName,
    Options,
    Probe,
    Text,
    refuse,
)

_SOURCES = ("env", "file", "exec", "command", "cred")


class Secret(Block):
    """Where a secret is found when it is needed; exactly one key. The secret itself never stands in a manifest."""

    model_config = ConfigDict(json_schema_extra=one_of(_SOURCES, required=True))

    env: EnvName | None = None
    """Name of an environment variable that holds it."""
    file: Text | None = None
    """A file that holds it, readable by its owner only; one newline at its end is dropped. Relative to the manifest."""
    exec: list[Text] | None = Field(None, min_length=1)
    """A command and its arguments, run without a shell, that prints it within 30 s: `[pass, show, xen/root]`."""
    command: list[Text] | None = Field(None, min_length=1)
    """The same as `exec`."""
    cred: CredName | None = None
    """Name of a systemd credential (`LoadCredential=`), a file in `$CREDENTIALS_DIRECTORY`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if len(self.model_fields_set) != 1:
            raise refuse(
                "where to find a secret",
                "it needs exactly one of env, file, exec, command, cred",
                "Write for example `{env: XENREC_PASSWORD}`.",
            )
        return self


def _no_literal(value: Any) -> Any:
    if not isinstance(value, dict):
        raise refuse(
            "a secret",
            "it must not stand in the file, which is copied, mailed and kept in Git for ever",
            "Write where it is found, as in `{env: XENREC_PASSWORD}` or `{file: secret/password}`; change it if it was"
            " shared.",
        )
    return value


SecretField = Annotated[Secret, BeforeValidator(_no_literal)]


class Tls(Block):
    """How the hosts' certificates are verified."""

    ca_file: Text | None = None
    """PEM file of the authorities that signed the hosts' certificates, relative to the manifest. A member's
    fingerprint goes before it."""


class LocalAccount(Block):
    """A local root of every host: it asks members whether they reach their master, and promotes one."""

    username: Text = "root"
    """An account that every host knows by itself; one of a directory is none."""
    password: SecretField
    """Where its password is found. Where it can't be had, everything but a promotion goes on."""


class Connection(Block):
    """How to log in to the hosts."""

    username: Text = "root"
    """The account of the pool. Without `local` it must be a local root of every host, or nothing can be promoted."""
    password: SecretField
    """Where its password is found."""
    local: LocalAccount | None = None
    """Who opens local sessions on members, which a promotion needs. Unset: the account above."""
    tls: Tls | None = None
    """How certificates are verified. Unset: by each member's fingerprint; a host without either is refused."""


class Fence(Block):
    """A fence agent that can power the host off and read its power back."""

    agent: Agent
    """The agent's name (`fence_redfish`) or absolute path."""
    options: Options = Field(default_factory=dict)
    """Its options, sent on stdin; secrets go below. `true` is sent as 1, `false` as 0."""
    password: SecretField | None = None
    """Where the value of its option `password` is found."""
    secrets: dict[OptionName, SecretField] = Field(
        default_factory=dict, json_schema_extra={"additionalProperties": False}
    )
    """Where the values of other secret options are found, by option."""

    @model_validator(mode="after")
    def _each_option_once(self) -> Fence:
        both = sorted(set(self.options) & set(self.secrets)) or (["password"] * ("password" in self.secrets))
        if both and (both[0] != "password" or self.password is not None):
            raise refuse(f"the option `{both[0]}`", "it is given in two places", "Keep one of the two.")
        return self


class MemberTls(Block):
    """The certificate that this host must show."""

    fingerprint: Fingerprint
    """SHA-256 of the host's certificate, 64 hex digits, colons allowed."""


def _one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _one_or_list_schema(schema: JsonSchemaValue) -> None:
    schema["anyOf"] = [schema["items"], {"type": schema.pop("type"), "items": schema.pop("items")}]


class Member(Block):
    """A host of the pool."""

    name: Text
    """The host's name_label, or its uuid where names are not unique. Other keys refer to the host by it."""
    address: Address
    """Its management address: `host` or `host:port`; the port is 443 if not given."""
    state: Literal["active", "maintenance"] = "active"
    """`maintenance`: it is disabled, its VMs are moved off it, it may be off, and it is not made master; back to
    `active`, it is enabled again and its VMs come home."""
    evacuate: Literal["declared", "all"] = "declared"
    """Which VMs maintenance may move: those that the manifest names, or all. One that may not be moved keeps its host
    from being emptied."""
    fencing: Annotated[list[Fence], BeforeValidator(_one_or_list), Field(json_schema_extra=_one_or_list_schema)] = (
        Field(default_factory=list)
    )
    """How to power it off for certain: one agent, or a list that is tried in order."""
    tls: MemberTls | None = None
    """The certificate that it must show."""
    fingerprint: Fingerprint | None = None
    """The same as `tls: {fingerprint: …}`."""
    probe: Probe = Field(default_factory=list)
    """The command that tells how old its copy of the pool's database is, instead of `policy.metadata.probe`."""
