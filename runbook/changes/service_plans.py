"""Works out which keys are issued, and which are deactivated to take that back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from runbook.changes.key_files import choose_folder
from runbook.changes.plan import Plan
from runbook.changes.service import ACTIVE, STEP, KeyPatch, name_field, parse_field, read_issued
from runbook.timeline import UNDO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from checks.target import Target
    from runbook.changes.service import Keys
    from runbook.timeline import Change

HEADER_FILE = "admin-header.txt"
_NEAR_S = 60.0  # a key that a broken-off command made is no older than this after its intent
_HAND_OVER = "Requests are refused until the tenants use the new keys: hand the files over."
_HEADER = (
    "By hand, first put the line `x-admin-key: KEY` into {file}, readable by you alone. The answers"
    " with the secrets go into files as well."
)
_UNRECORDED = (
    "{change} broke off before it wrote down its key of {tenant}; {key} was made right after it"
    " began, and is taken for that one."
)


def plan_issue(
    target: Target, keys: Keys, tenants: Sequence[str], folder: Path, change: str
) -> Plan:
    """Return the plan that makes one new key for each tenant, its secret in a file in `folder`."""
    names = [name_field(tenant, change) for tenant in tenants]
    files = {tenant: str(folder / f"{tenant}-{change}.key") for tenant in tenants}
    header = folder / HEADER_FILE
    return Plan(
        step=STEP,
        change=change,
        system="service",
        version=keys.version,
        generation=keys.generation,
        before=dict.fromkeys(names),
        after=dict.fromkeys(names, ACTIVE),
        patch=KeyPatch(issue=files),
        by_hand=tuple(line for t in tenants for line in _issue_lines(target, t, files[t], header)),
        summary=f"Issue one new API key each for {', '.join(tenants)}; old keys stay as they are.",
        warnings=(_HAND_OVER, _HEADER.format(file=header)),
        symptoms=(),
        mends=False,  # the tenants have to use the keys before anything recedes
        notes={"known": {tenant: [key.key_id for key in keys.of(tenant)] for tenant in tenants}},
    )


def plan_undo(target: Target, keys: Keys, change: Change) -> Plan:
    """Return the plan that deactivates the keys of `change` that are active."""
    found, warnings = _find_keys(target, keys, change)
    now: dict[str, str | None] = dict.fromkeys(change.intent.after)
    revoke = {}
    for tenant, key_id in found.items():
        if any(key.key_id == key_id and key.active for key in keys.of(tenant)):
            now[name_field(tenant, change.id)] = ACTIVE
            revoke[tenant] = key_id
    tenants = ", ".join(revoke)
    return Plan(
        step=UNDO,
        change=change.id,
        system="service",
        version=keys.version,
        generation=keys.generation,
        before=now,
        after=dict.fromkeys(now),
        patch=KeyPatch(revoke=revoke),
        by_hand=tuple(_revoke_line(target, tenant, key) for tenant, key in revoke.items()),
        summary=f"Deactivate the keys that {change.id} issued for {tenants}."
        if revoke
        else f"{change.step} {change.id} leaves no active key to take back.",
        warnings=(
            *warnings,
            *((f"Requests of {tenants} with these keys are refused then.",) if revoke else ()),
        ),
        symptoms=(),
        mends=False,
        undoes=change.id,
    )


def _find_keys(target: Target, keys: Keys, change: Change) -> tuple[dict[str, str], list[str]]:
    """Return the change's key ids by tenant; for a record that broke off, by what was made then."""
    found = {tenant: one.key_id for tenant, one in read_issued(target, change.id).items()}
    known = change.intent.detail.get("known", {})
    warnings = []
    for name in change.intent.after:
        tenant, _ = parse_field(name)
        if tenant in found:
            continue
        made = [
            key.key_id
            for key in keys.of(tenant)
            if key.active
            and key.key_id not in known.get(tenant, ())
            and 0 <= _seconds_after(change.intent.at, key.created_at) <= _NEAR_S
        ]
        if len(made) == 1:
            found[tenant] = made[0]
            text = _UNRECORDED.format(change=change.id, tenant=tenant, key=made[0])
            warnings.append(text)
    return found, warnings


def _seconds_after(begun: str, made: str) -> float:
    try:
        between = datetime.fromisoformat(made) - datetime.fromisoformat(begun)
    except (ValueError, TypeError):
        return -1.0
    return between.total_seconds()


def _issue_lines(target: Target, tenant: str, file: str, header: Path) -> tuple[list[str], ...]:
    return (
        # curl keeps the mode of a file that is there already.
        ["install", "--mode=600", "/dev/null", file],
        [*_curl(header), "--request", "POST", "--output", file, _url(target, tenant)],
    )


def _revoke_line(target: Target, tenant: str, key_id: str) -> list[str]:
    header = choose_folder(target, "") / HEADER_FILE
    return [*_curl(header), "--request", "DELETE", f"{_url(target, tenant)}/{key_id}"]


def _curl(header: Path) -> list[str]:
    return [
        *("curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "15"),
        *("--header", f"@{header}"),
    ]


def _url(target: Target, tenant: str) -> str:
    return f"{target.service_url.rstrip('/')}/admin/tenants/{tenant}/api-keys"
