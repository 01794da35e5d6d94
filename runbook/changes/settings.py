"""Settings of a container by the names that the timeline keeps, whatever the platform.

`cpu` and `memory` are its limits, `timeout` that of the template, `env.NAME` an environment
variable that a step of the runbook sets itself, and `blocked.TENANT` whether that tenant is shut
out. No other variable is ever read: their values may be secrets.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

BLOCKED_TENANTS = "BLOCKED_TENANTS"
TENANT_PER_MINUTE = "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE"
TENANT_PER_HOUR = "RATE_LIMIT_TENANT_REQUESTS_PER_HOUR"
PIPELINE_RUNS = "RATE_LIMIT_PIPELINE_RUN_PER_MINUTE"
AUTH_FAILURES = "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE"
CACHE_TTL = "RESPONSE_CACHE_TTL_SECONDS"
REQUEST_TIMEOUT = "REQUEST_TIMEOUT_SECONDS"

HIDDEN = "(not shown)"
LIMITS = ("cpu", "memory")
_NUMBER = re.compile(r"\d{1,9}")
_TENANTS = re.compile(r"[A-Za-z0-9_, -]{0,20000}")
# What a step of the runbook sets, and what its value looks like; anything else is not recorded.
_SETTABLE = {
    TENANT_PER_MINUTE: _NUMBER,
    TENANT_PER_HOUR: _NUMBER,
    PIPELINE_RUNS: _NUMBER,
    AUTH_FAILURES: _NUMBER,
    CACHE_TTL: _NUMBER,
    REQUEST_TIMEOUT: _NUMBER,
    BLOCKED_TENANTS: _TENANTS,
}
_NAMES = {
    "env." + TENANT_PER_MINUTE: "requests a minute, a tenant",
    "env." + TENANT_PER_HOUR: "requests an hour, a tenant",
    "env." + PIPELINE_RUNS: "pipeline runs a minute, a tenant",
    "env." + AUTH_FAILURES: "refused keys a minute, an address",
    "env." + CACHE_TTL: "answers are cached for (s)",
    "env." + REQUEST_TIMEOUT: "the service's own timeout (s)",
    "cpu": "CPU",
    "memory": "memory",
    "timeout": "the platform's timeout",
}


@dataclass(frozen=True)
class Wish:
    """What a step wants of a service, whatever platform it runs on.

    Attributes:
        fields: Settings, `scaling` or `replicas`, as they shall be.
        summary: One sentence: what will be done.
        symptoms: Names of `runbook.changes.symptoms` that shall recede.
        expires_at: When it is to be taken back, RFC 3339, or "".
        force: Whether it may lower a limit.
    """

    step: str
    fields: Mapping[str, Any]
    summary: str
    symptoms: tuple[str, ...] = ("errors",)
    warnings: tuple[str, ...] = ()
    expires_at: str = ""
    force: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """One step's settings, the same on every platform but for those in `on`.

    Attributes:
        on: Further fields by platform.
        warn: Returns further warnings, given the template that serves.
    """

    step: str
    fields: Mapping[str, Any]
    summary: str
    symptoms: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warn: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda _: ()

    def make_wish(self, platform: str, template: Mapping[str, Any], expires_at: str) -> Wish:
        """Return the wish for what serves by `template`; `expires_at` as in `Wish`."""
        container = first_container(template)
        return Wish(
            self.step,
            self.on_platform(platform),
            self.summary,
            symptoms=self.symptoms,
            warnings=(*self.warnings, *self.warn(container)),
            expires_at=expires_at,
            notes={"emptied": read_variable(container, BLOCKED_TENANTS)},
        )

    def on_platform(self, platform: str) -> dict[str, Any]:
        """Return the fields on one platform."""
        return {**self.fields, **self.on.get(platform, {})}


def is_setting(field: str) -> bool:
    """Return whether the field of the timeline is a setting of a container."""
    return field in (*LIMITS, "timeout") or field.startswith(("env.", "blocked."))


def read_settings(template: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the named settings of a template or revision; None where one is not set.

    `template` has `containers`, as Cloud Run v2's and a pod's spec have. A variable that holds
    something else than a step would set is HIDDEN.
    """
    container = first_container(template)
    found: dict[str, Any] = {}
    for name in names:
        kind, _, rest = name.partition(".")
        if name in LIMITS:
            found[name] = container.get("resources", {}).get("limits", {}).get(name)
        elif name == "timeout":
            found[name] = template.get("timeout")
        elif kind == "env":
            found[name] = read_variable(container, rest)
        elif kind == "blocked":
            found[name] = rest in split_tenants(read_variable(container, BLOCKED_TENANTS))
    return found


