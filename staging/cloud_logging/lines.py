"""From a line that a container wrote to the log entry that its platform makes of it.

Source: https://cloud.google.com/logging/docs/structured-logging
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from staging.cloud_logging.entries import check_depth, check_message
from staging.cloud_logging.errors import InvalidEntryError
from staging.cloud_logging.fields import HTTP_REQUEST
from staging.cloud_logging.values import SEVERITIES, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LINE_BYTES: Final = 2_000_000
TRUNCATION_NOTE: Final = f" [truncated: the line has more than {MAX_LINE_BYTES} bytes]"

_DAY_NS: Final = 86_400 * 10**9
_STRING_FIELDS: Final = {
    "logging.googleapis.com/trace": "trace",
    "logging.googleapis.com/spanId": "spanId",
    "logging.googleapis.com/insertId": "insertId",
}
_LABELS: Final = "logging.googleapis.com/labels"
# Where pods run: names of the cluster in staging.kubernetes.
_CLUSTER: Final = "convergence"
_NAMESPACE: Final = "default"
_CONTAINER: Final = "app"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which container wrote a line, as its header says."""

    instance: str
    revision: str
    service: str
    location: str
    project: str
    platform: str = "cloud_run"
    """On `kubernetes` the instance is a pod and the revision its ReplicaSet."""

    @classmethod
    def from_header(cls, header: bytes) -> Origin:
        """Return the origin that a JSON header line names. Raises InvalidEntryError."""
        names = ("instance", "revision", "service", "location", "project")
        try:
            fields = json.loads(header)
            values = [fields[name] for name in names]
            values.append(fields.get("platform", "cloud_run"))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InvalidEntryError("the header is no JSON object with all five names") from None
        if not all(isinstance(value, str) for value in values):
            raise InvalidEntryError("a name in the header is no string")
        return cls(*values)

    @property
    def output_log(self) -> str:
        """The URL-encoded log id of what the container writes."""
        return "stdout" if self.platform == "kubernetes" else "run.googleapis.com%2Fstdout"

    def resource(self) -> dict[str, Any]:
        """Return the monitored resource: the container's Cloud Run revision, or its pod."""
        if self.platform == "kubernetes":
            return {
                "type": "k8s_container",
                "labels": {
                    "project_id": self.project,
                    "location": self.location,
                    "cluster_name": _CLUSTER,
                    "namespace_name": _NAMESPACE,
                    "pod_name": self.instance,
                    "container_name": _CONTAINER,
                },
            }
        return {
            "type": "cloud_run_revision",
            "labels": {
                "project_id": self.project,
                "service_name": self.service,
                "revision_name": self.revision,
                "location": self.location,
                "configuration_name": self.service,
            },
        }

    def entry(self, log: str) -> dict[str, Any]:
        """Return the entry, so far without payload, for the URL-encoded log id `log`."""
        entry: dict[str, Any] = {
            "logName": f"projects/{self.project}/logs/{log}",
            "resource": self.resource(),
        }
        if self.platform == "kubernetes":
            entry["labels"] = {
                "k8s-pod/app": self.service,
                "k8s-pod/pod-template-hash": self.revision.removeprefix(f"{self.service}-"),
            }
        elif self.instance:
            entry["labels"] = {"instanceId": self.instance}
        return entry


def make_entry(line: bytes, origin: Origin, *, truncated: bool = False) -> dict[str, Any]:
    """Return the LogEntry of one line: a JSON object becomes jsonPayload, all else textPayload.

    Of the object, the fields that Cloud Logging knows move to the entry's own. A truncated line
    ends with a note; bytes that are no UTF-8 become U+FFFD.
    """
    entry = origin.entry(origin.output_log)
    text = line.decode("utf-8", "replace")
    payload = None if truncated else _read_object(text)
    if payload is None:
        entry["textPayload"] = text + TRUNCATION_NOTE if truncated else text
        return entry
    _move_fields(payload, entry)
    entry["jsonPayload"] = payload
    return entry


def _read_object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
        check_depth(value)
    except (ValueError, RecursionError, InvalidEntryError):
        return None
    return value if isinstance(value, dict) else None


def _move_fields(payload: dict[str, Any], entry: dict[str, Any]) -> None:
    severity = payload.get("severity")
    if isinstance(severity, str) and severity.upper() in SEVERITIES:
        entry["severity"] = payload.pop("severity").upper()
    for name, field in _STRING_FIELDS.items():
        if isinstance(payload.get(name), str):
            entry[field] = payload.pop(name)
    labels = payload.get(_LABELS)
    if isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()):
        entry["labels"] = {**payload.pop(_LABELS), **entry.get("labels", {})}
    for name in ("timestamp", "time"):
        moment = _parse_recent(payload.get(name))
        if moment is not None:
            entry["timestamp"] = payload.pop(name)
            break
    request = payload.get("httpRequest")
    if isinstance(request, dict) and _is_http_request(request):
        entry["httpRequest"] = payload.pop("httpRequest")


def _parse_recent(value: object) -> int | None:
    """Return a timestamp from a day ago to a day ahead: no line may hold a store's end for ever."""
    moment = parse_timestamp(value) if isinstance(value, str) else None
    return moment if moment is not None and abs(moment - time.time_ns()) < _DAY_NS else None


def _is_http_request(request: Mapping[str, Any]) -> bool:
    try:
        check_message("httpRequest", request, HTTP_REQUEST)
    except InvalidEntryError:
        return False
    return True
