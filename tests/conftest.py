"""Options and fixtures of the whole suite: one embedded staging for each worker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.embedded import REPOSITORY, Embedded
from tests.support.recorder import Recorder, RunningStep, ScenarioRecord, scenario_key

# The same examples in every run, however long a busy machine takes to draw them.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

pytest_plugins = ("tests.steps.staging", "tests.steps.responder", "tests.steps.observer")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add where the results go and how fast the rules' clocks run."""
    group = parser.getgroup("runbook")
    group.addoption("--results", type=Path, help="write the verification's results to this file")
    group.addoption("--time-scale", type=float, default=120.0, help="divide the rules' durations")


def pytest_configure(config: pytest.Config) -> None:
    """Record scenarios everywhere, and give each alert's feature a marker of its name."""
    # A shell starts what runs in its background deaf to Ctrl-C, and tests of it would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for feature in sorted((REPOSITORY / "features").glob("*.feature")):
        config.addinivalue_line("markers", f"{feature.stem}: the alert of that name")
    config.pluginmanager.register(Recorder(config), "runbook-recorder")


@pytest.fixture(scope="session")
def embedded_staging(request: pytest.FixtureRequest) -> Iterator[Embedded]:
    """Start an embedded staging of this worker's own; stop it at the end."""
    found = Embedded(time_scale=request.config.getoption("--time-scale"))
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def staging(embedded_staging: Embedded) -> Embedded:
    """Return this worker's embedded staging at its clean baseline."""
    embedded_staging.reset()
    return embedded_staging


@pytest.fixture
def scenario_record(request: pytest.FixtureRequest) -> ScenarioRecord:
    """Return the record of the scenario that is running."""
    record: ScenarioRecord = request.node.stash[scenario_key]
    return record


@pytest.fixture
def running_step(request: pytest.FixtureRequest) -> RunningStep:
    """Return what keeps the output of the scenario's step that is running."""
    return RunningStep(request.node)
