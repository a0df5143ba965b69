"""Who is alive, who leads whom, and what each witness said: for a person at a terminal."""

from __future__ import annotations

from reconciler.core.evidence import BmcPower, Diagnosis, LoginAnswer, Survey, Testimony
from reconciler.core.plan import Plan
from reconciler.views import words
from reconciler.views.drawing import draw
from reconciler.views.layout import Page
from reconciler.views.tell import proof, proved
from reconciler.views.terminal_plan import VERDICT_STYLES, headline

ANSWERS = {
    LoginAnswer.MASTER: ("master", "yes"),
    LoginAnswer.SLAVE: ("member", "yes"),
    LoginAnswer.EMERGENCY: ("member", "emergency"),
    LoginAnswer.REJECTED: ("-", "rejects us"),
    LoginAnswer.UNTRUSTED: ("-", "untrusted"),
    LoginAnswer.REFUSED: ("-", "no toolstack"),
    LoginAnswer.SILENT: ("-", "no"),
    LoginAnswer.STRANGE: ("-", "strangely"),
}
"""For each answer to a login: the role that it shows, and whether the host answers."""

_HEADS = ("MEMBER", "ADDRESS", "ROLE", "FOLLOWS", "ANSWERS", "BMC", "VERDICT")


def status_text(
    pool: str,
    diagnosis: Diagnosis,
    survey: Survey,
    plan: Plan | None = None,
    *,
    width: int = 80,
    ascii: bool = False,
    color: bool = False,
    next_command: str = "",
    verbose: bool = False,
) -> str:
    """The members as a table, each with the reason for its verdict; then what a plan would do, if one is given, and
    what must not be forgotten. With `verbose` every testimony, with its source."""
    page = Page(width=width, ascii=ascii, color=color)
    page.line((headline(pool, diagnosis), "bold"))
    if plan is None or not plan.actions:
        page.next(diagnosis.remedy, indent=2)
    page.blank()
    rows = [_row(t, diagnosis, survey) for t in survey.testimonies]
    seen = {t.name for t in survey.testimonies}
    rows += [
        (words.name(m.name), m.address, "-", "-", "not asked", "-", words.VERDICTS[m.verdict])
        for m in diagnosis.members
        if m.name not in seen
    ]
    order = [t.name for t in survey.testimonies] + [m.name for m in diagnosis.members if m.name not in seen]
    most = (20, 21, 8, 20, 12, 7, 12)
    widths = tuple(
        min(max((page.measure(r[n]) for r in (*rows, _HEADS)), default=1), most[n]) for n in range(len(_HEADS))
    )
    narrow = sum(widths) + 2 * len(widths) > page.width
    if not narrow:
        page.columns(*((h, "bold") for h in _HEADS[:-1]), (_HEADS[-1], "bold"), widths=widths[:-1])
    for name, row in zip(order, rows, strict=True):
        judged = diagnosis.of(name)
        style = VERDICT_STYLES[judged.verdict] if judged else ""
        if narrow:
            page.line((row[0], "bold"), f" ({row[1]}): ", (row[6], style), indent=2, hang=4)
            told = (f"{h.lower()} {v}" for h, v in zip(_HEADS[2:6], row[2:6], strict=True) if v != "-")
            page.line(", ".join(told), indent=4)
        else:
            page.columns(*row[:-1], (row[-1], style), widths=widths[:-1])
        if judged is not None:
            page.line((judged.why, "dim"), indent=4, hang=6)
            if verbose and (t := survey.of(name)) is not None:
                for line in testimony_lines(t):
                    page.line(line, indent=6, hang=8)
            if judged.certificate is not None:
                page.line(proof(judged.certificate, survey.at), indent=4, hang=6)
            for void in judged.voided:
                page.line(f"its certificate is void, for it shows life: {proved(void, survey.at)}", indent=4, hang=6)
    draw(page, diagnosis.ties)
    page.blank()
    page.line((f"Asked at {words.utc(survey.at)}, in {words.lasting(survey.took)}.", "dim"))
    if plan is not None:
        page.line(("Plan: ", "bold"), words.counted(plan) + ".", hang=2)
        if plan.forewarning:
            page.line(("Loss of the master: ", "bold"), words.clean(plan.forewarning) + ".", hang=2)
        for reminder in plan.reminders:
            page.line(("Remember: ", "bold"), words.clean(reminder), hang=2)
    page.next(next_command, indent=0)
    return page.render()


def _row(t: Testimony, diagnosis: Diagnosis, survey: Survey) -> tuple[str, ...]:
    role, answers = ANSWERS[t.login]
    judged = diagnosis.of(t.name)
    verdict = words.VERDICTS[judged.verdict] if judged is not None else "not judged"
    if t.is_emergency:
        answers = "emergency"
    elif t.reaches_master is False:
        answers = "but hangs"  # it answers a login and hangs on whatever needs its master (recording 03)
    bmc = "silent" if t.bmc is BmcPower.UNKNOWN else str(t.bmc)
    if t.bmc is BmcPower.NONE or (t.bmc is BmcPower.UNKNOWN and t.answers):
        bmc = "-"  # none declared, or not asked because the host itself answers
    return (words.name(t.name), t.address, role, _leader(t, survey), answers, bmc, verdict)


def testimony_lines(t: Testimony) -> list[str]:
    """Every testimony about one member, each with its source; what was not asked is left out."""
    said = {
        LoginAnswer.MASTER: "accepted, as a master's",
        LoginAnswer.SLAVE: f"refused, for it is a member of {t.follows}",
        LoginAnswer.EMERGENCY: "refused by a host in emergency mode",
        LoginAnswer.REJECTED: "rejected",
        LoginAnswer.UNTRUSTED: "not tried: its certificate is not the one that the manifest trusts",
        LoginAnswer.REFUSED: "connection refused",
        LoginAnswer.SILENT: "no answer",
        LoginAnswer.STRANGE: "an answer that is not XAPI's",
    }[t.login]
    detail = f" ({words.clean(t.detail)})" if t.detail else ""
    found = [f"login: {said}{detail}, after {words.lasting(t.took)}"]
    if t.tcp is not None:
        found.append(f"TCP: {'takes connections' if t.tcp else 'takes no connection'}")
    if t.local_login is not None:
        found.append(f"local session: {'given' if t.local_login else 'refused'}")
    if t.is_emergency is not None:
        found.append(f"emergency mode: {'yes' if t.is_emergency else 'no'}")
    if t.reaches_master is not None:
        found.append(f"its master: {'reached' if t.reaches_master else 'lost (a read of the database hangs)'}")
    if t.bmc is not BmcPower.NONE and t.bmc_detail != "not asked":
        found.append(f"BMC: {t.bmc} ({words.clean(t.bmc_detail)})")
    return found


def _leader(t: Testimony, survey: Survey) -> str:
    """The name of the member that it follows, the address when that is no member's."""
    if not t.follows:
        return "-"
    found = next((o.name for o in survey.testimonies if o.address == t.follows), None)
    return words.name(found) if found is not None else t.follows
