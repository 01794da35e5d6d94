"""The lines that a person would type instead of a step, worked out for the state at hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runbook.changes.settings import HIDDEN, read_variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.target import Target

_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PWD|CRED|AUTH|PRIVATE|DSN|SALT|WEBHOOK", re.IGNORECASE
)
_SECRET_VALUE = re.compile(r"://[^/\s]*@|-----BEGIN |\beyJ[\w-]{10}")  # URL log-in, key, token
_DELIMITERS = ",|;@#~"
# What `gcloud run services update` sets with flags of their own, below.
_BY_FLAG = frozenset({"image", "env", "resources"})
_BOOKKEEPING = frozenset({"name", "baseImageUri", "buildInfo"})


def update_line(target: Target, *flags: str) -> list[str]:
    """Return `gcloud run services update` for the target's service as an argument list."""
    return _gcloud(target, "update", flags)


def traffic_line(target: Target, *flags: str) -> list[str]:
    """Return `gcloud run services update-traffic` for the target's service."""
    return _gcloud(target, "update-traffic", flags)


def scaling_flags(scaling: Mapping[str, int]) -> list[str]:
    """Return the flags for least and most instances; `default` where none is set."""
    return [f"--{end}-instances={scaling[end] or 'default'}" for end in ("min", "max")]


def traffic_flags(traffic: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the flag of `update-traffic` that brings a split about; tags stay as they are."""
    shares = [(share["revision"], share["percent"]) for share in traffic if share["percent"]]
    if shares == [("LATEST", 100)]:
        return ["--to-latest"]
    return ["--to-revisions=" + ",".join(f"{name}={percent}" for name, percent in shares)]


def template_flags(have: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    """Return the flags that turn the v2 template `have` into that of a revision, `want`.

    Variables that look secret are left out, not replaced: a placeholder would be set as it stands.
    """
    old, new = _container(have), _container(want)
    flags = []
    if old.get("image") != new.get("image"):
        flags.append(f"--image={new.get('image', '')}")
    old_limits, new_limits = (c.get("resources", {}).get("limits", {}) for c in (old, new))
    flags += [
        f"--{name}={new_limits[name]}"
        for name in ("cpu", "memory")
        if name in new_limits and old_limits.get(name) != new_limits[name]
    ]
    flags += _env_flags(_env(old), _env(new))
    if have.get("timeout") != want.get("timeout") and want.get("timeout"):
        flags.append(f"--timeout={str(want['timeout']).removesuffix('s')}")
    concurrency = want.get("maxInstanceRequestConcurrency")
    if concurrency and have.get("maxInstanceRequestConcurrency") != concurrency:
        flags.append(f"--concurrency={concurrency}")
    if want.get("serviceAccount") and have.get("serviceAccount") != want["serviceAccount"]:
        flags.append(f"--service-account={want['serviceAccount']}")
    return flags


def variable_flags(variables: Mapping[str, str | None]) -> list[str]:
    """Return the flags that set variables, and take away those that are None."""
    changed = [f"{name}={value}" for name, value in variables.items() if value is not None]
    gone = sorted(name for name, value in variables.items() if value is None)
    flags = ["--update-env-vars=" + _join(changed)] if changed else []
    if gone:
        flags.append("--remove-env-vars=" + ",".join(gone))
    return flags


def find_unprintable(have: Mapping[str, Any], want: Mapping[str, Any]) -> list[str]:
    """Return the names of differing settings for which no flag is printed.

    Secret variables, sidecars, probes, volumes and the like: the task copies them, the lines by
    hand do not.
    """
    old, new = _container(have), _container(want)
    names = (set(old) | set(new)) - _BY_FLAG - _BOOKKEEPING
    found = [f"containers[0].{name}" for name in names if old.get(name) != new.get(name)]
    found += [
        name
        for name in ("volumes", "vpcAccess", "executionEnvironment", "sessionAffinity")
        if have.get(name) != want.get(name)
    ]
    before, after = _env(old), _env(new)
    found += [
        f"variable {name}"
        for name, item in after.items()
        if before.get(name) != item and _is_hidden(item)
    ]
    if len(have.get("containers", [])) > 1 or len(want.get("containers", [])) > 1:
        found.append("sidecars")
    return sorted(found)


def _gcloud(target: Target, verb: str, flags: Iterable[str]) -> list[str]:
    where = [f"--project={target.project}", f"--region={target.region}"]
    return ["gcloud", "run", "services", verb, target.service, *where, *flags]


def _container(template: Mapping[str, Any]) -> dict[str, Any]:
    containers = template.get("containers") or [{}]
    return dict(containers[0])


def _env(container: Mapping[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in container.get("env", [])}


def _env_flags(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    changed = {
        name: str(item.get("value", ""))
        for name, item in new.items()
        if old.get(name) != item and not _is_hidden(item)
    }
    return variable_flags(changed | dict.fromkeys(set(old) - set(new)))


def _is_hidden(item: Mapping[str, Any]) -> bool:
    if read_variable({"env": [item]}, item["name"]) not in (None, HIDDEN):
        return False  # one that steps set, whatever its name looks like
    looks_secret = _SECRET_NAME.search(item["name"]) or _SECRET_VALUE.search(
        str(item.get("value", ""))
    )
    return "valueSource" in item or bool(looks_secret)


def _join(pairs: list[str]) -> str:
    # gcloud topic escaping: ^|^ at the start names another delimiter than the comma.
    text = "".join(pairs)
    delimiter = next((mark for mark in _DELIMITERS if mark not in text), ",")
    return ("" if delimiter == "," else f"^{delimiter}^") + delimiter.join(pairs)
