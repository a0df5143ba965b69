"""What stands in deploy/ is exercised as far as a machine without those services can."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.deploy.commands import understand, xenrec_lines

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
GITHUB = DEPLOY / "github" / "xenrec.yml"
GITLAB = DEPLOY / "gitlab" / "xenrec.gitlab-ci.yml"
SERVICE = DEPLOY / "systemd" / "xenrec@.service"
TIMER = DEPLOY / "systemd" / "xenrec@.timer"
CRON = DEPLOY / "cron" / "xenrec"
README = DEPLOY / "README.md"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def github() -> dict[str, Any]:
    # BaseLoader: YAML 1.1 reads the key `on` as a truth value, GitHub does not.
    return dict(yaml.load(GITHUB.read_text(), Loader=yaml.BaseLoader))


def gitlab() -> dict[str, Any]:
    return dict(yaml.safe_load(GITLAB.read_text()))


def github_scripts() -> list[str]:
    return [step["run"] for job in github()["jobs"].values() for step in job["steps"] if "run" in step]


def gitlab_scripts() -> list[str]:
    jobs = [job for job in gitlab().values() if isinstance(job, dict) and "script" in job]
    return [line for job in jobs for line in job["script"]]


def readme_scripts() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)


def directives(unit: Path) -> dict[str, list[str]]:
    """Settings of a unit by name, as often as they stand."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def cron_jobs() -> list[str]:
    lines = [line for line in CRON.read_text().splitlines() if line and not line.startswith("#")]
    return [line for line in lines if not re.match(r"[A-Z_]+=", line)]


# --- every xenrec line is one that xenrec understands --------------------------------------------------------------


def all_lines() -> list[tuple[str, list[str]]]:
    scripts = [(GITHUB.name, s) for s in github_scripts()] + [(GITLAB.name, s) for s in gitlab_scripts()]
    scripts += [(README.name, s) for s in readme_scripts()]
    scripts += [(SERVICE.name, s) for s in directives(SERVICE)["ExecStart"]]
    scripts += [(CRON.name, s.split(None, 6)[6]) for s in ("x " + job for job in cron_jobs())]
    return [(name, line) for name, script in scripts for line in xenrec_lines(script)]


