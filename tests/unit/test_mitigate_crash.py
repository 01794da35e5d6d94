"""A mitigation that is killed, interrupted or overtaken leaves a state that can be mended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from runbook.timeline import Timeline
from tests.support.embedded import Embedded
from tests.support.store import deploy_bad_revision, find_serving, pin_traffic
from tests.support.waiting import wait_until

pytestmark = pytest.mark.staging

RUNNER = Path(__file__).with_name("break_off.py")
DEADLINE_S = 90.0
POINTS = [
    (moment, part)
    for part in ("make_plan", "record", "apply", "verify_effect")
    for moment in ("before", "after")
]
POINTS.append(("after", "send_patch"))
SCALE = ("mitigate.scale-up", "--min-instances=3", "--max-instances=11")
WIDER = {"minInstanceCount": 3, "maxInstanceCount": 11}
BASELINE = {"minInstanceCount": 2, "maxInstanceCount": 10}
# Before this the service was not touched; after it, it was.
UNTOUCHED = POINTS[:5]


def start(staging: Embedded, number: str, moment: str, part: str, *arguments: str) -> Any:  # noqa: ANN401 - Popen[str]
    """Start a command that gets the signal at this point."""
    return subprocess.Popen(
        [sys.executable, str(RUNNER), number, moment, part, *arguments],
        env=staging.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(staging: Embedded, moment: str, part: str, *arguments: str) -> None:
    """Run a command that is killed at this point; fail when it was not."""
    process = start(staging, "SIGKILL", moment, part, *arguments)
    output = "".join(process.communicate(timeout=DEADLINE_S))
    assert process.returncode == -signal.SIGKILL, output


def interrupt(staging: Embedded, moment: str, part: str, *arguments: str) -> tuple[int, str]:
    """Run a command that gets Ctrl-C at this point; return its exit code and what it printed."""
    process = start(staging, "SIGINT", moment, part, *arguments)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in stdout + stderr
    return process.returncode, stdout + stderr


def read_timeline(staging: Embedded) -> list[str]:
    """Return the phases on the timeline, in order."""
    return [row.phase for row in Timeline(staging.state / "local.sqlite3", "local").rows()]


def read_traffic(staging: Embedded) -> list[dict[str, Any]]:
    """Return the split that is asked for."""
    traffic: list[dict[str, Any]] = staging.read_service()["traffic"]
    return traffic


def read_in_force(staging: Embedded) -> list[dict[str, Any]]:
    """Return what `invoke mitigate` lists."""
    done = staging.invoke("mitigate", "--json")
    assert done.returncode == 0, done.output
    found: list[dict[str, Any]] = done.json()["data"]["open"]
    return found


@pytest.mark.parametrize(("moment", "part"), POINTS)
def test_killed_scale_up_is_undone(staging: Embedded, moment: str, part: str) -> None:
    """Wherever it was killed, undo brings the recorded range back, and can be repeated."""
    kill(staging, moment, part, *SCALE)
    found = staging.read_service()["template"]["scaling"]
    assert found == (BASELINE if (moment, part) in UNTOUCHED else WIDER)
    for _ in range(2):
        done = staging.invoke("mitigate.undo")
        assert done.returncode == 0, done.output
        assert staging.read_service()["template"]["scaling"] == BASELINE
    assert read_in_force(staging) == []


@pytest.mark.parametrize(("moment", "part"), POINTS)
def test_killed_rollback_is_run_again(staging: Embedded, moment: str, part: str) -> None:
    """Wherever it was killed, the same command again ends with the good revision serving."""
    good = deploy_bad_revision(staging)
    command = ("mitigate.rollback", f"--to={good}")
    kill(staging, moment, part, *command)
    done = staging.invoke(*command)
    assert done.returncode == 0, done.output
    assert find_serving(staging) == good
    [listed] = read_in_force(staging)
    assert (listed["step"], listed["state"]) == ("mitigate.rollback", "in force")


def test_killed_rollback_without_argument_goes_on(staging: Embedded) -> None:
    """What it had chosen by evidence is on record, so it is not chosen anew."""
    good = deploy_bad_revision(staging)
    kill(staging, "before", "verify_effect", "mitigate.rollback", f"--to={good}")
    done = staging.invoke("mitigate.rollback")
    assert done.returncode == 0, done.output
    assert read_timeline(staging) == ["planned", "applied", "verified"]
    assert find_serving(staging) == good


@pytest.mark.parametrize("step", [("mitigate.restart",), SCALE])
def test_killed_while_pinned(staging: Embedded, step: tuple[str, ...]) -> None:
    """Template and traffic moved in one request, so both or neither come back."""
    good = deploy_bad_revision(staging)
    pin_traffic(staging, good)
    kill(staging, "after", "send_patch", *step)
    assert read_traffic(staging)[0]["revision"] != good
    done = staging.invoke("mitigate.undo")
    assert done.returncode == 0, done.output
    assert find_serving(staging) == good
    assert read_in_force(staging) == []


@pytest.mark.parametrize(("moment", "part"), POINTS[2:])
def test_killed_undo_is_run_again(staging: Embedded, moment: str, part: str) -> None:
    """An undo is a change too: killed at any point, it is finished by the next one."""
    good = deploy_bad_revision(staging)
    pin_traffic(staging, good)
    done = staging.invoke(*SCALE)
    assert done.returncode == 0, done.output
    kill(staging, moment, part, "mitigate.undo")
    again = staging.invoke("mitigate.undo")
    assert again.returncode == 0, again.output
    assert find_serving(staging) == good
    assert read_in_force(staging) == []
    revisions = [name for name in list_revisions(staging) if "-undo-" in name]
    assert len(revisions) == 1, "the template came back once, not twice"


def list_revisions(staging: Embedded) -> list[str]:
    """Return the names of the service's revisions."""
    service = staging.read_service()
    url = f"{staging.endpoints['api']}/v2/{service['name']}/revisions"
    answer = requests.get(url, timeout=10)
    return [revision["name"].rsplit("/", 1)[1] for revision in answer.json()["revisions"]]


