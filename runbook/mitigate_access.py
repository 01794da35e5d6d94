"""Mitigate attacks on keys, and mishaps with them: deny a source at the edge, issue a new key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context

    from checks.addresses import Network
    from checks.target import Target
    from runbook.changes.cloud_armor_rules import Policies
    from runbook.changes.plan import Plan
    from runbook.changes.service import Keys
    from runbook.report import Report
    from runbook.timeline import Change

_MAX_TENANTS = 20
_ISSUE_BY_HAND = (
    "curl --silent --show-error --fail-with-body --max-time 15 --header @{header_file}"
    " --request POST --output {file} {service_url}/admin/tenants/{tenants}/api-keys"
)
_HELP = {
    "dry_run": "Show the plan, the lines by hand and whom it reaches; change nothing.",
    "yes": "Do not ask; a protected target accepts it only while an incident is open.",
}


@step(
    alerts=("HighAuthFailureRate", "PotentialBruteForce"),
    by_hand="gcloud compute security-policies rules create {priority}"
    " --security-policy={security_policy} --src-ip-ranges={source} --action=deny-403"
    " --project={project}",
    changes="cloud_armor",
    example={"source": "203.0.113.7", "priority": 1000},
    original=("C39",),
    help=_HELP
    | {
        "source": "Addresses or ranges, such as 203.0.113.7,198.51.100.0/24.",
        "priority": "Number of the rule; default: the first free one from 1000 up.",
        "for_": "Remind to take it back after this time, such as 60m.",
        "policy": "The Cloud Armor policy; default: the target's own.",
        "force": "Deny it although it holds our own, the load balancer's or tenants' addresses.",
    },
)
def block_ip(
    _c: Context,
    source: str,
    priority: int = 0,
    for_: str = "",
    policy: str = "",
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Report:
    """Deny requests from these addresses at the edge, before they reach any instance.

    It shows who else would be shut out, and refuses addresses that are known to be good.
    """
    from functools import partial

    from checks.addresses import parse_sources
    from checks.target import load_target
    from runbook.changes.change import run_change
    from runbook.changes.cloud_armor import CloudArmor
    from runbook.changes.cloud_armor_plans import Block, plan_block
    from runbook.changes.expiry import find_expiry

    block = Block(parse_sources(source), priority, policy, find_expiry(for_))
    target = load_target()

    def plan(reading: Policies, change: str) -> Plan:
        warnings = _check_users(target, block.networks, force=force)
        return plan_block(target, reading, block, change=change, warnings=warnings)

    resumes = partial(_denies, networks=block.networks)
    return run_change(CloudArmor(target), plan, dry_run=dry_run, yes=yes, resumes=resumes)


def _denies(change: Change, networks: Sequence[Network]) -> bool:
    """Return whether a change was to deny exactly these ranges."""
    denied = sorted(text for rule in change.intent.after.values() for text in rule["ranges"])
    return denied == sorted(str(network) for network in networks)


def _check_users(target: Target, networks: Sequence[Network], *, force: bool) -> list[str]:
    """Return what a responder must know of these sources; raises RefusedError."""
    from checks.addresses import find_obstacles, read_users
    from checks.errors import RefusedError, RunbookError
    from runbook.changes.cloud_armor import describe_user

    obstacles = find_obstacles(networks, target)
    if obstacles and not (force and all(one.forcible for one in obstacles)):
        first = obstacles[0]
        raise RefusedError(
            f"{first.network} must not be denied: {first.why}. Nothing was changed.",
            next_step="name the attacker's own addresses"
            + (", or add --force if you are sure" if first.forcible else ""),
            subject=first.network,
        )
    warnings = [f"{one.network}: {one.why}; --force overrode it." for one in obstacles]
    try:
        users = read_users(target, networks)
    except RunbookError as error:
        return [*warnings, f"Who else sends from there could not be read: {error}"]
    if not users:
        return warnings
    listed = "; ".join(describe_user(user) for user in users[:5])
    count = f"{len(users)} address" if len(users) == 1 else f"{len(users)} addresses"
    told = f"{count} there had good answers in the last hour: {listed}."
    if not force:
        raise RefusedError(
            f"{told} Tenants would be shut out, so nothing was changed.",
            next_step="invoke mitigate.set-rate-limit --auth-failures-per-minute=6 stops guesses"
            " and no tenant; or a narrower --source; or --force if these are not tenants",
            subject=users[0].address,
        )
    return [*warnings, f"{told} They are shut out, for --force was given."]


@step(
    alerts=("HighAuthFailureRate",),
    by_hand=("install --mode=600 /dev/null {file}", _ISSUE_BY_HAND),
    changes="service",
    example={
        "tenants": "acme_logistics",
        "file": "acme_logistics.key",
        "header_file": "admin-header.txt",
    },
    original=("C41",),
    help=_HELP
    | {
        "tenants": "Whom to issue a new key each, such as acme_logistics,lumen_labs.",
        "out": "Folder for the secrets, one file each; default: keys, beside the timeline.",
    },
)
def issue_api_key(
    _c: Context, tenants: str, out: str = "", dry_run: bool = False, yes: bool = False
) -> Report:
    """Issue a new API key for each tenant; the secrets go into files, never to the screen.

    Old keys stay as they are. Undo deactivates the new keys.
    """
    from checks.target import load_target
    from runbook.changes.change import run_change
    from runbook.changes.key_files import choose_folder
    from runbook.changes.service import Service
    from runbook.changes.service_plans import plan_issue

    wanted = _parse_tenants(tenants)
    target = load_target()
    folder = choose_folder(target, out)

    def plan(reading: Keys, change: str) -> Plan:
        return plan_issue(target, reading, wanted, folder, change)

    # A broken-off one is never gone on with: whether its secret was written nobody knows.
    return run_change(Service(target, wanted), plan, dry_run=dry_run, yes=yes)


def _parse_tenants(text: str) -> tuple[str, ...]:
    from checks.errors import UsageError
    from checks.inputs import check_tenant

    found = tuple(dict.fromkeys(check_tenant(part.strip()) for part in text.split(",")))
    if len(found) > _MAX_TENANTS:
        raise UsageError(
            f"{len(found)} tenants are too many for one change; at most {_MAX_TENANTS}.",
            next_step="make several changes of it",
        )
    return found
