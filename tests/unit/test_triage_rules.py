"""What triage recommends for each kind of trouble, and when it recommends nothing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.cloud_run import Revision, parse_revision, parse_service
from checks.errors import UnreachableError
from checks.evidence import Evidence
from checks.logs import Entry
from checks.prometheus import Alert, Rule
from checks.rules import read_alert_rules
from checks.service import Health
from checks.traffic import Rate, Rates
from runbook.triage import build_report
from runbook.triage_probes import Snapshot, ask_all
from runbook.triage_rules.registry import judge
from tests.unit.test_cloud_run_reading import PATH, by_name, raw_revision, raw_service
from tests.unit.test_target import make_target

OLD, NEW, NEWER = "api-1", "api-2", "api-3"
CREATED = {OLD: "2026-11-20T00:00:00Z", NEW: "2026-11-23T06:00:00Z", NEWER: "2026-11-23T06:00:05Z"}
SINCE = "2026-11-23T06:00:08Z"
BEFORE = Evidence(OLD, "metrics", 900, 0.004, "2026-11-23T05:59:59Z")
CRASH = Entry(SINCE, "WARNING", "Container terminated on signal 11.", NEW)
LOST = Entry(SINCE, "ERROR", "Image 'repo/api:2' not found.", NEW)
ROLLED_BACK = {"step": "mitigate.rollback", "since": SINCE, "who": "a", "undo": "invoke x"}


def service_on(revision: str, *, latest: str = "", pinned: bool = False) -> Any:  # noqa: ANN401
    """Return the service with all traffic on `revision`."""
    path = f"{PATH}/revisions/{latest or revision}"
    raw = raw_service(latestReadyRevision=path, latestCreatedRevision=path,
                      template={"scaling": {"maxInstanceCount": 10}})  # fmt: skip
    raw["trafficStatuses"] = [by_name(revision, 100)]
    if pinned:
        raw["traffic"] = [by_name(revision, 100)]
    return parse_service(raw)


def revision(name: str, created: str = "", image: str = "") -> Revision:
    """Return a revision that runs an image of its own."""
    raw = raw_revision(name, created=created or CREATED[name])
    return parse_revision(raw | {"containers": [{"image": image or f"repo/{name}"}]})


def rates_of(status: str, revision: str, tenant: str = "") -> Rates:
    """Return rates of ten tenants; all of them fail, or one does."""
    rows = [Rate(f"t{i}", "/x", revision, "200", 6.0) for i in range(10)]
    hit = [tenant] if tenant else [f"t{i}" for i in range(10)]
    return Rates((*rows, *(Rate(t, "/x", revision, status, 6.0) for t in hit)), "Prometheus", 5.0)


def snapshot(alert: str, **changes: Any) -> Snapshot:  # noqa: ANN401
    """Return a snapshot in which `alert` fires and NEW, deployed just before, serves."""
    fields: dict[str, Any] = {
        "service": service_on(NEW),
        "revisions": [revision(name) for name in CREATED],
        "rules": [Rule(r.name, "inactive", "", 0.0, {}, {}) for r in read_alert_rules()],
        "alerts": [Alert(alert, "firing", {}, {}, SINCE, 1.0)] if alert else [],
        "rates": rates_of("500", NEW),
        "up": 2,
        "cpu_percents": [20.0, 20.0],
        "health": Health("u", 200, ready=True),
        "healthy_before": BEFORE,
    }
    return Snapshot(**(fields | changes))


def first(found: Snapshot) -> tuple[str, str, str]:
    """Return the first verdict's alert, command and reason."""
    verdict = judge(make_target(), found)[0]
    return verdict.rule.name, verdict.advice.command, verdict.advice.why


