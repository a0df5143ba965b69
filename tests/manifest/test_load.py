"""What a right manifest means."""

import hashlib
import typing

import pytest
from pydantic import BaseModel

from reconciler.core.wanted import (
    Brake,
    Failback,
    FenceDevice,
    Level,
    Limits,
    MasterWish,
    MemberState,
    PlacementWish,
    Policy,
    Priority,
    Ready,
    SecretRef,
    SelectorKind,
    WantedState,
)
from reconciler.manifest import (
    ManifestError,
    load,
    load_file,
    load_folder,
    load_many,
    models,
    models_hosts,
    models_policy,
)
from tests.manifest.build import DESIGN, FINGERPRINT, document, problems, spec_text, text, wanted


def test_the_example_of_the_design_means_what_it_says() -> None:
    loaded = load(DESIGN.encode(), "madrid.yaml", commit="abc123")
    assert (loaded.name, loaded.source, loaded.commit) == ("madrid", "madrid.yaml", "abc123")
    assert loaded.uuid == "4f6c1d3e-0000-4000-8000-00000000000a"
    assert loaded.digest == hashlib.sha256(DESIGN.encode()).hexdigest()
    assert loaded.connection.username == "root"
    assert loaded.connection.password == SecretRef("env", "XENREC_PASSWORD")
    assert loaded.connection.ca_file == "pool-ca.pem"
    assert [m.name for m in loaded.members] == ["xen01", "xen02", "xen03"]
    assert [m.state for m in loaded.members] == [MemberState.ACTIVE, MemberState.ACTIVE, MemberState.MAINTENANCE]
    assert loaded.members[0].fencing == (
        FenceDevice("fence_redfish", {"ip": "10.9.0.11", "username": "op"}, {"password": SecretRef("env", "BMC_PW")}),
    )
    assert loaded.members[1].fencing == (FenceDevice("fence_ipmilan", {"ip": "10.9.0.12", "lanplus": "1"}, {}),)
    assert loaded.master is not None
    assert loaded.master == MasterWish("xen01", ("xen02", "xen03"), Failback.MANUAL, loaded.master.place)
    assert str(loaded.master.place) == "madrid.yaml:18:3"
    assert (loaded.storage.default_sr, loaded.storage.suspend_image_sr) == ("san-1", "san-1")
    assert str(loaded.storage.suspend_image_sr_place) == "madrid.yaml:19:47"
    assert loaded.policy == Policy(
        Level.CROWN, Level.POWER, Brake(0.51, 1), 1, Limits(), reserve_place=loaded.policy.reserve_place
    )
    assert str(loaded.policy.reserve_place) == "madrid.yaml:23:26"
    db, web = loaded.vms
    assert (db.kind, db.value, db.state, db.home) == (SelectorKind.NAME, "db01", WantedState.RUNNING, "xen01")
    assert (db.priority, db.ready, str(db.place)) == (Priority.CRITICAL, Ready(tcp=5432), "madrid.yaml:25:7")
    assert (web.kind, web.value, web.depends_on) == (SelectorKind.PATTERN, "web-*", ("db01",))
    assert web.placement == PlacementWish(prefer=("xen02", "xen03"), spread="web")


def test_every_key_of_the_design_is_acted_on() -> None:
    # With xen03 off for its maintenance, two count, and of these no one may be lost at 51%: that is told.
    assert [text.split(":")[0] for _, text in load(DESIGN.encode(), "m.yaml").notes] == ["`minHealthy` 51%"]


def test_nothing_said_means_as_it_is() -> None:
    loaded = wanted({"virtualMachines": [{"name": "a"}]})
    assert (loaded.uuid, loaded.master, loaded.storage.default_sr, loaded.notes) == (None, None, None, ())
    assert loaded.policy == Policy()
    assert loaded.connection.username == "root"
    vm = loaded.vms[0]
    assert (vm.state, vm.home, vm.priority, vm.max_level, vm.optional) == (
        WantedState.AS_IS,
        None,
        Priority.NORMAL,
        None,
        False,
    )


