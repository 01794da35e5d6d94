"""Records every scenario step by step and every line run by hand, also under xdist.

pytest-bdd 9 keeps its own report where xdist's workers cannot send it, so the record travels
in `report.user_properties`, which pytest serialises for the controller.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_bdd.parser import Feature, Scenario, Step

NOT_RUN = "not run"
KINDS = ("loop", "control")


@dataclass
class StepRecord:
    """One Gherkin step: what it says, how it went, what it ran."""

    keyword: str
    text: str
    seconds: float = 0.0
    outcome: str = NOT_RUN
    command: str | None = None
    output: str | None = None


@dataclass
class ScenarioRecord:
    """One scenario (a row of an outline is one) as results/verification.json keeps it."""

    alert: str
    name: str
    kind: str
    started: str
    mitigation: str | None = None
    fault: str | None = None
    platform: str | None = None
    outcome: str = "failed"
    error: str | None = None
    seconds: float = 0.0
    time_to_detect_s: float | None = None
    time_to_mitigate_s: float | None = None
    steps: list[StepRecord] = field(default_factory=list)


scenario_key = pytest.StashKey[ScenarioRecord]()
step_key = pytest.StashKey[tuple[StepRecord, float]]()


class RunningStep:
    """Whichever step of a scenario runs now; a fixture lives as long as the whole scenario."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node

    def keep(self, output: str, command: str | None = None) -> None:
        """Keep what the step that runs now printed or measured, and which command printed it."""
        record, _ = self._node.stash[step_key]
        record.output, record.command = output, command


class Recorder:
    """Listens to pytest-bdd in every process; gathers and writes in the controlling one."""

    def __init__(self, config: pytest.Config) -> None:
        self.path: Path | None = config.getoption("--results")
        self.gathers = not hasattr(config, "workerinput")
        self.scenarios: list[dict[str, Any]] = []
        self.by_hand: list[dict[str, Any]] = []

    def pytest_bdd_before_scenario(
        self, request: pytest.FixtureRequest, feature: Feature, scenario: Scenario
    ) -> None:
        """Open the scenario's record with every step still not run."""
        tags = scenario.tags | feature.tags
        kind = next((kind for kind in KINDS if kind in tags), "other")
        record = ScenarioRecord(feature.name, scenario.name, kind, now())
        record.steps = [StepRecord(step.keyword, step.name) for step in scenario.steps]
        request.node.stash[scenario_key] = record
        request.node.user_properties.append(("scenario", record))

    def pytest_bdd_before_step(
        self, request: pytest.FixtureRequest, scenario: Scenario, step: Step
    ) -> None:
        """Note when the step began."""
        position = next(i for i, one in enumerate(scenario.steps) if one is step)
        record = request.node.stash[scenario_key].steps[position]
        request.node.stash[step_key] = (record, time.monotonic())

    def pytest_bdd_after_step(self, request: pytest.FixtureRequest) -> None:
        """Close the step's record as passed."""
        self._close(request, "passed")

    def pytest_bdd_step_error(
        self, request: pytest.FixtureRequest, exception: BaseException
    ) -> None:
        """Close the step's record as failed and keep the reason."""
        self._close(request, "failed")
        request.node.stash[scenario_key].error = f"{type(exception).__name__}: {exception}"

    def pytest_bdd_step_func_lookup_error(
        self, request: pytest.FixtureRequest, exception: BaseException
    ) -> None:
        """Keep the reason of a step that nothing implements."""
        request.node.stash[scenario_key].error = str(exception)

    def _close(self, request: pytest.FixtureRequest, outcome: str) -> None:
        record, began = request.node.stash[step_key]
        record.outcome = outcome
        record.seconds = round(time.monotonic() - began, 3)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:  # noqa: ANN401  # pytest's own hook type
        """Turn the record into plain data just before the report copies it."""
        record = item.stash.get(scenario_key, None)
        if record is not None and call.when == "call":
            record.outcome = "failed" if call.excinfo else "passed"
            record.seconds = round(call.duration, 3)
            item.user_properties[:] = [("scenario", asdict(record))]
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the records that the finished tests sent."""
        if not self.gathers or report.when != "call":
            return
        for name, value in report.user_properties:
            if name == "scenario":
                self.scenarios.append(value)  # type: ignore[arg-type]
            elif name == "by_hand":
                self.by_hand.append(value)  # type: ignore[arg-type]

    def pytest_sessionfinish(self) -> None:
        """Write what was gathered, whole or not at all."""
        if self.path is None or not self.gathers:
            return
        gathered = {
            "scenarios": sorted(self.scenarios, key=lambda s: (s["alert"], s["kind"], s["name"])),
            "by_hand": sorted(self.by_hand, key=lambda b: (b["step"], b["line"])),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(gathered, indent=1))
        partial.replace(self.path)


def now() -> str:
    """Return the present moment in UTC as RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
