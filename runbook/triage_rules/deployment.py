"""Whether a deployment is to blame, and the way back from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from checks import symptoms
from checks.errors import RefusedError
from checks.evidence import HEALTHY_ERROR_SHARE
from runbook.triage_rules.verdict import RELEASE, ROLLBACK, Advice

if TYPE_CHECKING:
    from checks.cloud_run import Revision
    from checks.evidence import Evidence
    from checks.target import Target
    from runbook.triage_probes import Snapshot

DEPLOYMENT_S = 900.0
SUSPECT_S = 3600.0
_OURS_S = 180.0  # real seconds: how long a change of ours takes to become a revision


def blame_deployment(
    what: str, since: str, target: Target, found: Snapshot, *, within_s: float = DEPLOYMENT_S
) -> str:
    """Return how a deployment explains `what` ("The errors"), or "" when none does.

    Only one that changed what runs: a restart or a change of scale brings nothing new. Where nobody
    tells since when, a recent deployment is suspected.
    """
    revision = found.find_revision(found.serving)
    if revision is None or not changed_what_runs(revision, found) or is_ours(revision, found):
        return ""
    if since:
        came = symptoms.came_with(since, revision.created, target.seconds(within_s))
        return f"{what} came with {revision.name}, deployed just before" if came else ""
    now = datetime.now(UTC).isoformat()
    if not symptoms.came_with(now, revision.created, target.seconds(SUSPECT_S)):
        return ""
    return f"{revision.name} was deployed lately, and nobody tells since when: {what.lower()}"


def changed_what_runs(revision: Revision, found: Snapshot) -> bool:
    """Return whether it runs something else than the one before it: an image, a variable.

    True where there is none before it, or nobody tells what it ran.
    """
    before = next(
        (
            one
            for one in sorted(found.revisions, key=lambda one: one.created, reverse=True)
            if one.created < revision.created and not one.failed
        ),
        None,
    )
    return before is None or not before.build or before.build != revision.build


def is_ours(revision: Revision, found: Snapshot) -> bool:
    """Return whether a mitigation in force made the revision: it answers a symptom, brings none."""
    for change in found.open_changes:
        try:
            began = datetime.fromisoformat(str(change["since"]))
            began = began if began.tzinfo else began.replace(tzinfo=UTC)
            made = datetime.fromisoformat(revision.created)
        except ValueError:
            continue
        # A ReplicaSet's time of creation has whole seconds only.
        if timedelta(seconds=-1) <= made - began <= timedelta(seconds=_OURS_S):
            return True
    return False


def advise_rollback(why: str, found: Snapshot) -> Advice:
    """Return the advice to go back to what last served healthily, or to look for it."""
    cause = f"the deployment of {found.serving}"
    before = found.healthy_before
    if before is None:
        choose = f"choose one, then {ROLLBACK} --to=REVISION"
        told = f"{why}, and {_describe_no_evidence(found)}: {choose}."
        return Advice("invoke assess.revisions", told, cause)
    # While a rollback is in force, the bare command stays where it is: only a name goes further.
    command = f"{ROLLBACK} --to={before.revision}" if is_rolled_back(found) else ROLLBACK
    return Advice(command, f"{why}; {_describe_before(before)}.", cause)


def is_rolled_back(found: Snapshot) -> bool:
    """Return whether a rollback of ours is in force."""
    return any(change["step"] == "mitigate.rollback" for change in found.open_changes)


def advise_release(found: Snapshot) -> Advice | None:
    """Return the advice to let pinned traffic go to the latest revision, where that may be good.

    Not after a rollback of ours: that one pinned the traffic away from the latest on purpose.
    """
    service = found.service
    if service is None or not found.pinned or service.latest_ready in {"", found.serving}:
        return None
    if is_rolled_back(found) or "latest" in found.silent:
        return None
    latest = found.find_revision(service.latest_ready)
    serving = found.find_revision(found.serving)
    if latest is None or serving is None or latest.created <= serving.created:
        return None
    measured = found.latest_evidence
    failed_before = measured is not None and measured.error_share > HEALTHY_ERROR_SHARE
    if failed_before or symptoms.list_ended(found.platform_log, latest.name):
        return None
    return Advice(
        RELEASE,
        f"Traffic is pinned to {found.serving}, which fails, while the newer "
        f"{service.latest_ready} is ready, gets no traffic, and is not known to fail.",
        f"traffic pinned to {found.serving}",
    )


def _describe_before(before: Evidence) -> str:
    return (
        f"{before.revision} last served healthily ({before.error_share:.1%} of {before.requests} "
        f"requests failed, by {before.source})"
    )


def _describe_no_evidence(found: Snapshot) -> str:
    silent = found.silent.get("evidence")
    if silent is None or isinstance(silent, RefusedError):
        return "no other revision is known to have served healthily"
    return f"which one served healthily nobody could tell ({silent})"
