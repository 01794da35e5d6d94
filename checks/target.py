"""Where the runbook looks and acts: one target out of `invoke.yaml`."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from checks.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = Path(__file__).resolve().parent.parent / "invoke.yaml"
DEFAULT_TARGET = "local"
DEFAULT_STAGING_DIR = ".staging"

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_URL_FIELDS = ("api", "service_url", "prometheus", "alertmanager", "control")
# What only a staging that runs on Kubernetes, or has keys and a policy, tells.
_PLATFORM_FIELDS = (
    "platform",
    "kubeconfig",
    "kube_context",
    "namespace",
    "deployment",
    "security_policy",
    "admin_key_file",
    "known_addresses",
)
CLOUD_RUN, KUBERNETES = PLATFORMS = ("cloud_run", "kubernetes")


@dataclass(frozen=True)
class Target:
    """One place to look at: project, region, service and the addresses that belong to it.

    Attributes:
        api: Base URL of every Google API, or None for Google's own hosts.
        control: Control API of embedded staging, or None on any other target.
        time_scale: How many times faster than real time the target's alert rules run.
        protected: Whether a change wants to be confirmed by name.
        environment: What people call the target, such as `embedded staging`.
        platform: Where the service runs: `cloud_run` or `kubernetes`.
        kubeconfig: The file that kubectl reads; "" leaves it to kubectl's own rules, which no
            step of the runbook accepts.
        kube_context: The context in that file; never the one that happens to be current.
        deployment: The Deployment's name, where it is not the service's.
        security_policy: The Cloud Armor policy in front of the service.
        admin_key_file: The file with the service's admin key; "" when this machine has none.
        known_addresses: Whom nobody may shut out, by name: our egress, the load balancer and so
            on, as networks in CIDR notation.
    """

    name: str
    environment: str
    project: str
    region: str
    service: str
    service_url: str
    api: str | None = None
    prometheus: str | None = None
    alertmanager: str | None = None
    control: str | None = None
    time_scale: float = 1.0
    protected: bool = False
    platform: str = CLOUD_RUN
    kubeconfig: str = ""
    kube_context: str = ""
    namespace: str = "default"
    deployment: str = ""
    security_policy: str = "convergence-security-policy"
    admin_key_file: str = ""
    known_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def deployment_name(self) -> str:
        """The name of the Deployment: `deployment`, or the service's."""
        return self.deployment or self.service

    def on_platform(self, platform: str) -> Target:
        """Return the target as it is on `platform`; "" is the target's own.

        Raises:
            UsageError: There is no such platform.
        """
        if platform in {"", self.platform}:
            return self
        if platform not in PLATFORMS:
            raise UsageError(
                f"There is no platform {platform!r}.",
                next_step=f"--platform={' or --platform='.join(PLATFORMS)}",
                subject=platform,
            )
        return Target(**(vars(self) | {"platform": platform}))

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded staging on this machine."""
        return self.control is not None

    def seconds(self, real: float) -> float:
        """Return `real` seconds of the rules' time in seconds of this target's clock."""
        return real / self.time_scale

    def window(self, duration: str) -> str:
        """Return a PromQL duration, such as `5m`, in this target's time.

        In real time it stays as it is; else it is in milliseconds.

        Raises:
            ValueError: `duration` is not a PromQL duration.
        """
        scaled = self.seconds(duration_seconds(duration))
        return duration if self.time_scale == 1 else f"{max(1, round(scaled * 1000))}ms"


def duration_seconds(duration: str) -> float:
    """Return how many seconds a PromQL duration, such as `1h30m`, is.

    Raises:
        ValueError: `duration` is not a PromQL duration.
    """
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a PromQL duration such as 5m or 1h30m")
    return sum(int(number) * _UNIT_S[unit] for number, unit in parts)


def is_loopback(url: str) -> bool:
    """Return whether `url` stays on this machine (127.0.0.0/8, ::1, localhost)."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def staging_dir() -> Path:
    """Return the folder of the embedded staging: RUNBOOK_STAGING_DIR, or `.staging` here."""
    return Path(os.environ.get("RUNBOOK_STAGING_DIR") or DEFAULT_STAGING_DIR)


