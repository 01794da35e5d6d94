"""Triage: every alert's symptoms at once, ranked, with the command that mends the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.assess import KUBECTL, PLATFORM_HELP
from runbook.report import Level, Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from checks.cloud_run import Revision
    from runbook.triage_probes import Snapshot
    from runbook.triage_rules.verdict import Verdict

_DEPLOYMENTS = 4
# Asked only to explain the rest; their silence is told where it matters.
_SECOND_QUESTIONS = frozenset(
    {
        *("evidence", "latest", "recent", "latencies", "methods", "latency now", "costs"),
        *("memory", "refused keys", "refused now", "limited tenants", "limited now"),
    }
)
_PROMETHEUS = dict.fromkeys(("alerts", "cpu", "instances", "rules"), "Prometheus")
_CURL = "curl --silent --show-error --fail-with-body --max-time 10"
_QUERY = f"{_CURL} --get {{prometheus}}/api/v1/query --data-urlencode"
_LOGS = "--project={project} --freshness=1h --limit=200 --format=json"
_ANYWHERE = (
    f"{_CURL} {{prometheus}}/api/v1/alerts",
    f"""{_QUERY} 'query=count(up{{{{job="convergence-api"}}}} == 1)'""",
    (
        f"{_QUERY} 'query=sum by (tenant_id, path, revision, status_code)"
        """ (rate(http_requests_total{{job="convergence-api"}}[{window}]))'"""
    ),
    (
        f"{_QUERY} 'query=avg by (revision)"
        """ (avg_over_time(system_cpu_usage_percent{{job="convergence-api"}}[{window}]))'"""
    ),
    f"{_CURL} {{service_url}}/health/ready",
)


@step(
    alerts=(
        *("ServiceDown", "HighErrorRate", "PotentialBruteForce", "HighAuthFailureRate"),
        *("HighLatencyP95", "CriticalMemoryUsage", "HighMemoryUsage", "CriticalCPUUsage"),
        *("HighCPUUsage", "RateLimitExceeded"),
    ),
    by_hand={
        "cloud_run": (
            "gcloud run services describe {service} --project={project} --region={region}",
            (
                "gcloud run revisions list --service={service} --project={project}"
                " --region={region} --limit=5"
            ),
            (
                "gcloud logging read 'resource.type=cloud_run_revision"
                " AND resource.labels.service_name={service} AND severity>=ERROR'"
                f" {_LOGS}"
            ),
            *_ANYWHERE,
        ),
        "kubernetes": (
            (
                f"{KUBECTL} get deployments,replicasets,pods --selector=app={{deployment}}"
                " --output=wide"
            ),
            f"{KUBECTL} get events --sort-by=.lastTimestamp",
            *_ANYWHERE,
        ),
    },
    help={"platform": PLATFORM_HELP},
    default=True,
)
def triage(_c: Context, platform: str = "") -> Report:
    """Look at every alert at once: what is wrong, whom it hits, and what to run now."""
    from checks.target import load_target
    from runbook.triage_probes import take_snapshot
    from runbook.triage_rules.registry import judge, list_loud

    own = load_target()
    target = own.on_platform(platform)
    found = take_snapshot(target)
    if loud := list_loud(found):
        from runbook.triage_questions import ask_more

        ask_more(target, found, loud)
    verdicts = judge(target, found)
    if target.platform != own.platform:
        verdicts = name_platform(verdicts, target.platform)
    return build_report(found, verdicts, target.platform)


def name_platform(verdicts: Sequence[Verdict], platform: str) -> list[Verdict]:
    """Return the verdicts with `--platform` in each command that takes it."""
    from dataclasses import replace

    from runbook.catalogue import steps

    known = steps()
    named = []
    for verdict in verdicts:
        words = verdict.advice.command.split()
        step_ = known.get(words[1]) if len(words) > 1 else None
        takes = step_ and any(one.name == "platform" for one in step_.get_arguments())
        command = f"{verdict.advice.command} --platform={platform}"
        advice = replace(verdict.advice, command=command) if takes else verdict.advice
        named.append(replace(verdict, advice=advice))
    return named


def build_report(
    found: Snapshot, verdicts: Sequence[Verdict], platform: str = "cloud_run"
) -> Report:
    """Return the report on ranked verdicts: the first one's command comes next."""
    loud = [verdict for verdict in verdicts if not verdict.is_quiet]
    unknown = [verdict.rule.name for verdict in verdicts if verdict.state == "unknown"]
    finding, level = _state_finding(found, loud, unknown)
    evidence: list[Table | str] = []
    for verdict in loud:
        evidence += [f"{verdict.rule.name}: {line}" for line in verdict.evidence]
        evidence.append(f"{verdict.rule.name}: {verdict.advice.why}")
    evidence += [_tabulate_alerts(verdicts), _tabulate_deployments(found)]
    evidence += _describe_situation(found)
    return Report(
        finding=finding,
        level=level,
        evidence=tuple(evidence),
        next_steps=_list_next(found, loud),
        data={
            "alerts": [_verdict_as_data(verdict) for verdict in verdicts],
            "platform": platform,
            "serving": found.serving,
            "pinned": found.pinned,
            "deployments": _deployments_as_data(found),
            "failed_deployment": _name_failed(found),
            "open_changes": found.open_changes,
            "silent": {name: str(error) for name, error in sorted(found.silent.items())},
        },
        exit_code=1 if _is_blind(found) else 0,
    )


