"""Writes a finished change to Cloud Logging, best effort: an audit entry never stops a change."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from checks.target import CLOUD_RUN, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud import logging

    from checks.target import Target

LOG_NAME = "convergence-runbook"
DEADLINE_S = 5.0


def write_entry(target: Target, entry: Mapping[str, Any]) -> bool:
    """Write one structured entry (`entries.write`); return whether it arrived within 5 s."""
    arrived = threading.Event()

    def write() -> None:
        try:
            _write(target, entry)
        except Exception:  # noqa: BLE001 - whatever it is, the change itself is done and recorded
            return
        arrived.set()

    # A daemon, because the library has no deadline for its credentials' own look-ups.
    worker = threading.Thread(target=write, daemon=True)
    worker.start()
    worker.join(DEADLINE_S)
    return arrived.is_set()


def make_client(target: Target) -> logging.Client:
    """Return a Cloud Logging client over HTTP that asks no metadata server."""
    from google.cloud import logging

    disable_metadata_lookups()
    options: dict[str, Any] = {}
    if target.api:
        options["client_options"] = {"api_endpoint": target.api}
        if is_loopback(target.api):
            from google.auth.credentials import AnonymousCredentials

            options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return logging.Client(project=target.project, _use_grpc=False, **options)  # type: ignore[no-untyped-call]


def disable_metadata_lookups() -> None:
    """Stop the library from asking metadata.google.internal where it runs: 10 s a log name.

    Raises:
        AttributeError: The library has moved the function; a test watches for that.
    """
    from google.cloud.logging_v2.handlers import _monitored_resources

    module: Any = _monitored_resources
    assert callable(module.retrieve_metadata_server)  # noqa: S101 - private, so it may move
    module.retrieve_metadata_server = lambda *_, **__: None


def _write(target: Target, entry: Mapping[str, Any]) -> None:
    client = make_client(target)
    logger = client.logger(LOG_NAME)  # type: ignore[no-untyped-call]
    from google.cloud.logging_v2 import Resource

    resource = Resource(**_name_resource(target))
    logger.log_struct(dict(entry), severity="NOTICE", resource=resource)


def _name_resource(target: Target) -> dict[str, Any]:
    if target.platform != CLOUD_RUN:
        return {"type": "global", "labels": {"project_id": target.project}}
    labels = {"service_name": target.service, "location": target.region}
    return {"type": "cloud_run_revision", "labels": {"project_id": target.project, **labels}}
