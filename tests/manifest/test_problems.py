"""Every mistake is named with its place, the reason and what to write instead; all of them at once."""

import pytest

from tests.manifest.build import document, problems, spec_text, text, wanted

# What ends the spec of a small pool (from line 10 on), and all that is said about it.
MISTAKES = {
    "unknown host": (
        "  master: {host: xen1, successors: [xen02, xn03]}\n",
        [
            "10:18: `host` `xen1`: no member has this name. Did you mean `xen01`?",
            "10:44: `successors` `xn03`: no member has this name. Did you mean `xen03`?",
        ],
    ),
    "host that is nothing like one": (
        "  virtualMachines: [{name: a, home: berlin}]\n",
        ["10:37: `home` `berlin`: no member has this name. Members are xen01, xen02 and xen03."],
    ),
    "unknown hosts of a placement": (
        "  virtualMachines: [{name: a, placement: {prefer: [x], avoid: [xen01, y]}}]\n",
        [
            "10:52: `prefer` `x`: no member has this name. Members are xen01, xen02 and xen03.",
            "10:71: `avoid` `y`: no member has this name. Members are xen01, xen02 and xen03.",
        ],
    ),
    "unknown hosts in defaults, once": (
        "  defaults: {home: x, placement: {avoid: [z]}}\n  virtualMachines: [{name: a}, {name: b}]\n",
        [
            "10:20: `home` `x`: no member has this name. Members are xen01, xen02 and xen03.",
            "10:43: `avoid` `z`: no member has this name. Members are xen01, xen02 and xen03.",
        ],
    ),
    "master among its successors, twice": (
        "  master: {host: xen01, successors: [xen01, xen02, xen02]}\n",
        [
            "10:38: `successors` `xen01`: it is the master already. Remove it from the list.",
            "10:52: `successors` `xen02`: it stands in the list twice. Remove one of the two.",
        ],
    ),
    "the same VM twice": (
        "  virtualMachines:\n    - name: a\n    - name: b\n    - name: a\n",
        ["13:7: `a` is named twice: pool.yaml:11:7 names it already. Keep one entry."],
    ),
    "two selectors": (
        "  virtualMachines: [{name: a, tag: b}]\n",
        [
            "10:36: `name` and `tag` in one entry: an entry selects its VMs in one way."
            " Keep one of them, or write an entry for each."
        ],
    ),
    "no selector": (
        "  virtualMachines: [{state: running}]\n",
        [
            "10:21: an entry without a VM: it doesn't say which VM it is about."
            " Add `name:`, `pattern:`, `tag:` or `uuid:`."
        ],
    ),
    "selector without a value": (
        "  virtualMachines:\n    - name:\n",
        [
            "11:7: `name` has no value: what is left open means nothing."
            " Write a value after `name:` or remove the key: unset means as it is."
        ],
    ),
    "unknown dependency": (
        "  virtualMachines: [{name: db01}, {name: web, dependsOn: [db1]}]\n",
        [
            "10:59: `web` depends on `db1`: no entry of virtualMachines has that text. Did you mean `db01`?",
        ],
    ),
    "dependency that only a pattern covers": (
        "  virtualMachines: [{name: db-*}, {name: web, dependsOn: [db-1]}]\n",
        [
            "10:59: `web` depends on `db-1`: no entry of virtualMachines has that text."
            " Write `db-*`, which selects it, or add an entry of its own.",
        ],
    ),
    "dependency that is two things": (
        "  virtualMachines: [{name: db}, {tag: db}, {name: web, dependsOn: [db]}]\n",
        [
            "10:68: `web` depends on `db`: that is a name (pool.yaml:10:21) and a tag (pool.yaml:10:33)."
            " Change one of the two, or list the VMs by other names.",
        ],
    ),
    "circle": (
        "  virtualMachines:\n"
        "    - {name: a, dependsOn: [b]}\n"
        "    - {name: b, dependsOn: [c]}\n"
        "    - {name: c, dependsOn: [a]}\n"
        "    - {name: d, dependsOn: [d]}\n",
        [
            "11:29: dependsOn in a circle `a` -> `b` -> `c` -> `a`: none of them could ever be started first."
            " Remove one of these dependencies.",
            "14:29: dependsOn in a circle `d` -> `d`: none of them could ever be started first."
            " Remove one of these dependencies.",
        ],
    ),
    "circle through a pattern": (
        "  virtualMachines:\n"
        "    - {name: web-1, dependsOn: [db]}\n"
        "    - {name: web-*}\n"
        "    - {name: db, dependsOn: [web-*]}\n",
        [
            "11:33: dependsOn in a circle `web-1` -> `db` -> `web-1`: none of them could ever be started first."
            " Remove one of these dependencies.",
        ],
    ),
    "depends on what is to be off": (
        "  virtualMachines: [{name: a, state: halted}, {name: b, state: running, dependsOn: [a]}]\n",
        [
            "10:85: `b` depends on `a`: it is to run, but `a` is to be halted. Let both run, or remove the dependency.",
        ],
    ),
    "impossible placement": (
        "  virtualMachines:\n"
        "    - name: a\n"
        "      home: xen01\n"
        "      placement:\n"
        "        require: [xen02]\n"
        "        avoid: [xen01, xen02]\n"
        "        prefer: [xen03, xen02]\n"
        "        spread: g\n"
        "        together: g\n",
        [
            "12:13: `home` `xen01` for `a`: `avoid` names it. Choose another home.",
            "15:24: `avoid` `xen02` for `a`: `require` names it, too. Remove it from one of the two.",
            "16:18: `prefer` `xen03` for `a`: `require` leaves it out. Add it to `require` or remove it here.",
            "16:25: `prefer` `xen02` for `a`: `avoid` names it, too. Remove it from one of the two.",
            "17:17: `spread` `g` for `a`: `require` leaves only `xen02`. Allow more hosts, or remove one of the two.",
            "18:19: `together` `g` for `a`: `spread` says the opposite. Keep one.",
        ],
    ),
    "home outside require, inherited": (
        "  defaults: {home: xen03}\n  virtualMachines: [{name: a, placement: {require: [xen01, xen02]}}]\n",
        ["10:20: `home` `xen03` for `a`: `require` leaves it out. Add it there."],
    ),
    "no host left": (
        "  virtualMachines: [{name: a, placement: {avoid: [xen01, xen02, xen03]}}]\n",
        ["10:50: `avoid` for `a`: it names every member, so no host is left. Leave at least one out."],
    ),
    "nothing required": (
        "  virtualMachines: [{name: a, placement: {require: []}}]\n",
        ["10:52: `require`: the list is empty. List at least one, or remove `require`."],
    ),
    "levels": (
        "  policy: {levels: {attended: move, unattended: power}}\n",
        [
            "10:49: `unattended` `power`: a run on its own would go further than one with a person."
            " Lower it, or raise `attended`.",
        ],
    ),
    "levels, the lowest": (
        "  policy: {levels: {attended: observe, unattended: metadata}}\n",
        [
            "10:52: `unattended` `metadata`: a run on its own would go further than one with a person."
            " Lower it, or raise `attended`.",
        ],
    ),
    "brake and reserve": (
        "  policy: {brake: {minHealthy: 51, maxHostsPerRun: 0}, placement: {reserve: 3}}\n",
        [
            "10:32: `minHealthy` `51`: it must be above 0% (nothing would brake) and at most 100%. Write `51%`.",
            "10:52: `maxHostsPerRun` `0`: it is out of range. Write a whole number of at least 1.",
            "10:77: `reserve` `3`: nothing survives the loss of all 3 members. Write at most 2.",
        ],
    ),
    "spelling of keys": (
        "  default_sr: a\n  storge: {}\n  host: x\n  colour: red\n",
        [
            "10:3: unknown key `default_sr`: `spec` has no such key. Did you mean `storage.defaultSR`?",
            "11:3: unknown key `storge`: `spec` has no such key. Did you mean `storage`?",
            "12:3: unknown key `host`: `spec` has no such key. Did you mean `master.host`?",
            "13:3: unknown key `colour`: `spec` has no such key. Remove it; known here: uuid, connection, members,"
            " master, storage, policy, defaults and virtualMachines.",
        ],
    ),
    "spelling of values": (
        "  virtualMachines: [{name: a, state: runing, priority: 7, optional: 'yes', ready: {tools: false}}]\n",
        [
            "10:38: `state` `runing`: it is not one of the words known here. Did you mean `running`?",
            "10:56: `priority` `7`: it is not one of the words known here. Write low, normal, high or critical.",
            "10:69: `optional` `yes`: it should be true or false, not text. Write true or false.",
            "10:91: `tools` `false`: it is not one of the words known here. Write true.",
        ],
    ),
    "two meanings of ready": (
        "  virtualMachines: [{name: a, ready: {tcp: 70000}}, {name: b, ready: {tcp: 22, tools: true}}]\n",
        [
            "10:44: `tcp` `70000`: it is out of range. Write a whole number of at most 65535.",
            "10:70: `ready`: it can't mean tools and tcp at once. Keep one of them.",
        ],
    ),
    "a list and a text where blocks belong": (
        "  storage: [a]\n  master: xen01\n  virtualMachines: {name: a}\n",
        [
            "10:12: `storage`: it should be a block of keys, not a list. Write a block of keys.",
            "11:11: `master` `xen01`: it should be a block of keys, not text. Write a block of keys.",
            "12:20: `virtualMachines`: it should be a list, not a block. Write a list.",
        ],
    ),
    "duplicate keys": (
        "  storage: {defaultSR: a}\n  uuid: 4f6c1d3e-0000-4000-8000-00000000000a\n  storage: {defaultSR: b}\n",
        [
            "12:3: `storage` is given twice: it already stands at pool.yaml:10:3, and only one can hold."
            " Remove one of the two.",
        ],
    ),
    "uuid and empty name": (
        "  uuid: madrid\n  storage: {defaultSR: ''}\n",
        [
            "10:9: `uuid` `madrid`: it is not 8-4-4-4-12 hex digits. Copy it from `xe pool-list` or `xe vm-list`.",
            "11:24: `defaultSR`, which is empty: it is empty or holds control characters."
            " Write it as XenCenter or `xe` shows it.",
        ],
    ),
    "depends on its own pattern": (
        "  virtualMachines: [{name: w-*, dependsOn: [w-*]}]\n",
        [
            "10:45: dependsOn in a circle `w-*` -> `w-*`: none of them could ever be started first."
            " Remove one of these dependencies.",
        ],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name: str) -> None:
    spec, expected = MISTAKES[name]
    assert problems(spec_text(spec)) == [f"pool.yaml:{line}" for line in expected]


def test_members() -> None:
    found = problems(
        text(
            {
                "members": [
                    {"name": "a", "address": "Xen01.example.org", "fingerprint": "ab" * 20},
                    {"name": "a", "address": "xen01.example.org."},
                    {"name": "b", "adress": "c", "tls": {}, "fencing": {"agent": "./x"}},
                    {"name": "c", "address": "d", "tls": {"fingerprint": "ab" * 32}, "fingerprint": "ab" * 32},
                ]
            }
        )
    )
    assert found == [
        "pool.yaml:14:18: `fingerprint` `" + "ab" * 20 + "`: it has the length of a SHA-1. Write the SHA-256 of the"
        " host's certificate: `openssl x509 -noout -fingerprint -sha256` prints it.",
        "pool.yaml:15:11: name `a`: the member at pool.yaml:12:11 has it already."
        " Where hosts share a name, use their uuids.",
        "pool.yaml:16:14: address `xen01.example.org.`: the member at pool.yaml:13:14 has it already."
        " Give each host its own address.",
        "pool.yaml:17:5: `address` is missing: it is needed. Add `address:` (its management address: `host` or"
        " `host:port`; the port is 443 if not given).",
        "pool.yaml:18:5: unknown key `adress`: `members` has no such key. Did you mean `address`?",
        "pool.yaml:19:5: `fingerprint` is missing: it is needed. Add `fingerprint:` (SHA-256 of the host's certificate,"
        " 64 hex digits, colons allowed).",
        "pool.yaml:21:14: `agent` `./x`: it is neither a command's name nor an absolute path."
        " Write for example `fence_redfish` or `/opt/site/fence_pdu`.",
        "pool.yaml:26:18: `fingerprint`: `tls` gives it, too. Keep one of the two.",
    ]


def test_no_member_is_a_problem() -> None:
    assert problems(text({"members": []})) == ["pool.yaml:11:12: `members`: the list is empty. List at least one."]


def test_a_master_in_maintenance_needs_an_active_member_to_take_the_office() -> None:
    members = [*document()["spec"]["members"][1:], {"name": "xen01", "address": "a", "state": "maintenance"}]
    assert wanted({"members": members, "master": {"host": "xen01"}}).notes == ()
    (found,) = problems(text({"members": members[-1:], "master": {"host": "xen01"}}))
    assert "every member is in maintenance, so none can be master. Make one of them active." in found


@pytest.mark.parametrize("literal", ["hunter2", 1234, ["hunter2"], True, 3.5, "{env: A}"])
def test_a_literal_secret_is_refused_and_never_shown(literal: object) -> None:
    for spec in (
        {"connection": {"password": literal, "tls": {"caFile": "x"}}},
        {"members": [{"name": "a", "address": "b", "fencing": {"agent": "f", "password": literal}}]},
        {"members": [{"name": "a", "address": "b", "fencing": {"agent": "f", "secrets": {"community": literal}}}]},
    ):
        (found,) = problems(text(spec))
        assert "it must not stand in the file" in found
        assert "{env: XENREC_PASSWORD}" in found
        assert "hunter2" not in found
        assert "1234" not in found


@pytest.mark.parametrize(
    "option", ["password", "passwd", "PASSWD", "snmp_priv_passwd", "token", "api_key", "client_secret"]
)
def test_a_secret_among_the_options_is_refused_and_never_shown(option: str) -> None:
    fencing = {"agent": "f", "options": {"ip": "10.0.0.1", option: "hunter2"}}
    (found,) = problems(text({"members": [{"name": "a", "address": "b", "fencing": fencing}]}))
    assert f"the option `{option}`: a secret would stand in the file" in found
    assert found.startswith("pool.yaml:18:9: ")
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "password",
    [
        {},
        {"env": "A", "file": "b"},
        {"env": "hunter 2"},
        {"env": 12345},
        {"exec": []},
        {"exec": "pass show hunter2"},
        {"exec": [12345]},
        {"cred": "../hunter2"},
        {"hunter2x": "hunter2"},
        {"file": ["hunter2"]},
    ],
)
def test_a_wrong_secret_reference_never_shows_its_value(password: object) -> None:
    found = problems(text({"connection": {"password": password, "tls": {"caFile": "x"}}}))
    assert not any("hunter2" in line.replace("hunter2x", "") or "hunter 2" in line or "12345" in line for line in found)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"action": "off"}, "xenrec itself says off, on or status"),
        ({"a=b": 1}, "letters, digits"),
        ({"ip": "a\nb"}, "one line"),
        ({"ip": 1.5}, "quotes"),
        (["ip"], "block of `option: value`"),
    ],
)
def test_fence_options(options: object, words: str) -> None:
    fencing = {"agent": "f", "options": options}
    (found,) = problems(text({"members": [{"name": "a", "address": "b", "fencing": fencing}]}))
    assert words in found


