"""Bad input and bad answers: one clear sentence, exit code 1, 2 or 4, and nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runbook.timeline import Timeline
from tests.support.embedded import REPOSITORY, Embedded
from tests.support.store import find_serving
from tests.unit.hostile_api import BEHAVIOURS, HostileApi, serve, write_endpoints

STEPS = {
    "rollback": ["mitigate.rollback"],
    "rollback-to": ["mitigate.rollback", "--to=convergence-data-pipeline-00001-abc"],
    "restart": ["mitigate.restart"],
    "scale-up": ["mitigate.scale-up", "--min-instances=10", "--max-instances=20"],
    "release-traffic": ["mitigate.release-traffic"],
    "undo": ["mitigate.undo"],
}
TO_REVISION = [
    "",
    " ",
    "x; rm -rf /",
    "$(id)",
    "`id`",
    "a\nb",
    "ends-in-newline\n",
    "../../x",
    "UPPER",
    "-starts",
    "a" * 64,
    "\x1b[31mred",
    "b\u202eidi",
]
DEADLINE_S = 60.0


@dataclass
class Responder:
    """Somebody at a terminal of their own: a folder for the target and one for the record."""

    folder: Path

    @property
    def state(self) -> Path:
        """The folder of the timeline."""
        return self.folder / "state"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the runbook against the target of this folder."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUNBOOK_", "INVOKE_"))}
        own = {
            "RUNBOOK_STAGING_DIR": str(self.folder / "target"),
            "RUNBOOK_STATE_DIR": str(self.state),
            "RUNBOOK_API_DEADLINE_S": "1",
            "NO_COLOR": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=REPOSITORY,
            env=kept | own | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )


@pytest.fixture
def responder(tmp_path: Path) -> Responder:
    """Return a responder without a record."""
    return Responder(tmp_path)


@pytest.fixture
def api(request: pytest.FixtureRequest, responder: Responder) -> Iterator[HostileApi]:
    """Return a hostile API that the responder's target names."""
    with serve(getattr(request, "param", "503")) as found:
        write_endpoints(responder.folder / "target", os.getpid(), found.url)
        yield found


def assert_refused(done: subprocess.CompletedProcess[str], *codes: int) -> None:
    """Fail unless it ended with one of the codes, one sentence, one next step, no traceback."""
    assert done.returncode in codes, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    told = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(told) == 2, done.stderr
    assert told[1].startswith("Next: "), done.stderr
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr


