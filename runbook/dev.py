"""Work on the runbook itself: what CI runs, and the habits it enforces."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from invoke.exceptions import Exit
from invoke.tasks import task

if TYPE_CHECKING:
    from invoke.context import Context

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT_TASKS = ("test",)
STAGE_DEADLINE_S = 45 * 60
USAGE_EXIT = 2
PYTHON = sys.executable
LOCK_COMMAND = (
    str(Path(PYTHON).parent / "uv"),
    *("pip", "compile", "--quiet", "--universal", "--python-version=3.11"),
    *("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"),
    *("--no-annotate", "--no-header"),
    *("pyproject.toml", "--output-file=requirements.lock"),
)


class Stage(NamedTuple):
    """One part of the suite: its commands run in order, and the first that fails ends it."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    folders: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """How a stage ended, and how long it took."""

    name: str
    code: int
    seconds: float


def pytest_command(folder: str) -> tuple[str, ...]:
    """Return the command that runs the tests in `folder` and adds to the measured coverage."""
    coverage = ("--cov", "--cov-append", "--cov-report=")
    return (PYTHON, "-m", "pytest", "-q", *coverage, folder)


def list_stages() -> tuple[Stage, ...]:
    """Return every stage of the suite, the quickest to fail first."""
    python = (PYTHON, "-m")
    folders = ("unit", "architecture", "staging", "docs", "browser", "demo")
    return (
        Stage("lint", ((*python, "ruff", "check"), (*python, "ruff", "format", "--check"))),
        Stage("types", ((*python, "mypy"),)),
        *(Stage(name, (pytest_command(f"tests/{name}"),), (f"tests/{name}",)) for name in folders),
        Stage("verify", ((*python, "invoke", "verify"),), ("tests/features", "tests/vendor")),
    )


@task(
    iterable=["only"],
    auto_shortflags=False,
    help={"only": "Run this stage alone; may be given several times."},
)
def test(c: Context, only: list[str]) -> None:  # noqa: ARG001
    """Run the whole suite to its end: lint, types, tests, then every loop and line by hand."""
    stages = list_stages()
    unknown = sorted(set(only) - {stage.name for stage in stages})
    if unknown:
        names = ", ".join(stage.name for stage in stages)
        raise Exit(f"There is no stage {unknown[0]!r}; there are {names}.", code=USAGE_EXIT)
    chosen = [stage for stage in stages if not only or stage.name in only]
    measure_from_scratch()
    outcomes = [time_stage(stage) for stage in chosen]
    report_coverage()
    for outcome in outcomes:
        failed = f"  FAILED with exit code {outcome.code}" if outcome.code else ""
        tell(f"{outcome.name:14}{outcome.seconds:7.1f} s{failed}")
    total = sum(outcome.seconds for outcome in outcomes)
    failures = [outcome for outcome in outcomes if outcome.code]
    if failures:
        tell(f"{len(failures)} of {len(outcomes)} stages failed in {total:.1f} s.")
        again = " ".join(f"--only={outcome.name}" for outcome in failures)
        tell(f"Next: ./inv test {again}")
        raise Exit(code=failures[0].code)
    tell(f"{'all passed':14}{total:7.1f} s")


@task
def lint(c: Context) -> None:  # noqa: ARG001
    """Check style, formatting and types."""
    for stage in list_stages():
        if stage.name in {"lint", "types"}:
            stop_on_failure(run_stage(stage))


@task(name="format")
def format_(c: Context) -> None:  # noqa: ARG001
    """Format the code and mend what the linter can mend by itself."""
    stop_on_failure(run((PYTHON, "-m", "ruff", "check", "--fix", "--exit-zero", "--quiet")))
    stop_on_failure(run((PYTHON, "-m", "ruff", "format")))


@task(
    auto_shortflags=False,
    help={"upgrade": "Take the newest versions that pyproject.toml allows."},
)
def lock(c: Context, upgrade: bool = False) -> None:  # noqa: ARG001
    """Rewrite requirements.lock from pyproject.toml; the next ./inv installs it."""
    newer = ("--upgrade",) if upgrade else ()
    stop_on_failure(run((*LOCK_COMMAND, *newer)))
    tell("requirements.lock is up to date; the next ./inv sets .venv up from it.")


def time_stage(stage: Stage) -> Outcome:
    """Return how the stage ended; one that fails does not keep the next from telling its own."""
    began = time.monotonic()
    code = run_stage(stage)
    return Outcome(stage.name, code, time.monotonic() - began)


def run_stage(stage: Stage) -> int:
    """Return the exit code of the stage's first command that fails, else 0."""
    if stage.folders and not any(holds_tests(folder) for folder in stage.folders):
        tell(f"{stage.name}: there are no tests in {', '.join(stage.folders)}.")
        return 1
    tell(f"--- {stage.name}")
    for command in stage.commands:
        if code := run(command):
            return code
    return 0


def holds_tests(folder: str) -> bool:
    """Return whether there is anything in `folder` that pytest would collect."""
    return any((REPOSITORY / folder).rglob("test_*.py"))


def run(command: tuple[str, ...]) -> int:
    """Return the exit code of `command`, run in the repository with its output shown."""
    try:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            timeout=STAGE_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        tell(f"stopped after {STAGE_DEADLINE_S} s: {' '.join(command)}")
        return 1
    return done.returncode


def stop_on_failure(code: int) -> None:
    """Raise invoke's Exit with `code` unless it is 0."""
    if code:
        raise Exit(code=code)


def measure_from_scratch() -> None:
    """Forget the coverage of earlier runs."""
    for path in (REPOSITORY / ".coverage", *REPOSITORY.glob(".coverage.*")):
        path.unlink(missing_ok=True)


def report_coverage() -> None:
    """Print the coverage of all stages together, where any was measured."""
    if (REPOSITORY / ".coverage").exists():
        run((PYTHON, "-m", "coverage", "report"))


def tell(line: str) -> None:
    """Print a line about the suite itself, in its place among the stages' own output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