def _is_blind(found: Snapshot) -> bool:
    answers = (found.service, found.rules, found.rates, found.health)
    return all(answer is None for answer in answers)


def _state_finding(
    found: Snapshot, loud: Sequence[Verdict], unknown: Sequence[str]
) -> tuple[str, Level]:
    failed = _find_failed(found)
    if loud:
        first = loud[0]
        state = {"seen": "to be seen, and no alert says so yet"}.get(first.state, first.state)
        told = f"{first.rule.name} ({first.rule.priority}) is {state}; it hits {first.hits}."
        return told, "bad"
    if failed is not None:
        return _state_failed(failed.name, found)
    if _is_blind(found):
        return (
            "Nothing could be asked: neither the platform nor the service nor metrics answer.",
            "bad",
        )
    if unknown:
        return f"Nobody could tell about {', '.join(unknown)}; no other symptom is seen.", "warn"
    if found.rules is None:
        return "No symptom of any alert is to be seen, without Prometheus.", "warn"
    return "No alert is pending or firing.", "good"


def _list_next(found: Snapshot, loud: Sequence[Verdict]) -> tuple[str, ...]:
    if loud:
        commands = [verdict.advice.command for verdict in loud if verdict.advice.command]
        return tuple(dict.fromkeys(commands)) or ("invoke assess, in a minute again",)
    if _is_blind(found):
        return ("check your own network and the addresses in invoke.yaml, then invoke assess",)
    if _find_failed(found) is not None:
        back = ("invoke mitigate.rollback",) if _tell_shortage(found) else ()
        return (*back, "invoke assess.errors")
    return ("invoke mitigate",) if found.open_changes else ()


def _find_failed(found: Snapshot) -> Revision | None:
    from checks.symptoms import find_failed_deployment

    if found.service is None:
        return None
    return find_failed_deployment(found.service, found.revisions)


def _state_failed(name: str, found: Snapshot) -> tuple[str, Level]:
    told = f"The deployment of {name} never became ready"
    if short := _tell_shortage(found):
        return f"{told}, and {short}.", "bad"
    return f"{told}; traffic stays on {found.serving}, so there is nothing to mitigate.", "warn"


def _tell_shortage(found: Snapshot) -> str:
    """Return how many replicas are missing for a roll-out that got stuck half-way, or ""."""
    from checks.kubernetes import Deployment

    service = found.service
    if not isinstance(service, Deployment) or service.ready_replicas >= service.replicas:
        return ""
    return f"only {service.ready_replicas} of {service.replicas} replicas are ready to serve"


def _name_failed(found: Snapshot) -> str | None:
    failed = _find_failed(found)
    return failed.name if failed else None


def _describe_situation(found: Snapshot) -> list[str]:
    told = []
    failed = _find_failed(found)
    if failed is not None:
        told.append(f"{failed.name} never became ready: {failed.message}")
    if found.pinned and found.service is not None:
        latest = found.service.latest_ready
        told.append(
            f"Traffic is pinned to {found.serving}; the latest ready revision is {latest}."
            if latest != found.serving
            else f"Traffic is pinned to {found.serving}: a deployment would get none."
        )
    told += [
        f"Still in force: {change['step']} since {change['since'][:19]}Z"
        f" by {change['who']}; {change['undo']}"
        for change in found.open_changes
    ]
    if found.rates is not None and found.rates.note:
        told.append(found.rates.note)
    by_message: dict[str, list[str]] = {}
    for name, error in sorted(found.silent.items()):
        if name not in _SECOND_QUESTIONS:
            by_message.setdefault(_PROMETHEUS.get(name, str(error)), []).append(name)
    told += [
        f"No answer on {', '.join(names)}: {found.silent[names[0]]}"
        for names in by_message.values()
    ]
    return told


def _tabulate_alerts(verdicts: Sequence[Verdict]) -> Table:
    return Table(
        columns=("alert", "state", "priority", "since", "hits", "recommended"),
        rows=tuple(
            (
                verdict.rule.name,
                verdict.state,
                verdict.rule.priority,
                verdict.since[:19],
                verdict.hits,
                verdict.advice.command or ("" if verdict.is_quiet else "wait"),
            )
            for verdict in verdicts
        ),
    )


def _tabulate_deployments(found: Snapshot) -> Table:
    rows = tuple(
        (
            str(entry["revision"]),
            str(entry["created"])[:19],
            str(entry["state"]),
            f"{entry['percent']} %",
            str(entry["image"]),
        )
        for entry in _deployments_as_data(found)
    )
    return Table(
        columns=("deployment", "created", "state", "traffic", "image"),
        rows=rows,
        right=("traffic",),
    )


def _deployments_as_data(found: Snapshot) -> list[dict[str, Any]]:
    shares = found.service.shares if found.service else {}
    return [
        {
            "revision": revision.name,
            "created": revision.created,
            "state": "ready" if revision.ready else "failed" if revision.failed else "starting",
            "percent": shares.get(revision.name, 0),
            "image": revision.image,
        }
        for revision in found.revisions[:_DEPLOYMENTS]
    ]


def _verdict_as_data(verdict: Verdict) -> dict[str, Any]:
    return {
        "alert": verdict.rule.name,
        "state": verdict.state,
        "severity": verdict.rule.severity,
        "priority": verdict.rule.priority,
        "since": verdict.since or None,
        "hits": verdict.hits,
        "evidence": list(verdict.evidence),
        "recommend": verdict.advice.command,
        "why": verdict.advice.why,
    }
