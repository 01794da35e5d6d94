"""Steps that watch the real Prometheus and the service from outside."""

from __future__ import annotations

import re
import time

import requests
from pytest_bdd import parsers, then

from tests.support.embedded import Embedded
from tests.support.others import Others, read_others
from tests.support.recorder import RunningStep, ScenarioRecord
from tests.support.waiting import hold, wait_until

FIRE_DEADLINE_S = 60.0
CLEAR_DEADLINE_S = 60.0
ANSWERS_IN_A_ROW = 50
# Chance alone moves the natural half percent of some 150 requests by 2.5 % once in a thousand runs.
UNMOVED_SHARE = 0.03
UNMOVED_RATIO, UNMOVED_MS = 1.5, 20.0
UNMOVED_DEADLINE_S = 15.0
REQUEST_DEADLINE_S = 10.0


@then(parsers.re(r"(?P<alert>\w+) fires"))
def alert_fires(
    staging: Embedded, scenario_record: ScenarioRecord, clock: dict[str, float], alert: str
) -> None:
    """Wait until the real Prometheus says that this alert fires."""
    wait_until(
        lambda: staging.is_firing(alert),
        deadline_s=FIRE_DEADLINE_S,
        what=f"{alert} fires",
    )
    scenario_record.time_to_detect_s = round(time.monotonic() - clock["broken"], 2)


@then(parsers.re(r"(?P<alert>\w+) clears"))
def alert_clears(
    staging: Embedded, scenario_record: ScenarioRecord, clock: dict[str, float], alert: str
) -> None:
    """Wait until the alert is gone: from the mitigation's first keystroke is time to mitigate."""
    wait_until(
        lambda: alert not in staging.alerts(),
        deadline_s=CLEAR_DEADLINE_S,
        what=f"{alert} clears",
    )
    scenario_record.time_to_mitigate_s = round(time.monotonic() - clock["mitigating"], 2)


@then(parsers.re(r"(?P<alert>\w+) keeps firing for (?P<minutes>\d+) minutes of the service's time"))
def alert_keeps_firing(staging: Embedded, alert: str, minutes: str) -> None:
    """Check that nothing but the mitigation clears the alert."""
    hold(
        lambda: staging.is_firing(alert),
        seconds=int(minutes) * 60 / staging.time_scale,
        what=f"{alert} fires",
    )


@then(parsers.re(r"no alert fires for (?P<minutes>\d+) minutes of the service's time"))
def no_alert_fires(staging: Embedded, minutes: str) -> None:
    """Check that the fault pages nobody."""
    hold(
        lambda: "firing" not in staging.alerts().values(),
        seconds=int(minutes) * 60 / staging.time_scale,
        what="no alert fires",
    )


@then("requests succeed again")
def requests_succeed(staging: Embedded) -> None:
    """Ask the service through its ingress: no error beyond the natural half percent."""
    url = staging.endpoints["service_url"] + "/health/ready"
    codes = [
        requests.get(url, timeout=REQUEST_DEADLINE_S).status_code for _ in range(ANSWERS_IN_A_ROW)
    ]
    assert sum(code == requests.codes.ok for code in codes) >= ANSWERS_IN_A_ROW - 1, codes


@then("the other tenants notice nothing")
def others_notice_nothing(
    staging: Embedded, running_step: RunningStep, recommended: list[str], before: list[Others]
) -> None:
    """The failures and the latency of everyone whom the change does not name have not moved.

    What is measured looks five seconds back, on the rollout itself at first; that may pass.
    """
    [then_] = before

    def are_unmoved() -> bool:
        after = read_others(staging, recommended)
        running_step.keep(f"before: {then_}\nafter:  {after}\n")
        return (
            after.requests_per_second > 0
            and after.failed_share <= then_.failed_share + UNMOVED_SHARE
            and after.p95_ms <= then_.p95_ms * UNMOVED_RATIO + UNMOVED_MS
        )

    wait_until(are_unmoved, deadline_s=UNMOVED_DEADLINE_S, what="the other tenants are as before")


@then("assess says that the deployment failed and traffic never moved")
def assess_names_failed_deployment(staging: Embedded) -> None:
    """Triage names the failed revision without recommending a change of traffic."""
    found = staging.invoke("assess")
    assert found.returncode == 0, found.output
    assert re.search(r"never became ready", found.output), found.output
    assert "mitigate.rollback" not in found.output
