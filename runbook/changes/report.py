"""Tells a change: the finding first, the evidence under it, the next command last."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from checks.errors import NotVerifiedError
from checks.target import PLATFORMS
from runbook.report import Level, Line, Report, Table

if TYPE_CHECKING:
    from runbook.changes.plan import Plan
    from runbook.changes.system import System
    from runbook.changes.verify import Findings


def make_report(
    system: System,
    plan: Plan,
    *,
    change: str,
    status: str,
    findings: Findings | None,
    radius: dict[str, Any],
    seconds: float,
) -> Report:
    """Return the report of a change; its exit code is 3 when the change is not verified.

    `status` is `planned` (a dry run), `unchanged`, `verified`, `undone` or `not-verified`.
    """
    missing = findings.missing if findings else []
    finding, level = _find_words(plan, status, missing, seconds)
    data = {
        "change": change,
        "status": "not-verified" if missing else status,
        "plan": plan.as_data(radius),
        "verified": findings.as_data() if findings else None,
        "seconds": round(seconds, 2),
    }
    return Report(
        finding=finding,
        level=level,
        evidence=tuple(_evidence(system, plan, status, findings, radius)),
        next_steps=_next_steps(plan, status, change, unverified=bool(missing)),
        data=data,
        exit_code=NotVerifiedError.exit_code if missing else 0,
    )


def _find_words(plan: Plan, status: str, missing: list[str], seconds: float) -> tuple[str, Level]:
    if missing:
        what = "It is so already, but not healthy" if status == "unchanged" else "Not verified"
        return f"{what} after {seconds:.0f} s: {'; '.join(missing)}.", "bad"
    words: dict[str, tuple[str, Level]] = {
        "planned": (f"Dry run, nothing was changed. {plan.summary}", "info"),
        "unchanged": (f"Nothing to change, it is so already and healthy. {plan.summary}", "good"),
        "verified": (f"Done and verified in {seconds:.1f} s. {plan.summary}", "good"),
        "undone": (f"Undone in {seconds:.1f} s. {plan.summary}", "good"),
    }
    return words[status]


def _evidence(
    system: System, plan: Plan, status: str, findings: Findings | None, radius: dict[str, Any]
) -> list[Table | str]:
    told = system.describe_field
    rows = tuple(
        (system.name_field(name), told(name, plan.before[name]), told(name, value))
        for name, value in plan.after.items()
    )
    found: list[Table | str] = [Table(("field", "before", "after"), rows)]
    if status == "planned":
        found.append(f"Reaches: {radius['summary']}.")
        found += ["By hand:", *(Line(shlex.join(line)) for line in plan.by_hand)]
    found += plan.warnings
    if findings:
        described = _describe_findings(plan, findings)
        found += [*([described] if described else []), *findings.notes]
    return found


def _describe_findings(plan: Plan, findings: Findings) -> str:
    told = []
    if plan.system in PLATFORMS:  # others serve no requests themselves
        shares = ", ".join(f"{share} % {name}" for name, share in findings.served.items())
        told.append(f"Served now: {shares or 'nothing'}.")
    if findings.error_share is not None:
        told.append(f"Server errors: {findings.error_share:.1%} of requests.")
    if findings.instances is not None:
        told.append(f"Instances that answer: {findings.instances}.")
    return " ".join(told)


def _next_steps(plan: Plan, status: str, change: str, *, unverified: bool) -> tuple[str, ...]:
    if status == "planned":
        return ("the same command without --dry-run",)
    if status == "unchanged":
        return ("invoke assess",)
    undo = f"invoke mitigate.undo --change={change}"
    if unverified:
        return ("invoke assess", undo)
    if plan.undoes:
        return ("invoke mitigate",)
    return ("invoke assess", f"{undo} takes it back")
