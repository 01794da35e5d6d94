"""Which resources there are: the aggregated form of today's clients, and the older one."""

from __future__ import annotations

from typing import Any

from staging.kubernetes.kinds import SERVED, SUBRESOURCES, Kind, Subresource
from staging.kubernetes.settings import SERVER_VERSION

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def describe_version() -> dict[str, str]:
    """Return what `/version` says."""
    major, minor, _ = SERVER_VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": SERVER_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2025-04-22T16:02:58Z",
        "goVersion": "go1.23.6",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


def list_groups(*, core: bool) -> dict[str, Any]:
    """Return the aggregated discovery of `/api` (core) or `/apis`."""
    groups: dict[str, list[Kind]] = {}
    for kind in SERVED:
        if (kind.group == "") == core:
            groups.setdefault(kind.group, []).append(kind)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {
                        "version": kinds[0].version,
                        "resources": [_describe(kind) for kind in kinds],
                        "freshness": "Current",
                    }
                ],
            }
            for group, kinds in groups.items()
        ],
    }


def _describe(kind: Kind) -> dict[str, Any]:
    subresources = [
        {
            "subresource": item.name,
            "responseKind": _split(item),
            "verbs": list(item.verbs),
        }
        for item in SUBRESOURCES
        if item.parent is kind
    ]
    return {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
        **({"subresources": subresources} if subresources else {}),
    }


def _split(item: Subresource) -> dict[str, str]:
    group, _, version = item.api_version.rpartition("/")
    return {"group": group, "version": version, "kind": item.kind}


def list_core_versions() -> dict[str, Any]:
    """Return the older answer of `/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def list_api_groups() -> dict[str, Any]:
    """Return the older answer of `/apis`."""
    groups = dict.fromkeys((kind.group, kind.version) for kind in SERVED if kind.group)
    items = []
    for group, version in groups:
        served = {"groupVersion": f"{group}/{version}", "version": version}
        items.append({"name": group, "versions": [served], "preferredVersion": served})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": items}


def list_resources(group: str, version: str) -> dict[str, Any] | None:
    """Return the older answer for one group and version, None when it is not served."""
    kinds = [kind for kind in SERVED if (kind.group, kind.version) == (group, version)]
    if not kinds:
        return None
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(kind.verbs),
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
                **({"categories": list(kind.categories)} if kind.categories else {}),
            }
        )
        for item in SUBRESOURCES:
            if item.parent is kind:
                named = f"{kind.plural}/{item.name}"
                resources.append(
                    {
                        "name": named,
                        "singularName": "",
                        "namespaced": True,
                        **_split(item),
                        "verbs": list(item.verbs),
                    }
                )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": resources,
    }