def test_the_models_words_and_defaults_are_those_of_core() -> None:
    def words(model: type[BaseModel], name: str) -> list[str]:
        annotation = model.model_fields[name].annotation
        return [
            w for part in typing.get_args(annotation) for w in (typing.get_args(part) or (part,)) if isinstance(w, str)
        ]

    assert words(models.VmSettings, "state") == [s.value for s in WantedState]
    assert words(models.VmSettings, "priority") == [p.name.lower() for p in Priority]
    assert words(models_hosts.Member, "state") == [s.value for s in MemberState]
    assert words(models.Master, "failback") == [f.value for f in Failback]
    assert words(models_policy.Levels, "attended") == [level.word for level in Level]
    limits = models_policy.LimitsBlock()
    assert Limits(**{name: getattr(limits, name) for name in models_policy.LimitsBlock.model_fields}) == Limits()
    brake = models_policy.BrakeBlock()
    assert Brake(brake.min_healthy, brake.max_hosts_per_run) == Brake()
    assert models.ReadyBlock().timeout == Ready().timeout


@pytest.mark.parametrize("word", ["no", "on", "yes", "off", "y", "10:20", "2026-11-22", "1_000", "0b11", "=", "1.2.3"])
def test_text_is_what_yaml_1_2_says(word: str) -> None:
    loaded = load(spec_text(f"  virtualMachines:\n    - name: {word}\n").encode(), "pool.yaml")
    assert loaded.vms[0].value == word


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("12", "a whole number"),
        ("0x1F", "a whole number"),
        ("1e3", "a number"),
        ("true", "true or false"),
        (".5", "a number"),
    ],
)
def test_what_is_not_text_in_yaml_1_2_must_be_quoted(word: str, kind: str) -> None:
    assert problems(spec_text(f"  virtualMachines:\n    - name: {word}\n")) == [
        f'pool.yaml:11:13: `name` `{word}`: it should be text, not {kind}. Put it in quotes: "{word}".'
    ]
    assert load(spec_text(f'  virtualMachines:\n    - name: "{word}"\n').encode(), "pool.yaml").vms[0].value == word


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30m", 1800.0), ("90s", 90.0), ("1h30m", 5400.0), ("1.5m", 90.0), (45, 45.0), (0.5, 0.5), ("500ms", 0.5)],
)
def test_times(value: object, seconds: float) -> None:
    assert wanted({"policy": {"limits": {"startTimeout": value}}}).policy.limits.start_timeout == seconds


@pytest.mark.parametrize("value", ["30", "m", "-1s", "0s", 0, "8d", True, "1 h", "1h 30m", "٣s"])
def test_what_is_no_time(value: object) -> None:
    found = problems(text({"policy": {"limits": {"startTimeout": value}}}))
    assert len(found) == 1
    assert "`startTimeout`" in found[0]


@pytest.mark.parametrize(("value", "share"), [("51%", 0.51), ("51 %", 0.51), (0.51, 0.51), (1, 1.0), ("33.3%", 0.333)])
def test_shares(value: object, share: float) -> None:
    assert wanted({"policy": {"brake": {"minHealthy": value}}}).policy.brake.min_healthy == pytest.approx(share)


@pytest.mark.parametrize("value", [0, "0%", 51, "101%", -0.1, "half", True, float("inf")])
def test_what_is_no_share(value: object) -> None:
    found = problems(text({"policy": {"brake": {"minHealthy": value}}}))
    assert len(found) == 1
    assert "`minHealthy`" in found[0]


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("Xen01.Example.org.", "xen01.example.org"),
        ("xen01:8443", "xen01:8443"),
        ("10.0.0.9:443", "10.0.0.9:443"),
        ("FD00:0::11", "fd00::11"),
        ("[fd00::11]:8443", "[fd00::11]:8443"),
        ("[fd00::11]", "fd00::11"),
    ],
)
def test_addresses(given: str, normal: str) -> None:
    assert wanted({"members": [{"name": "a", "address": given}]}).members[0].address == normal


@pytest.mark.parametrize(
    "given",
    ["10.0.0.300", "https://xen01", "xen 01", "xen01:", "xen01:0", "xen01:x", "10.0.0.0/24", "-x", "", "[xen]:1"],
)
def test_what_is_no_address(given: str) -> None:
    found = problems(text({"members": [{"name": "a", "address": given}]}))
    assert len(found) == 1
    assert "`address`" in found[0]


def test_a_fingerprint_in_any_usual_spelling_stands_in_either_place() -> None:
    colons = "AB:" * 31 + "AB"
    for member in ({"fingerprint": colons}, {"tls": {"fingerprint": f"sha256:{FINGERPRINT}"}}):
        loaded = wanted({"members": [{"name": "a", "address": "a", **member}]})
        assert loaded.members[0].fingerprint == FINGERPRINT


