"""Steps in which a responder types a command of the runbook."""

from __future__ import annotations

import time

from pytest_bdd import parsers, then, when

from tests.support.embedded import Embedded
from tests.support.recorder import ScenarioRecord, StepRecord

ARGUMENTS = {
    "mitigate.scale-up": ("--min-instances=10", "--max-instances=20"),
}


@then(parsers.parse("assess puts {alert} first and recommends {mitigation}"))
def assess_names(
    staging: Embedded,
    scenario_record: ScenarioRecord,
    step_record: StepRecord,
    alert: str,
    mitigation: str,
) -> None:
    """Triage ranks this alert first and names the command that mends it."""
    scenario_record.mitigation = mitigation
    step_record.command = "invoke assess"
    shown = staging.invoke("assess")
    step_record.output = shown.output
    assert shown.returncode == 0, shown.output
    finding = next(line for line in shown.stdout.splitlines()[1:] if line.strip())
    assert finding.startswith(f"{alert} "), shown.output
    assert f"Next: invoke {mitigation}" in shown.stdout, shown.output


@then(parsers.parse("a dry run of {mitigation} changes nothing"))
def dry_run(staging: Embedded, step_record: StepRecord, mitigation: str) -> None:
    """The plan is shown, and neither Cloud Run nor the record of changes has moved."""
    before = staging.read_service()["etag"]
    run_command(staging, step_record, mitigation, "--dry-run")
    assert staging.read_service()["etag"] == before
    assert staging.invoke("mitigate", "--json").json()["data"]["open"] == []


@when(parsers.parse("the responder runs {mitigation}"))
def run_mitigation(
    staging: Embedded, step_record: StepRecord, clock: dict[str, float], mitigation: str
) -> None:
    """Type the page's own command; it must report its change as verified."""
    clock["mitigating"] = time.monotonic()
    run_command(staging, step_record, mitigation)


@when(parsers.parse("the responder withholds {mitigation}"))
def withhold_mitigation(mitigation: str) -> None:
    """Do nothing: what follows shows that the alert does not clear by itself."""


@when(parsers.parse("the responder restores with {restore}"))
def restore(staging: Embedded, step_record: StepRecord, restore: str) -> None:
    """Take the mitigation back, where it leaves anything in force."""
    if restore != "nothing":
        run_command(staging, step_record, restore)


def run_command(staging: Embedded, step_record: StepRecord, step: str, *more: str) -> None:
    """Run a change with the arguments that its page gives, and keep what it printed."""
    done = staging.invoke(step, *ARGUMENTS.get(step, ()), *more)
    step_record.command, step_record.output = done.command, done.output
    assert done.returncode == 0, done.output