@pytest.mark.parametrize(
    ("name", "line"), all_lines(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_xenrec_understands_every_line(name: str, line: list[str]) -> None:
    assert understand(line) in {"validate", "plan", "apply", "show", "attest"}, name


def test_the_lines_that_matter_are_among_them() -> None:
    found = {(name, understand(line)) for name, line in all_lines()}
    for name in (GITHUB.name, GITLAB.name):
        assert {(name, "validate"), (name, "plan"), (name, "apply")} <= found
    assert {(SERVICE.name, "apply"), (CRON.name, "apply"), (README.name, "attest"), (GITLAB.name, "show")} <= found
    for name, line in all_lines():
        if "apply" in line:
            assert "--unattended" in line, name


@pytest.mark.parametrize(
    "wrong",
    ["xenrec aply --unattended x.yaml", "xenrec apply --unattend x.yaml", "xenrec plan", "xenrec plan x --format pdf"],
)
def test_a_line_with_a_mistake_is_found(wrong: str) -> None:
    (line,) = xenrec_lines(wrong)
    with pytest.raises(typer.TyperException):
        understand(line)


# --- systemd -------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as for the pool madrid, with a program that exists in place of xenrec."""
    for unit in (SERVICE, TIMER):
        text = unit.read_text().replace("ExecStart=xenrec ", f"ExecStart={shutil.which('true')} ")
        (tmp_path / unit.name.replace("@", "@madrid")).write_text(text)
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@needs_systemd
def test_systemd_finds_no_fault_in_the_units(installed: Path) -> None:
    run = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "--man=no",
            installed / "xenrec@madrid.service",
            installed / "xenrec@madrid.timer",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in run.stderr.splitlines() if "xenrec" in line]
    assert (run.returncode, ours) == (0, []), run.stderr


@needs_systemd
def test_systemd_would_find_a_fault(installed: Path) -> None:
    unit = installed / "xenrec@madrid.service"
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystm=strict"))
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ProtectSystm" in run.stderr


@needs_systemd
def test_the_service_is_hardened(installed: Path) -> None:
    run = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--threshold=15",
            "--no-pager",
            installed / "xenrec@madrid.service",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd-analyze can't judge a unit offline")
    assert run.returncode == 0, run.stdout[-2000:]


def test_the_service_says_what_its_states_mean() -> None:
    found = directives(SERVICE)
    assert found["SuccessExitStatus"] == ["75"]
    assert found["Type"] == ["oneshot"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["StateDirectory"] == ["xenrec"]
    assert "--unattended" in found["ExecStart"][0]
    assert found["DynamicUser"] == ["yes"]


@needs_systemd
def test_the_timers_calendar_is_every_five_minutes() -> None:
    (calendar,) = directives(TIMER)["OnCalendar"]
    run = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=2", calendar],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    minutes = re.findall(r"(?:Next elapse|Iter. #2|Iteration #2):.*? (\d+):(\d+):00", run.stdout)
    first, second = ((int(h) * 60 + int(m)) for h, m in minutes)
    assert (second - first) % 1440 == 5


# --- cron ----------------------------------------------------------------------------------------------------------


def test_the_crontab_line_is_one() -> None:
    (job,) = cron_jobs()
    *fields, user, command = job.split(None, 6)
    assert len(fields) == 5
    for field, (low, high) in zip(fields, [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)], strict=True):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", field)
        assert match, field
        assert all(low <= int(number) <= high for number in match.groups() if number), field
    assert user == "xenrec"
    assert "%" not in command  # cron would take it for the end of the line
    subprocess.run(["sh", "-n", "-c", command], check=True, timeout=10)
    assert CRON.read_text().endswith("\n")  # cron ignores a last line without it
    assert "." not in CRON.name  # and files with a dot


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (75, 0), (3, 1), (69, 1)])
def test_the_crontab_line_takes_busy_for_no_news(tmp_path: Path, code: int, ends: int) -> None:
    command = cron_jobs()[0].split(None, 6)[6]
    fake = tmp_path / "xenrec"
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    run = subprocess.run(["sh", "-c", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=10, check=False)
    assert run.returncode == ends


# --- pipelines -----------------------------------------------------------------------------------------------------


def test_the_pipelines_install_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert github()["env"]["XENREC"] == gitlab()["variables"]["XENREC"] == f"xenrec=={version}"


def test_nothing_from_a_merge_request_is_pasted_into_a_script() -> None:
    for script in github_scripts():
        assert "${{" not in script


def test_what_a_github_run_may_do() -> None:
    jobs = github()["jobs"]
    assert github()["permissions"] == {"contents": "read"}
    assert [name for name, job in jobs.items() if "pull-requests" in job.get("permissions", {})] == ["plan"]
    assert "head.repo.full_name == github.repository" in jobs["plan"]["if"]
    assert "refs/heads/main" in jobs["apply"]["if"]
    assert jobs["apply"]["concurrency"]["cancel-in-progress"] == "false"
    assert all(job["environment"] for name, job in jobs.items() if "secrets." in str(job))
    assert "pull_request_target" not in github()["on"]


def test_gitlab_applies_only_the_default_branch_and_one_at_a_time() -> None:
    jobs = gitlab()
    assert jobs["apply"]["rules"] == [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}]
    assert jobs["apply"]["resource_group"]
    assert jobs["plan"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}]
    assert set(jobs["stages"]) == {jobs[name]["stage"] for name in ("validate", "plan", "apply")}
    assert jobs["plan"]["artifacts"]["reports"]["terraform"] in jobs["plan"]["artifacts"]["paths"]


@pytest.mark.parametrize("script", github_scripts() + gitlab_scripts() + readme_scripts())
def test_scripts_are_valid_shell(script: str) -> None:
    run = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=10, check=False)
    assert (run.returncode, run.stderr) == (0, "")


PLANS = {
    "github": next(s for s in github_scripts() if "xenrec plan" in s),
    "gitlab": next(s for s in gitlab_scripts() if "xenrec plan" in s),
}


@pytest.mark.parametrize("forge", sorted(PLANS))
@pytest.mark.parametrize(("code", "ends"), [(0, 0), (2, 0), (3, 0), (65, 65), (69, 69), (1, 1)])
def test_changes_do_not_fail_a_plan_job_and_errors_do(tmp_path: Path, forge: str, code: int, ends: int) -> None:
    fake = tmp_path / "xenrec"
    fake.write_text(f"#!/bin/sh\necho plan\nexit {code}\n")
    fake.chmod(0o755)
    run = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", PLANS[forge]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "POOL": "madrid"},
        cwd=tmp_path,
        timeout=10,
        check=False,
        capture_output=True,
    )
    assert run.returncode == ends
    if forge == "github":
        assert (tmp_path / "summary").read_text() == "plan\n"
