"""What was asked of the service's limits, checked, as settings of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.errors import UsageError
from checks.inputs import check_number
from runbook.changes.settings import (
    AUTH_FAILURES,
    PIPELINE_RUNS,
    TENANT_PER_HOUR,
    TENANT_PER_MINUTE,
    Setting,
    read_variable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MOST = 1_000_000
_PER_HOUR = 1000  # the service's own, where no variable sets it
_MINUTES = 60


def make_setting(
    requests_per_minute: str | None,
    requests_per_hour: str | None,
    pipeline_runs: str | None,
    auth_failures: str | None,
) -> Setting:
    """Return the setting for the limits that were typed.

    Raises:
        UsageError: None was, or one is out of range.
    """
    minute = _check("--requests-per-minute", requests_per_minute)
    hour = _check("--requests-per-hour", requests_per_hour, most=_MOST * _MINUTES)
    runs = _check("--pipeline-runs-per-minute", pipeline_runs)
    failures = _check("--auth-failures-per-minute", auth_failures, least=0)
    told = {
        TENANT_PER_MINUTE: (minute, f"{minute} requests a minute for a tenant"),
        TENANT_PER_HOUR: (hour, f"{hour} requests an hour for a tenant"),
        PIPELINE_RUNS: (runs, f"{runs} pipeline runs a minute for a tenant"),
        AUTH_FAILURES: (failures, f"{failures} refused keys a minute for an address"),
    }
    wanted = {name: value for name, (value, _) in told.items() if value is not None}
    if not wanted:
        raise UsageError(
            "No limit was given, so there is nothing to set. Nothing was changed.",
            next_step="give --requests-per-minute, --requests-per-hour,"
            " --pipeline-runs-per-minute or --auth-failures-per-minute",
        )
    symptoms = {"auth-failures" if name == AUTH_FAILURES else "rate-limit-hits" for name in wanted}
    return Setting(
        "mitigate.set-rate-limit",
        {f"env.{name}": str(value) for name, value in wanted.items()},
        f"Allow {', '.join(told[name][1] for name in wanted)}.",
        symptoms=("errors", *sorted(symptoms)),
        warn=lambda container: _warn_of_hour(container, minute, hour),
    )


def _check(name: str, text: str | None, *, least: int = 1, most: int = _MOST) -> int | None:
    return check_number(name, text, minimum=least, maximum=most)


def _warn_of_hour(
    container: Mapping[str, Any], minute: int | None, hour: int | None
) -> tuple[str, ...]:
    """Return the warning that the limit an hour is met first, where it is."""
    if minute is None or hour is not None:
        return ()
    text = read_variable(container, TENANT_PER_HOUR) or ""
    limit = int(text) if text.isdigit() else _PER_HOUR
    if limit >= minute * _MINUTES:
        return ()
    told = f"A tenant may ask {limit} in an hour: at {minute} a minute it meets that limit after"
    return (f"{told} {limit / minute:.0f} min. --requests-per-hour raises it.",)
