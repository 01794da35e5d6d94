"""A plan: what a change will write, what it will leave, and how a person would do it by hand."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Patch:
    """What is sent to Cloud Run in one request; None leaves a field alone.

    Attributes:
        traffic: The whole split.
        scaling: Least and most instances of the template.
        restarted_at: Value of the restart label on service and template; "" takes it off.
        copy_of: The revision whose configuration becomes the service's template.
        revision: The name of the revision to be made; "" lets Cloud Run choose.
        image: The image by digest, so that the new revision runs the very same code; "" leaves it.
    """

    traffic: list[dict[str, Any]] | None = None
    scaling: dict[str, int] | None = None
    restarted_at: str | None = None
    copy_of: str = ""
    revision: str = ""
    image: str = ""

    @property
    def makes_revision(self) -> bool:
        """Whether Cloud Run makes a new revision of it."""
        return bool(self.copy_of or self.revision) or any(
            part is not None for part in (self.scaling, self.restarted_at)
        )

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return self.traffic is None and not self.makes_revision

    def as_detail(self) -> dict[str, Any]:
        """Return what the timeline keeps of it: names and numbers only."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}


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
        mends: Whether the symptom is expected to recede; an undo promises its state alone.
        undoes: The change that this takes back, or "".
        resumes: Whether it is a recorded change that was broken off after it was applied.
    """

    step: str
    change: str
    etag: str
    generation: int
    before: dict[str, Any]
    after: dict[str, Any]
    patch: Patch
    by_hand: tuple[list[str], ...]
    summary: str
    warnings: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()
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
            "etag": self.etag,
            "generation": self.generation,
            "patch": self.patch.as_detail(),
            "lasting": list(self.lasting),
            "summary": self.summary,
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
            "blast_radius": blast_radius,
        }
