"""The engine of every mitigation: plan, record, apply, verify; and what to do when one breaks off.

The parts are module-level functions in this order, each with one effect:

1. plan: reads, decides, and touches nothing;
2. record: the intent is on the disk before anything is touched;
3. apply: one request under the etag of the plan;
4. verify: what is served, real requests, the symptom; only then is the change reported as done.

`mitigate.undo` (runbook/changes/undo.py) takes it back, from the recorded state alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checks.errors import (
    ApiError,
    ConcurrentChangeError,
    NotVerifiedError,
    ProtectedTargetError,
    RunbookError,
)
from runbook.changes import audit, verify
from runbook.changes.plan import Plan
from runbook.changes.report import make_report
from runbook.changes.system import Outcome, UncertainError
from runbook.timeline import UNDO, Change, Timeline, new_change_id, open_timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.target import Target
    from runbook.changes.system import Reading, System
    from runbook.changes.verify import Findings
    from runbook.report import Report

    Planner = Callable[[Any, str], Plan]  # a Reading of the planner's own system

INTERRUPTED_EXIT = 130
# An older one is not what somebody who types the command now means to go on with.
RESUMABLE_S = 1800.0


class InterruptedChangeError(RunbookError):
    """Ctrl-C, with what it left behind."""

    exit_code = INTERRUPTED_EXIT


@dataclass
class Session:
    """One run of one change.

    Attributes:
        change: The plan's id in the timeline, or that of the interrupted change it goes on with.
        stage: The part that runs now, for a Ctrl-C to tell what it left.
        unwritten: Why a row on what was sent is missing, or "".
    """

    system: System
    timeline: Timeline
    plan: Plan
    started: float
    reading: Reading
    change: str = ""
    stage: str = "plan"
    unwritten: str = ""

    def write_after(self, phase: Any, detail: dict[str, Any]) -> None:  # noqa: ANN401
        """Append a row on what was sent already; a timeline that fails now must not stop it."""
        try:
            self.write(phase, detail)
        except RunbookError as error:
            self.unwritten = f"The timeline lacks the outcome of {self.change}: {error}"

    def write(self, phase: Any, detail: dict[str, Any]) -> None:  # noqa: ANN401 - a timeline.Phase
        """Append a row on this change."""
        self.timeline.append(
            self.change,
            self.plan.step,
            phase,
            before=self.plan.before,
            after=self.plan.after,
            detail=detail,
        )


def run_change(
    system: System,
    planner: Planner,
    *,
    dry_run: bool,
    yes: bool,
    resumes: Callable[[Change], bool] | None = None,
) -> Report:
    """Carry a change through its parts and return its report.

    `planner` makes the plan out of a reading of the system and a new change id. A change that was
    broken off after it was applied, less than half an hour ago, and that `resumes` accepts, is
    verified instead of made once more. The report's exit code is 0 when the change is verified (or
    was so already) and 3 when it is not.

    Raises:
        RefusedError: It would be unsafe, or somebody else changed the system since the plan.
        RunbookError: It failed and nothing was changed.
    """
    started = time.monotonic()
    timeline = open_timeline(system.target.name)
    session: Session | None = None
    try:
        interrupted = _find_interrupted(system, timeline, resumes)
        reading, plan = make_plan(system, planner, interrupted)
        known = plan.undoes or plan.change
        session = Session(system, timeline, plan, started, reading, change=known)
        if dry_run:
            return _report(session, "planned", None)
        return _carry_out(session, yes=yes)
    except KeyboardInterrupt as error:
        raise _describe_interruption(session) from error


def make_plan(
    system: System, planner: Planner, interrupted: Change | None = None
) -> tuple[Reading, Plan]:
    """Part 1: return what is there and what is proposed to be done about it."""
    reading = system.read()
    if interrupted is not None and _is_in_force(interrupted, reading):
        return reading, _resume(system, interrupted, reading)
    return reading, planner(reading, new_change_id())


def record(session: Session) -> None:
    """Part 2: write the intent and the state before; raises when it cannot be written."""
    session.write("planned", session.plan.detail())


def apply(session: Session) -> Outcome:
    """Part 3: send the change and wait until it is carried out; write what came of it.

    Raises:
        ConcurrentChangeError: Somebody else was faster; nothing was changed.
        RunbookError: The system refused it, or never got it; nothing was changed.
        NotVerifiedError: Nobody knows whether it was taken.
    """
    try:
        handle = session.system.send(session.plan)
    except ConcurrentChangeError as error:
        told = _tell_conflict(session, str(error))
        session.write("failed", {"error": str(told)})
        raise told from error
    except RunbookError as error:
        session.write("failed", {"error": str(error)})
        raise
    except UncertainError as error:
        _resolve_uncertainty(session, str(error))
        session.write_after("applied", {"note": f"taken, though the answer was lost: {error}"})
        return Outcome(finished=False)
    named = session.system.describe_handle(handle)
    session.write_after("applied", {"operation": named} if named else {})
    session.stage = "wait"
    return _wait(session, handle)


def verify_effect(session: Session, outcome: Outcome) -> Findings:
    """Part 4: watch until the change is in force and the symptom recedes, or the deadline."""
    from runbook.changes.progress import Progress

    with Progress() as progress:
        system = session.system
        return verify.watch(system, session.plan, outcome, progress.show, system.read)


def confirm(target: Target, plan: Plan, *, yes: bool) -> None:
    """Ask for the service's name before a change to a protected target; return when it was typed.

    `--yes` stands in for it only while an incident is open. This version keeps no record of
    incidents, so on a protected target the name has to be typed at a terminal.

    Raises:
        ProtectedTargetError: Nobody could be asked, or another name was typed.
    """
    if not target.protected:
        return
    if not sys.stdin.isatty():
        reason = (
            "--yes counts only while an incident is open, and none is on record"
            if yes
            else "there is no terminal to confirm it at"
        )
        raise ProtectedTargetError(
            f"{target.name} is protected and {reason}. Nothing was changed.",
            next_step="Run the command at a terminal and type the service's name when asked.",
            subject=target.service,
        )
    print(plan.summary, *plan.warnings, sep="\n", file=sys.stderr)  # noqa: T201
    print(f"Type {target.service} to go on: ", end="", file=sys.stderr, flush=True)  # noqa: T201
    if sys.stdin.readline().strip() != target.service:
        raise ProtectedTargetError(
            "Another name was typed. Nothing was changed.",
            next_step="Run the command again when you are sure.",
            subject=target.service,
        )


def _carry_out(session: Session, *, yes: bool) -> Report:
    plan = session.plan
    outcome = Outcome()
    if plan.before == plan.after or plan.patch.empty:
        if not plan.resumes and not plan.undoes:
            return _report(session, "unchanged", _verify_unchanged(session))
    else:
        confirm(session.system.target, plan, yes=yes)
        session.stage = "record"
        record(session)
        session.stage = "apply"
        outcome = apply(session)
    session.stage = "verify"
    findings = verify_effect(session, outcome)
    return _conclude(session, findings)


def _wait(session: Session, handle: Any) -> Outcome:  # noqa: ANN401 - as System.wait
    from runbook.changes.progress import Progress

    with Progress() as progress:
        progress.show(f"waiting: {session.system.title} carries the change out")
        deadline_s = verify.deadline_s(session.system.target)
        return session.system.wait(handle, deadline_s)


def _verify_unchanged(session: Session) -> Findings:
    session.stage = "look"
    return verify_effect(session, Outcome())


def _conclude(session: Session, findings: Findings) -> Report:
    phase = "undone" if session.plan.undoes else "verified"
    if findings.missing:
        phase = "not-verified"
    session.write_after(phase, findings.as_data())
    if session.unwritten:
        findings.notes.append(session.unwritten)
    if findings.missing:
        return _report(session, phase, findings)
    session.stage = "done"
    told = {
        "step": session.plan.step,
        "system": session.plan.system,
        "change": session.change,
        "phase": phase,
        "before": session.plan.before,
        "after": session.plan.after,
    }
    if not audit.write_entry(session.system.target, told):
        findings.notes.append("Cloud Logging took no audit entry; the timeline has the change.")
    return _report(session, phase, findings)


def _find_interrupted(
    system: System, timeline: Timeline, accepts: Callable[[Change], bool] | None
) -> Change | None:
    if accepts is None:
        return None
    for change in reversed(timeline.changes()):
        young = _age_s(change) <= RESUMABLE_S and change.system == system.name
        if young and change.interrupted and change.last.step != UNDO and accepts(change):
            return change
    return None


def _age_s(change: Change) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(change.last.at)).total_seconds()


def _is_in_force(change: Change, reading: Reading) -> bool:
    return reading.fields(change.intent.after) == change.intent.after


def _resume(system: System, change: Change, reading: Reading) -> Plan:
    detail = change.intent.detail
    return Plan(
        step=change.step,
        change=change.id,
        system=system.name,
        version=reading.version,
        generation=reading.generation,
        before=change.intent.after,
        after=change.intent.after,
        patch=system.parse_patch(detail["patch"]),
        by_hand=(),
        summary=f"Go on with {change.id}, which was broken off: {detail['summary']}",
        lasting=tuple(change.lasting),
        symptoms=tuple(detail.get("symptoms", ("errors",))),
        expires_at=change.expires_at,
        resumes=True,
    )


def _resolve_uncertainty(session: Session, reason: str) -> None:
    lost = f"{session.system.title} gave no usable answer to the change ({reason})"
    try:
        now = session.system.read()
    except RunbookError as error:
        session.write_after("not-verified", {"error": lost})
        raise NotVerifiedError(
            f"{lost}, and its state cannot be read: it may have been made or not.",
            next_step=session.plan.command,
        ) from error
    if now.fields(session.plan.after) == session.plan.after:
        return
    untouched = now.fields(session.plan.before) == session.plan.before
    if untouched and now.generation == session.plan.generation:
        session.write("failed", {"error": lost})
        raise ApiError(
            f"{lost}. Nothing was changed.",
            status=0,
            next_step="invoke mitigate, then run the command again",
        )
    told = _tell_conflict(session, lost)
    session.write("failed", {"error": str(told)})
    raise told


def _tell_conflict(session: Session, fallback: str) -> ConcurrentChangeError:
    system, service = session.system, session.system.target.service
    try:
        told = system.describe_conflict(session.plan, system.read())
    except RunbookError:
        told = f"{fallback} Somebody changed {service}; nothing was changed here."
    return ConcurrentChangeError(
        told,
        next_step="Look at what is in force (invoke mitigate), then run the command again.",
        subject=service,
    )


def _describe_interruption(session: Session | None) -> InterruptedChangeError:
    if session is None or session.stage in {"plan", "look"}:
        return InterruptedChangeError("Interrupted; nothing was changed.", next_step="run it again")
    title = session.system.title
    undo = session.plan.command
    again = f"invoke {session.plan.step} again to go on" if not session.plan.undoes else undo
    left = {
        "record": ("before anything was sent: nothing was changed", again),
        "apply": ("while the change was being sent: it may have been made or not", undo),
        "wait": (f"after {title} took the change, before it was carried out", undo),
        "verify": ("after the change was made, before it was verified", undo),
        "done": ("after the change was made and verified", "invoke mitigate"),
    }
    told, command = left[session.stage]
    return InterruptedChangeError(f"Interrupted {told}.", next_step=command, subject=session.change)


def _report(session: Session, status: str, findings: Findings | None) -> Report:
    radius = session.system.blast_radius(session.reading, session.plan)
    return make_report(
        session.system,
        session.plan,
        change=session.change,
        status=status,
        findings=findings,
        radius=radius,
        seconds=time.monotonic() - session.started,
    )
