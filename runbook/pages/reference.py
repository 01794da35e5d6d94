"""The reference pages: every step, every exit code, the last verification as a whole."""

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks import errors
from runbook.catalogue import steps
from runbook.pages.alerts import read_notice, read_rules
from runbook.pages.commands import PLATFORM_NAMES, command_line, find_step, render_command
from runbook.pages.proof import read_proof, render_badge, render_scenarios
from runbook.pages.results import ByHandResult, Verification
from runbook.pages.text import PageError, escape, plain_time, seconds

if TYPE_CHECKING:
    from invoke.parser.argument import Argument

    from runbook.step import RunbookTask

_MEANINGS = {
    0: "Done",
    1: "Failed, nothing was changed",
    2: "Wrong usage",
    3: "Changed, but not verified",
    4: "Refused, nothing was changed",
    130: "Interrupted by Ctrl-C",
}
_SYSTEMS = {
    "cloud_run": "Cloud Run",
    "cloud_armor": "Cloud Armor",
    "platform": "Cloud Run or Kubernetes",
    "service": "the service's keys",
}
_SECTION = re.compile(
    r"^(Args|Returns|Raises|Yields|Attributes|Example|Examples):\s*$", re.MULTILINE
)


def render_step(root: Path, run: Verification | None, name: str) -> str:
    """Return a step's reference entry: what it does, its line, its options, its vendor line."""
    step = find_step(name)
    facts = [f"*{_reach(step)}.*"]
    if step.alerts:
        links = ", ".join(f"[{alert}](../alerts/{alert}.md)" for alert in step.alerts)
        facts.append(f"On the pages of {links}.")
    facts.append(f"Source: `{_source(root, step)}`.")
    return "\n\n".join(
        [
            f"## {name} {{ #{anchor(name)} }}",
            _description(step),
            " ".join(facts),
            render_command(run, name, **_required(step)),
            _options(step),
        ]
    )


def anchor(name: str) -> str:
    """Return a step's anchor on the reference page: `mitigate-scale-up`."""
    return name.replace(".", "-")


def _required(step: "RunbookTask") -> dict[str, Any]:
    """Return the example's values for the options that a command line cannot leave out."""
    needed = {argument.name for argument in step.get_arguments() if argument.positional}
    return {key: value for key, value in step.example.items() if key.replace("_", "-") in needed}


def _reach(step: "RunbookTask") -> str:
    if step.changes:
        return f"Changes {_SYSTEMS.get(step.changes, step.changes)}"
    return "Reads only" if step.needs_target else "Acts on this machine only"


def _source(root: Path, step: "RunbookTask") -> str:
    path = Path(inspect.getsourcefile(step.body) or "").resolve()
    return f"{path.relative_to(root.resolve())}, {step.body.__name__}()"


def _description(step: "RunbookTask") -> str:
    text = inspect.cleandoc(step.body.__doc__ or "")
    return _SECTION.split(text, maxsplit=1)[0].strip()


def _options(step: "RunbookTask") -> str:
    rows = "\n".join(_option_row(argument) for argument in step.get_arguments())
    return f"| option | meaning | default |\n| --- | --- | --- |\n{rows}"


def _option_row(argument: "Argument") -> str:
    flag = f"--{str(argument.name).replace('_', '-')}"
    default = "" if argument.default in (None, "", False) else f"`{argument.default}`"
    meaning = " ".join((argument.help or "").split()).replace("|", "\\|")
    return f"| `{flag}` | {meaning} | {default} |"


def render_steps(root: Path, run: Verification | None) -> str:
    """Return the reference of all steps, an overview first."""
    rows = "\n".join(
        f"| [`{command_line(name)}`](#{anchor(name)}) | {_first_sentence(step)} |"
        for name, step in steps().items()
    )
    entries = "\n\n".join(render_step(root, run, name) for name in steps())
    return f"| command | what it does |\n| --- | --- |\n{rows}\n\n{entries}\n"


def _first_sentence(step: "RunbookTask") -> str:
    return _description(step).split("\n\n", maxsplit=1)[0].replace("\n", " ").replace("|", "\\|")


