"""xenrec apply: perform a plan, prove the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.board import Board
from reconciler.cli.common import (
    MaxActionsOption,
    RepoOption,
    RevisionOption,
    Screen,
    SignedOption,
    SignersOption,
    StateOption,
    Stop,
    YieldOption,
    fail,
    load,
    note,
    plan_code,
    reconciler,
    say,
    screen,
    stop_words,
    tell,
    troubles,
    wanted_of,
    yielding,
)
from reconciler.cli.exits import Exit, worst
from reconciler.cli.plan import Format, read_file, show_plan, summary
from reconciler.core.plan import Outcome, Plan, Result, Status
from reconciler.core.wanted import Wanted
from reconciler.pipeline import Approval, Reconciler
from reconciler.rooms import Loaded, operator
from reconciler.views.json_view import outcome_json
from reconciler.views.markdown import outcome_markdown
from reconciler.views.saved_plan import FORMAT, load_plan, moved_facts
from reconciler.views.text import outcome_text


def apply(
    path: Annotated[
        str, typer.Argument(metavar="MANIFEST|PLAN", help="A manifest, a folder of them, or a saved plan.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    unattended: Annotated[
        bool,
        typer.Option("--unattended", help="For cron and timers: never asks, policy.levels.unattended holds, quiet."),
    ] = False,
    attest_dead: Annotated[
        list[str] | None,
        typer.Option("--attest-dead", metavar="HOST", help="You saw that HOST is powered off: you will type its name."),
    ] = None,
    failback: Annotated[bool, typer.Option("--failback", help="Hand mastership back to the declared master.")] = False,
    gives_way: YieldOption = None,
    max_actions: MaxActionsOption = None,
    form: Annotated[Format, typer.Option("--format", help="text, json or markdown.")] = Format.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what was left alone, and why.")] = False,
    repo: RepoOption = None,
    revision: RevisionOption = "HEAD",
    signed: SignedOption = False,
    signers: SignersOption = None,
    state_dir: StateOption = None,
) -> None:
    """Bring pools to what their manifests declare, and prove it by reading them again.

    Exit: 0 as declared, 3 done in part, withheld or unmet, 65 manifest, 69 unreachable, 75 another run, 77 login.
    """
    s = screen()
    try:
        if unattended and attest_dead:
            raise Stop(Exit.USAGE, "--attest-dead is a person's word, and --unattended means that nobody is there")
        if unattended and gives_way:
            raise Stop(Exit.USAGE, "--yield is a person's word, and --unattended means that nobody is there")
        if form not in (Format.TEXT, Format.JSON, Format.MARKDOWN):
            raise Stop(Exit.USAGE, f"apply has no format {form}", "use text, json or markdown")
        saved = _saved(path) if repo is None or Path(path).is_file() else None
        if saved is not None:
            found = manifest_of(saved, repo, signed=signed, signers=signers)
        else:
            found = load(path, repo, revision, signed=signed, signers=signers)
        if attest_dead and len(found) > 1:
            raise Stop(Exit.USAGE, "--attest-dead is about one pool", "name one manifest")
        if gives_way and len(found) > 1:
            raise Stop(Exit.USAGE, "--yield is about one pool", "name one manifest")
        if not (yes or unattended or saved) and not s.interactive:
            raise Stop(
                Exit.USAGE,
                "there is no terminal to ask on",
                f"xenrec apply {path} --yes, or --unattended, or a saved plan",
            )
    except Stop as stop:
        fail(stop)
    codes = []
    for loaded in found:
        try:
            with troubles():
                wanted = wanted_of(loaded)
                board = Board(s, quiet=unattended)
                rec = reconciler(
                    wanted,
                    state_dir,
                    attended=not unattended,
                    failback=failback,
                    progress=board.event,
                )
                rec.allowance = replace(
                    rec.allowance, max_actions=max_actions, yields=yielding(wanted, gives_way or ())
                )
                with rec.folder.lock(run=rec.run, since=rec.port.now()):
                    if attest_dead:
                        _attest(rec, attest_dead, s)
                    codes.append(
                        _one(
                            rec,
                            wanted,
                            s,
                            board,
                            saved=saved,
                            yes=yes,
                            unattended=unattended,
                            form=form,
                            verbose=verbose,
                        )
                    )
        except Stop as stop:
            tell(stop_words(stop), err=True)
            codes.append(stop.code)
    if len(found) > 1:
        summary([(one.name or one.source) for one in found], codes)
    raise typer.Exit(worst(codes))


def _saved(path: str) -> Plan | None:
    """The saved plan in a file; None when the file is something else (a manifest)."""
    file = Path(path)
    if not file.is_file():
        return None
    head = read_file(file)
    if FORMAT.encode() not in head[:200]:
        return None
    with troubles():
        return load_plan(head, path)


def manifest_of(saved: Plan, repo: Path | None, *, signed: bool, signers: Path | None) -> list[Loaded]:
    """The manifest that a saved plan was made from. Raises Stop when it is not what it was."""
    if saved.commit is not None:
        if repo is None:
            raise Stop(
                Exit.USAGE, f"the plan was made from commit {saved.commit[:12]}", "give the repository: --repo DIR"
            )
        found = [
            one
            for one in load(saved.source.partition(":")[2], repo, saved.commit, signed=signed, signers=signers)
            if one.wanted and one.wanted.name == saved.pool
        ]
    else:
        found = load(saved.source, None, "HEAD", signed=signed, signers=signers)
    if not found or found[0].wanted is None or found[0].wanted.digest != saved.digest:
        raise Stop(
            Exit.ERROR,
            f"{saved.source} changed since the plan was made",
            f"plan again: xenrec plan {saved.source} --out FILE",
        )
    return found


def _attest(rec: Reconciler, hosts: list[str], s: Screen) -> None:
    if not s.interactive:
        raise Stop(
            Exit.USAGE,
            "--attest-dead asks a person to type the host's name, and there is no terminal",
            f"xenrec attest {rec.wanted.argument} {hosts[0]} --dead --reason '...' --for 30m",
        )
    for host in hosts:
        typed = typer.prompt(
            f"You attest that {host} is powered off and stays off.\nIf it runs, VMs will run twice and their disks "
            f"will be destroyed.\nType the host's name to attest",
            err=True,
            default="",
            show_default=False,
        )
        if typed.strip() != host:
            raise Stop(Exit.USAGE, "that is not its name: nothing was attested, nothing was done")
        made = rec.attest(host, by=operator(), reason="attested on the command line of apply", lifetime=1800.0)
        if isinstance(made, str):
            raise Stop(Exit.ERROR, made, f"xenrec status {rec.wanted.argument}")


def _one(
    rec: Reconciler,
    wanted: Wanted,
    s: Screen,
    board: Board,
    *,
    saved: Plan | None,
    yes: bool,
    unattended: bool,
    form: Format,
    verbose: bool,
) -> Exit:
    look = rec.observe()
    plan = rec.plan_of(look)
    if saved is not None and saved.fingerprint != plan.fingerprint:
        moved = moved_facts(saved, plan)
        told = "\n".join(f"  {fact}" for fact in moved) or (
            "  no fact, but the actions: were --failback, --yield or --unattended given to one of plan and apply only?"
        )
        raise Stop(
            Exit.ERROR,
            f"the saved plan no longer fits; nothing was done. What moved:\n{told}",
            f"xenrec plan {wanted.argument} --out FILE",
        )
    asks = saved is None and not yes and not unattended
    # Nobody is asked about what was not shown; with another format stdout is that document's alone.
    show = say if form is Format.TEXT else note
    if not plan.actions:
        if form is not Format.TEXT or not unattended or plan.status is not Status.CLEAN:
            say(show_plan(plan, form, verbose=verbose))
        return plan_code(plan)
    if asks or form is Format.TEXT:
        show(show_plan(plan, Format.TEXT, verbose=verbose))
    # A plan that was looked at is a ceiling, also where nobody is to be asked.
    approval = Approval(plan if saved is not None or not (yes or unattended) else None)
    if asks:
        if not _confirmed("Apply this plan?"):
            raise Stop(Exit.USAGE, "nothing was done")

        def ask(more: Plan) -> bool:
            board.end()
            show(show_plan(more, Format.TEXT, verbose=verbose))
            return _confirmed("What was found now goes beyond the plan that you approved. Go on with this one?")

        approval.ask = ask
        plan = rec.again(plan, approval)
        if not plan.actions:
            say(show_plan(plan, form, verbose=verbose))
            return plan_code(plan)
    board.begin(plan)
    try:
        outcome = rec.apply(plan, approval)
    finally:
        board.end()
    say(_show_outcome(outcome, form, s, verbose=verbose))
    return outcome_code(outcome)


def _confirmed(question: str) -> bool:
    answer = typer.prompt(f"{question} Only 'yes' is accepted", err=True, default="", show_default=False)
    return bool(answer.strip() == "yes")


def _show_outcome(outcome: Outcome, form: Format, s: Screen, *, verbose: bool) -> str:
    if form is Format.JSON:
        return outcome_json(outcome)
    if form is Format.MARKDOWN:
        return outcome_markdown(outcome)
    return outcome_text(outcome, width=s.width, ascii=s.ascii, color=s.color, verbose=verbose)


def outcome_code(outcome: Outcome) -> Exit:
    """0 only if the plan made at the end, from the pool as read then, is empty."""
    if outcome.final is None or outcome.stopped:
        return Exit.PARTIAL
    if outcome.final.status is Status.CLEAN:
        return plan_code(outcome.final)
    if any(d.result is not Result.DONE for d in outcome.done):
        return Exit.PARTIAL
    return plan_code(outcome.final) or Exit.PARTIAL
