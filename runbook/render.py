"""Shows reports and failures: to a tired person, or as one JSON object."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from typing import IO, TYPE_CHECKING, Any

from runbook.report import Line, Report, Table

if TYPE_CHECKING:
    from rich.console import Console

    from checks.errors import RunbookError
    from checks.target import Target

MAX_TEXT = 400
MAX_LINE = 20_000  # a command that is cut is another command
NARROW = 80
WIDTH_WITHOUT_TERMINAL = 1000  # a file or a pipe has no edge, so nothing is folded
_STYLES = {"good": "bold green", "bad": "bold red", "warn": "bold yellow", "info": "bold"}
# Cc controls, Cf bidi and zero-width, Cs lone surrogates, Co/Cn what no font has, Zl/Zp line ends.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    r"""Return `text` safe for a terminal: at most `limit` characters, nothing that acts.

    Control, bidi and zero-width characters appear as escapes such as `\x1b` or `\u202e`.
    """
    shown = text[: limit + 1]
    if len(shown) > limit:
        shown = shown[: max(0, limit - 1)]
        rest = f"… ({len(text) - len(shown):,} more characters)"
    else:
        rest = ""
    return "".join(_escape(char) for char in shown) + rest


def _escape(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() else f"\\x{ord(char):02x}"
    if unicodedata.category(char) not in _UNSAFE_CATEGORIES:
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - end of the BMP


def show_target(target: Target, *, as_json: bool = False) -> None:
    """Print where the command acts: its first line, on standard error under `--json`."""
    line = (
        f"{target.name} ({target.environment}) · "
        f"{target.project} / {target.region} / {target.service}"
    )
    print(clean_text(line), file=sys.stderr if as_json else sys.stdout, flush=True)


def show_progress(message: str) -> None:
    """Print a line on what is being waited for, on standard error."""
    print(clean_text(message), file=sys.stderr, flush=True)  # noqa: T201


def show_report(
    report: Report, *, step: str, target: str | None, as_json: bool, is_change: bool = False
) -> None:
    """Print the report: finding, evidence, next command; or one JSON object."""
    if as_json:
        _print_json(report_as_data(report, step=step, target=target, is_change=is_change))
        return
    from rich.text import Text

    console = make_console(sys.stdout)
    console.print()
    console.print(Text(clean_text(report.finding, 2000), style=_STYLES[report.level]))
    for item in report.evidence:
        if isinstance(item, Table) and not item.rows:
            continue
        console.print()
        if isinstance(item, Line):
            console.print(Text(clean_text(item, MAX_LINE)), soft_wrap=True)
        elif not isinstance(item, Table):
            console.print(Text(clean_text(item)))
        elif console.width < NARROW and _natural_width(item) > console.width:
            _print_rows(console, item)
        else:
            console.print(_as_rich_table(item))
    if report.next_steps:
        console.print()
        first, *others = (clean_text(text, 1000) for text in report.next_steps)
        console.print(Text.assemble(("Next: ", "bold"), (first, "bold cyan")), soft_wrap=True)
        for other in others:
            console.print(Text(f"   or {other}"), soft_wrap=True)


def report_as_data(
    report: Report, *, step: str, target: str | None, is_change: bool = False
) -> dict[str, Any]:
    """Return what `--json` prints: a read's data stand under `data`, a change's at the top."""
    head = {"step": step, "target": target, "finding": report.finding, "level": report.level}
    tail = {"next": list(report.next_steps), "exit_code": report.exit_code}
    return head | (report.data if is_change else {"data": report.data}) | tail


def show_error(error: RunbookError, *, step: str, code: int, as_json: bool) -> None:
    """Print the failure in one sentence and the next step; as an object under `--json`."""
    if as_json:
        told = {
            "kind": type(error).__name__,
            "message": str(error),
            "next": error.next_step,
            "subject": error.subject,
        }
        _print_json({"step": step, "error": told, "exit_code": code})
        return
    sys.stdout.flush()
    red, reset = ("\x1b[1;31m", "\x1b[0m") if _may_colour(sys.stderr) else ("", "")
    print(f"{red}{clean_text(str(error), 1000)}{reset}", file=sys.stderr)  # noqa: T201
    print(f"Next: {clean_text(error.next_step, 1000)}", file=sys.stderr, flush=True)  # noqa: T201


def make_console(stream: IO[str]) -> Console:
    """Return a rich console for `stream`: no colour without a terminal or with NO_COLOR set."""
    from rich.console import Console

    class PlainConsole(Console):
        """A console that leaves a reader who has gone to its caller."""

        def on_broken_pipe(self) -> None:
            """Let BrokenPipeError through: rich itself would exit with 1, whatever happened."""
            raise  # noqa: PLE0704 - called while BrokenPipeError is being handled

    width = None
    if not stream.isatty() and not os.environ.get("COLUMNS"):
        width = WIDTH_WITHOUT_TERMINAL
    return PlainConsole(
        file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def _natural_width(table: Table) -> int:
    columns = zip(table.columns, *table.rows, strict=True)
    return sum(max(len(cell) for cell in column) + 3 for column in columns)


def _print_rows(console: Console, table: Table) -> None:
    """Print a row as lines of `column: value`, where a terminal has no room for a table."""
    from rich.text import Text

    for row in table.rows:
        for index, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            if cell:
                lead = "" if index == 0 else "  "
                console.print(Text(f"{lead}{clean_text(column)}: {clean_text(cell)}"))


def _as_rich_table(table: Table) -> Any:  # noqa: ANN401 - rich is imported only when used
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(clean_text(table.title), style="bold") if table.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in table.columns:
        justify: Any = "right" if column in table.right else "left"
        shown.add_column(Text(clean_text(column)), justify=justify, overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(clean_text(cell)) for cell in row))
    return shown


def _may_colour(stream: IO[str]) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print_json(content: dict[str, Any]) -> None:
    # ASCII only: text from logs can then neither steer a terminal nor fail to encode.
    print(json.dumps(content, default=str), flush=True)  # noqa: T201
