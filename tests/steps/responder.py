"""Steps in which a responder types a command of the runbook."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import pytest
from pytest_bdd import parsers, then, when

from tests.support.embedded import Embedded
from tests.support.others import Others, read_others
from tests.support.recorder import RunningStep, ScenarioRecord


@pytest.fixture
def recommended() -> list[str]:
    """Return the words of the command that triage recommended; empty before it did."""
    return []


@pytest.fixture
def before() -> list[Others]:
    """Return what the other tenants saw just before the mitigation; empty before that."""
    return []


@then(parsers.parse("assess puts {alert} first and recommends {mitigation}"))
def assess_names(
    staging: Embedded,
    scenario_record: ScenarioRecord,
    running_step: RunningStep,
    recommended: list[str],
    alert: str,
    mitigation: str,
) -> None:
    """Triage ranks this alert first and names the command that mends it, arguments included."""
    scenario_record.mitigation = mitigation
    shown = staging.invoke("assess")
    running_step.keep(shown.output, shown.command)
    assert shown.returncode == 0, shown.output
    finding = next(line for line in shown.stdout.splitlines()[1:] if line.strip())
    assert finding.startswith(f"{alert} "), shown.output
    found = re.search(rf"^Next: invoke ({re.escape(mitigation)}\b.*)$", shown.stdout, re.MULTILINE)
    assert found, shown.output
    recommended[:] = shlex.split(found[1])


@then(parsers.parse("a dry run of {mitigation} changes nothing"))
def dry_run(
    staging: Embedded, running_step: RunningStep, recommended: list[str], mitigation: str
) -> None:
    """The plan is shown, and neither the configuration nor the record of changes has moved."""
    assert recommended[0] == mitigation
    before = staging.read_version()
    run_command(staging, running_step, *recommended, "--dry-run")
    assert staging.read_version() == before
    assert staging.invoke("mitigate", "--json").json()["data"]["open"] == []


@when(parsers.parse("the responder runs {mitigation}"))
def run_mitigation(
    staging: Embedded,
    running_step: RunningStep,
    clock: dict[str, float],
    recommended: list[str],
    before: list[Others],
    mitigation: str,
) -> None:
    """Type the command as triage gave it; it must report its change as verified."""
    assert recommended[0] == mitigation
    before[:] = [read_others(staging, recommended)]
    clock["mitigating"] = time.monotonic()
    run_command(staging, running_step, *recommended)


@when("the tenants use their new keys")
def use_new_keys(staging: Embedded, recommended: list[str]) -> None:
    """Hand every tenant the file with its key, as an engineer would, and nothing on a screen."""
    [tenants] = [word.removeprefix("--tenants=") for word in recommended if "--tenants=" in word]
    for tenant in tenants.split(","):
        [file] = sorted(find_key_files(staging.state, tenant))
        assert file.stat().st_mode & 0o777 == 0o600, file
        staging.control("/keys", {"tenant": tenant, "file": str(file)})


@when(parsers.parse("the responder withholds {mitigation}"))
def withhold_mitigation(mitigation: str) -> None:
    """Do nothing: what follows shows that the alert does not clear by itself."""


@when(parsers.parse("the responder restores with {restore}"))
def restore(staging: Embedded, running_step: RunningStep, restore: str) -> None:
    """Take the mitigation back, where it leaves anything in force."""
    if restore != "nothing":
        run_command(staging, running_step, restore)


def find_key_files(folder: Path, tenant: str) -> list[Path]:
    """Return the files with an issued key of this tenant."""
    return [one for one in (folder / "keys").glob(f"*{tenant}*") if one.is_file()]


def run_command(staging: Embedded, running_step: RunningStep, step: str, *more: str) -> None:
    """Run a change and keep what it printed; it must end well."""
    done = staging.invoke(step, *more)
    running_step.keep(done.output, done.command)
    assert done.returncode == 0, done.output
