"""Who may have a request served: key, block, limits. To refuse costs an instance nothing."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from staging.service.errors import (
    AuthenticationError,
    AuthThrottledError,
    RateLimitedError,
    TenantBlockedError,
)
from staging.service.keys import KeyRing, hash_key, read_prefix
from staging.service.limits import RateLimiter
from staging.service.settings import describe_settings
from staging.service.tenants import UNKNOWN_TENANT, list_tenants

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

    from staging.service.database import Database
    from staging.service.settings import Settings


class AccessMetrics:
    """What is counted of refusals, and the settings that they follow."""

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        """Register the metrics and show the settings in force."""
        self.rate_limit_hits = Counter(
            "rate_limit_hits",
            "Requests answered 429 by a limit.",
            ["tenant_id", "path"],
            registry=registry,
        )
        self.auth_throttled = Counter(
            "auth_throttled", "Requests of addresses with too many refused keys.", registry=registry
        )
        in_force = Gauge(
            "convergence_setting",
            "A numeric setting as this instance read it.",
            ["setting"],
            registry=registry,
        )
        for name, value in describe_settings(settings).items():
            in_force.labels(name).set(value)
        blocked = Gauge(
            "convergence_tenant_blocked",
            "1 for a tenant whose requests are refused.",
            ["tenant_id"],
            registry=registry,
        )
        for tenant in settings.blocked_tenants:
            blocked.labels(tenant).set(1)

    def create_series(self, paths: Iterable[str]) -> None:
        """Create the series at 0: a rate needs the sample before the first refusal."""
        for path in paths:
            for tenant in list_tenants():
                self.rate_limit_hits.labels(tenant, path)


class Access:
    """One instance's doorkeeper."""

    def __init__(self, settings: Settings, database: Database, registry: CollectorRegistry) -> None:
        """Read the admin key; raise OSError, or ValueError when its file is empty."""
        self.keys = KeyRing(database)
        self.metrics = AccessMetrics(registry, settings)
        self._limiter = RateLimiter(settings.rate_limits)
        self._blocked = settings.blocked_tenants
        admin_key = Path(settings.admin_key_file).read_text().strip()
        if not admin_key:
            raise ValueError("the file of the admin key is empty")
        self._admin_hash = hash_key(admin_key)

    def authenticate(self, key: str, source_ip: str) -> str:
        """Return the tenant of a key.

        Raises AuthThrottledError without a look at the key, AuthenticationError, and
        DatabaseUnreachableError while no key was ever read.
        """
        self._check_source(source_ip)
        try:
            return self.keys.authenticate(key)
        except AuthenticationError:
            self._limiter.note_auth_failure(source_ip)
            raise

    def admit(self, tenant_id: str, path: str) -> dict[str, str]:
        """Count a tenant's request and return the headers that tell its limit.

        Raises TenantBlockedError and RateLimitedError.
        """
        if tenant_id in self._blocked:
            raise TenantBlockedError("requests of this tenant are refused for now")
        try:
            return self._limiter.admit(tenant_id, path)
        except RateLimitedError:
            self.metrics.rate_limit_hits.labels(tenant_id, path).inc()
            raise

    def admit_admin(self, key: str, source_ip: str, path: str) -> None:
        """Return when an administrator may go on; raise as `authenticate` and `admit` do."""
        self._check_source(source_ip)
        try:
            self._limiter.admit_admin(source_ip)
        except RateLimitedError:
            self.metrics.rate_limit_hits.labels(UNKNOWN_TENANT, path).inc()
            raise
        if not hmac.compare_digest(self._admin_hash, hash_key(key)):
            self._limiter.note_auth_failure(source_ip)
            raise AuthenticationError("unknown_key", UNKNOWN_TENANT, read_prefix(key))

    def _check_source(self, source_ip: str) -> None:
        try:
            self._limiter.check_source(source_ip)
        except AuthThrottledError:
            self.metrics.auth_throttled.inc()
            raise
