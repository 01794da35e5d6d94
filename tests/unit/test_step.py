"""The step decorator: lines by hand, exit codes, and no traceback for a responder."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.program import Program

from checks import errors
from runbook import catalogue
from runbook.report import Report, Table
from runbook.step import RunbookTask, step
from tests.unit.hostile_api import write_endpoints
from tests.unit.test_target import make_target

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTILE = ["a b", "a;reboot", "$(id)", "a\nb", "'\"", "--flag", "{project}", "{0.__class__}"]


@step(
    by_hand="gcloud run {verb} {name} --project={project} --region={region} --min={least}",
    changes="cloud_run",
    example={"name": "api-1"},
    help={"least": "How few."},
)
def act(
    c: Context, name: str = "", verb: str = "x", least: int = 1, dry_run: bool = False,
    yes: bool = False,
) -> Report:  # fmt: skip
    """Do as the name says."""
    del c, verb, yes
    if name in _RAISES:
        raise _RAISES[name]
    data = {"name": name, "dry_run": dry_run, "least": least}
    return Report("Done.", data=data, exit_code=int(name) if name.isdigit() else 0)


@step()
def look(_c: Context) -> Report:
    """Look."""
    return Report("Seen.", "good", (Table(("a",), (("[red]b[/red]",),)),), data={"seen": True})


_RAISES: dict[str, BaseException] = {
    "fails": errors.RunbookError("It failed.", next_step="try again"),
    "api": errors.ApiError("It answered 503.", status=503, next_step="wait"),
    "usage": errors.UsageError("That is no name.", next_step="give one"),
    "unverified": errors.NotVerifiedError("Not seen.", next_step="look"),
    "refused": errors.ConcurrentChangeError("Someone was faster.", next_step="look"),
    "bug": ValueError("first line\nsecond \x1b[31mline"),
    "ctrl-c": KeyboardInterrupt(),
}
_CODES = {"fails": 1, "api": 1, "usage": 2, "unverified": 3, "refused": 4, "bug": 3, "ctrl-c": 130}


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `local` a target that exists; nothing listens there."""
    write_endpoints(tmp_path, os.getpid(), "http://127.0.0.1:9")
    monkeypatch.setenv("RUNBOOK_STAGING_DIR", str(tmp_path))
    monkeypatch.delenv("RUNBOOK_TARGET", raising=False)
    monkeypatch.delenv("RUNBOOK_DEBUG", raising=False)


