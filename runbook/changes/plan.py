"""A plan: what a change will write, what it will leave, and how a person would do it by hand."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any, Protocol


class Patch(Protocol):
    """What is sent to a system in one request."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""

    def as_detail(self) -> dict[str, Any]:
        """Return what the timeline keeps of it: names and numbers, never a secret."""


@dataclass(frozen=True)
class Plan:
    """One proposed change.

    Attributes:
        before, after: The fields that are written, as they are and as they shall be; an undo is
            the way from `after` back to `before`.
        by_hand: Command lines as argument lists, to be typed in this order.
        summary: One sentence: what will be done.
        warnings: What a responder must know before and after.
        lasting: The fields that stay in force until they are undone, and keep it listed.
        system: The name of the system that it changes.
        version, generation: Those of the reading that it was made from.
        symptoms: Names of `runbook.changes.symptoms` that must have receded for it to be verified.
        expires_at: When it is to be taken back, RFC 3339; "" for a change without an end.
        mends: Whether the symptom is expected to recede; an undo promises its state alone.
        undoes: The change that this takes back, or "".
        resumes: Whether it is a recorded change that was broken off after it was applied.
    """

    step: str
    change: str
    version: str
    generation: int
    before: dict[str, Any]
    after: dict[str, Any]
    patch: Patch
    by_hand: tuple[list[str], ...]
    summary: str
    warnings: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
    system: str = "cloud_run"
    symptoms: tuple[str, ...] = ("errors",)
    expires_at: str = ""
    mends: bool = True
    undoes: str = ""
    resumes: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that takes this change back."""
        return f"invoke mitigate.undo --change={self.undoes or self.change}"

    def detail(self) -> dict[str, Any]:
        """Return what the timeline keeps beside `before` and `after`."""
        return {
            "system": self.system,
            "version": self.version,
            "symptoms": list(self.symptoms),
            "generation": self.generation,
            "patch": self.patch.as_detail(),
            "lasting": list(self.lasting),
            "summary": self.summary,
            **({"expires_at": self.expires_at} if self.expires_at else {}),
            **self.notes,
        }

    def as_data(self, blast_radius: dict[str, Any]) -> dict[str, Any]:
        """Return the plan as `--json` gives it."""
        return {
            "summary": self.summary,
            "before": self.before,
            "after": self.after,
            "by_hand": [shlex.join(line) for line in self.by_hand],
            "warnings": list(self.warnings),
            "expires_at": self.expires_at or None,
            "blast_radius": blast_radius,
        }
