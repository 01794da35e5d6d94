"""What an instance reads from its environment, as the production container does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 8000

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
    api_keys_file: str
    metadata_workers: int
    metadata_queue_size: int
    metadata_batch_size: int
    metadata_flush_interval_s: float
    max_retry_attempts: int
    shutdown_timeout_s: int
    upstream_reset_share: float


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
        api_keys_file=environment["API_KEYS_FILE"],
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
    )


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
