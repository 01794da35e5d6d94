"""What the service says of itself: its readiness, asked through its public address."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checks.http import DEADLINE_S, fetch

if TYPE_CHECKING:
    from checks.target import Target

READY_PATH = "/health/ready"
_OK = 200


@dataclass(frozen=True)
class Health:
    """The answer of /health/ready.

    Attributes:
        status: HTTP status.
        ready: Whether the answer is 200.
        checks: The dependencies that the service names, each with whether it works.
        seconds: How long the answer took.
        text: The beginning of the body, as it was sent.
    """

    url: str
    status: int
    ready: bool
    checks: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0
    text: str = ""


def check_health(target: Target, *, deadline_s: float = DEADLINE_S) -> Health:
    """Return what one instance, whichever the ingress picks, answers to GET /health/ready.

    Raises:
        UnreachableError: No answer before the deadline.
    """
    url = target.service_url.rstrip("/") + READY_PATH
    answer = fetch(url, deadline_s=deadline_s)
    checks: dict[str, bool] = {}
    try:
        content = json.loads(answer.body)
        named = content.get("checks", {}) if isinstance(content, dict) else {}
        checks = {str(name): value is True for name, value in named.items()}
    except (ValueError, AttributeError, RecursionError):
        checks = {}
    return Health(
        url=url,
        status=answer.status,
        ready=answer.status == _OK,
        checks=checks,
        seconds=answer.seconds,
        text=answer.body[:500].decode("utf-8", "replace"),
    )
