"""Who is told what, by Alertmanager's own tool on the very file that production loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).parents[3] / "checks" / "alertmanager.yml"
RULES = CONFIG.with_name("alerts.yml")


def list_rules() -> list[dict[str, dict[str, str]]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def find_receiver(labels: dict[str, str]) -> str:
    done = subprocess.run(
        [
            *("amtool", "config", "routes", "test", f"--config.file={CONFIG}"),
            *(f"{name}={value}" for name, value in labels.items()),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


def test_amtool_accepts_the_configuration() -> None:
    subprocess.run(["amtool", "check-config", str(CONFIG)], timeout=30, check=True)


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [
        ("critical", "pagerduty-slack-email"),
        ("high", "slack-email"),
        ("warning", "slack"),
        ("unheard-of", "slack"),
    ],
)
def test_severity_decides_who_is_told(severity: str, receiver: str) -> None:
    assert find_receiver({"alertname": "Any", "severity": severity}) == receiver


def test_every_alert_reaches_the_receiver_of_its_severity() -> None:
    expected = {"critical": "pagerduty-slack-email", "high": "slack-email", "warning": "slack"}
    for rule in list_rules():
        found = find_receiver({"alertname": str(rule["alert"]), **rule["labels"]})
        assert found == expected[rule["labels"]["severity"]], rule["alert"]


def test_inhibitions_name_alerts_that_exist_and_labels_that_every_alert_bears() -> None:
    inhibitions = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["inhibit_rules"]
    names = {str(rule["alert"]) for rule in list_rules()}
    for one in inhibitions:
        matchers = one["source_matchers"] + one["target_matchers"]
        assert {matcher.split('"')[1] for matcher in matchers} <= names
        assert all(label in rule["labels"] for rule in list_rules() for label in one["equal"])


def test_no_secret_stands_in_the_file() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    for line in text.splitlines():
        name = line.strip(" -").partition(":")[0]
        assert not any(word in name for word in ("password", "key", "url")) or name.endswith(
            ("_file", "title_link", "runbook_url")
        ), line
