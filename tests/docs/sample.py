"""Sample results for tests of the pages; nothing here is ever published."""

import json
from pathlib import Path
from typing import Any

from runbook.pages.alerts import Scenario, read_rules, read_scenarios

ROOT = Path(__file__).resolve().parent.parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
STARTED = "2026-11-23T06:00:00Z"
PLAN = "before  api-00003 100 %\nafter   api-00002 100 %"


def make_results(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return results in which every promised scenario passed, with top-level fields changed."""
    scenarios = [
        make_scenario(promised)
        for alert in read_rules(ROOT)
        for promised in read_scenarios(ROOT, alert)
    ]
    results = {
        "format": 2,
        "target": "local",
        "environment": "embedded staging",
        "time_scale": 60.0,
        "commit": COMMIT,
        "dirty": False,
        "started": STARTED,
        "seconds": 312.4,
        "scenarios": scenarios,
        "by_hand": [make_by_hand("mitigate.rollback")],
    }
    return {**results, **changes}


def make_scenario(promised: Scenario, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return one passed scenario in the form of the results file."""
    loop = promised.kind == "loop"
    command = f"invoke {promised.mitigation}" if loop else None
    dry_run = f"{command} --dry-run" if loop else None
    scenario = {
        "alert": promised.alert,
        "name": promised.name,
        "kind": promised.kind,
        "mitigation": promised.mitigation,
        "fault": promised.fault,
        "outcome": "passed",
        "error": None,
        "started": STARTED,
        "seconds": 20.1,
        "time_to_detect_s": 6.5 if loop else None,
        "time_to_mitigate_s": 4.1 if loop else None,
        "steps": [
            make_step("Given", "the service is healthy and under load"),
            make_step("When", f"the responder looks at {promised.mitigation}", dry_run, PLAN),
            make_step("When", f"the responder runs {promised.mitigation}", command, "done"),
            make_step("Then", f"{promised.alert} clears"),
        ],
    }
    return {**scenario, **changes}


def make_step(
    keyword: str, text: str, command: str | None = None, output: str | None = None
) -> dict[str, Any]:
    """Return one passed step in the form of the results file."""
    return {
        "keyword": keyword,
        "text": text,
        "seconds": 0.5,
        "outcome": "passed",
        "command": command,
        "output": output if command else None,
    }


def make_by_hand(step: str, outcome: str = "equal", why: str = "") -> dict[str, Any]:
    """Return one vendor line's result in the form of the results file."""
    line = "gcloud run services update-traffic convergence-data-pipeline --to-latest"
    found = {"step": step, "platform": "cloud_run", "line": line}
    return {**found, "outcome": outcome, "why": why, "seconds": 1.2}


def write_results(path: Path, results: object) -> Path:
    """Write the results to the path and return it."""
    path.write_text(json.dumps(results), encoding="utf-8")
    return path