def render_exit_codes() -> str:
    """Return the exit codes, each with its meaning and the kinds of failure that lead to it.

    Raises:
        PageError: an error exits with a code that has no meaning here.

    """
    reasons = _reasons()
    if unknown := set(reasons) - set(_MEANINGS):
        raise PageError(f"nobody has said what exit code {min(unknown)} means")
    rows = "\n".join(
        f"| `{code}` | **{meaning}** | {reasons.get(code, '')} |"
        for code, meaning in _MEANINGS.items()
    )
    return f"| exit code | what it means | when |\n| --- | --- | --- |\n{rows}\n"


def _reasons() -> dict[int, str]:
    """Return the first sentence of every error's docstring, gathered by the code it exits with."""
    gathered: dict[int, list[str]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.RunbookError):
            if kind is errors.RunbookError:
                continue
            said = inspect.cleandoc(kind.__doc__ or "").split("\n", maxsplit=1)[0]
            gathered.setdefault(kind.exit_code, []).append(said)
    return {code: " ".join(texts) for code, texts in gathered.items()}


def render_alerts(root: Path) -> str:
    """Return the table of alerts: what users notice, severity, last proof, time to mitigate."""
    rows = []
    for alert, rule in read_rules(root).items():
        proof = read_proof(root, alert)
        took = proof.slowest_mitigation
        rows.append(
            f'<tr><td><a href="alerts/{escape(alert)}.html"><strong>{escape(alert)}</strong></a>'
            f'<div class="notice">{escape(read_notice(root, alert))}</div></td>'
            f'<td><span class="severity">{escape(rule.severity)}</span></td>'
            f"<td>{render_badge(proof, brief=True)}</td>"
            f'<td class="mitigated">{"" if took is None else seconds(took)}</td></tr>'
        )
    titles = ("alert, and what users notice", "severity", "last proof", "mitigated in")
    head = f"<tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
    body = f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="alerts"><table>{body}</table></div>'


def render_verification(root: Path, run: Verification | None) -> str:
    """Return the last verification as a whole: totals, every scenario, every vendor line."""
    if run is None:
        return '<p class="proof" data-proof="unverified"><strong>Not verified yet</strong></p>'
    parts = [_totals(run)]
    for alert in read_rules(root):
        proof = read_proof(root, alert)
        parts.append(f"## {alert}\n\n{render_badge(proof)}\n\n{render_scenarios(proof)}")
    parts.append(f"## By hand\n\n{render_by_hand_table(run)}")
    return "\n\n".join(parts)


def _totals(run: Verification) -> str:
    passed = sum(one.outcome == "passed" for one in run.scenarios)
    equal = sum(one.outcome == "equal" for one in run.by_hand)
    unverified = sum(one.outcome == "unverified" for one in run.by_hand)
    rows = [
        ("started", plain_time(run.started)),
        ("took", seconds(run.seconds)),
        ("environment", f"{escape(run.environment)} (target {escape(run.target)})"),
        ("clock of the alert rules", f"{run.time_scale:g} times real time"),
        ("commit", f"<code>{run.commit}</code>{' with local changes' if run.dirty else ''}"),
        ("scenarios", f"{passed} of {len(run.scenarios)} passed"),
        ("vendor lines", f"{equal} of {len(run.by_hand)} equal, {unverified} not verified"),
    ]
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<div class="totals"><table><tbody>{body}</tbody></table></div>'


def _name_platform(one: ByHandResult) -> str:
    name = PLATFORM_NAMES.get(one.platform, "")
    return f" on {name}" if name else ""


def render_by_hand_table(run: Verification, only: frozenset[str] | None = None) -> str:
    """Return the vendor lines as they were run, each beside its step and its outcome."""
    rows = "".join(
        f'<tr data-by-hand="{one.outcome}"><td><code>{escape(one.step)}</code>'
        f"{_name_platform(one)}</td>"
        f"<td><code>{escape(one.line)}</code></td>"
        f"<td>{one.outcome}{': ' + escape(one.why) if one.why else ''}</td>"
        f"<td>{seconds(one.seconds)}</td></tr>"
        for one in run.by_hand
        if only is None or one.step in only
    )
    if not rows:
        return "<p>No vendor line on record: not verified yet.</p>"
    head = "<tr><th>step</th><th>line</th><th>effect</th><th>took</th></tr>"
    body = f"<thead>{head}</thead><tbody>{rows}</tbody>"
    return f'<div class="by-hand-lines"><table>{body}</table></div>'