def test_every_kind_of_secret() -> None:
    for given, kept in (
        ({"env": "A"}, SecretRef("env", "A")),
        ({"file": "x/y"}, SecretRef("file", "x/y")),
        ({"exec": ["pass", "show"]}, SecretRef("exec", ("pass", "show"))),
        ({"command": ["pass"]}, SecretRef("exec", ("pass",))),
        ({"cred": "xen"}, SecretRef("cred", "xen")),
    ):
        assert wanted({"connection": {"password": given}}).connection.password == kept


def test_fence_options_are_sent_as_they_were_written() -> None:
    loaded = load(
        spec_text("  uuid: 4F6C1D3E-0000-4000-8000-00000000000A\n  master: {host: xen04}\n")
        .replace(
            "    - {name: xen03, address: 10.0.0.13}\n",
            "    - name: xen04\n      address: 10.0.0.14\n      fencing:\n"
            "        - {agent: a, options: {plug: 007, port: 0x1F, on: true, off: false, text: '1.50'}}\n"
            "        - {agent: /opt/b, secrets: {community: {env: C}}}\n",
        )
        .encode(),
        "pool.yaml",
    )
    assert loaded.members[2].fencing == (
        FenceDevice("a", {"plug": "007", "port": "0x1F", "on": "1", "off": "0", "text": "1.50"}),
        FenceDevice("/opt/b", {}, {"community": SecretRef("env", "C")}),
    )


def test_defaults_are_inherited_key_by_key() -> None:
    loaded = wanted(
        {
            "defaults": {"state": "running", "placement": {"prefer": ["xen01"]}, "maxLevel": "move", "optional": True},
            "virtualMachines": [
                {"name": "a"},
                {"tag": "b", "state": "as-is", "placement": {"spread": "x"}, "optional": False},
            ],
        }
    )
    first, second = loaded.vms
    assert (first.state, first.max_level, first.optional) == (WantedState.RUNNING, Level.MOVE, True)
    assert first.placement == PlacementWish(prefer=("xen01",))
    assert (second.state, second.max_level, second.optional) == (WantedState.AS_IS, Level.MOVE, False)
    assert second.placement == PlacementWish(spread="x")


def test_selectors() -> None:
    entries = [
        {"name": "a b"},
        {"name": "a?"},
        {"pattern": "plain"},
        {"tag": "t"},
        {"uuid": "ABCDEF01-0000-0000-0000-000000000000"},
    ]
    found = [(vm.kind.value, vm.value) for vm in wanted({"virtualMachines": entries}).vms]
    assert found == [
        ("name", "a b"),
        ("pattern", "a?"),
        ("pattern", "plain"),
        ("tag", "t"),
        ("uuid", "abcdef01-0000-0000-0000-000000000000"),
    ]


def test_unattended_is_never_further_than_attended() -> None:
    assert wanted({"policy": {"levels": {"attended": "move"}}}).policy.unattended is Level.MOVE
    assert wanted({"policy": {"levels": {"unattended": "observe"}}}).policy.unattended is Level.OBSERVE


def test_anchors_and_merges() -> None:
    loaded = load(
        spec_text(
            "  virtualMachines:\n"
            "    - &one {name: a, state: running, placement: &where {prefer: [xen01]}}\n"
            "    - {<<: *one, name: b}\n"
            "    - {<<: [{state: halted}, *one], name: c, placement: *where}\n"
        ).encode(),
        "pool.yaml",
    )
    assert [(vm.value, vm.state.value, vm.placement.prefer) for vm in loaded.vms] == [
        ("a", "running", ("xen01",)),
        ("b", "running", ("xen01",)),
        ("c", "halted", ("xen01",)),
    ]


MORE = b"apiVersion: xenrec/v1\nkind: VirtualMachines\nmetadata: {name: madrid}\nspec:\n"


def test_more_files_add_vms_with_their_own_defaults() -> None:
    more = MORE + b"  defaults: {state: running}\n  virtualMachines: [{name: b, dependsOn: [a]}]\n"
    main = text({"virtualMachines": [{"name": "a", "state": "running"}]})
    (one,) = load_many([(more, "more.yaml"), (main, "main.yaml")])
    assert one.wanted is not None
    assert [(vm.value, vm.state.value, str(vm.place)) for vm in one.wanted.vms] == [
        ("a", "running", "main.yaml:19:5"),
        ("b", "running", "more.yaml:6:21"),
    ]
    assert one.wanted.source == "main.yaml"
    assert one.wanted.digest == hashlib.sha256(main + more).hexdigest()
    same = load(main + b"---\n" + more, "one.yaml")
    assert [vm.value for vm in same.vms] == ["a", "b"]


