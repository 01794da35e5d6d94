"""The macros that pages may use. Only `define_env`, which MkDocs and Zensical both call."""

import os
import sys
from importlib import import_module, reload
from pathlib import Path
from typing import Any

# Unlike `python -m mkdocs`, the programs `mkdocs` and `zensical` do not look here for modules.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runbook.pages import alerts, card, commands, proof, reference, results, templates, text
from runbook.pages.fidelity import read_fidelity

# Later ones import earlier ones.
_LIVE = ("text", "results", "alerts", "proof", "commands", "reference", "card", "templates")


def define_env(env: Any) -> None:  # noqa: ANN401
    """Give the pages their macros; `env` is the macros plugin's environment."""
    root = Path(env.project_dir)
    if os.environ.get("RUNBOOK_SITE_LIVE"):
        _reload_sources()
    try:
        run = results.load_results(results.results_path(root))
    except text.PageError as error:
        # Not a traceback: who builds the site did not write the results by hand.
        raise SystemExit(f"The site cannot be built: {error}.") from error
    for macro in (*_command_macros(run), *_alert_macros(root, run), *_reference_macros(root, run)):
        env.macro(macro)


def _command_macros(run: results.Verification | None) -> tuple[Any, ...]:
    def command(name: str, **arguments: Any) -> str:  # noqa: ANN401
        return commands.render_command(run, name, **arguments)

    def cmd(name: str, **arguments: Any) -> str:  # noqa: ANN401
        return f"`{commands.command_line(name, **arguments)}`"

    def first_command(name: str) -> str:
        return commands.render_first_command(run, name)

    return command, cmd, first_command


def _alert_macros(root: Path, run: results.Verification | None) -> tuple[Any, ...]:
    def alert_card(alert: str, first: str) -> str:
        return card.render_card(root, run, alert, first)

    def badge(alert: str) -> str:
        return proof.render_badge(proof.read_proof(root, alert))

    def mitigation(alert: str, name: str, **arguments: Any) -> str:  # noqa: ANN401
        return card.render_mitigation(root, run, alert, name, **arguments)

    def proven(alert: str) -> str:
        return card.render_proof(root, run, alert)

    def template(alert: str) -> str:
        rule = alerts.find_rule(root, alert)
        return templates.render_templates(rule, alerts.read_notice(root, alert))

    return alert_card, badge, mitigation, proven, template


def _reference_macros(root: Path, run: results.Verification | None) -> tuple[Any, ...]:
    def alerts_table() -> str:
        return reference.render_alerts(root)

    def task_reference() -> str:
        return reference.render_steps(root, run)

    def exit_codes() -> str:
        return reference.render_exit_codes()

    def verification() -> str:
        return reference.render_verification(root, run)

    def fidelity() -> str:
        return read_fidelity(root)

    return alerts_table, task_reference, exit_codes, verification, fidelity


def _reload_sources() -> None:
    """Read the steps and this package anew, so that a served site follows an edit."""
    steps = [name for name in sys.modules if name.startswith("runbook.") and ".pages" not in name]
    for name in steps:
        del sys.modules[name]
    for name in _LIVE:
        reload(import_module(f"runbook.pages.{name}"))