def test_change_between_plan_and_apply_is_refused(staging: Embedded) -> None:
    """Somebody was faster: exit code 4, who and what are named, nothing is changed."""
    serving = find_serving(staging)
    process = start(staging, "SIGSTOP", "after", "record", *SCALE)
    wait_until(lambda: is_stopped(process.pid), deadline_s=DEADLINE_S, what="the plan is made")
    pin_traffic(staging, serving)
    before = staging.read_service()
    os.kill(process.pid, signal.SIGCONT)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4, stdout + stderr
    assert "after the plan was made" in stderr
    assert before["lastModifier"] in stderr
    assert staging.read_service() == before
    assert read_timeline(staging) == ["planned", "failed"]
    assert read_in_force(staging) == []


def test_timeline_that_is_lost_after_the_intent(staging: Embedded) -> None:
    """The change is on its way by then: it is verified and told, never called unchanged."""
    process = start(staging, "SIGSTOP", "after", "record", *SCALE)
    wait_until(lambda: is_stopped(process.pid), deadline_s=DEADLINE_S, what="the plan is made")
    file = staging.state / "local.sqlite3"
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    os.kill(process.pid, signal.SIGCONT)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stdout + stderr
    assert "The timeline lacks the outcome" in stdout
    assert staging.read_service()["template"]["scaling"] == WIDER


def is_stopped(pid: int) -> bool:
    """Return whether the process waits for SIGCONT (proc(5), state T)."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


@pytest.mark.parametrize(
    ("moment", "part", "told", "phases"),
    [
        ("before", "make_plan", "nothing was changed", []),
        ("before", "record", "nothing was changed", []),
        ("before", "apply", "it may have been made or not", ["planned"]),
        ("after", "send_patch", "it may have been made or not", ["planned"]),
        ("before", "verify_effect", "before it was verified", ["planned", "applied"]),
    ],
)
def test_ctrl_c_says_what_it_left(
    staging: Embedded, moment: str, part: str, told: str, phases: list[str]
) -> None:
    """Exit code 130, the state that was left, and the command that comes next."""
    code, output = interrupt(staging, moment, part, *SCALE)
    assert code == 130, output
    assert told in output
    assert "Next: " in output
    assert read_timeline(staging) == phases
    if phases:
        command = output.rsplit("Next: invoke ", 1)[1].split()
        assert command[0] == "mitigate.undo"
        done = staging.invoke(*command)
        assert done.returncode == 0, done.output
    assert staging.read_service()["template"]["scaling"] == BASELINE
