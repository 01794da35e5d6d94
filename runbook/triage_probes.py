"""What triage asks, all at once: each probe's answer, or why it has none."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from checks import logs, prometheus, traffic
from checks.cloud_run import list_revisions, read_service
from checks.errors import RunbookError, UnreachableError
from checks.kubernetes import Deployment, list_troubles, read_cluster
from checks.service import check_health
from checks.target import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checks.auth_verdict import Part
    from checks.cloud_run import Revision, Service
    from checks.cost import Costs
    from checks.evidence import Evidence
    from checks.latency import Dimension, Latency
    from checks.limit_verdict import Judgement
    from checks.logs import Entry
    from checks.memory import Life
    from checks.prometheus import Alert, Rule
    from checks.service import Health
    from checks.target import Target
    from checks.traffic import Rates

PROBE_DEADLINE_S = 5.0
HEALTH_DEADLINE_S = 2.0
_ALL_DEADLINE_S = 12.0
_PLATFORM_S = 3600.0
_LOG_LIMIT = 200
_RECENT = "2m"
_UP = f'count(up{{job="{prometheus.JOB}"}} == 1) or vector(0)'
# Of two minutes: CPU use of a second wanders. Only of instances that are still there.
_CPU = (
    f'avg_over_time(system_cpu_usage_percent{{{{job="{prometheus.JOB}"}}}}[{{window}}])'
    f' and on (instance, revision) system_cpu_usage_percent{{{{job="{prometheus.JOB}"}}}}'
)

T = TypeVar("T")


@dataclass
class Snapshot:
    """Every probe's answer at one moment; a probe without an answer stands in `silent`.

    The fields from `healthy_before` on are answers to second questions, which are asked only where
    an alert wants them.

    Attributes:
        platform_log: Containers that ended or could not start, by the platform.
        latencies: Durations by endpoint and tenant.
        methods: HTTP methods by endpoint.
        recent_p95: The P95 of all requests over the last two minutes, in seconds.
        costs: CPU against requests, before the last deployment and now.
        lives: Every process's memory.
        auth_parts: What lies behind refused keys, the largest part first.
        limited: The tenants that meet a limit, most refused requests first.
        auth_failures_recent, limit_hits_recent: Refused a second, over the last two minutes.
    """

    service: Service | Deployment | None = None
    revisions: list[Revision] = field(default_factory=list)
    rules: list[Rule] | None = None
    alerts: list[Alert] = field(default_factory=list)
    rates: Rates | None = None
    recent: Rates | None = None
    up: int | None = None
    cpu_percents: list[float] = field(default_factory=list)
    health: Health | None = None
    platform_log: list[Entry] = field(default_factory=list)
    open_changes: list[dict[str, Any]] = field(default_factory=list)
    healthy_before: Evidence | None = None
    latest_evidence: Evidence | None = None
    latencies: dict[Dimension, list[Latency]] | None = None
    methods: dict[str, frozenset[str]] = field(default_factory=dict)
    recent_p95: float | None = None
    costs: Costs | None = None
    lives: list[Life] = field(default_factory=list)
    auth_parts: tuple[Part, ...] = ()
    auth_failures_recent: float | None = None
    limited: tuple[Judgement, ...] = ()
    limit_hits_recent: float | None = None
    silent: dict[str, RunbookError] = field(default_factory=dict)
    health_timed_out: bool = False

    @property
    def serving(self) -> str:
        """The revision that gets the most traffic, or an empty string.

        Of a Deployment without a ready pod it is the one that should serve.
        """
        shares = self.service.shares if self.service else {}
        if not shares and isinstance(self.service, Deployment):
            wanted = [one for one in self.revisions if one.max_instances]
            return max(wanted, key=lambda one: one.max_instances).name if wanted else ""
        return max(shares, key=lambda name: shares[name]) if shares else ""

    @property
    def pinned(self) -> bool:
        """Whether traffic is bound to revisions by name."""
        return self.service is not None and self.service.pinned

    def find_revision(self, name: str) -> Revision | None:
        """Return the revision called `name`, if the platform listed it."""
        return next((revision for revision in self.revisions if revision.name == name), None)


def take_snapshot(target: Target) -> Snapshot:
    """Return the answers of all probes, asked concurrently; one that fails stops no other."""
    found = Snapshot()
    probes: dict[str, Callable[[], Any]] = {
        "rules": lambda: prometheus.read_rules(target, deadline_s=PROBE_DEADLINE_S),
        "alerts": lambda: prometheus.read_alerts(target, deadline_s=PROBE_DEADLINE_S),
        "traffic": lambda: traffic.read_rates(target, deadline_s=PROBE_DEADLINE_S),
        "recent": lambda: traffic.query_rates(target, _RECENT, deadline_s=PROBE_DEADLINE_S),
        "instances": lambda: _count_up(target),
        "cpu": lambda: _read_cpu(target),
        "health": lambda: _ask_health(target, found),
        "open changes": lambda: _read_open_changes(target),
    }
    if target.platform == KUBERNETES:
        probes["kubernetes"] = lambda: read_cluster(target, deadline_s=PROBE_DEADLINE_S)
    else:
        probes["cloud run"] = lambda: read_service(target, deadline_s=PROBE_DEADLINE_S)
        probes["revisions"] = lambda: list_revisions(target, deadline_s=PROBE_DEADLINE_S)
        probes["platform log"] = lambda: _read_platform(target)
    answers = ask_all(probes, found.silent)
    found.service = answers.get("cloud run")
    found.revisions = answers.get("revisions") or []
    found.platform_log = answers.get("platform log") or []
    if cluster := answers.get("kubernetes"):
        found.service, found.revisions = cluster.deployment, cluster.revisions
        found.platform_log = list_troubles(cluster.pods)
    found.rules = answers.get("rules")
    found.alerts = answers.get("alerts") or []
    found.rates, found.recent = answers.get("traffic"), answers.get("recent")
    found.up, found.cpu_percents = answers.get("instances"), answers.get("cpu") or []
    if found.rates is not None and not found.cpu_percents:
        found.cpu_percents = list(found.rates.cpu_percents)
    found.health = answers.get("health")
    found.open_changes = answers.get("open changes") or []
    return found


def ask_all(
    probes: Mapping[str, Callable[[], Any]],
    silent: dict[str, RunbookError],
    *,
    deadline_s: float = _ALL_DEADLINE_S,
) -> dict[str, Any]:
    """Return the answers of the probes that had one by the deadline; the others go to `silent`."""
    answers: dict[str, Any] = {}
    failures: dict[str, RunbookError] = {}

    def ask(name: str, probe: Callable[[], Any]) -> None:
        try:
            answers[name] = probe()
        except RunbookError as error:
            failures[name] = error
        except Exception as error:  # noqa: BLE001 - one broken probe must not stop the others
            failures[name] = RunbookError(
                f"The probe failed: {type(error).__name__}: {error}",
                next_step="report this",
            )

    # Daemons: a probe that hangs past the deadline must not keep the command from ending.
    threads = {
        name: threading.Thread(target=ask, args=(name, probe), daemon=True)
        for name, probe in probes.items()
    }
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + deadline_s
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            failures[name] = UnreachableError(
                f"No answer within {deadline_s:g} s.", next_step="go on without it"
            )
    silent.update(failures)
    return {name: answer for name, answer in answers.items() if name not in failures}


def _count_up(target: Target) -> int:
    samples = prometheus.query(target, _UP, deadline_s=PROBE_DEADLINE_S)
    return int(samples[0].value) if samples else 0


def _read_cpu(target: Target) -> list[float]:
    promql = _CPU.format(window=target.window(_RECENT))
    samples = prometheus.query(target, promql, deadline_s=PROBE_DEADLINE_S)
    return [sample.value for sample in samples]


def _ask_health(target: Target, found: Snapshot) -> Health:
    start = time.monotonic()
    try:
        return check_health(target, deadline_s=HEALTH_DEADLINE_S)
    except UnreachableError:
        found.health_timed_out = time.monotonic() - start >= HEALTH_DEADLINE_S
        raise


def _read_platform(target: Target) -> list[Entry]:
    minutes = max(1.0, target.seconds(_PLATFORM_S) / 60)
    clause = logs.log_is(target, logs.SYSTEM_LOG)
    expression = logs.service_filter(target, clause, "severity>=WARNING", minutes=minutes)
    return logs.read_entries(target, expression, _LOG_LIMIT, deadline_s=PROBE_DEADLINE_S)


def _read_open_changes(target: Target) -> list[dict[str, Any]]:
    from runbook.changes.in_force import find_in_force

    return find_in_force(target)[0]