def load_target(name: str | None = None) -> Target:
    """Return the target called `name`, else the one that RUNBOOK_TARGET names, else `local`.

    Raises:
        UsageError: No such target, or its entry in invoke.yaml is incomplete or unsafe.
        UnreachableError: The target is the embedded staging, and that is not running.
    """
    name = name or os.environ.get("RUNBOOK_TARGET") or DEFAULT_TARGET
    targets = _read_targets()
    if name not in targets:
        raise UsageError(
            f"There is no target {name!r} in invoke.yaml.",
            next_step=f"Set RUNBOOK_TARGET to one of: {', '.join(targets)}.",
            subject=name,
        )
    entry = dict(targets[name])
    if entry.pop("embedded", False):
        entry |= _read_endpoints()
    return _build_target(name, entry)


def _read_targets() -> dict[str, dict[str, Any]]:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load(CONFIG.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(
            f"invoke.yaml cannot be read: {type(error).__name__}.",
            next_step=f"Mend {CONFIG}.",
        ) from error
    targets = content.get("targets") if isinstance(content, dict) else None
    if not isinstance(targets, dict) or not all(isinstance(v, dict) for v in targets.values()):
        raise UsageError(
            "invoke.yaml has no mapping `targets` of names to settings.",
            next_step=f"Mend {CONFIG}.",
        )
    return targets


def _read_endpoints() -> dict[str, Any]:
    path = staging_dir() / "endpoints.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        running = _is_running(int(content["pid"]))
        entry = {key: content[key] for key in ("project", "region", "service", "time_scale")}
        entry |= {key: content[key] for key in _URL_FIELDS}
        entry |= {key: content[key] for key in _PLATFORM_FIELDS if key in content}
    except FileNotFoundError:
        running = False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreachableError(
            f"{path} is damaged, so nobody knows where the embedded staging listens.",
            next_step="invoke staging.down, then invoke staging.up",
            subject=str(path),
        ) from error
    if not running:
        raise UnreachableError(
            "The embedded staging is not running.",
            next_step="invoke staging.up",
            subject=str(path),
        )
    return entry


def _is_running(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _build_target(name: str, entry: dict[str, Any]) -> Target:
    try:
        networks = _parse_networks(entry.pop("known_addresses", None) or {})
        if entry.get("kubeconfig"):
            entry["kubeconfig"] = str(Path(entry["kubeconfig"]).expanduser())
        target = Target(name=name, **entry, known_addresses=networks)
        time_scale = float(target.time_scale)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"Target {name!r} in invoke.yaml is incomplete or has a setting nobody knows.",
            next_step=f"Mend its entry in {CONFIG}.",
            subject=name,
        ) from error
    if time_scale <= 0:
        raise UsageError(
            f"Target {name!r} has a time scale of {time_scale:g}; it must be above 0.",
            next_step=f"Mend its entry in {CONFIG}.",
            subject=name,
        )
    if target.platform not in PLATFORMS:
        raise UsageError(
            f"Target {name!r} runs on {target.platform!r}; known are {' and '.join(PLATFORMS)}.",
            next_step=f"Mend its entry in {CONFIG}.",
            subject=name,
        )
    for key in _URL_FIELDS:
        _check_url(target, key)
    return target


def _parse_networks(named: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, networks in named.items():
        listed = [networks] if isinstance(networks, str) else networks
        found[str(name)] = tuple(str(ipaddress.ip_network(one)) for one in listed)
    return found


def _check_url(target: Target, name: str) -> None:
    url = getattr(target, name)
    if url is None:
        return
    if not isinstance(url, str) or not (url.startswith("https://") or is_loopback(url)):
        raise UsageError(
            f"Target {target.name!r}: {name} must be https, or http on this machine only.",
            next_step=f"Mend its entry in {CONFIG}.",
            subject=str(url),
        )
