"""What a step does to the service on whichever platform it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from runbook.changes.system import System, open_system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checks.evidence import Evidence
    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.settings import Wish
    from runbook.report import Report
    from runbook.timeline import Change

    # Makes the wish out of the template that serves, as `settings.read_settings` takes it.
    WishMaker = Callable[[Mapping[str, Any]], Wish]


class Platform(System, Protocol):
    """A system that runs the service's instances."""

    def serving_template(self, reading: Any) -> Mapping[str, Any]:  # noqa: ANN401 - its Reading
        """Return what serves, with its `containers`."""

    def plan_settings(self, reading: Any, wish: Wish, *, change: str) -> Plan:  # noqa: ANN401
        """Return the plan that gives what serves the wished settings; raises RefusedError."""

    def plan_restart(self, reading: Any, *, change: str) -> Plan:  # noqa: ANN401 - its Reading
        """Return the plan that replaces every instance; raises RefusedError."""

    def plan_rollback(
        self,
        reading: Any,  # noqa: ANN401 - its Reading
        *,
        to: str,
        change: str,
        force: bool,
    ) -> Plan:
        """Return the plan that goes back to `to`, or to what last served healthily where it is "".

        Raises:
            UsageError: There is no such revision.
            RefusedError: It would not help.
        """


def open_platform(target: Target, named: str) -> Platform:
    """Return the platform called `named`, or the target's own where it is ""; raises UsageError."""
    target = target.on_platform(named)
    return cast("Platform", open_system(target, target.platform))


def note_evidence(found: Evidence) -> dict[str, Any]:
    """Return what the timeline keeps of the evidence for a revision."""
    return {
        "source": found.source,
        "requests": found.requests,
        "error_share": found.error_share,
        "last_served": str(found.last_served),
    }


def run_settings(
    platform: Platform,
    step: str,
    asked: Mapping[str, Any],
    make_wish: WishMaker,
    *,
    dry_run: bool,
    yes: bool,
) -> Report:
    """Carry out a change of settings and return its report; raises as `run_change`.

    `asked` is what was typed: an interrupted change that was asked the same is gone on with.
    """
    from dataclasses import replace

    from runbook.changes.change import run_change

    def plan(reading: Any, change: str) -> Plan:  # noqa: ANN401 - a Reading of that platform
        wish = make_wish(platform.serving_template(reading))
        wish = replace(wish, notes={**wish.notes, "asked": dict(asked)})
        return platform.plan_settings(reading, wish, change=change)

    def resumes(change: Change) -> bool:
        return change.step == step and change.intent.detail.get("asked") == dict(asked)

    return run_change(platform, plan, dry_run=dry_run, yes=yes, resumes=resumes)
