"""Code blocks rendered from steps: no page holds a command that is not one."""

import shlex
from typing import TYPE_CHECKING, Any

from checks.target import Target, load_target
from runbook.catalogue import steps
from runbook.pages.proof import judge_by_hand
from runbook.pages.results import Verification
from runbook.pages.text import PageError, escape, fence

if TYPE_CHECKING:
    from runbook.step import RunbookTask

# Pages show the lines for the place where they matter most.
PAGE_TARGET = "production"
KUBERNETES = "kubernetes"
PLATFORM_NAMES = {"cloud_run": "Cloud Run", KUBERNETES: "Kubernetes"}
_WIDE = 60
_NARROW = 48
_BY_HAND_WORDS = {
    "equal": "Run with the real client against staging: its effect equals the command's.",
    "different": "Its effect DIFFERS from the command's",
    "unverified": "Not verified",
}


def find_step(name: str) -> "RunbookTask":
    """Return the step of that name; a namespace's default answers to the namespace's name too.

    Raises:
        PageError: there is none; the message lists those that are.

    """
    known = steps()
    known |= {step.command_name: step for step in known.values() if step.command_name}
    if name not in known:
        raise PageError(f"no step is named {name!r}; there are {', '.join(sorted(known))}")
    return known[name]


def page_target() -> Target:
    """Return the target whose project, region and addresses stand in the vendor lines."""
    return load_target(PAGE_TARGET)


def command_line(name: str, **arguments: Any) -> str:  # noqa: ANN401
    """Return what to type for a step: `invoke mitigate.rollback`.

    Raises:
        PageError: no such step, or it has no such option.

    """
    step = find_step(name)
    known = {str(argument.name) for argument in step.get_arguments()}
    unknown = [one for one in arguments if one.replace("_", "-") not in known and one not in known]
    if unknown:
        raise PageError(f"{name} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return step.command_line(**arguments)


def vendor_lines(name: str, platform: str = "", **arguments: Any) -> list[str]:  # noqa: ANN401
    """Return the vendor's own lines, shell-quoted, long ones over several rows."""
    argv_lines = find_step(name).by_hand_argv(page_target(), platform, **arguments)
    return [wrap_line(argv) for argv in argv_lines]


def wrap_line(argv: list[str]) -> str:
    """Return an argument list as shell input, in rows that fit a phone."""
    line = shlex.join(argv)
    if len(line) <= _WIDE:
        return line
    rows: list[str] = []
    for group in _group_options(argv):
        text = shlex.join(group)
        if rows and len(rows[-1]) + len(text) < _NARROW:
            rows[-1] += f" {text}"
        else:
            rows.append(text)
    return " \\\n  ".join(rows)


def _group_options(argv: list[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for token in argv:
        starts_option = token.startswith("-") and len(groups[-1]) > 0
        is_long = len(shlex.join([*groups[-1], token])) > _NARROW and len(groups[-1]) > 1
        if starts_option or is_long:
            groups.append([])
        groups[-1].append(token)
    return groups


def render_first_command(run: Verification | None, name: str) -> str:
    """Return what to type first: the target, which every later command follows, then the step."""
    return render_command(run, name, before=f"export RUNBOOK_TARGET={PAGE_TARGET}\n")


def render_command(
    run: Verification | None,
    name: str,
    *,
    before: str = "",
    kubernetes: dict[str, Any] | None = None,
    **arguments: Any,  # noqa: ANN401
) -> str:
    """Return a step as tabs: the command, and by hand with what is known of its equality.

    `kubernetes` holds the arguments there, where they are others than Cloud Run's.
    """
    typed = fence(before + command_line(name, **arguments))
    if kubernetes is not None:
        typed += f"\n\nOn Kubernetes:\n\n{fence(command_line(name, **kubernetes))}"
    lines = {
        platform: vendor_lines(
            name,
            platform,
            **(arguments if platform != KUBERNETES or kubernetes is None else kubernetes),
        )
        for platform in find_step(name).by_platform
    }
    by_hand = "".join(
        _render_by_hand(run, name, platform, shown) for platform, shown in lines.items() if shown
    )
    if not by_hand:
        return f"\n{typed}\n"
    return f"\n/// tab | Command\n    new: true\n\n{typed}\n\n///\n\n{by_hand}"


def _render_by_hand(run: Verification | None, name: str, platform: str, lines: list[str]) -> str:
    title = f"By hand: {PLATFORM_NAMES[platform]}" if platform else "By hand"
    note = render_replace_note(name, platform) + render_by_hand_note(run, name, platform)
    typed = fence("\n\n".join(lines))
    return f"/// tab | {title}\n\n{typed}\n\n{note}\n\n///\n\n"


def render_replace_note(name: str, platform: str = "") -> str:
    """Return which words of the vendor lines are examples; empty when none is."""
    step = find_step(name)
    defaults = {argument.name: argument.default for argument in step.get_arguments()}
    examples = [
        f"<code>{escape(str(value))}</code> by your own <code>{escape(key)}</code>"
        for key, value in step.example.items()
        if any(f"{{{key}}}" in line for line in step.by_platform.get(platform, ()))
        and defaults.get(key.replace("_", "-")) != value
    ]
    return f'<p class="by-hand">Replace {" and ".join(examples)}.</p>' if examples else ""


def render_by_hand_note(run: Verification | None, name: str, platform: str = "") -> str:
    """Return the line under a vendor line: equal, different or not verified, and why."""
    outcome, why = judge_by_hand(run, name, len(find_step(name).by_platform[platform]), platform)
    reason = f": {escape(why)}." if why else ("" if outcome == "equal" else ".")
    return f'<p class="by-hand" data-by-hand="{outcome}">{_BY_HAND_WORDS[outcome]}{reason}</p>'
