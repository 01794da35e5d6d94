"""The platform's own log entries about instances: run.googleapis.com/varlog/system."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from staging.cloud_run.models import LogSink, Place, utc_now
from staging.cloud_run.v2 import timestamp

if TYPE_CHECKING:
    from staging.model import Instance

_MIB = 1024**2


class PlatformLog:
    """Writes what Cloud Run itself has to say about an instance or a revision."""

    def __init__(self, sink: LogSink | None, place: Place, service: str) -> None:
        """Write to `sink`; with None the entries are not kept."""
        self._sink = sink
        self._place = place
        self._service = service

    def write(
        self, severity: str, text: str, revision: str, instance: Instance | None = None
    ) -> None:
        """Write one entry, labelled with the instance when there is one."""
        if self._sink is None:
            return
        now = timestamp(utc_now())
        self._sink.write(
            {
                "insertId": uuid.uuid4().hex[:20],
                "logName": f"projects/{self._place.project}/logs/"
                "run.googleapis.com%2Fvarlog%2Fsystem",
                "resource": {
                    "type": "cloud_run_revision",
                    "labels": {
                        "project_id": self._place.project,
                        "service_name": self._service,
                        "revision_name": revision,
                        "location": self._place.region,
                        "configuration_name": self._service,
                    },
                },
                "timestamp": now,
                "receiveTimestamp": now,
                "severity": severity,
                "labels": {"instanceId": instance.name} if instance else {},
                "textPayload": text,
            }
        )

    def started(self, instance: Instance, reason: str) -> None:
        """Say why an instance was started: AUTOSCALING, DEPLOYMENT_ROLLOUT, MIN_INSTANCE."""
        text = f"Starting new instance. Reason: {reason}"
        self.write("INFO", text, instance.spec.revision, instance)

    def exited(self, instance: Instance) -> None:
        """Say how a container that nobody stopped came to its end."""
        if instance.memory_at_kill is not None:
            self._write_memory_exceeded(instance, instance.memory_at_kill)
        status = instance.exit_status or 0
        how = (
            f"Container terminated on signal {-status}."
            if status < 0
            else f"Container called exit({status})."
        )
        self.write("WARNING", how, instance.spec.revision, instance)

    def _write_memory_exceeded(self, instance: Instance, used_bytes: int) -> None:
        text = (
            f"Memory limit of {instance.spec.memory_bytes // _MIB} MiB exceeded with"
            f" {used_bytes // _MIB} MiB used. Consider increasing the memory limit, see"
            " https://cloud.google.com/run/docs/configuring/memory-limits"
        )
        self.write("ERROR", text, instance.spec.revision, instance)

    def probe_failed(self, instance: Instance, port: int) -> None:
        """Say that the default startup probe failed, so that the instance was not started."""
        text = (
            f'Default STARTUP TCP probe failed 1 time consecutively for container "{instance.name}"'
            f" on port {port}. The instance was not started."
        )
        self.write("ERROR", text, instance.spec.revision, instance)
