"""Resource names of Google's APIs, each built in this one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checks.target import Target


def location_path(target: Target) -> str:
    """Return `projects/P/locations/R`."""
    return f"projects/{target.project}/locations/{target.region}"


def service_path(target: Target) -> str:
    """Return the service's full name in Cloud Run's v2 API."""
    return f"{location_path(target)}/services/{target.service}"


def revision_path(target: Target, revision: str) -> str:
    """Return a revision's full name in Cloud Run's v2 API."""
    return f"{service_path(target)}/revisions/{revision}"


def log_path(target: Target, log: str) -> str:
    """Return a log's full name; `log` is percent-encoded as Cloud Logging wants it."""
    return f"projects/{target.project}/logs/{log.replace('/', '%2F')}"


def short_name(path: str) -> str:
    """Return the last segment of a resource name: `api-00002-abc` of a revision's full name."""
    return path.rsplit("/", 1)[-1]
