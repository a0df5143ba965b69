"""Guards of the word on who is master: of what is no promotion, of two masters and of tangles."""

from __future__ import annotations

from tests.mutants.guard import Guard, off

TANGLES = ("tests/core/test_rivals.py", "tests/core/test_tangle.py", "tests/core/test_no_promotion.py")
ON_LAB = ("tests/execute/test_two_masters.py",)

BRAKE = "reconciler/core/brake.py"
DIAGNOSE = "reconciler/core/diagnose.py"
MASTERLESS = "reconciler/core/masterless.py"
CHECKER = "reconciler/core/checker_master.py"
RIVALS = "reconciler/core/rivals.py"
UNTANGLE = "reconciler/core/untangle.py"
FOLLOW = "reconciler/execute/follow.py"
EUNTANGLE = "reconciler/execute/untangle.py"
REGAIN = "reconciler/core/regain.py"
SUCCESSION = "reconciler/core/succession.py"

MASTERS: tuple[Guard, ...] = (
    # --- who manages the pool -------------------------------------------------------------------------------------
    off("I2", DIAGNOSE, "if strangers"),
    off("I2", DIAGNOSE, "if len(masters) > 1"),
    off("I2", MASTERLESS, "if reach"),
    off(
        "I2",
        MASTERLESS,
        "if in_office is not None and in_office.login is not LoginAnswer.SILENT and not in_office.answers",
    ),
    off("I2", MASTERLESS, "if in_office is not None and in_office.login is LoginAnswer.SILENT and in_office.tcp"),
    Guard(
        "I2",
        MASTERLESS,
        "if not reach and (tangle := _broke_words(wanted, survey, known) or _tangle_words(ties, survey)):",
        "if tangle := _tangle_words(ties, survey):",
        TANGLES,
    ),
    Guard(
        "I2",
        "reconciler/core/ties.py",
        "return Chain(tuple(path), End.FOREIGN)",
        "return Chain(tuple(path), End.SILENT)",
        TANGLES,
    ),
    # --- two masters, and out of a tangle -------------------------------------------------------------------------
    off("I2", RIVALS, "if promoted is not None and followed and promoted.master not in followed", TANGLES),
    Guard("I4", RIVALS, "elif loser in yields or (found is not None and not found.running):", "elif True:", TANGLES),
    Guard("I2", DIAGNOSE, "and (dead or _is_demoted(survey, one.master)):", "and True:", TANGLES),
    off("I9", UNTANGLE, "if (known is not None and known.pool.ha_enabled) or pool_says_on(survey)", TANGLES),
    Guard("I2", UNTANGLE, "if end is End.FOREIGN):", "if False):", TANGLES),
    Guard("I2", UNTANGLE, "if end is End.UNTOLD and _undeclared(wanted, known)):", "if False):", TANGLES),
    Guard("I2", UNTANGLE, "for name in unflagged(survey):", "for name in ():", TANGLES),
    off("I2", "reconciler/execute/untangle.py", "if starting := unflagged(survey)", ("tests/execute",)),
    Guard("I2", UNTANGLE, "for name in doubtful:", "for name in ():", TANGLES),
    off("I2", UNTANGLE, "if not why and len(followed) > 1 and len(left) != 1", TANGLES),
    off("I2", CHECKER, "if not action.certificate_of and len(members) < len(world.survey.testimonies)", TANGLES),
    off("I2", CHECKER, "if t.login is LoginAnswer.SLAVE and not (set(followed) & (members | world.proved))", TANGLES),
    Guard("I2", CHECKER, '            why.append(f"{t.name} accepts logins as master")', "            pass", TANGLES),
    off("I2", CHECKER, "if behind[name] and not behind[winner]", TANGLES),
    off("I4", CHECKER, "if dies and vm.uuid not in said", TANGLES),
    Guard(
        "I2",
        CHECKER,
        "            why.append(f\"{who or 'nobody'} does not accept logins as master\")",
        "            pass",
        TANGLES,
    ),
    Guard(
        "I2",
        FOLLOW,
        "if loser.name not in bench.yields and followers(ties, loser.name)",
        "if False and followers(ties, loser.name)",
        ON_LAB,
    ),
    Guard("I4", FOLLOW, "if more := [d.name for d in found.killed if d.uuid not in said]:", "if more := []:", ON_LAB),
    off("I4", FOLLOW, "if found.running and loser.name not in bench.yields", ON_LAB),
    Guard(
        "I7",
        FOLLOW,
        "        if why := _changed(bench, action, loser, winner):\n            return why\n",
        "",
        ON_LAB,
    ),
    off("I2", EUNTANGLE, "if t.login not in _MEMBERS and t.name not in action.certificate_of", ON_LAB),
    off("I7", EUNTANGLE, "if why_not := taken(bench, survey, candidate)", ON_LAB),
    off("I2", EUNTANGLE, "if foreign", ON_LAB),
    Guard(
        "I3",
        MASTERLESS,
        "if incident is not None and not promotion_is_void(",
        "if False and incident is not None and not promotion_is_void(",
    ),
    Guard("I3", MASTERLESS, "        and now - incident.sent_at > NEVER_TOOK_EFFECT\n    )", "    )"),
    Guard("I3", MASTERLESS, "        and t.reaches_master is not True\n", ""),
    Guard("I6", BRAKE, "if counted and up >=", "if True or up >="),
    Guard("I6", BRAKE, " and j.certificate.kind is CertificateKind.ATTESTED", ""),
    Guard(
        "I6",
        MASTERLESS,
        "    if brake:\n        return Diagnosis(",
        "    if False:\n        return Diagnosis(",
    ),
    # --- the regain stage -----------------------------------------------------------------------------------------
    off("I9", REGAIN, "if (known is not None and known.pool.ha_enabled) or pool_says_on(survey)"),
    off("I2", REGAIN, "if dubious"),
    Guard("I2", REGAIN, "if lost.state is MemberState.MAINTENANCE and", "if False and"),
    off("I2", REGAIN, "if fallen is not None and fallen.verdict is Verdict.DEAD and told not in (lost.name, *others)"),
    Guard("I2", REGAIN, "if judged.verdict is Verdict.DEAD and judged.certificate is not None:", "if True:"),
    off("I2", REGAIN, "if t.bmc is BmcPower.UNKNOWN"),
    off("I2", REGAIN, "if not lost.fencing"),
    off("I2", SUCCESSION, "if not t.answers"),
    Guard("I3", SUCCESSION, "            order = [incident.candidate]\n", "            pass\n"),
)
