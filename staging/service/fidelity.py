"""What the service in embedded staging is and is not, as rows for the site."""

from __future__ import annotations

from staging.service.app import ADMIN_ROUTES, API_ROUTES
from staging.service.keys import REREAD_EVERY_S
from staging.service.memory import REAL_BYTE
from staging.service.settings import EMBEDDED_LIMITS

_TENANT_LIMIT = EMBEDDED_LIMITS["RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE"]
_WINDOW_S = EMBEDDED_LIMITS["RATE_LIMIT_WINDOW_SECONDS"]
DEPARTURES = (
    (
        "CPU",
        (
            "A queue whose clock is computed: what a request costs is not burnt, what a build's"
            " own threads burn is."
        ),
    ),
    ("memory", f"A real byte counts as {REAL_BYTE}; limits and metrics speak of the product."),
    (
        "rate limits",
        (
            f"A tenant's {_TENANT_LIMIT} a minute instead of production's 100, over windows of"
            f" {_WINDOW_S} s instead of 60 s. Each instance counts for itself, so a fleet lets"
            " through as many times a limit as it has instances."
        ),
    ),
    (
        "API keys",
        (
            f"Read anew from their table every {REREAD_EVERY_S:g} s; while that fails, the keys"
            " known stay in force."
        ),
    ),
    (
        "clients",
        "Every tenant sends from one loopback address of its own, an attacker from others.",
    ),
)


def describe_fidelity() -> list[str]:
    """Return Markdown table rows: what is answered, and what differs."""
    routes = [*(one[:2] for one in API_ROUTES), *(one[:2] for one in ADMIN_ROUTES)]
    answered = [f"| `{method} {path}` | answered |" for method, path in routes]
    different = [f"| {subject} | {text} |" for subject, text in DEPARTURES]
    return ["| Service | here |", "| --- | --- |", *answered, *different]
