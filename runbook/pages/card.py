"""What stands on an alert's page: its card, its mitigations, its proof."""

from pathlib import Path
from typing import Any

from runbook.pages.alerts import Rule, find_rule, read_notice
from runbook.pages.commands import command_line, find_step, render_command, render_first_command
from runbook.pages.proof import (
    DRY_RUN,
    Proof,
    find_output,
    read_proof,
    render_badge,
    render_mitigation_proof,
    render_scenarios,
)
from runbook.pages.reference import render_by_hand_table
from runbook.pages.results import Verification
from runbook.pages.text import LONGEST_OUTPUT, PageError, escape, fence


def render_card(root: Path, run: Verification | None, alert: str, first: str) -> str:
    """Return the head of an alert's page: severity, impact, proof, first command, rule."""
    rule = find_rule(root, alert)
    badge = render_badge(read_proof(root, alert))
    head = (
        f'<div class="card"><p class="impact">'
        f'<span class="severity">{escape(rule.severity)}</span> '
        f"{escape(read_notice(root, alert))}</p><p>{badge}</p></div>"
    )
    return f"{head}\n\n**Type first**\n{render_first_command(run, first)}\n{_rule_details(rule)}"


def _rule_details(rule: Rule) -> str:
    facts = [f"holds for `{rule.hold}`"]
    if rule.threshold:
        facts.insert(0, f"threshold `{rule.threshold}`")
    text = f"{', '.join(facts)} · from `checks/alerts.yml`"
    return (
        f"\n/// details | The rule: {', '.join(facts).replace('`', '')}\n    type: rule\n\n"
        f"{fence(rule.expression, 'promql')}\n\n{text}\n\n///\n"
    )


def render_mitigation(
    root: Path,
    run: Verification | None,
    alert: str,
    name: str,
    *,
    kubernetes: dict[str, Any] | None = None,
    **arguments: Any,  # noqa: ANN401
) -> str:
    """Return one way to mitigate an alert: command, proof per fault, dry run, undo.

    Raises:
        PageError: the step is not meant for this alert, or no scenario promises that it helps.

    """
    step = find_step(name)
    proof = read_proof(root, alert, mitigation=name)
    if alert not in step.alerts:
        raise PageError(f"{name} is not a step for {alert}; it names {', '.join(step.alerts)}")
    if not any(one.kind == "loop" for one in proof.promised):
        raise PageError(f"features/{alert}.feature has no loop that proves {name}")
    return "\n".join(
        [
            render_command(run, name, kubernetes=kubernetes, **arguments),
            render_mitigation_proof(proof),
            _dry_run(proof, name, arguments),
            _expected(proof, name),
            _undo(),
        ]
    )


def _dry_run(proof: Proof, name: str, arguments: dict[str, Any]) -> str:
    line = f"{command_line(name, **arguments)} {DRY_RUN}"
    output = find_output(proof, line)
    shown = (
        f"It printed, when last verified:\n\n{fence(output[:LONGEST_OUTPUT], 'text')}"
        if output
        else "It shows the state before and after, the vendor line, and whom it touches."
    )
    return (
        "\n/// details | Dry run: see the plan, change nothing\n    type: dry-run\n\n"
        f"{fence(line)}\n\n{shown}\n\n///\n"
    )


def _expected(proof: Proof, name: str) -> str:
    output = find_output(proof, command_line(name))
    if output is None:
        return ""
    return (
        "\n/// details | What to expect: its output when last proven\n    type: expected\n\n"
        f"{fence(output[:LONGEST_OUTPUT], 'text')}\n\n///\n"
    )


def _undo() -> str:
    return (
        "\n/// details | Undo: back to the state before\n    type: undo\n\n"
        f"{fence(command_line('mitigate.undo'))}\n\n///\n"
    )


def render_proof(root: Path, run: Verification | None, alert: str) -> str:
    """Return the proof of an alert: its scenarios step by step, and its vendor lines."""
    proof = read_proof(root, alert)
    names = frozenset(one.mitigation for one in proof.promised if one.mitigation)
    table = "" if run is None else f"\n\n### By hand\n\n{render_by_hand_table(run, names)}"
    return f"{render_badge(proof)}\n\n{render_scenarios(proof)}{table}\n"
