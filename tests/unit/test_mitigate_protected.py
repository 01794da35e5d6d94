"""A protected target: the service's name is typed at a terminal, or nothing is changed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from dataclasses import replace

import pytest

from checks.errors import ProtectedTargetError
from runbook.changes import change, planners
from tests.support.embedded import REPOSITORY
from tests.unit.service_json import BAD, GOOD, SERVICE, TARGET, make_revision, make_state
from tests.unit.service_json import make_template as template

PLAN = planners.plan_rollback(
    TARGET,
    make_state(created=BAD, ready=BAD, served={BAD: 100}),
    {GOOD: make_revision(GOOD, template())},
    to=GOOD,
    change="a1b2c3",
)
ASK = (
    "from dataclasses import replace\n"
    "from runbook.changes import change\n"
    "from tests.unit.test_mitigate_protected import PLAN, TARGET\n"
    "change.confirm(replace(TARGET, protected=True), PLAN, yes=False)\n"
    "print('confirmed')"
)


@pytest.mark.parametrize("yes", [True, False])
def test_without_a_terminal_it_refuses(yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with --yes: that counts only while an incident is open."""
    with open(os.devnull) as nobody:  # noqa: PTH123 - a device
        monkeypatch.setattr(sys, "stdin", nobody)
        with pytest.raises(ProtectedTargetError, match="Nothing was changed") as caught:
            change.confirm(replace(TARGET, protected=True), PLAN, yes=yes)
    assert caught.value.exit_code == 4
    assert ("--yes" in str(caught.value)) is yes


def test_an_unprotected_target_asks_nothing() -> None:
    """Staging is there to be changed."""
    change.confirm(TARGET, PLAN, yes=False)


@pytest.mark.parametrize(("typed", "goes_on"), [(SERVICE, True), ("yes", False), ("", False)])
def test_the_name_is_typed_at_a_terminal(typed: str, goes_on: bool) -> None:
    """Only the service's own name lets a change go on; the plan stands above the question."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", ASK],
        cwd=REPOSITORY,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(mine, f"{typed}\n".encode())
        stdout, stderr = process.communicate(timeout=60)
        os.close(mine)
    assert (stdout.strip() == "confirmed") is goes_on
    assert PLAN.summary in stderr
    assert f"Type {SERVICE} to go on" in stderr
    assert ("ProtectedTargetError" in stderr) is not goes_on
