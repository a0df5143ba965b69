"""Manifests as a commit holds them, read with plain `git` from objects: an edited work tree can't leak in.

The repository belongs to somebody else and may be hostile: no hook, filter, pager, prompt, external program or network
is let run, no name may look like an option, and symbolic links and submodules in the tree are not followed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

MANIFEST_SUFFIXES = (".yaml", ".yml")
FILE_LIMIT = 32 * 1024 * 1024
"""Bytes of all manifests of one revision; more is surely not manifests."""
COUNT_LIMIT = 10_000
GIT_TIMEOUT = 60.0
"""Seconds for one git command; reading 300 files takes 25 ms."""
ENVIRONMENT_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME", "GNUPGHOME", "TMPDIR")
"""What git is given of our environment: where programs, the user's settings and keyring are. No GIT_* variable: one
left over from a hook would point at another repository."""


class RepoError(Exception):
    """The manifests can't be read from the repository. `remedy` is the next command to type."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}"


def resolve_commit(repo: Path, revision: str) -> str:
    """The full id of the commit that a revision names now. Resolve once and read by id: a branch moves.

    Raises RepoError: no git, not a repository, a repository of another user, an unknown or unsafe revision.
    """
    if not revision or revision.startswith("-") or any(not c.isprintable() or c.isspace() for c in revision):
        raise RepoError(
            f"{revision!r} is not a revision",
            "Give a branch, a tag or a commit id, for example --revision main",
        )
    if ".." in revision or revision.startswith("^"):
        raise RepoError(f"{revision!r} names more than one commit", "Give one branch, tag or commit id")
    _require_repository(repo)
    found = _git(repo, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    commit = found.stdout.decode("ascii", "replace").strip()
    if found.returncode != 0 or not commit:
        raise RepoError(
            f"the repository {repo} has no commit {revision!r}",
            f"See what it has: git -C {repo} branch --all; or bring it up to date: git -C {repo} fetch",
        )
    return commit


def read_manifests(repo: Path, revision: str, path: str | None = None) -> tuple[str, list[tuple[str, bytes]]]:
    """(commit id, [(path in the repository, content)]) of the manifests at a revision, sorted by path.

    `path` is a file, or a folder whose *.yaml and *.yml files at any depth are read; None is the whole tree. Paths
    are relative to the repository's root. Raises RepoError, also when there is no manifest: nothing found is never
    an empty wish (I5).
    """
    commit = resolve_commit(repo, revision)
    where = _safe_path(path)
    entries = _entries(repo, commit, where)
    if where and not entries:
        raise RepoError(
            f"{where} is not in commit {commit[:12]} of {repo}",
            f"See what is: git -C {repo} ls-tree -r --name-only {commit[:12]}",
        )
    names: list[tuple[str, str, int]] = []
    for mode, kind, oid, size, name in entries:
        exact = name == where
        if not exact and not name.endswith(MANIFEST_SUFFIXES):
            continue
        if not name.isprintable():
            raise RepoError(
                f"{name!r} in commit {commit[:12]} has control characters in its name", "Rename that file, and commit"
            )
        if kind != "blob" or mode == "120000":
            what = "a symbolic link" if mode == "120000" else "a submodule"
            raise RepoError(
                f"{name} in commit {commit[:12]} is {what}, which is not followed", "Commit the file itself"
            )
        names.append((name, oid, size))
    if not names:
        raise RepoError(
            f"commit {commit[:12]} of {repo} has no *.yaml or *.yml file{f' under {where}' if where else ''}",
            f"See what it has: git -C {repo} ls-tree -r --name-only {commit[:12]}",
        )
    if len(names) > COUNT_LIMIT or sum(size for _, _, size in names) > FILE_LIMIT:
        raise RepoError(
            f"{len(names)} files with {sum(size for _, _, size in names)} bytes are too much for manifests",
            "Name the folder that holds the manifests",
        )
    contents = _blobs(repo, [oid for _, oid, _ in names])
    return commit, sorted((name, content) for (name, _, _), content in zip(names, contents, strict=True))


def require_signed(repo: Path, revision: str, allowed_signers: Path | None = None) -> str:
    """The commit id, if the commit's signature verifies; git's exit code decides, not its words.

    With `allowed_signers` (ssh-keygen's ALLOWED SIGNERS format) only SSH signatures of those keys count, and
    what the repository's own settings say about signers does not. Without it, the user's GPG or SSH settings do.
    Give the id that read_manifests returned, so that what was verified is what is used. Raises RepoError.
    """
    commit = resolve_commit(repo, revision)
    settings: list[str] = []
    if allowed_signers is not None:
        if not allowed_signers.is_file():
            raise RepoError(
                f"the list of allowed signers {allowed_signers} is not there",
                "Make it: one line per person, 'name@example.org ssh-ed25519 AAAA…' (ssh-keygen(1), ALLOWED SIGNERS)",
            )
        # The repository's own configuration must not choose the judge.
        settings += ["-c", f"gpg.ssh.allowedSignersFile={allowed_signers.absolute()}"]
        settings += ["-c", "gpg.ssh.program=ssh-keygen", "-c", "gpg.minTrustLevel=fully"]
        signatures = _signatures(repo, commit)
        if not signatures:
            raise _unsigned(repo, commit, revision)
        # Otherwise a GPG signature by any key of the keyring would pass beside the list.
        if not all(begin.startswith(b"-----BEGIN SSH SIGNATURE-----") for begin in signatures):
            raise RepoError(
                f"commit {commit[:12]} ({revision}) is not signed with an SSH key, and only those of "
                f"{allowed_signers} are allowed",
                "Sign it anew: git -c gpg.format=ssh commit --amend -S",
            )
    verified = _git(repo, "verify-commit", commit, settings=settings)
    if verified.returncode == 0:
        return commit
    said = [line for line in verified.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    if not said:
        raise _unsigned(repo, commit, revision)
    raise RepoError(
        f"the signature of commit {commit[:12]} ({revision}) does not verify: {_one_line(said[-1])}",
        f"See it: git -C {repo} log --show-signature -1 {commit[:12]}; or let somebody who is allowed sign the commit",
    )


def _signatures(repo: Path, commit: str) -> list[bytes]:
    """The first line of each signature in a commit's header."""
    header = _git(repo, "cat-file", "commit", commit).stdout.split(b"\n\n", 1)[0]
    return [line.partition(b" ")[2] for line in header.split(b"\n") if line.startswith((b"gpgsig ", b"gpgsig-sha256 "))]


def _unsigned(repo: Path, commit: str, revision: str) -> RepoError:
    return RepoError(
        f"commit {commit[:12]} ({revision}) of {repo} is not signed, and only signed commits are allowed",
        "Sign it: git commit --amend -S, then push; or name a commit that is signed",
    )


def _safe_path(path: str | None) -> str:
    """A path in the repository, "" for its root. Raises RepoError for one that leaves it."""
    if path is None or path in ("", ".", "./"):
        return ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not path.isprintable():
        raise RepoError(f"{path!r} is not a path inside the repository", "Give it relative to the repository's root")
    return "/".join(parts)


def _require_repository(repo: Path) -> None:
    if not repo.is_dir():
        raise RepoError(f"{repo} is not a directory", "Give --repo the folder of a Git repository")
    probe = _git(repo, "rev-parse", "--git-dir")
    if probe.returncode == 0:
        return
    said = probe.stderr.decode("utf-8", "replace")
    if "safe.directory" in said or "dubious ownership" in said:
        raise RepoError(
            f"git will not read {repo}: it belongs to another user",
            f"If you trust it: git config --global --add safe.directory {repo.absolute()}; or run as its owner",
        )
    raise RepoError(f"{repo} is not a Git repository", f"Clone it there, or give the right folder (ls -a {repo})")


def _entries(repo: Path, commit: str, where: str) -> list[tuple[str, str, str, int, str]]:
    """(mode, type, object id, size, path) of everything at or under a path of a commit, folders excluded."""
    listed = _git(
        repo, "ls-tree", "-r", "-z", "--long", "--full-tree", commit, "--", *([f":(literal){where}"] if where else [])
    )
    if listed.returncode != 0:
        raise _failed(repo, "ls-tree", listed)
    found = []
    for line in listed.stdout.split(b"\0"):
        if line:
            facts, _, name = line.partition(b"\t")
            mode, kind, oid, size = facts.decode("ascii").split()
            found.append((mode, kind, oid, int(size) if size.isdigit() else 0, os.fsdecode(name)))
    return found


def _blobs(repo: Path, oids: Sequence[str]) -> list[bytes]:
    """The contents of blobs, by one git process: no text conversion, no filter."""
    read = _git(repo, "cat-file", "--batch", feed="".join(f"{oid}\n" for oid in oids).encode())
    if read.returncode != 0:
        raise _failed(repo, "cat-file", read)
    contents, rest = [], read.stdout
    for oid in oids:
        head, _, rest = rest.partition(b"\n")
        words = head.decode("ascii", "replace").split()
        if len(words) != 3 or words[0] != oid or words[1] != "blob":
            raise RepoError(
                f"the repository {repo} lacks a part ({_one_line(head.decode('utf-8', 'replace'))})",
                f"git -C {repo} fsck",
            )
        size = int(words[2])
        contents.append(rest[:size])
        rest = rest[size + 1 :]
    return contents


def _failed(repo: Path, command: str, run: subprocess.CompletedProcess[bytes]) -> RepoError:
    said = _one_line(run.stderr.decode("utf-8", "replace"))
    return RepoError(f"git {command} failed in {repo}: {said or f'exit code {run.returncode}'}", f"git -C {repo} fsck")


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def _git(
    repo: Path, *arguments: str, settings: Sequence[str] = (), feed: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a clean environment. Raises RepoError when there is none or it does not end."""
    program = shutil.which("git")
    if program is None:
        raise RepoError("git is not installed", "Install it: apt-get install git; or read the manifest from a file")
    environment = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
    environment |= {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",  # a refs/replace entry would show another content under a verified id
        "GIT_NO_LAZY_FETCH": "1",  # a partial clone would reach for the network
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
    }
    hardened = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never")
    command = [program, "--no-pager", *hardened, *settings, "-C", str(repo.absolute()), *arguments]
    try:
        return subprocess.run(  # noqa: S603 - a fixed program, no shell, options ended before any name
            command, env=environment, input=feed, capture_output=True, timeout=GIT_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise RepoError(
            f"git did not end within {GIT_TIMEOUT:.0f} s in {repo}", f"Try it by hand: git -C {repo} status"
        ) from None
    except OSError as error:
        raise RepoError(f"git can't be started: {error.strerror or error}", "Try it by hand: git --version") from None
