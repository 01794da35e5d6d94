"""The alerts: their rules from `checks/alerts.yml`, their scenarios from `features/`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from gherkin.parser import Parser
from gherkin.pickles.compiler import Compiler

from runbook.pages.text import PageError

RULES = "checks/alerts.yml"
_COMPARISON = re.compile(r"(?:[<>]=?|!=)\s*[0-9.]+(?=\s*$)")


@dataclass(frozen=True)
class Rule:
    """One alerting rule, as Prometheus evaluates it in production."""

    alert: str
    expression: str
    hold: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def severity(self) -> str:
        """The severity on the card: P1 to P4."""
        return self.labels.get("priority") or self.labels.get("severity", "")

    @property
    def threshold(self) -> str:
        """The comparison that decides, as the rule spells it, or an empty text."""
        comparisons = _COMPARISON.findall(self.expression)
        return str(comparisons[-1]) if comparisons else ""


@dataclass(frozen=True)
class Scenario:
    """One scenario that a feature promises; an outline's row counts as one."""

    alert: str
    name: str
    kind: str
    mitigation: str | None
    fault: str | None
    platform: str | None = None


def read_rules(root: Path) -> dict[str, Rule]:
    """Return every alerting rule by its name, in the file's order.

    Raises:
        PageError: the file is missing or holds no rule.

    """
    try:
        data = yaml.safe_load((root / RULES).read_text(encoding="utf-8"))
        rules = [rule for group in data["groups"] for rule in group["rules"] if "alert" in rule]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise PageError(f"{RULES} cannot be read as Prometheus rules: {error}") from error
    if not rules:
        raise PageError(f"{RULES} holds no alert")
    return {rule["alert"]: _read_rule(rule) for rule in rules}


def find_rule(root: Path, alert: str) -> Rule:
    """Return one alert's rule.

    Raises:
        PageError: no rule has that name.

    """
    rules = read_rules(root)
    if alert not in rules:
        raise PageError(f"no rule is named {alert!r}; {RULES} has {', '.join(rules)}")
    return rules[alert]


def read_notice(root: Path, alert: str) -> str:
    """Return what users notice: the description at the head of the alert's page.

    Raises:
        PageError: the alert has no page, or its page no description.

    """
    path = root / "docs" / "alerts" / f"{alert}.md"
    try:
        head = yaml.safe_load(path.read_text(encoding="utf-8").split("---")[1])
    except OSError as error:
        raise PageError(f"{alert} has a rule and no page: docs/alerts/{alert}.md") from error
    except (IndexError, yaml.YAMLError):
        head = None
    if not isinstance(head, dict) or not head.get("description"):
        raise PageError(f"docs/alerts/{alert}.md has no description of what users notice")
    return str(head["description"])


def _read_rule(rule: dict[str, Any]) -> Rule:
    return Rule(
        alert=str(rule["alert"]),
        expression=str(rule["expr"]).strip(),
        hold=str(rule.get("for", "0s")),
        labels={key: str(value) for key, value in rule.get("labels", {}).items()},
        annotations={key: str(value).strip() for key, value in rule.get("annotations", {}).items()},
    )


def read_scenarios(root: Path, alert: str) -> tuple[Scenario, ...]:
    """Return the scenarios of `features/<alert>.feature`, outline rows included.

    Raises:
        PageError: the feature is missing or is not Gherkin.

    """
    path = root / "features" / f"{alert}.feature"
    try:
        document: Any = Parser().parse(path.read_text(encoding="utf-8")) | {"uri": path.name}
    except Exception as error:
        raise PageError(f"features/{alert}.feature cannot be read: {error}") from error
    rows = _rows_by_id(document)
    scenarios = []
    for pickle in Compiler().compile(document):
        tags = {tag["name"] for tag in pickle["tags"]}
        kind = next((kind for kind in ("loop", "control") if f"@{kind}" in tags), "other")
        cells = next((rows[node] for node in pickle["astNodeIds"] if node in rows), {})
        scenarios.append(
            Scenario(
                *(alert, pickle["name"], kind),
                *(cells.get(name) for name in ("mitigation", "fault", "platform")),
            )
        )
    return tuple(scenarios)


def _rows_by_id(document: Any) -> dict[str, dict[str, str]]:  # noqa: ANN401
    """Return the cells of each example row by their header, keyed by the row's id."""
    tables = [
        table
        for child in document["feature"]["children"]
        for table in child.get("scenario", {}).get("examples", [])
        if "tableHeader" in table
    ]
    return {
        row["id"]: dict(
            zip(
                (cell["value"] for cell in table["tableHeader"]["cells"]),
                (cell["value"] for cell in row["cells"]),
                strict=True,
            )
        )
        for table in tables
        for row in table["tableBody"]
    }