def run(*words: str) -> int:
    """Run a command line in this process and return its exit code."""
    program = Program(namespace=Collection(act, look))
    try:
        program.run(["invoke", *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("name", _RAISES)
@pytest.mark.parametrize("as_json", [False, True])
def test_every_failure_has_its_code_and_no_traceback(
    capsys: pytest.CaptureFixture[str], name: str, as_json: bool
) -> None:
    assert run("act", f"--name={name}", *(["--json"] if as_json else [])) == _CODES[name]
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "\x1b" not in out + err
    if as_json:
        told = json.loads(out)
        assert told["exit_code"] == _CODES[name]
        assert told["error"]["message"]
        assert told["error"]["next"]
    else:
        assert "Next: " in err


@pytest.mark.usefixtures("local")
def test_a_failed_dry_run_changed_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("act", "--name=bug", "--dry-run") == 1
    assert "may already" not in capsys.readouterr().err


@pytest.mark.usefixtures("local")
def test_the_trace_is_there_for_who_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_DEBUG", "1")
    assert run("act", "--name=bug") == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("code", [0, 3])
def test_the_reports_code_is_the_commands(code: int) -> None:
    assert run("act", f"--name={code}") == code


@pytest.mark.usefixtures("local")
def test_invokes_own_dry_flag_stops_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--dry", "act", "--json") == 0
    assert json.loads(capsys.readouterr().out)["dry_run"] is True


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("value", ["ten", "", "1.5", "$(id)"])
def test_a_number_that_is_none_is_usage(capsys: pytest.CaptureFixture[str], value: str) -> None:
    assert run("act", f"--least={value}") == 2
    assert "--least wants a whole number" in capsys.readouterr().err


@pytest.mark.usefixtures("local")
def test_the_first_line_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    line = "local (embedded staging) · convergence-local / us-central1 / convergence-data-pipeline"
    assert run("look") == 0
    assert capsys.readouterr().out.splitlines()[0] == line
    assert run("look", "--json") == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == line
    assert json.loads(out)["data"] == {"seen": True}


@pytest.mark.usefixtures("local")
def test_markup_in_evidence_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    run("look")
    assert "[red]b[/red]" in capsys.readouterr().out


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_who_leaves_changes_no_exit_code(tmp_path: Path, lines: int) -> None:
    write_endpoints(tmp_path, os.getpid(), "http://127.0.0.1:9")
    environment = os.environ | {"RUNBOOK_STAGING_DIR": str(tmp_path), "RUNBOOK_TARGET": "local"}
    command = [sys.executable, "-m", "invoke", "assess"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=pipe, stderr=pipe, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for _ in range(lines):
            running.stdout.readline()
        running.stdout.close()
        told = running.stderr.read()
        # Nobody could be asked, which is the step's own answer and no trouble with its output.
        assert running.wait(30) == 1, told
    assert told == ""


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_adds_a_word_to_a_line_by_hand(value: str) -> None:
    [argv] = act.by_hand_argv(make_target(), name=value, verb=value, least=5)
    assert argv == ["gcloud", "run", value, value, "--project=p", "--region=us-central1", "--min=5"]


def test_lines_by_hand_take_example_and_default() -> None:
    [line] = act.by_hand_lines(make_target())
    assert line == "gcloud run x api-1 --project=p --region=us-central1 --min=1"


def test_a_shell_reads_the_command_line_as_it_is() -> None:
    line = act.command_line(name="a; b", least=3, dry_run=True, yes=False)
    assert shlex.split(line) == ["invoke", "act", "--name=a; b", "--least=3", "--dry-run"]


def test_arguments_keep_their_help_however_often_asked() -> None:
    for _ in range(3):
        help_texts = {a.name: a.help for a in act.get_arguments()}
        assert help_texts["least"] == "How few."
        assert "json" in help_texts


def test_a_change_without_a_dry_run_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="dry_run"):

        @step(changes="cloud_run")
        def careless(_c: Context) -> None:
            """Change something at once."""


def test_every_step_renders_its_lines_for_every_target() -> None:
    for name, found in catalogue.steps().items():
        for argv in found.by_hand_argv(make_target()):
            assert argv[0] in {"gcloud", "curl", "kubectl", "bq", "install"}, name
            assert not any("{" in word and "job=" not in word for word in argv), (name, argv)


def test_a_step_is_known_by_its_qualified_name() -> None:
    steps: dict[str, Any] = catalogue.steps()
    assert isinstance(steps["assess.error-pattern"], RunbookTask)
    assert steps["assess.error-pattern"].command_line() == "invoke assess.error-pattern"
    assert steps["assess.triage"].command_line() == "invoke assess"


@step(
    by_hand={
        "cloud_run": "gcloud run {service} --min={least} --cpu={cpu}",
        "kubernetes": (
            "kubectl --context={kube_context} scale {deployment} --replicas={least}",
            "kubectl --context={kube_context} set resources {deployment} --limits=cpu={cpu}",
        ),
    },
    example={"least": 10, "stamp": "x"},
)
def grow(_c: Context, least: int | None = None, cpu: str | None = None) -> Report:
    """Grow."""
    return Report(f"{least} {cpu}")


def test_lines_by_hand_are_those_of_the_platform() -> None:
    target = make_target(kube_context="embedded")
    assert grow.by_hand_lines(target) == ["gcloud run api --min=10"]
    kubectl = ["kubectl --context=embedded scale api --replicas=3"]
    assert grow.by_hand_lines(target, platform="kubernetes", least=3) == kubectl
    assert grow.by_hand_lines(make_target(platform="kubernetes", kube_context="embedded"), least=3)
    assert grow.by_hand == ("gcloud run {service} --min={least} --cpu={cpu}",)


def test_an_example_stands_aside_for_what_is_given() -> None:
    assert grow.by_hand_lines(make_target(), cpu="4") == ["gcloud run api --cpu=4"]


def test_a_line_without_an_option_that_is_given_is_left_out() -> None:
    target = make_target(kube_context="embedded")
    [line] = grow.by_hand_lines(target, platform="kubernetes", cpu="4")
    assert line == "kubectl --context=embedded set resources api --limits=cpu=4"


def test_a_word_that_python_forbids_is_a_flag_all_the_same() -> None:
    assert grow.command_line(for_="60m", cpu="4") == "invoke grow --for=60m --cpu=4"