def test_an_option_in_two_places() -> None:
    fencing = {"agent": "f", "password": {"env": "A"}, "secrets": {"password": {"env": "B"}}}
    (found,) = problems(text({"members": [{"name": "a", "address": "b", "fencing": fencing}]}))
    assert "the option `password`: it is given in two places" in found


def test_other_files_than_manifests() -> None:
    assert problems("apiVersion: v1\nkind: ConfigMap\ndata: {}\n") == [
        "pool.yaml:1:13: `apiVersion` `v1`: this release reads xenrec/v1."
        " Write `apiVersion: xenrec/v1` if this is a manifest."
    ]
    assert problems("apiVersion: xenrec/v1\nkind: Pol\n") == [
        "pool.yaml:2:7: `kind` `Pol`: xenrec knows Pool and VirtualMachines. Did you mean `Pool`?"
    ]
    assert problems("- a\n- b\n") == [
        "pool.yaml:1:1: the file: it should be a block of keys, not a list."
        " Start with `apiVersion: xenrec/v1`; `xenrec export` writes a manifest from a pool."
    ]
    assert [line.split(":", 2)[2].split(":")[1].strip() for line in problems("kind: Pool\n")] == [
        "`apiVersion` is missing",
        "`metadata` is missing",
        "`spec` is missing",
    ]