def first_container(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the service's own container: the one called `app`, else the first."""
    containers: list[Mapping[str, Any]] = list(template.get("containers") or [{}])
    return next((one for one in containers if one.get("name") == "app"), containers[0])


def read_variable(container: Mapping[str, Any], name: str) -> str | None:
    """Return an environment variable that steps set, None when it is not set, or HIDDEN."""
    for item in container.get("env") or []:
        if item.get("name") == name:
            value = str(item.get("value", ""))
            shape = _SETTABLE.get(name)
            plain = "valueSource" not in item and "valueFrom" not in item
            shown = plain and shape and (shape.fullmatch(value) or not value)
            return value if shown else HIDDEN
    return None


def split_tenants(value: str | None) -> list[str]:
    """Return the tenants of BLOCKED_TENANTS' value."""
    return [one.strip() for one in (value or "").split(",") if one.strip()]


def to_write(
    template: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    emptied: str | None = None,
) -> dict[str, str | None]:
    """Return what has to be written for the wanted settings: limits, timeout and `env.NAME` only.

    `emptied` is what BLOCKED_TENANTS becomes once nobody is left in it: "" or None, not set.

    Raises:
        RefusedError: A variable holds something that no step would set, so it could not be undone.
    """
    have = read_settings(template, wanted)
    tenants = read_variable(first_container(template), BLOCKED_TENANTS)
    blocks = any(name.startswith("blocked.") for name in wanted)
    hidden = [name.removeprefix("env.") for name, value in have.items() if value == HIDDEN]
    if blocks and tenants == HIDDEN:
        hidden.append(BLOCKED_TENANTS)
    if hidden:
        raise RefusedError(
            f"{', '.join(hidden)} is set from elsewhere, or to something that no step sets, so it"
            " could not be brought back. Nothing was changed.",
            next_step="change it where it comes from",
            subject=hidden[0],
        )
    parts = {name: value for name, value in wanted.items() if not name.startswith("blocked.")}
    if blocks:
        left = split_tenants(tenants)
        for name, blocked in wanted.items():
            tenant = name.removeprefix("blocked.")
            if name.startswith("blocked.") and blocked is not (tenant in left):
                left = [*left, tenant] if blocked else [one for one in left if one != tenant]
        parts["env." + BLOCKED_TENANTS] = ",".join(left) or emptied
    return parts


def apply_settings(template: Mapping[str, Any], parts: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a copy of the template with what `to_write` gave; None takes a setting away."""
    made = copy.deepcopy(dict(template))
    container: dict[str, Any] = first_container(made)  # type: ignore[assignment]
    for name, value in parts.items():
        if name in LIMITS:
            limits = container.setdefault("resources", {}).setdefault("limits", {})
            limits.pop(name, None) if value is None else limits.update({name: value})
        elif name == "timeout":
            made.pop(name, None) if value is None else made.update({name: value})
        else:
            _set_variable(container, name.removeprefix("env."), value)
    return made


def name_field(name: str) -> str:
    """Return what people call a setting."""
    if name.startswith("blocked."):
        return f"tenant {name.removeprefix('blocked.')}"
    return _NAMES.get(name, name.removeprefix("env."))


def describe_value(name: str, value: Any) -> str:  # noqa: ANN401 - a field of the timeline
    """Return a setting's value in words."""
    if name.startswith("blocked."):
        return "blocked" if value else "not blocked"
    if value is None:
        return "not set"
    return str(value) if value != "" else "empty"


def _set_variable(container: dict[str, Any], name: str, value: str | None) -> None:
    items: list[dict[str, Any]] = container.setdefault("env", [])
    if value is None:
        container["env"] = [item for item in items if item.get("name") != name]
        return
    for item in items:
        if item.get("name") == name:
            item["value"] = value
            return
    items.append({"name": name, "value": value})