@pytest.mark.parametrize("name", TO_REVISION)
def test_names_that_no_revision_has(name: str, responder: Responder, api: HostileApi) -> None:
    """They are refused before anything is asked of anybody."""
    assert_refused(responder.run("mitigate.rollback", f"--to={name}"), 2)
    assert api.writes == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--min-instances=21", "--max-instances=20"],
        ["--min-instances=-1"],
        ["--max-instances=-5"],
        ["--max-instances=0", "--min-instances=0"],
        ["--max-instances=1001"],
        ["--min-instances="],
        ["--min-instances=ten"],
        ["--min-instances=1.5"],
        ["--min-instances=1; rm -rf /"],
        ["--max-instances=$(id)"],
        ["--max-instances=2\n0x"],
    ],
)
def test_ranges_that_cloud_run_refuses(
    arguments: list[str], responder: Responder, api: HostileApi
) -> None:
    """Exit code 2, and nothing is written anywhere."""
    done = responder.run("mitigate.scale-up", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Next: " in done.stderr
    assert api.writes == 0
    assert not responder.state.exists()


@pytest.mark.parametrize("name", ["", "nope", "x; rm -rf /", "$(id)", "a\nb"])
def test_changes_that_never_were(name: str, responder: Responder, api: HostileApi) -> None:
    """Only a change on the timeline can be taken back."""
    assert_refused(responder.run("mitigate.undo", f"--change={name}"), 2)
    assert api.writes == 0


@pytest.mark.parametrize("api", BEHAVIOURS, indirect=True)
@pytest.mark.parametrize("step", STEPS)
def test_api_that_does_not_answer_properly(
    step: str, responder: Responder, api: HostileApi
) -> None:
    """Nothing can be planned, so nothing is recorded or sent."""
    if step == "undo":
        record_rollback(responder)
    before = read_rows(responder)
    began = time.monotonic()
    assert_refused(responder.run(*STEPS[step]), 1)
    assert time.monotonic() - began < 20
    assert api.writes == 0
    assert read_rows(responder) == before


@pytest.mark.parametrize("api", ["503", "silent"], indirect=True)
def test_list_without_an_api(responder: Responder, api: HostileApi) -> None:
    """What is on record is listed all the same, with a word on what it rests on."""
    record_rollback(responder)
    done = responder.run("mitigate", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["data"]
    assert [one["change"] for one in found["open"]] == ["aaaaaa"]
    assert "timeline alone" in found["note"]
    assert api.writes == 0


def record_rollback(responder: Responder) -> None:
    """Put a rollback in force on the responder's timeline."""
    timeline = Timeline(responder.state / "local.sqlite3", "local")
    for phase in ("planned", "applied", "verified"):
        timeline.append(
            "aaaaaa",
            "mitigate.rollback",
            phase,
            before={"traffic": [{"revision": "LATEST", "percent": 100}]},
            after={"traffic": [{"revision": "api-00001-abc", "percent": 100}]},
            detail={"lasting": ["traffic"], "summary": "Send all requests to api-00001-abc."},
        )


def read_rows(responder: Responder) -> list[Any]:
    """Return the rows of the responder's timeline."""
    return list(Timeline(responder.state / "local.sqlite3", "local").rows())


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_deadline_that_is_none(text: str, responder: Responder, api: HostileApi) -> None:
    """A deadline that is no number of seconds is refused."""
    assert_refused(responder.run("mitigate.restart", RUNBOOK_API_DEADLINE_S=text), 2)
    assert api.writes == 0


@pytest.mark.staging
def test_record_that_cannot_be_written(responder: Responder, staging: Embedded) -> None:
    """Without a record nothing is changed."""
    write_endpoints(responder.folder / "target", **staging.endpoints)
    before = staging.read_service()
    (responder.folder / "state").write_text("a file where the folder should be")
    assert_refused(responder.run("mitigate.restart", RUNBOOK_API_DEADLINE_S="10"), 1)
    assert staging.read_service() == before


@pytest.mark.staging
def test_unknown_revision(staging: Embedded) -> None:
    """The name is possible, but there is no such revision."""
    before = staging.read_service()
    done = staging.invoke("mitigate.rollback", "--to=convergence-data-pipeline-00099-zzz")
    assert done.returncode == 2, done.output
    assert "has no revision" in done.stderr
    assert find_serving(staging) in done.stderr
    assert staging.read_service() == before


@pytest.mark.staging
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_api_that_fails_at_the_write(
    behaviour: str, responder: Responder, staging: Embedded
) -> None:
    """Reads work, the change gets no proper answer: the real state decides what is told."""
    before = staging.read_service()
    with serve(behaviour, upstream=staging.endpoints["api"]) as api:
        write_endpoints(responder.folder / "target", **staging.endpoints | {"api": api.url})
        done = responder.run(*STEPS["scale-up"], RUNBOOK_API_DEADLINE_S="3")
        assert_refused(done, 1)
        assert "othing was changed" in done.stderr
        assert api.writes == 1
    assert staging.read_service() == before
    assert [row.phase for row in read_rows(responder)] == ["planned", "failed"]


@pytest.mark.staging
def test_answer_that_is_lost(responder: Responder, staging: Embedded) -> None:
    """The change was made and its answer never came: it is found, verified and told."""
    with serve("lost", upstream=staging.endpoints["api"]) as api:
        write_endpoints(responder.folder / "target", **staging.endpoints | {"api": api.url})
        done = responder.run(*STEPS["scale-up"], RUNBOOK_API_DEADLINE_S="5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert staging.read_service()["template"]["scaling"]["minInstanceCount"] == 10
    assert [row.phase for row in read_rows(responder)] == ["planned", "applied", "verified"]


@pytest.mark.staging
def test_prometheus_that_is_gone(responder: Responder, staging: Embedded) -> None:
    """A mitigation needs no Prometheus; it says what it judged by instead."""
    gone = staging.endpoints | {"prometheus": "http://127.0.0.1:9"}
    write_endpoints(responder.folder / "target", **gone)
    done = responder.run("mitigate.restart", RUNBOOK_API_DEADLINE_S="10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Prometheus does not answer" in done.stdout