def test_a_vm_in_two_files_is_a_problem_with_both_places() -> None:
    main = text({"virtualMachines": [{"name": "a"}]})
    (one,) = load_many([(main, "main.yaml"), (MORE + b"  virtualMachines: [{name: a}]\n", "more.yaml")])
    assert one.wanted is None
    assert [str(p) for p in one.problems] == [
        "more.yaml:5:21: `a` is named twice: main.yaml:19:5 names it already. Keep one entry."
    ]


def test_more_vms_of_an_unknown_pool() -> None:
    found = load_many([(text(), "main.yaml"), (MORE.replace(b"madrid", b"madird") + b"  {}\n", "more.yaml")])
    assert [one.wanted is not None for one in found] == [True, False]
    assert [str(p) for p in found[1].problems] == [
        "more.yaml:3:18: VMs of the pool `madird`: no file here describes that pool. Did you mean `madrid`?"
    ]
    with pytest.raises(ManifestError, match="no file here describes that pool"):
        load(MORE + b"  {}\n", "more.yaml")


def test_two_pools_of_one_name_and_two_in_one_file() -> None:
    (one,) = load_many([(text(), "a.yaml"), (text(), "b.yaml")])
    assert [str(p) for p in one.problems] == [
        "b.yaml:4:9: pool `madrid`: a.yaml:4:9 describes it already."
        " Use another name, or kind VirtualMachines for more VMs of that pool."
    ]
    both = text() + b"---\n" + text(metadata={"name": "paris"})
    assert "the pools `madrid` and `paris`" in problems(both)[0]


def test_in_a_folder_one_bad_file_stops_no_other(tmp_path) -> None:
    (tmp_path / "b.yaml").write_bytes(text())
    (tmp_path / "a.yml").write_bytes(text({"members": []}, metadata={"name": "paris"}))
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "d.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_bytes(b"no manifest")
    (tmp_path / ".hidden.yaml").write_bytes(b"[")
    found = load_folder(tmp_path)
    assert [(one.source.rsplit("/", 1)[1], one.name, one.wanted is not None, len(one.problems)) for one in found] == [
        ("a.yml", "paris", False, 1),
        ("b.yaml", "madrid", True, 0),
        ("c.yaml", None, False, 1),
        ("d.yaml", None, False, 1),
    ]


def test_files_and_folders_that_cannot_be_read(tmp_path) -> None:
    for path, words in (
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "a\0b", "the file"),
    ):
        with pytest.raises(ManifestError, match=words) as caught:
            load_file(path)
        assert len(caught.value.problems) == 1
    for path, words in ((tmp_path, "holds no"), (tmp_path / "none", "No such file")):
        with pytest.raises(ManifestError, match=words):
            load_folder(path)
    good = tmp_path / "good.yaml"
    good.write_bytes(text())
    assert load_file(good, commit="c0ffee").commit == "c0ffee"


def test_warnings_become_notes() -> None:
    loaded = wanted(
        {
            "connection": {"password": {"env": "A"}},
            "policy": {"brake": {"minHealthy": "90%"}, "levels": {"attended": "power"}},
            "virtualMachines": [
                {"tag": "x", "optional": True},
                {"name": "a", "maxLevel": "crown"},
                {"name": "b", "placement": {"require": ["xen03"]}},
            ],
            "members": [*document()["spec"]["members"][:2], {"name": "xen03", "address": "c", "state": "maintenance"}],
        }
    )
    words = [text.split(":")[0] for _, text in loaded.notes]
    assert words == [
        "certificates of `xen01`, `xen02` and `xen03`",
        "`minHealthy` 90%",
        "`optional`",
        "`maxLevel` `crown`",
        "`require` for `b`",
    ]
    assert [place.line for place, _ in loaded.notes if place] == sorted(
        place.line for place, _ in loaded.notes if place
    )


def test_a_vm_may_depend_on_the_others_of_a_pattern_that_it_matches() -> None:
    loaded = wanted({"virtualMachines": [{"name": "w-*"}, {"name": "w-1", "dependsOn": ["w-*"]}]})
    assert loaded.vms[1].depends_on == ("w-*",)


def test_a_uuid_in_depends_on_is_the_one_of_its_entry() -> None:
    uuid = "ABCDEF01-0000-0000-0000-000000000000"
    loaded = wanted({"virtualMachines": [{"uuid": uuid}, {"name": "a", "dependsOn": [uuid]}]})
    assert loaded.vms[1].depends_on == (loaded.vms[0].value,) == (uuid.lower(),)
