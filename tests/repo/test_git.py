"""Manifests come from the objects of one commit: not from the work tree, not past a signature, not from elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.repo.git import RepoError, read_manifests, require_signed, resolve_commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


class Repo:
    """A repository of a person, made with git as a person would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=Ana", "-c", "user.email=ana@example.org"]
        run = subprocess.run(
            ["git", *who, "-C", self.path, *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return run.stdout.strip()

    def write(self, name: str, content: str | bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, *options: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x", *options)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    made = Repo(tmp_path / "repo")
    made.write("pools/madrid.yaml", "name: madrid\n")
    made.write("pools/lyon.yml", "name: lyon\n")
    made.write("pools/README.md", "# pools\n")
    made.write("ca.pem", "x")
    made.commit()
    return made


def test_files_come_sorted_with_the_commit(repo: Repo) -> None:
    commit, files = read_manifests(repo.path, "main", "pools")
    assert commit == repo.git("rev-parse", "main")
    assert files == [("pools/lyon.yml", b"name: lyon\n"), ("pools/madrid.yaml", b"name: madrid\n")]
    assert read_manifests(repo.path, "main") == (commit, files)
    assert read_manifests(repo.path, commit[:10], "./pools/madrid.yaml") == (commit, files[1:])


def test_an_edited_work_tree_or_index_does_not_leak_in(repo: Repo) -> None:
    repo.write("pools/madrid.yaml", "name: edited\n")
    repo.write("pools/new.yaml", "name: new\n")
    repo.git("add", "-A")
    (repo.path / "pools/lyon.yml").unlink()
    assert [name for name, _ in read_manifests(repo.path, "HEAD")[1]] == ["pools/lyon.yml", "pools/madrid.yaml"]
    assert read_manifests(repo.path, "HEAD", "pools/madrid.yaml")[1][0][1] == b"name: madrid\n"


def test_an_older_revision_a_tag_and_a_bare_clone_read_alike(repo: Repo, tmp_path: Path) -> None:
    repo.git("tag", "-a", "v1", "-m", "one")
    repo.write("pools/madrid.yaml", "name: second\n")
    repo.commit()
    assert read_manifests(repo.path, "v1", "pools/madrid.yaml")[1][0][1] == b"name: madrid\n"
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    assert read_manifests(tmp_path / "bare", "main")[1][1][1] == b"name: second\n"


def test_bytes_are_those_of_the_commit_whatever_git_would_convert(repo: Repo, tmp_path: Path) -> None:
    odd = b"\r\n\x00\xff$Id$\n"
    repo.write(".gitattributes", "*.yaml text eol=crlf ident export-subst export-ignore filter=evil\n")
    repo.git("config", "filter.evil.smudge", f"touch {tmp_path}/ran; cat")
    repo.write("a b*[x].yaml", odd)
    repo.git("-c", "core.autocrlf=false", "add", "-A")
    repo.write(".gitattributes", "*.yaml -text\n")
    repo.commit()
    repo.write(".gitattributes", "*.yaml text eol=crlf ident export-subst export-ignore filter=evil\n")
    repo.commit()
    files = dict(read_manifests(repo.path, "main")[1])
    oid = repo.git("rev-parse", "main:a b*[x].yaml")
    raw = subprocess.run(["git", "-C", repo.path, "cat-file", "blob", oid], check=True, capture_output=True).stdout
    assert files["a b*[x].yaml"] == raw
    assert "pools/madrid.yaml" in files
    assert not (tmp_path / "ran").exists()
    assert read_manifests(repo.path, "main", "a b*[x].yaml")[1] == [("a b*[x].yaml", raw)]


def test_an_environment_left_by_a_hook_points_nowhere_else(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repo(tmp_path / "other")
    other.write("pools/madrid.yaml", "name: other\n")
    other.commit()
    for name, value in (
        ("GIT_DIR", str(other.path / ".git")),
        ("GIT_WORK_TREE", str(other.path)),
        ("GIT_OBJECT_DIRECTORY", str(other.path / ".git/objects")),
        ("GIT_INDEX_FILE", "/nowhere"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "alias.ls-tree"),
        ("GIT_CONFIG_VALUE_0", "!false"),
    ):
        monkeypatch.setenv(name, value)
    assert read_manifests(repo.path, "main", "pools/madrid.yaml")[1][0][1] == b"name: madrid\n"


def test_a_replaced_object_is_not_believed(repo: Repo) -> None:
    true = repo.git("rev-parse", "main")
    repo.write("pools/madrid.yaml", "name: forged\n")
    forged = repo.commit()
    repo.git("replace", true, forged)
    assert read_manifests(repo.path, true, "pools/madrid.yaml")[1][0][1] == b"name: madrid\n"


@pytest.mark.parametrize(
    "revision",
    ["", "-x", "--help", "--upload-pack=touch /tmp/x", "main --all", "main\n", "main..HEAD", "^main", "a\0b"],
)
def test_revisions_that_are_none_are_refused(repo: Repo, revision: str) -> None:
    with pytest.raises(RepoError) as caught:
        read_manifests(repo.path, revision)
    assert caught.value.remedy


@pytest.mark.parametrize("revision", ["nobranch", "f" * 40, "main:pools/madrid.yaml", "main^{tree}", "HEAD~99"])
def test_an_unknown_revision_names_what_to_type(repo: Repo, revision: str) -> None:
    with pytest.raises(RepoError, match="has no commit") as caught:
        resolve_commit(repo.path, revision)
    assert "git -C" in caught.value.remedy


@pytest.mark.parametrize("path", ["../x", "/etc", "pools/../../x", "a\nb"])
def test_paths_outside_are_refused(repo: Repo, path: str) -> None:
    with pytest.raises(RepoError, match="not a path inside"):
        read_manifests(repo.path, "main", path)


def test_nothing_found_is_an_error_never_an_empty_wish(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(RepoError, match="is not in commit"):
        read_manifests(repo.path, "main", "pools/paris.yaml")
    repo.write("docs/x.md", "x")
    repo.commit()
    with pytest.raises(RepoError, match=r"no \*.yaml or \*.yml file under docs"):
        read_manifests(repo.path, "main", "docs")
    empty = Repo(tmp_path / "empty")
    with pytest.raises(RepoError, match="has no commit"):
        read_manifests(empty.path, "main")


def test_links_in_the_tree_are_not_followed(repo: Repo) -> None:
    (repo.path / "pools/link.yaml").symlink_to("/etc/passwd")
    repo.commit()
    with pytest.raises(RepoError, match=r"pools/link.yaml .* is a symbolic link"):
        read_manifests(repo.path, "main", "pools")


def test_a_name_that_would_move_the_cursor_is_refused(repo: Repo) -> None:
    (repo.path / "pools/b\x1b[2J.yaml").write_text("kind: Pool")
    repo.commit()
    with pytest.raises(RepoError, match=r"'pools/b\\x1b\[2J.yaml' .* control characters in its name"):
        read_manifests(repo.path, "main", "pools")


def test_what_is_no_repository_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RepoError, match="is not a directory"):
        resolve_commit(tmp_path / "none", "main")
    with pytest.raises(RepoError, match="is not a Git repository"):
        resolve_commit(tmp_path, "main")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RepoError, match="git is not installed"):
        resolve_commit(tmp_path, "main")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to another user")
def test_a_repository_of_another_user_tells_how_to_trust_it(repo: Repo) -> None:
    for path in (repo.path, *repo.path.rglob("*")):
        os.chown(path, 61_184, 61_184, follow_symlinks=False)
    with pytest.raises(RepoError, match="belongs to another user") as caught:
        read_manifests(repo.path, "main")
    assert f"--add safe.directory {repo.path}" in caught.value.remedy


# --- signatures ----------------------------------------------------------------------------------------------------


def key(folder: Path, name: str) -> Path:
    """A throw-away SSH key."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
    return path


def sign(repo: Repo, who: Path) -> str:
    repo.git("config", "gpg.format", "ssh")
    repo.git("config", "user.signingKey", str(who))
    return repo.commit("--allow-empty", "-S")


def signers(folder: Path, *keys: Path) -> Path:
    """An allowed-signers file for these keys."""
    path = folder / "allowed"
    path.write_text("".join(f"ana@example.org {k.with_suffix('.pub').read_text()}" for k in keys))
    return path


@needs_ssh_keygen
def test_a_commit_signed_by_an_allowed_key_passes(repo: Repo, tmp_path: Path) -> None:
    ana = key(tmp_path, "ana")
    commit = sign(repo, ana)
    assert require_signed(repo.path, "main", signers(tmp_path, ana)) == commit


@needs_ssh_keygen
def test_everything_else_is_refused(repo: Repo, tmp_path: Path) -> None:
    ana, eve = key(tmp_path, "ana"), key(tmp_path, "eve")
    allowed = signers(tmp_path, ana)
    with pytest.raises(RepoError, match="is not signed"):
        require_signed(repo.path, "main", allowed)
    with pytest.raises(RepoError, match="is not signed"):
        require_signed(repo.path, "main")
    sign(repo, eve)
    with pytest.raises(RepoError, match="does not verify"):
        require_signed(repo.path, "main", allowed)
    with pytest.raises(RepoError, match="is not there"):
        require_signed(repo.path, "main", tmp_path / "none")


@needs_ssh_keygen
def test_the_repositorys_own_settings_do_not_choose_the_judge(repo: Repo, tmp_path: Path) -> None:
    ana, eve = key(tmp_path, "ana"), key(tmp_path, "eve")
    sign(repo, eve)
    yes = tmp_path / "yes"
    yes.write_text("#!/bin/sh\necho 'Good \"git\" signature for ana@example.org with ED25519 key SHA256:x'\nexit 0\n")
    yes.chmod(0o755)
    repo.git("config", "gpg.ssh.program", str(yes))
    eves = tmp_path / "eves"
    eves.write_text(f"ana@example.org {eve.with_suffix('.pub').read_text()}")
    repo.git("config", "gpg.ssh.allowedSignersFile", str(eves))
    with pytest.raises(RepoError, match="does not verify"):
        require_signed(repo.path, "main", signers(tmp_path, ana))


@needs_ssh_keygen
def test_a_signature_moved_to_another_commit_is_refused(repo: Repo, tmp_path: Path) -> None:
    ana = key(tmp_path, "ana")
    sign(repo, ana)
    raw = subprocess.run(["git", "-C", repo.path, "cat-file", "commit", "main"], check=True, capture_output=True).stdout
    forged = subprocess.run(
        ["git", "-C", repo.path, "hash-object", "-t", "commit", "-w", "--stdin"],
        input=raw + b"\nand more\n",
        check=True,
        capture_output=True,
        text=False,
    ).stdout.decode()
    with pytest.raises(RepoError, match="does not verify"):
        require_signed(repo.path, forged.strip(), signers(tmp_path, ana))


@needs_ssh_keygen
def test_with_a_list_of_ssh_keys_another_kind_of_signature_does_not_pass(repo: Repo, tmp_path: Path) -> None:
    raw = subprocess.run(["git", "-C", repo.path, "cat-file", "commit", "main"], check=True, capture_output=True).stdout
    header, _, message = raw.partition(b"\n\n")
    pgp = b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----"
    forged = subprocess.run(
        ["git", "-C", repo.path, "hash-object", "-t", "commit", "-w", "--stdin"],
        input=header + pgp + b"\n\n" + message,
        check=True,
        capture_output=True,
    ).stdout.decode()
    with pytest.raises(RepoError, match="not signed with an SSH key"):
        require_signed(repo.path, forged.strip(), signers(tmp_path, key(tmp_path, "ana")))
