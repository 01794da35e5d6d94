"""What a set of answers means: predicates without a network, each easy to check by hand."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.cloud_run import Revision, Service
    from checks.kubernetes import Deployment
    from checks.logs import Entry
    from checks.traffic import Rates, Share

# One value has most of the errors, and the others are about as good as ever.
_CONFINED_SHARE = 0.8
_UNTOUCHED_ERROR_SHARE = 0.03
_CAPACITY_PERCENT = 85.0
_MOST = 0.5
_UNAVAILABLE = "503"
_GATEWAY_TIMEOUT = 504
_ENDED = ("Container terminated on signal", "Container called exit(", "Container ended: ")
# How an instance ends that the platform takes away: SIGTERM, obeyed or passed on by uvicorn.
_TAKEN_AWAY = ("Container called exit(0)", "Container terminated on signal 15")
_NOT_STARTED = (
    *("STARTUP TCP probe failed", "failed to start", "' not found.", "not found in"),
    "Container cannot start: ",
)


def exceeds(share: float, threshold: float | None) -> bool:
    """Return whether an error share, 0 to 1, lies above its rule's threshold."""
    return threshold is not None and share > threshold


def is_silent(status: int | None, *, deadline_passed: bool) -> bool:
    """Return whether something is there and does not answer: no end, or a gateway timeout.

    A refused connection or a 503 at once is not silence: then nothing is there to answer.
    """
    return deadline_passed or status == _GATEWAY_TIMEOUT


def find_confined(shares: Sequence[Share]) -> Share | None:
    """Return the one value that the errors are confined to, or None when they are everywhere.

    It has at least 80 % of all errors, and the rest together fail in less than 3 % of requests.
    """
    errors = sum(share.errors_per_second for share in shares)
    if not shares or errors <= 0:
        return None
    first = max(shares, key=lambda share: share.errors_per_second)
    others = sum(share.per_second for share in shares) - first.per_second
    elsewhere = (errors - first.errors_per_second) / others if others > 0 else 0.0
    if first.errors_per_second / errors < _CONFINED_SHARE or elsewhere >= _UNTOUCHED_ERROR_SHARE:
        return None
    return first if others > 0 else None


def list_affected(shares: Iterable[Share], threshold: float) -> list[Share]:
    """Return the values whose own error share lies above the threshold, worst first."""
    hit = [share for share in shares if share.error_share > threshold]
    return sorted(hit, key=lambda share: (-share.error_share, share.name))


def is_mostly_unavailable(rates: Rates) -> bool:
    """Return whether more than half of the server errors are 503, the answer of a full queue."""
    errors = sum(row.per_second for row in rates.rows if row.is_error)
    full = sum(row.per_second for row in rates.rows if row.status == _UNAVAILABLE)
    return errors > 0 and full / errors > _MOST


def is_at_capacity(cpu_percents: Sequence[float]) -> bool:
    """Return whether the instances use 85 % of their CPU or more on average."""
    return bool(cpu_percents) and sum(cpu_percents) / len(cpu_percents) >= _CAPACITY_PERCENT


def came_with(began: str, created: str, within_s: float) -> bool:
    """Return whether something began at most `within_s` after a revision was created.

    Both are RFC 3339 times; an unreadable one is no evidence, so the answer is False.
    """
    try:
        delay = (datetime.fromisoformat(began) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return False
    return 0 <= delay <= within_s


def find_failed_deployment(
    service: Service | Deployment, revisions: Sequence[Revision]
) -> Revision | None:
    """Return the newest revision if it never became ready, so that traffic never moved to it."""
    for revision in revisions:
        if revision.name == service.latest_created:
            return revision if revision.failed and service.latest_ready != revision.name else None
    return None


def list_ended(entries: Iterable[Entry], revision: str) -> list[Entry]:
    """Return the platform's entries that say a container of the revision ended by itself."""
    return [
        entry
        for entry in entries
        if entry.revision == revision
        and _has_any(entry.message, _ENDED)
        and not _has_any(entry.message, _TAKEN_AWAY)
    ]


def list_not_started(entries: Iterable[Entry], revision: str) -> list[Entry]:
    """Return the platform's entries that say a container of the revision could not start."""
    return [e for e in entries if e.revision == revision and _has_any(e.message, _NOT_STARTED)]


def _has_any(text: str, signs: Sequence[str]) -> bool:
    return any(sign in text for sign in signs)
