"""What to post to `#incidents`: the templates of an alert, with the alert's own facts filled in."""

from runbook.pages.alerts import Rule
from runbook.pages.text import fence

_OPENING = """\
[INCIDENT] {alert} - {severity}
Status: INVESTIGATING
Impact: {notice}
Started: <time of the alert, with its zone>
Doing now: <one line>
Next update: <15 minutes from now>"""

_UPDATE = """\
[UPDATE] {alert} - {severity}
Status: MITIGATING
Impact: <who is still hit>
Done: <command, and what it changed>
Next: <what you try now>
Expected end: <time, or "unknown">
Next update: <15 minutes from now>"""

_RESOLVED = """\
[RESOLVED] {alert} - {severity}
Status: RESOLVED
Impact: service restored
Mended by: <what helped>
Lasted: <from the alert to recovery>
Cause: <one sentence, or "being looked into">
Follow-up: <when the post-mortem is>"""


def render_templates(rule: Rule, notice: str) -> str:
    """Return the first message, the update and the last message, each in a tab."""
    tabs: list[str] = []
    for name, text in (("First", _OPENING), ("Update", _UPDATE), ("Resolved", _RESOLVED)):
        filled = text.format(alert=rule.alert, severity=rule.severity, notice=notice)
        new = "\n    new: true" if not tabs else ""
        tabs.append(f"/// tab | {name}{new}\n\n{fence(filled, 'text')}\n\n///\n")
    return "\n" + "\n".join(tabs)
