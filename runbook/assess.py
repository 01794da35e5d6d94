"""Assess: what is going on, who is hit, and what changed. Nothing here changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from checks.cloud_run import Revision, Service
    from checks.target import Target
    from checks.traffic import Rates, Share

_ON_SERVICE = "{service} --project={project} --region={region}"
KUBECTL = "kubectl --kubeconfig={kubeconfig} --context={kube_context} --namespace={namespace}"
PLATFORM_HELP = "Look at cloud_run or kubernetes, whatever the target says."
_MAX_REVISIONS = 100


@step(
    alerts=("ServiceDown", "HighErrorRate"),
    by_hand={
        "cloud_run": f"gcloud run services describe {_ON_SERVICE}",
        "kubernetes": (
            f"{KUBECTL} describe deployment {{deployment}}",
            f"{KUBECTL} get pods --selector=app={{deployment}} --output=wide",
        ),
    },
    original=("C01",),
    help={"platform": PLATFORM_HELP},
)
def service(_c: Context, platform: str = "") -> Report:
    """Show the service's state, the traffic that is served, its scaling and resources."""
    from checks.cloud_run import read_service
    from checks.target import KUBERNETES, load_target

    target = load_target().on_platform(platform)
    if target.platform == KUBERNETES:
        from runbook.assess_kubernetes import report_deployment

        return report_deployment(target)
    found = read_service(target)
    shares = found.shares
    served = ", ".join(f"{name} {percent} %" for name, percent in shares.items()) or "no revision"
    state = "ready" if found.ready else "NOT ready"
    notes = []
    if found.message:
        notes.append(f"Cloud Run says: {found.message}")
    if found.pinned:
        notes.append(
            "Traffic is pinned by name: a deployment gets none until mitigate.release-traffic."
        )
    rows = _describe_template(found)
    return Report(
        finding=f"{found.name} is {state}; traffic goes to {served}.",
        level="good" if found.ready else "bad",
        evidence=(*notes, Table(("setting", "value"), rows)),
        next_steps=("invoke assess.revisions",) if found.ready else ("invoke assess",),
        data={
            "service": found.name,
            "ready": found.ready,
            "message": found.message,
            "generation": found.generation,
            "traffic": shares,
            "pinned": found.pinned,
            "latest_created": found.latest_created,
            "latest_ready": found.latest_ready,
            "settings": dict(rows),
        },
    )


def _describe_template(found: Service) -> tuple[tuple[str, str], ...]:
    template = found.template
    container = (template.get("containers") or [{}])[0]
    limits = (container.get("resources") or {}).get("limits") or {}
    scaling = template.get("scaling") or {}
    values = {
        "latest created": found.latest_created,
        "latest ready": found.latest_ready,
        "image": container.get("image"),
        "min instances": scaling.get("minInstanceCount", 0),
        "max instances": scaling.get("maxInstanceCount"),
        "cpu": limits.get("cpu"),
        "memory": limits.get("memory"),
        "concurrency": template.get("maxInstanceRequestConcurrency"),
        "timeout": template.get("timeout"),
        "url": found.raw.get("uri"),
        "last changed": found.raw.get("updateTime"),
        "last changed by": found.raw.get("lastModifier"),
    }
    return tuple((name, str(value)) for name, value in values.items() if value not in (None, ""))


@step(
    alerts=("ServiceDown", "HighErrorRate"),
    by_hand={
        "cloud_run": "gcloud run revisions list --service={service} --project={project}"
        " --region={region} --limit={limit}",
        "kubernetes": (
            f"{KUBECTL} rollout history deployment/{{deployment}}",
            (
                f"{KUBECTL} get replicasets --selector=app={{deployment}}"
                " --sort-by=.metadata.creationTimestamp --output=wide"
            ),
        ),
    },
    original=("C02",),
    help={"limit": "Show at most this many, newest first.", "platform": PLATFORM_HELP},
)
def revisions(_c: Context, limit: int = 5, platform: str = "") -> Report:
    """List the newest revisions: when made, whether ready, and what traffic each one gets."""
    from checks.inputs import check_count
    from checks.target import load_target

    check_count("--limit", limit, minimum=1, maximum=_MAX_REVISIONS)
    shares, listed = read_revisions(load_target().on_platform(platform))
    shown = listed[:limit]
    failed = [revision.name for revision in shown if revision.failed]
    finding = f"{len(listed)} revisions; {_name_serving(shares)} serving."
    if failed:
        finding += f" Never became ready: {', '.join(failed)}."
    return Report(
        finding=finding,
        level="warn" if failed else "info",
        evidence=(_tabulate_revisions(shown, shares),),
        next_steps=("invoke assess.error-pattern",),
        data={
            "total": len(listed),
            "revisions": [_revision_as_data(revision, shares) for revision in shown],
        },
    )


def read_revisions(target: Target) -> tuple[dict[str, int], list[Revision]]:
    """Return the share of traffic by revision, and all revisions, newest first."""
    from checks.target import KUBERNETES

    if target.platform == KUBERNETES:
        from checks.kubernetes import read_cluster

        cluster = read_cluster(target)
        return cluster.deployment.shares, cluster.revisions
    from checks.cloud_run import list_revisions, read_service

    return read_service(target).shares, list_revisions(target)


def _name_serving(shares: dict[str, int]) -> str:
    if not shares:
        return "none is"
    named = ", ".join(f"{name} ({percent} %)" for name, percent in shares.items())
    return f"{named} {'is' if len(shares) == 1 else 'are'}"


