"""promtool's own way to test rules: series in, expected alerts out, on simulated time."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[3] / "checks" / "alerts.yml"


def find_rule(alert: str) -> dict[str, Any]:
    """Return the rule as the file has it."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return next(rule for group in groups for rule in group["rules"] if rule["alert"] == alert)


def expect(
    alert: str, at: str, firing: dict[str, str] | None, summary: str | None = None
) -> dict[str, Any]:
    """Return promtool's expectation that `alert` fires with these series labels, or is silent."""
    expected: dict[str, Any] = {"eval_time": at, "alertname": alert}
    if firing is not None:
        rule = find_rule(alert)
        expected["exp_alerts"] = [
            {
                "exp_labels": {**firing, **rule["labels"]},
                "exp_annotations": {
                    **rule["annotations"],
                    **({"summary": summary} if summary else {}),
                },
            }
        ]
    return expected


def run_rules(folder: Path, series: dict[str, str], expectations: list[dict[str, Any]]) -> None:
    """Run one case; raise AssertionError with promtool's words when an expectation is not met."""
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": expectations,
    }
    file = folder / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [case]}), encoding="utf-8")
    result = subprocess.run(
        ["promtool", "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
