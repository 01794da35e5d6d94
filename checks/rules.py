"""The alert rules as `checks/alerts.yml` has them: the one place where a threshold stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

RULES_FILE = Path(__file__).resolve().parent / "alerts.yml"
_THRESHOLD = re.compile(r">\s*([0-9.]+)\s*$")


@dataclass(frozen=True)
class AlertRule:
    """An alert as it is written down, in real time.

    Attributes:
        priority: P1 to P4.
        threshold: The number that the expression is compared with at its end, or None.
    """

    name: str
    expression: str
    hold: str
    severity: str
    priority: str
    summary: str
    threshold: float | None


@cache
def read_alert_rules() -> tuple[AlertRule, ...]:
    """Return the alerts of `checks/alerts.yml`, in its order.

    Raises:
        OSError: The file cannot be read.
        KeyError: A rule lacks its labels.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(RULES_FILE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    return tuple(
        AlertRule(
            name=rule["alert"],
            expression=rule["expr"],
            hold=rule.get("for", "0s"),
            severity=rule["labels"]["severity"],
            priority=rule["labels"]["priority"],
            summary=rule["annotations"]["summary"],
            threshold=_find_threshold(rule["expr"]),
        )
        for group in content["groups"]
        for rule in group["rules"]
        if "alert" in rule
    )


def find_alert_rule(name: str) -> AlertRule:
    """Return the rule called `name`; raises KeyError."""
    for rule in read_alert_rules():
        if rule.name == name:
            return rule
    raise KeyError(name)


def _find_threshold(expression: str) -> float | None:
    found = _THRESHOLD.search(expression)
    return float(found[1]) if found else None
