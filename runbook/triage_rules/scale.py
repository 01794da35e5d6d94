"""How far up to scale: twice what serves, within what the platform takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from checks.inputs import DEFAULT_MAX_INSTANCES, MAX_INSTANCES
from checks.target import KUBERNETES
from runbook.triage_rules.verdict import SCALE_UP

if TYPE_CHECKING:
    from checks.cloud_run import Revision
    from checks.target import Target
    from runbook.triage_probes import Snapshot

_QUANTITY = re.compile(r"(\d+)([A-Za-z]*)")
# Of one instance: https://cloud.google.com/run/docs/configuring/services/memory-limits and cpu.
_MOST_CPU = 8
_MOST_MEMORY = 32 * 2**30
_BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "M": 10**6, "G": 10**9}


def widen(target: Target, found: Snapshot) -> str:
    """Return the command for twice as many instances or replicas as there may be now."""
    revision = found.find_revision(found.serving)
    most = revision.max_instances if revision else 0
    if target.platform == KUBERNETES:
        replicas = getattr(found.service, "replicas", most) or most or 1
        return f"{SCALE_UP} --replicas={2 * replicas}"
    most = min(most or DEFAULT_MAX_INSTANCES, MAX_INSTANCES)
    wider = min(2 * most, MAX_INSTANCES)
    return f"{SCALE_UP} --min-instances={most} --max-instances={wider}"


def enlarge(target: Target, found: Snapshot) -> str:
    """Return the command for twice the memory and CPU of an instance, or "" beyond the platform.

    CPU grows along: Cloud Run wants more of it for more memory, and it keeps their relation.
    """
    revision = found.find_revision(found.serving)
    limits = limits_of(revision) if revision else {}
    memory, cpu = _double(limits.get("memory", "")), _double(limits.get("cpu", ""))
    if not memory:
        return ""
    if target.platform != KUBERNETES:
        if _as_bytes(memory) > _MOST_MEMORY:
            return ""
        # 1, 2, 4, 6 and 8 are what Cloud Run has; doubled from 1, 2 or 4 it stays one of them.
        cpu = str(_MOST_CPU) if cpu.isdigit() and int(cpu) > _MOST_CPU else cpu
    chosen = f" --cpu={cpu}" if cpu else ""
    return f"{SCALE_UP}{chosen} --memory={memory}"


def limits_of(revision: Revision) -> dict[str, str]:
    """Return what a container of the revision, or ReplicaSet, may use: `cpu`, `memory`."""
    raw: dict[str, Any] = revision.raw
    spec = (((raw.get("spec") or {}).get("template") or {}).get("spec")) or raw
    container: dict[str, Any] = next(iter(spec.get("containers") or ()), {})
    limits = (container.get("resources") or {}).get("limits") or {}
    return {name: str(value) for name, value in limits.items()}


def _double(quantity: str) -> str:
    found = _QUANTITY.fullmatch(quantity)
    return f"{2 * int(found[1])}{found[2]}" if found else ""


def _as_bytes(quantity: str) -> int:
    found = _QUANTITY.fullmatch(quantity)
    return int(found[1]) * _BYTES.get(found[2], 1) if found else 0