def test_an_anchors_mistake_is_shown_once() -> None:
    found = problems(
        spec_text(
            "  virtualMachines:\n    - &one {name: a, stat: running}\n"
            "    - {<<: *one, name: b}\n    - {<<: *one, name: c}\n"
        )
    )
    assert found == ["pool.yaml:11:22: unknown key `stat`: `virtualMachines` has no such key. Did you mean `state`?"]


def test_thousands_of_problems_are_all_kept_and_quickly() -> None:
    spec = "  virtualMachines:\n" + "".join(f"    - {{name: vm-{n}, sate: running}}\n" for n in range(3000))
    assert len(problems(spec_text(spec))) == 3000


def test_a_fence_device_of_two_members_would_switch_the_wrong_one_off() -> None:
    device = {"agent": "fence_ipmilan", "options": {"ip": "10.9.0.1", "username": "op"}}
    print_ = {"fingerprint": "ab" * 32}
    found = problems(
        text(
            {
                "members": [
                    {"name": "a", "address": "10.0.0.1", **print_, "fencing": device},
                    {"name": "b", "address": "10.0.0.2", **print_, "fencing": [{"agent": "fence_pdu"}, device]},
                    {
                        "name": "c",
                        "address": "10.0.0.3",
                        **print_,
                        "fencing": {**device, "options": {"ip": "10.9.0.1", "username": "op", "plug": "2"}},
                    },
                ]
            }
        )
    )
    (line,) = found
    assert "fence device `fence_ipmilan`: the member at pool.yaml:16:14 has the same one with the same options" in line
    assert line.endswith("Give each host its own, by its address, plug or port.")
