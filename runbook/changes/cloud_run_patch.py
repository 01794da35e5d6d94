"""What is sent to Cloud Run in one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunPatch:
    """What is sent to Cloud Run in one request; None leaves a field alone.

    Attributes:
        traffic: The whole split.
        scaling: Least and most instances of the template.
        restarted_at: Value of the restart label on service and template; "" takes it off.
        copy_of: The revision whose configuration becomes the service's template.
        revision: The name of the revision to be made; "" lets Cloud Run choose.
        settings: What `settings.to_write` gave: limits, timeout and variables; None takes one away.
        image: The image by digest, so that the new revision runs the very same code; "" leaves it.
    """

    traffic: list[dict[str, Any]] | None = None
    scaling: dict[str, int] | None = None
    settings: dict[str, str | None] | None = None
    restarted_at: str | None = None
    copy_of: str = ""
    revision: str = ""
    image: str = ""

    @property
    def makes_revision(self) -> bool:
        """Whether Cloud Run makes a new revision of it."""
        return bool(self.copy_of or self.revision) or any(
            part is not None for part in (self.scaling, self.settings, self.restarted_at)
        )

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return self.traffic is None and not self.makes_revision

    def as_detail(self) -> dict[str, Any]:
        """Return what the timeline keeps of it: names and numbers only."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}
