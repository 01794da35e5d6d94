"""Mitigate by a setting of the service: time out, cache, limit, or shut a tenant out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from invoke.context import Context

    from runbook.changes.settings import Setting, Wish
    from runbook.report import Report

_RUN = "gcloud run services update {service} --project={project} --region={region}"
_SET_ENV = (
    "kubectl --kubeconfig={kubeconfig} --context={kube_context} --namespace={namespace}"
    " set env deployment/{deployment} --containers=app"
)
_HELP = {
    "for_": "Remind to take it back after this time, such as 60m.",
    "platform": "cloud_run or kubernetes; default: the target's own.",
    "dry_run": "Show the plan, the lines by hand and whom it reaches; change nothing.",
    "yes": "Do not ask; a protected target accepts it only while an incident is open.",
}


@step(
    alerts=("HighLatencyP95",),
    by_hand={
        "cloud_run": f"{_RUN} --update-env-vars=REQUEST_TIMEOUT_SECONDS={{seconds}}"
        " --timeout={seconds}",
        "kubernetes": f"{_SET_ENV} REQUEST_TIMEOUT_SECONDS={{seconds}}",
    },
    changes="platform",
    original=("C21",),
    help=_HELP | {"seconds": "How long a request may take, 1 to 3600 s."},
)
def set_timeout(
    _c: Context,
    seconds: int = 60,
    for_: str = "",
    platform: str = "",
    dry_run: bool = False,
    yes: bool = False,
) -> Report:
    """Let a request end early, so that one that waits for something slow frees its place.

    It sets the service's own timeout, and on Cloud Run the platform's as well: what takes longer
    is cut, or goes on in the background where the service knows how to.
    """
    from checks.inputs import check_count
    from checks.target import CLOUD_RUN
    from runbook.changes.settings import REQUEST_TIMEOUT, Setting

    check_count("--seconds", seconds, minimum=1, maximum=3600)
    env = {"env." + REQUEST_TIMEOUT: str(seconds)}
    return _run(
        Setting(
            "mitigate.set-timeout",
            env,
            f"End requests after {seconds} s.",
            on={CLOUD_RUN: {"timeout": f"{seconds}s"}},
            symptoms=("errors", "latency"),
            warnings=("Requests that need longer fail, or are answered before they are done.",),
        ),
        platform,
        for_,
        dry_run=dry_run,
        yes=yes,
    )


@step(
    alerts=("HighLatencyP95",),
    by_hand={
        "cloud_run": f"{_RUN} --update-env-vars=RESPONSE_CACHE_TTL_SECONDS={{ttl_seconds}}",
        "kubernetes": f"{_SET_ENV} RESPONSE_CACHE_TTL_SECONDS={{ttl_seconds}}",
    },
    changes="platform",
    original=("C22",),
    help=_HELP | {"ttl_seconds": "How long an answer may be given again, 1 to 86400 s."},
)
def enable_caching(
    _c: Context,
    ttl_seconds: int = 60,
    for_: str = "",
    platform: str = "",
    dry_run: bool = False,
    yes: bool = False,
) -> Report:
    """Let each instance give the same answer to the same read again, for a time."""
    from checks.inputs import check_count
    from runbook.changes.settings import CACHE_TTL, Setting

    check_count("--ttl-seconds", ttl_seconds, minimum=1, maximum=86_400)
    return _run(
        Setting(
            "mitigate.enable-caching",
            {"env." + CACHE_TTL: str(ttl_seconds)},
            f"Give answers to reads again for {ttl_seconds} s.",
            symptoms=("errors", "latency"),
            warnings=(f"What tenants read may be up to {ttl_seconds} s old.",),
        ),
        platform,
        for_,
        dry_run=dry_run,
        yes=yes,
    )


@step(
    alerts=("RateLimitExceeded", "HighAuthFailureRate", "PotentialBruteForce"),
    by_hand={
        "cloud_run": f"{_RUN}"
        " --update-env-vars=RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE={requests_per_minute}"
        " --update-env-vars=RATE_LIMIT_TENANT_REQUESTS_PER_HOUR={requests_per_hour}"
        " --update-env-vars=RATE_LIMIT_PIPELINE_RUN_PER_MINUTE={pipeline_runs_per_minute}"
        " --update-env-vars=RATE_LIMIT_AUTH_FAILURES_PER_MINUTE={auth_failures_per_minute}",
        "kubernetes": f"{_SET_ENV}"
        " RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE={requests_per_minute}"
        " RATE_LIMIT_TENANT_REQUESTS_PER_HOUR={requests_per_hour}"
        " RATE_LIMIT_PIPELINE_RUN_PER_MINUTE={pipeline_runs_per_minute}"
        " RATE_LIMIT_AUTH_FAILURES_PER_MINUTE={auth_failures_per_minute}",
    },
    changes="platform",
    example={"requests_per_minute": 1200},
    original=("C40", "C56"),
    help=_HELP
    | {
        "requests_per_minute": "What a tenant may ask, 1 to 1000000.",
        "requests_per_hour": "What a tenant may ask in an hour, 1 to 60000000.",
        "pipeline_runs_per_minute": "Pipeline runs that a tenant may start, 1 to 1000000.",
        "auth_failures_per_minute": "Refused keys from one address before its next ones are not"
        " looked at, 1 to 1000000; 0 turns that off.",
    },
)
def set_rate_limit(
    _c: Context,
    requests_per_minute: str | None = None,
    requests_per_hour: str | None = None,
    pipeline_runs_per_minute: str | None = None,
    auth_failures_per_minute: str | None = None,
    for_: str = "",
    platform: str = "",
    dry_run: bool = False,
    yes: bool = False,
) -> Report:
    """Change what a tenant may ask, or how often one address may try a key that is refused."""
    from runbook.changes.limits import make_setting

    setting = make_setting(
        requests_per_minute,
        requests_per_hour,
        pipeline_runs_per_minute,
        auth_failures_per_minute,
    )
    return _run(setting, platform, for_, dry_run=dry_run, yes=yes)


@step(
    alerts=("RateLimitExceeded",),
    by_hand={
        "cloud_run": f"{_RUN} --update-env-vars=BLOCKED_TENANTS={{tenant}}",
        "kubernetes": f"{_SET_ENV} BLOCKED_TENANTS={{tenant}}",
    },
    changes="platform",
    example={"tenant": "example_tenant"},
    original=("C57",),
    help=_HELP
    | {
        "tenant": "The tenant's id.",
        "force": "Block a tenant that has neither traffic nor a key.",
    },
)
def block_tenant(
    _c: Context,
    tenant: str,
    for_: str = "",
    platform: str = "",
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Report:
    """Answer every request of one tenant with 403, and leave all others as they are.

    It shows how much of the traffic is that tenant's. Tell the tenant: nobody else will.
    """
    from checks.inputs import check_tenant
    from checks.target import load_target
    from runbook.changes.settings import Setting
    from runbook.changes.tenants import check_block

    check_tenant(tenant)
    told = check_block(load_target(), tenant, force=force)
    return _run(
        Setting(
            "mitigate.block-tenant",
            {f"blocked.{tenant}": True},
            f"Refuse every request of {tenant}. {told}",
            symptoms=("errors", "rate-limit-hits"),
            warnings=(f"{tenant} is not told by this: its requests get 403 from then on.",),
        ),
        platform,
        for_,
        dry_run=dry_run,
        yes=yes,
    )


def _run(setting: Setting, platform: str, for_: str, *, dry_run: bool, yes: bool) -> Report:
    from checks.target import load_target
    from runbook.changes.expiry import find_expiry
    from runbook.changes.platform import open_platform, run_settings

    expires_at = find_expiry(for_)
    system = open_platform(load_target(), platform)

    def make_wish(template: Mapping[str, Any]) -> Wish:
        return setting.make_wish(system.name, template, expires_at)

    asked = setting.on_platform(system.name)
    return run_settings(system, setting.step, asked, make_wish, dry_run=dry_run, yes=yes)