ENDED = Entry(SINCE, "WARNING", "Container called exit(1).", OLD)
TAKEN_AWAY = [
    Entry(SINCE, "WARNING", f"Container {how}.", NEW)
    for how in ("called exit(0)", "terminated on signal 15")
]
UNSURE = {"latest": UnreachableError("The logs are away.", next_step="wait")}
DOWN = {"up": 0, "health": Health("u", 503, ready=False), "rates": None}
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "deployed bug": ("HighErrorRate", {}, "invoke mitigate.rollback"),
    "one tenant": (
        "HighErrorRate", {"rates": rates_of("500", NEW, "t3")}, "invoke mitigate.rollback"),
    "crash": ("ServiceDown", {**DOWN, "platform_log": [CRASH]}, "invoke mitigate.rollback"),
    "lost image": ("ServiceDown", {**DOWN, "platform_log": [LOST]}, "invoke mitigate.rollback"),
    "crash without a way back": (
        "ServiceDown", {**DOWN, "platform_log": [CRASH], "healthy_before": None},
        "invoke assess.revisions"),
    "frozen": (
        "ServiceDown",
        {**DOWN, "health": None, "health_timed_out": True, "service": service_on(OLD)},
        "invoke mitigate.restart"),
    "frozen, seen as 504": (
        "ServiceDown", {**DOWN, "health": Health("u", 504, ready=False)},
        "invoke mitigate.restart"),
    "crash of another revision": (
        "ServiceDown", {**DOWN, "service": service_on(OLD), "platform_log": [CRASH]},
        "invoke mitigate.restart"),
    "overload": (
        "HighErrorRate",
        {"service": service_on(OLD), "rates": rates_of("503", OLD), "cpu_percents": [99.0, 97.0]},
        "invoke mitigate.scale-up --min-instances=10 --max-instances=20"),
    "503 with idle instances": (
        "HighErrorRate", {"service": service_on(OLD), "rates": rates_of("503", OLD)},
        "invoke assess.error-pattern"),
    "busy, but no 503": (
        "HighErrorRate",
        {"service": service_on(OLD), "rates": rates_of("500", OLD), "cpu_percents": [99.0]},
        "invoke assess.error-pattern"),
    "database down by itself": (
        "HighErrorRate",
        {"service": service_on(OLD), "health": Health("u", 503, ready=False,
                                                      checks={"bigquery": False})},
        "invoke assess.errors"),
    "pinned to bad": (
        "HighErrorRate", {"service": service_on(NEW, latest=NEWER, pinned=True)},
        "invoke mitigate.release-traffic"),
    "pinned to bad, the latest failed before": (
        "HighErrorRate",
        {"service": service_on(NEW, latest=NEWER, pinned=True),
         "latest_evidence": Evidence(NEWER, "metrics", 500, 0.4, SINCE)},
        "invoke mitigate.rollback"),
    "pinned to bad, the latest crashed": (
        "HighErrorRate",
        {"service": service_on(NEW, latest=NEWER, pinned=True),
         "platform_log": [Entry(SINCE, "WARNING", "Container called exit(1).", NEWER)]},
        "invoke mitigate.rollback"),
    "pinned to bad, nobody knows how the latest did": (
        "HighErrorRate",
        {"service": service_on(NEW, latest=NEWER, pinned=True), "silent": UNSURE},
        "invoke mitigate.rollback"),
    "rolled back by hand, the alert lags": (
        "HighErrorRate",
        {"service": service_on(OLD, latest=NEW, pinned=True), "recent": rates_of("200", OLD)},
        ""),
    "rolled back by hand to one that dies": (
        "ServiceDown",
        {"service": service_on(OLD, pinned=True), "platform_log": [ENDED]},
        "invoke mitigate.rollback"),
    "our rollback led to one that dies": (
        "ServiceDown",
        {**DOWN, "service": service_on(OLD, latest=NEW, pinned=True), "platform_log": [ENDED],
         "open_changes": [ROLLED_BACK],
         "healthy_before": Evidence("api-0", "logs", 300, 0.0, SINCE)},
        "invoke mitigate.rollback --to=api-0"),
    "frozen, after some were taken away": (
        "ServiceDown", {**DOWN, "platform_log": TAKEN_AWAY}, "invoke mitigate.restart"),
    "deployed bug, nowhere to go back to": (
        "HighErrorRate", {"healthy_before": None}, "invoke assess.revisions"),
    "pinned by our rollback": (
        "HighErrorRate",
        {"service": service_on(OLD, latest=NEW, pinned=True), "rates": rates_of("500", OLD),
         "open_changes": [ROLLED_BACK]},
        "invoke assess.error-pattern"),
    "mended, the alert lags": (
        "HighErrorRate",
        {"service": service_on(OLD, latest=NEW, pinned=True), "open_changes": [ROLLED_BACK],
         "recent": rates_of("200", OLD)},
        ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_recommendation(case: str) -> None:
    alert, changes, command = CASES[case]
    name, recommended, why = first(snapshot(alert, **changes))
    assert name == alert
    assert recommended == command, why
    assert why


@pytest.mark.parametrize(
    ("minutes", "command"), [(5, "invoke mitigate.rollback"), (90, "invoke assess.error-pattern")]
)
def test_without_prometheus_only_a_recent_deployment_is_blamed(minutes: int, command: str) -> None:
    """The revision that serves was always deployed before now; that alone is no reason."""
    created = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    found = snapshot("", rules=None, up=None,
                     revisions=[revision(NEW, created)])  # fmt: skip
    verdict = judge(make_target(time_scale=1.0), found)[0]
    assert (verdict.state, verdict.advice.command) == ("seen", command)


def test_a_list_of_alerts_that_is_missing_is_no_all_clear() -> None:
    rules = [Rule("ServiceDown", "firing", "", 0.0, {}, {})]
    found = snapshot("", rules=rules, silent={"alerts": UNSURE["latest"]}, **DOWN)
    report = build_report(found, judge(make_target(), found))
    assert report.finding.startswith("ServiceDown (P1) is firing")


def test_what_nobody_could_tell_is_said() -> None:
    found = snapshot("", rules=None, up=None, rates=None)
    report = build_report(found, judge(make_target(), found))
    assert report.finding.startswith("Nobody could tell about HighErrorRate")
    assert report.level == "warn"


@pytest.mark.parametrize(("most", "flags"), [(600, "600 --max-instances=1000"),
                                             (0, "100 --max-instances=200")])  # fmt: skip
def test_scale_up_starts_from_what_serves(most: int, flags: str) -> None:
    raw = raw_revision(OLD, created=CREATED[OLD]) | {"scaling": {"maxInstanceCount": most}}
    found = snapshot("HighErrorRate", service=service_on(OLD), rates=rates_of("503", OLD),
                     cpu_percents=[99.0], revisions=[parse_revision(raw)])  # fmt: skip
    assert first(found)[1].endswith(f"--min-instances={flags}")


def test_the_worst_comes_first() -> None:
    alerts = [Alert("HighErrorRate", "firing", {}, {}, SINCE, 1.0),
              Alert("ServiceDown", "firing", {}, {}, SINCE, 1.0)]  # fmt: skip
    assert [v.rule.name for v in judge(make_target(), snapshot("", alerts=alerts, **DOWN))][:2] == [
        "ServiceDown",
        "HighErrorRate",
    ]
    alerts[1] = Alert("ServiceDown", "pending", {}, {}, SINCE, 1.0)
    assert first(snapshot("", alerts=alerts))[0] == "HighErrorRate"


def test_one_tenant_or_all_is_said() -> None:
    one = judge(make_target(), snapshot("HighErrorRate", rates=rates_of("500", NEW, "t3")))[0]
    every = judge(make_target(), snapshot("HighErrorRate"))[0]
    assert one.hits.startswith("one tenant: t3")
    assert every.hits.startswith("all tenants")


@pytest.mark.parametrize(
    ("changes", "state"),
    [({}, "seen"), ({"rates": None}, "unknown"), ({"rates": rates_of("200", NEW)}, "quiet")],
)
def test_without_prometheus_the_symptom_decides(changes: dict[str, Any], state: str) -> None:
    found = snapshot("", rules=None, up=None, **changes)
    states = {v.rule.name: v.state for v in judge(make_target(), found)}
    assert (states["HighErrorRate"], states["ServiceDown"]) == (state, "quiet")


def test_without_prometheus_nobody_answering_is_a_service_down() -> None:
    found = snapshot("", rules=None, up=None, rates=None, health=None)
    assert first(found)[0] == "ServiceDown"


def test_when_nobody_answers_at_all_nothing_is_claimed() -> None:
    found = Snapshot()
    report = build_report(found, judge(make_target(), found))
    assert report.finding.startswith("Nothing could be asked")
    assert report.exit_code == 1
    assert {alert["state"] for alert in report.data["alerts"]} == {"unknown"}


def test_a_deployment_that_never_became_ready_needs_no_mitigation() -> None:
    failed = parse_revision(raw_revision(NEWER, "FAILED", CREATED[NEWER]))
    raw = raw_service(latestReadyRevision=f"{PATH}/revisions/{OLD}",
                      latestCreatedRevision=f"{PATH}/revisions/{NEWER}")  # fmt: skip
    found = snapshot("", service=parse_service(raw), revisions=[failed])
    report = build_report(found, judge(make_target(), found))
    assert "never became ready" in report.finding
    assert report.next_steps == ("invoke assess.errors",)
    assert report.data["failed_deployment"] == NEWER


def test_quiet_is_said_plainly() -> None:
    found = snapshot("", rates=rates_of("200", NEW))
    report = build_report(found, judge(make_target(), found))
    assert (report.finding, report.level) == ("No alert is pending or firing.", "good")


def test_one_probe_that_fails_stops_no_other() -> None:
    silent: dict[str, Any] = {}

    def fail() -> None:
        raise UnreachableError("It is away.", next_step="wait")

    answers = ask_all({"a": lambda: 1, "b": fail, "c": lambda: 1 // 0}, silent)
    assert answers == {"a": 1}
    assert set(silent) == {"b", "c"}
    assert "ZeroDivisionError" in str(silent["c"])


def test_a_probe_that_hangs_is_left_behind() -> None:
    silent: dict[str, Any] = {}
    release = threading.Event()
    try:
        answers = ask_all({"a": lambda: 1, "b": lambda: release.wait(30)}, silent, deadline_s=0.2)
    finally:
        release.set()
    assert answers == {"a": 1}
    assert "No answer within" in str(silent["b"])
