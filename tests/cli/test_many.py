"""Folders of manifests, and manifests from Git: one bad pool stops no other, and only what is committed counts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Bench, bench_of, first_address, xenrec


@pytest.fixture
def two(tmp_path: Path, certificates: Path, surroundings: dict[str, str]) -> Iterator[tuple[Path, Bench, Bench]]:
    """A folder with the manifests of two pools, west and east, one bad file, and one of a pool nobody reaches."""
    first = first_address()
    near = first.rpartition(".")[0] + "." + str(int(first.rpartition(".")[2]) + 5)
    places = [tmp_path / "w", tmp_path / "e"]
    for place in places:
        place.mkdir()
    folder = tmp_path / "pools"
    folder.mkdir()
    with (
        bench_of(places[0], certificates / "two-w", name="west", hosts=1, vms=2) as west,
        bench_of(places[1], certificates / "two-e", name="east", first=near, hosts=1, vms=2) as east,
    ):
        (folder / "west.yaml").write_text(west.manifest.read_text())
        (folder / "east.yaml").write_text(east.manifest.read_text())
        yield folder, west, east


def test_a_clean_folder(two: tuple[Path, Bench, Bench]) -> None:
    folder, west, east = two
    ran = xenrec("plan", str(folder))
    assert ran.code == 0, ran
    assert "Pool west is as declared" in ran.out
    assert "Pool east is as declared" in ran.out
    assert ran.err.split("\n")[-3:-1] == ["east: nothing left to do (exit 0)", "west: nothing left to do (exit 0)"]
    assert west.writes() == east.writes() == []


def test_one_bad_pool_does_not_stop_the_others(two: tuple[Path, Bench, Bench]) -> None:
    folder, west, east = two
    (folder / "bad.yaml").write_text("apiVersion: xenrec/v1\nkind: Pool\nmetadata: {name: bad}\nspec: {membres: []}\n")
    gone = east.manifest.read_text().replace("name: east", "name: gone")
    with east.served.world() as lab:
        uuid = lab.describe()["pool"]["uuid"]
        address = east.served.address_of(lab.hosts["xen1"] if "xen1" in lab.hosts else next(iter(lab.hosts.values())))
    (folder / "gone.yaml").write_text(gone.replace(uuid, uuid[:-1] + "0").replace(address, "127.0.40.250:9"))
    west.halt("app-1")
    ran = xenrec("apply", str(folder), "--yes")
    assert ran.code == 65, ran
    assert "bad.yaml:4:8" in ran.err
    assert "membres" in ran.err
    assert "app-1" in west.running()
    assert sorted(ran.err.split("\n")[-5:-1]) == [
        "bad: manifest invalid (exit 65)",
        "east: nothing left to do (exit 0)",
        "gone: pool not reachable (exit 69)",
        "west: nothing left to do (exit 0)",
    ]
    assert east.writes() == []


def test_two_files_of_one_pool_are_both_refused(two: tuple[Path, Bench, Bench]) -> None:
    folder, west, _ = two
    (folder / "again.yaml").write_text((folder / "west.yaml").read_text())
    west.halt("app-1")
    ran = xenrec("apply", str(folder), "--yes")
    assert ran.code == 65
    assert "west" in ran.err
    assert west.writes() == []
    assert "app-1" not in west.running()


def test_what_is_about_one_pool_says_so(two: tuple[Path, Bench, Bench]) -> None:
    folder, _, _ = two
    for words in (["plan", str(folder), "--out", "x"], ["status", str(folder)], ["capture", str(folder), "x"]):
        ran = xenrec(*words)
        assert ran.code == 64, ran
        assert "one" in ran.err
    assert xenrec("apply", str(folder), "--yes", "--attest-dead", "xen01").code == 64


def test_an_empty_folder(surroundings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for words in (["plan"], ["apply", "--yes"], ["validate"]):
        ran = xenrec(words[0], str(tmp_path / "none"), *words[1:])
        assert ran.code == 65, ran
        assert "none" in ran.err


def git(where: Path, *words: str) -> str:
    """Git with an identity of its own."""
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "op",
        "GIT_AUTHOR_EMAIL": "op@desk",
        "GIT_COMMITTER_NAME": "op",
        "GIT_COMMITTER_EMAIL": "op@desk",
    }
    done = subprocess.run(["git", *words], cwd=where, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class TestRepository:
    """`--repo DIR --revision REV`."""

    @pytest.fixture
    def repo(self, bench: Bench) -> Path:
        where = bench.folder / "repo"
        (where / "pools").mkdir(parents=True)
        (where / "pools" / "lab.yaml").write_text(bench.manifest.read_text())
        git(where, "init", "-q", "-b", "main")
        git(where, "add", ".")
        git(where, "commit", "-q", "-m", "the lab")
        return where

    def test_a_dirty_work_tree_does_not_leak_in(self, bench: Bench, repo: Path) -> None:
        file = repo / "pools" / "lab.yaml"
        text = file.read_text()
        file.write_text(text.replace("state: running", "state: halted"))
        git(repo, "add", ".")
        (repo / "pools" / "other.yaml").write_text("not a manifest")
        ran = xenrec("apply", "pools/lab.yaml", "--repo", str(repo), "--yes")
        assert ran.code == 0, ran
        assert bench.writes() == []
        git(repo, "commit", "-q", "-m", "all off")
        ran = xenrec("plan", "pools/lab.yaml", "--repo", str(repo), "--detailed-exitcode")
        assert ran.code == 2, ran
        assert "shut down app-1" in ran.out
        assert xenrec("plan", "pools/lab.yaml", "--repo", str(repo), "--revision", "HEAD~1").code == 0

    def test_the_commit_is_told_in_plan_journal_and_pool(self, bench: Bench, repo: Path) -> None:
        commit = git(repo, "rev-parse", "HEAD")
        bench.halt("app-1")
        kept = bench.folder / "night.plan"
        ran = xenrec("plan", ".", "--repo", str(repo), "--out", str(kept), "--format", "markdown")
        assert ran.code == 0, ran
        assert commit in ran.out
        assert commit in kept.read_text()
        ran = xenrec("apply", str(kept))
        assert ran.code == 64
        assert "give the repository: --repo DIR" in ran.err
        ran = xenrec("apply", str(kept), "--repo", str(repo))
        assert ran.code == 0, ran
        journals = [f.read_text() for f in bench.state.rglob("*.jsonl")]
        assert any(commit in text for text in journals)
        with bench.served.world() as lab:
            messages = [m for host in lab.hosts.values() for m in host.messages.values()]
        assert any(commit in m["body"] and "app-1" in m["body"] for m in messages)

    def test_an_unsigned_commit_is_refused_where_a_signature_is_asked_for(self, bench: Bench, repo: Path) -> None:
        bench.halt("app-1")
        kept = bench.folder / "night.plan"
        assert xenrec("plan", ".", "--repo", str(repo), "--out", str(kept)).code == 0
        bench.calls.clear()
        signers = bench.folder / "signers"
        signers.write_text("")
        for words in (
            ["plan", "."],
            ["apply", ".", "--yes"],
            ["apply", ".", "--unattended"],
            ["validate", "."],
            ["apply", str(kept)],
        ):
            ran = xenrec(*words, "--repo", str(repo), "--require-signed", "--allowed-signers", str(signers))
            assert ran.code == 1, (words, ran)
            assert "sign" in ran.err
        assert bench.calls == []

    def test_what_is_no_repository_no_revision_no_file(self, bench: Bench, repo: Path) -> None:
        for words, told in (
            (["plan", ".", "--repo", str(bench.folder / "lab")], "repository"),
            (["plan", ".", "--repo", str(repo), "--revision", "nowhere"], "nowhere"),
            (["plan", "pools/absent.yaml", "--repo", str(repo)], "absent.yaml"),
        ):
            ran = xenrec(*words)
            assert ran.code in (1, 65), ran
            assert told in ran.err
            assert "Traceback" not in ran.err
        assert bench.calls == []