def _tabulate_revisions(shown: Sequence[Revision], shares: dict[str, int]) -> Table:
    return Table(
        columns=("revision", "created", "state", "traffic", "instances", "image", "message"),
        rows=tuple(
            (
                revision.name,
                revision.created,
                "ready" if revision.ready else "failed" if revision.failed else "not ready yet",
                f"{shares.get(revision.name, 0)} %",
                _tell_instances(revision),
                revision.image,
                "" if revision.ready else revision.message,
            )
            for revision in shown
        ),
        right=("traffic",),
    )


def _tell_instances(revision: Revision) -> str:
    least, most = revision.min_instances, revision.max_instances
    is_set = (revision.raw or {}).get("kind") == "ReplicaSet"
    return str(most) if is_set else f"{least} to {most or '?'}"


def _revision_as_data(revision: Revision, shares: dict[str, int]) -> dict[str, Any]:
    return {
        "revision": revision.name,
        "created": revision.created,
        "ready": revision.ready,
        "failed": revision.failed,
        "percent": shares.get(revision.name, 0),
        "image": revision.image,
        "min_instances": revision.min_instances,
        "max_instances": revision.max_instances,
        "message": revision.message,
    }


@step(
    alerts=("ServiceDown", "HighErrorRate"),
    by_hand="curl --silent --show-error --fail-with-body --max-time 10 {service_url}/health/ready",
    original=("C06",),
)
def health(_c: Context) -> Report:
    """Ask the service whether it is ready; the exit code is 1 when it is not."""
    from checks.service import check_health
    from checks.target import load_target

    found = check_health(load_target())
    failing = [name for name, works in found.checks.items() if not works]
    if found.ready:
        finding = f"Ready: {found.url} answered 200 in {found.seconds * 1000:.0f} ms."
    elif failing:
        finding = f"Not ready ({found.status}): {', '.join(failing)} does not work."
    else:
        finding = f"Not ready: {found.url} answered {found.status}."
    checks = tuple((name, "works" if works else "fails") for name, works in found.checks.items())
    evidence: tuple[Table | str, ...] = ()
    if checks:
        evidence = (Table(("dependency", "state"), checks),)
    elif not found.ready and found.text:
        evidence = (f"It said: {' '.join(found.text.split())}",)
    return Report(
        finding=finding,
        level="good" if found.ready else "bad",
        evidence=evidence,
        next_steps=() if found.ready else ("invoke assess",),
        data={
            "url": found.url,
            "status": found.status,
            "ready": found.ready,
            "checks": found.checks,
            "seconds": round(found.seconds, 3),
        },
        exit_code=0 if found.ready else 1,
    )


@step(
    alerts=("HighErrorRate",),
    by_hand="curl --silent --show-error --fail-with-body --max-time 10 --get"
    " {prometheus}/api/v1/query --data-urlencode"
    """ 'query=sum by (path) (rate(http_requests_total{{job="convergence-api","""
    """status_code=~"5.."}}[{window}]))'""",
    original=("C11",),
)
def endpoints(_c: Context) -> Report:
    """Show how many requests to each endpoint end in a server error, over the whole fleet."""
    from checks.rules import find_alert_rule
    from checks.symptoms import list_affected
    from checks.target import load_target
    from checks.traffic import read_rates, share_by, share_of_all

    rates = read_rates(load_target())
    shares = share_by(rates, "path")
    whole = share_of_all(rates)
    hit = list_affected(shares, find_alert_rule("HighErrorRate").threshold or 0.0)
    finding = _state_errors(whole, shares, hit)
    return Report(
        finding=finding,
        level="bad" if hit or not shares else "good",
        evidence=(
            Table(
                columns=("endpoint", "requests/s", "5xx/s", "share"),
                rows=tuple(
                    (s.name, f"{s.per_second:.2f}", f"{s.errors_per_second:.2f}", _percent(s))
                    for s in shares
                ),
                right=("requests/s", "5xx/s", "share"),
            ),
            describe_source(rates),
        ),
        next_steps=("invoke assess.error-pattern",) if hit else ("invoke assess",),
        data={
            "source": rates.source,
            "window_s": rates.window_s,
            "note": rates.note,
            "all": share_as_data(whole),
            "endpoints": [share_as_data(share) for share in shares],
        },
    )


def _state_errors(whole: Share, shares: Sequence[Share], hit: Sequence[Share]) -> str:
    if not shares:
        return "No request was answered by any instance that could be asked."
    if hit:
        named = ", ".join(f"{share.name} ({share.error_share:.0%})" for share in hit)
        return f"{whole.error_share:.1%} of all requests fail; endpoints hit: {named}."
    return f"{whole.error_share:.1%} of all requests fail, and no endpoint stands out."


def describe_source(rates: Rates) -> str:
    """Return one sentence on where rates come from and what limits them."""
    told = f"From {rates.source}, over the last {rates.window_s:.3g} s."
    return f"{told} {rates.note}".strip()


def share_as_data(share: Share) -> dict[str, Any]:
    """Return a share of traffic as data, rates a second and the share as a number 0 to 1."""
    return {
        "name": share.name,
        "per_second": round(share.per_second, 4),
        "errors_per_second": round(share.errors_per_second, 4),
        "error_share": round(share.error_share, 4),
    }


def _percent(share: Share) -> str:
    return f"{share.error_share:.1%}"
