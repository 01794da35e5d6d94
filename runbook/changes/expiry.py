"""When a temporary change is to be taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from checks.errors import UsageError
from checks.target import duration_seconds

_LEAST_S, _MOST_S = 60.0, 30 * 86400.0


def find_expiry(text: str, now: datetime | None = None) -> str:
    """Return when `--for=TEXT`, such as `60m`, ends: an RFC 3339 time; "" for an empty text.

    Raises:
        UsageError: It is no duration from a minute to 30 days.
    """
    if not text:
        return ""
    try:
        seconds = duration_seconds(text)
    except ValueError:
        seconds = 0.0
    if not _LEAST_S <= seconds <= _MOST_S:
        shown = repr(text if len(text) <= 40 else text[:37] + "...")  # noqa: PLR2004 - one line
        raise UsageError(
            f"--for must be a time from 1m to 30d, not {shown}. Nothing was changed.",
            next_step="give --for a time such as 60m or 1h30m",
        )
    ends = (now or datetime.now(UTC)) + timedelta(seconds=seconds)
    return ends.isoformat(timespec="seconds").replace("+00:00", "Z")
