"""What an instance reads from its environment, as the production container does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.service.limits import RateLimits
from staging.service.tenants import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 8000

# Embedded staging's own limits: a tenant of its load sends more than production's 100 a minute, and
# nobody waits a minute there for a window to pass. Two instances let 13 requests a second of a
# tenant through: the largest one's usual 9 stay below that by more than chance, its spike does not.
EMBEDDED_LIMITS = {
    "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "390",
    "RATE_LIMIT_TENANT_REQUESTS_PER_HOUR": "100000",
    "RATE_LIMIT_GLOBAL_REQUESTS_PER_MINUTE": "100000",
    "RATE_LIMIT_PIPELINE_RUN_PER_MINUTE": "390",
    "RATE_LIMIT_ADMIN_TENANTS_PER_MINUTE": "120",
    "RATE_LIMIT_WINDOW_SECONDS": "10",
}

# The share of requests that a tenant's own source breaks off on a normal day.
UPSTREAM_RESET_SHARE = 0.005


@dataclass(frozen=True)
class Limits:
    """The container's limits, which Cloud Run enforces from outside its environment."""

    cpu: float = 2.0
    memory_bytes: int = 4 * 1024**3
    concurrency: int = 100


@dataclass(frozen=True)
class Settings:
    """An instance's settings; times are in seconds."""

    instance: str
    address: str
    port: int
    service: str
    revision: str
    project: str
    limits: Limits
    bigquery_endpoint: str
    sources_endpoint: str
    admin_key_file: str
    metadata_workers: int
    metadata_queue_size: int
    metadata_batch_size: int
    metadata_flush_interval_s: float
    max_retry_attempts: int
    shutdown_timeout_s: int
    upstream_reset_share: float
    rate_limits: RateLimits
    blocked_tenants: frozenset[str]
    response_cache_ttl_s: float
    request_timeout_s: float


def read_settings(
    environment: Mapping[str, str], limits: Limits, instance: str, address: str
) -> Settings:
    """Return the settings in `environment`, with production's values as defaults.

    Raises KeyError when a variable without a default is missing, ValueError when a number is none
    or out of its range.
    """
    return Settings(
        instance=instance,
        address=address,
        port=int(environment.get("PORT", str(PORT))),
        service=environment["K_SERVICE"],
        revision=environment["K_REVISION"],
        project=environment["GOOGLE_CLOUD_PROJECT"],
        limits=limits,
        bigquery_endpoint=environment["BIGQUERY_ENDPOINT"],
        sources_endpoint=environment.get("SOURCES_ENDPOINT", ""),
        admin_key_file=environment["ADMIN_KEY_FILE"],
        metadata_workers=_read_count(environment, "METADATA_LOG_WORKERS", 5, 1, 20),
        metadata_queue_size=_read_count(environment, "METADATA_LOG_QUEUE_SIZE", 1000, 100, 10_000),
        metadata_batch_size=_read_count(environment, "METADATA_LOG_BATCH_SIZE", 100, 1, 10_000),
        metadata_flush_interval_s=float(
            environment.get("METADATA_LOG_FLUSH_INTERVAL_SECONDS", "5")
        ),
        max_retry_attempts=_read_count(environment, "BQ_MAX_RETRY_ATTEMPTS", 3, 0, 10),
        shutdown_timeout_s=_read_count(
            environment, "GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS", 30, 1, 600
        ),
        upstream_reset_share=_read_share(environment, "UPSTREAM_RESET_SHARE", UPSTREAM_RESET_SHARE),
        rate_limits=_read_rate_limits(environment),
        blocked_tenants=_read_tenants(environment, "BLOCKED_TENANTS"),
        response_cache_ttl_s=_read_seconds(environment, "RESPONSE_CACHE_TTL_SECONDS", 0, 0, 3600),
        request_timeout_s=_read_seconds(environment, "REQUEST_TIMEOUT_SECONDS", 300, 1, 3600),
    )


def describe_settings(settings: Settings) -> dict[str, float]:
    """Return the numeric settings in force by their dotted names."""
    limits = settings.rate_limits
    return {
        "performance.metadata_log_workers": settings.metadata_workers,
        "performance.metadata_log_queue_size": settings.metadata_queue_size,
        "performance.metadata_log_batch_size": settings.metadata_batch_size,
        "performance.metadata_log_flush_interval_seconds": settings.metadata_flush_interval_s,
        "performance.bq_max_retry_attempts": settings.max_retry_attempts,
        "graceful_shutdown.timeout_seconds": settings.shutdown_timeout_s,
        "rate_limiting.tenant.requests_per_minute": limits.tenant,
        "rate_limiting.tenant.requests_per_hour": limits.tenant_hour,
        "rate_limiting.global.requests_per_minute": limits.overall,
        "rate_limiting.endpoints.pipeline_run": limits.pipeline_run,
        "rate_limiting.endpoints.admin_tenants": limits.admin_tenants,
        "rate_limiting.auth.failures_per_minute": limits.auth_failures,
        "rate_limiting.window_seconds": limits.window_s,
        "response_cache.ttl_seconds": settings.response_cache_ttl_s,
        "request_timeout_seconds": settings.request_timeout_s,
    }


def _read_rate_limits(environment: Mapping[str, str]) -> RateLimits:
    usual = RateLimits()

    def read(name: str, default: int, lowest: int = 1) -> int:
        return _read_count(environment, f"RATE_LIMIT_{name}", default, lowest, 1_000_000)

    return RateLimits(
        tenant=read("TENANT_REQUESTS_PER_MINUTE", usual.tenant),
        tenant_hour=read("TENANT_REQUESTS_PER_HOUR", usual.tenant_hour),
        overall=read("GLOBAL_REQUESTS_PER_MINUTE", usual.overall),
        pipeline_run=read("PIPELINE_RUN_PER_MINUTE", usual.pipeline_run),
        admin_tenants=read("ADMIN_TENANTS_PER_MINUTE", usual.admin_tenants),
        auth_failures=read("AUTH_FAILURES_PER_MINUTE", usual.auth_failures, 0),
        window_s=_read_seconds(environment, "RATE_LIMIT_WINDOW_SECONDS", usual.window_s, 1, 3600),
    )


def _read_tenants(environment: Mapping[str, str], name: str) -> frozenset[str]:
    tenants = frozenset(filter(None, map(str.strip, environment.get(name, "").split(","))))
    for tenant in tenants:
        if not IDENTIFIER.fullmatch(tenant):
            raise ValueError(f"{name} holds {tenant!r}, which is no tenant id")
    return tenants


def _read_seconds(
    environment: Mapping[str, str], name: str, default: float, lowest: float, highest: float
) -> float:
    value = float(environment.get(name, str(default)))
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}, and must be from {lowest} to {highest}")
    return value


def _read_count(
    environment: Mapping[str, str], name: str, default: int, lowest: int, highest: int
) -> int:
    value = int(environment.get(name, str(default)))
    if not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}, and must be from {lowest} to {highest}")
    return value


def _read_share(environment: Mapping[str, str], name: str, default: float) -> float:
    value = float(environment.get(name, str(default)))
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, and must be from 0 to 1")
    return value
