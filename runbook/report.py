"""What a step found, as data; `runbook/render.py` shows it to a person or as JSON."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Level = Literal["good", "bad", "warn", "info"]


class Table(NamedTuple):
    """Evidence in rows; cells are plain text and are shown exactly, never interpreted."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: tuple[str, ...] = ()


class Line(str):
    """A command to be copied: it is shown whole, and never folded."""

    __slots__ = ()


class Report(NamedTuple):
    """The answer of a step: the finding first, the evidence under it, the next command last.

    Attributes:
        finding: One sentence that answers the question of the step.
        level: `good`, `bad`, `warn` or `info`.
        evidence: Tables and lines that the finding rests on.
        next_steps: Commands or instructions, the most useful first.
        data: The same as data, for `--json`.
        exit_code: Code that the command exits with.
    """

    finding: str
    level: Level = "info"
    evidence: tuple[Table | str, ...] = ()
    next_steps: tuple[str, ...] = ()
    data: dict[str, Any] = {}  # noqa: RUF012 - never mutated: steps pass their own
    exit_code: int = 0
