"""haproxy's access log, one JSON object a datagram, as the platform's request log.

On Cloud Run that is the service's own; on Kubernetes the load balancer's in front of the cluster.

Keys of the object, numbers as JSON numbers or as strings: `time_s` and `time_ms` (seconds since
1970, and milliseconds 0 to 999, of when the request was accepted), `revision` ("" when none was
chosen), `server` (`<NOSRV>` when none was there), `method`, `path` (with its query), `status`,
`latency_ms`, `source` (the client's address), `request_bytes`, `response_bytes`, `user_agent`,
`host`, `trace` (the header X-Cloud-Trace-Context), `protocol`, `termination` (haproxy's two
letters), `verdict` (Cloud Armor's, `<status or allow>:<priority>`). Only `status`, `method` and
`path` must be there; "-" counts as absent. What a syslog header puts before the object is passed
over.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from staging.cloud_logging.errors import InvalidEntryError
from staging.cloud_logging.values import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from staging.cloud_logging.lines import Origin

# Recalled from Cloud Run's own entries, not re-read.
_NO_INSTANCE: Final = "The request was aborted because there was no available instance."
_BROKEN: Final = (
    "The request failed because either the HTTP response was malformed or connection to the"
    " instance had an error."
)
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400
_LATEST_S: Final = 2**33
_DENIED: Final = re.compile(r"\d{3}:(\d{1,10})", re.ASCII)
_TRACE: Final = re.compile(r"([0-9a-f]{32})(?:/(\d{1,20}))?(?:;o=([01]))?", re.ASCII)
_STRINGS: Final = {
    "method": "requestMethod",
    "user_agent": "userAgent",
    "source": "remoteIp",
    "protocol": "protocol",
}
_SIZES: Final = {"request_bytes": "requestSize", "response_bytes": "responseSize"}


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Makes request-log entries of one service's ingress.

    `origin` names the service; `instance_of` gives the instance behind a haproxy server, or "";
    `security_policy` is the name of Cloud Armor's policy.
    """

    origin: Origin
    base_url: str = ""
    instance_of: Callable[[str], str] = lambda _server: ""
    security_policy: str = ""
    platform_of: Callable[[], str] = lambda: "cloud_run"
    """Tells on which platform the service runs at the moment."""

    def make_entry(self, datagram: bytes) -> dict[str, Any]:
        """Return the LogEntry of one request. Raises InvalidEntryError for anything else."""
        fields = _read_object(datagram)
        status = _number(fields, "status")
        method, path = fields.get("method"), fields.get("path")
        if status is None or not isinstance(method, str) or not isinstance(path, str):
            raise InvalidEntryError("an access log line without status, method or path")
        server = str(fields.get("server", ""))
        entry = self._start_entry(server, str(fields.get("revision", "")).removeprefix("-"))
        entry["severity"] = _severity(status)
        entry["httpRequest"] = self._http_request(fields, status, path)
        denied = _DENIED.fullmatch(str(fields.get("verdict", "")))
        text = _explain(status, server, str(fields.get("termination", "--")))
        if denied:
            entry["jsonPayload"] = _describe_denial(self.security_policy, int(denied[1]))
        elif text:
            entry["textPayload"] = text
        seconds = _number(fields, "time_s")
        if seconds is not None and seconds < _LATEST_S:
            moment = seconds * 10**9 + (_number(fields, "time_ms") or 0) % 1000 * 10**6
            entry["timestamp"] = format_timestamp(moment)
        entry.update(_trace(fields.get("trace"), self.origin.project))
        return entry

    def _start_entry(self, server: str, revision: str) -> dict[str, Any]:
        if self.platform_of() == "kubernetes":
            return _start_balancer_entry(self.origin)
        origin = replace(self.origin, revision=revision, instance=self.instance_of(server))
        return origin.entry("run.googleapis.com%2Frequests")

    def _http_request(self, fields: Mapping[str, Any], status: int, path: str) -> dict[str, Any]:
        host = str(fields.get("host") or "-")
        scheme = self.base_url.partition("://")[0] or "https"
        base = self.base_url if host == "-" else f"{scheme}://{host}"
        request: dict[str, Any] = {"requestUrl": f"{base}{path}", "status": status}
        for name, field in _STRINGS.items():
            if isinstance(fields.get(name), str) and fields[name] not in {"", "-"}:
                request[field] = fields[name]
        for name, field in _SIZES.items():
            size = _number(fields, name)
            if size is not None:
                request[field] = str(size)
        latency = _number(fields, "latency_ms")
        if latency is not None:
            request["latency"] = f"{latency // 1000}.{latency % 1000:03d}s"
        return request


def _start_balancer_entry(origin: Origin) -> dict[str, Any]:
    return {
        "logName": f"projects/{origin.project}/logs/requests",
        "resource": {
            "type": "http_load_balancer",
            "labels": {
                "project_id": origin.project,
                "zone": "global",
                "backend_service_name": origin.service,
                "forwarding_rule_name": f"{origin.service}-rule",
                "target_proxy_name": f"{origin.service}-proxy",
                "url_map_name": f"{origin.service}-map",
            },
        },
    }


def _read_object(datagram: bytes) -> dict[str, Any]:
    start = datagram.find(b"{")
    try:
        value = json.loads(datagram[max(start, 0) :].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidEntryError("an access log line that is no JSON object") from None
    if not isinstance(value, dict):
        raise InvalidEntryError("an access log line that is no JSON object")
    return value


def _number(fields: Mapping[str, Any], name: str) -> int | None:
    """Return a count or time, None when haproxy has none (it writes -1 then)."""
    value = fields.get(name)
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value < 10**18 else None


def _severity(status: int) -> str:
    if status >= _SERVER_ERROR:
        return "ERROR"
    return "WARNING" if status >= _CLIENT_ERROR else "INFO"


def _explain(status: int, server: str, termination: str) -> str:
    """Return the text that Cloud Run adds to a request that no instance answered in full."""
    if status < _SERVER_ERROR:
        return ""
    if server == "<NOSRV>":
        return _NO_INSTANCE
    return _BROKEN if termination[:1] in {"S", "s"} else ""


def _describe_denial(policy: str, priority: int) -> dict[str, Any]:
    """Return what a load balancer logs of a request that a security policy refused."""
    return {
        "statusDetails": "denied_by_security_policy",
        "enforcedSecurityPolicy": {
            "name": policy,
            "priority": priority,
            "configuredAction": "DENY",
            "outcome": "DENY",
        },
    }


def _trace(header: object, project: str) -> dict[str, Any]:
    match = _TRACE.fullmatch(header) if isinstance(header, str) else None
    if not match:
        return {}
    trace, span, sampled = match.groups()
    fields: dict[str, Any] = {"trace": f"projects/{project}/traces/{trace}"}
    if span:
        fields["spanId"] = f"{int(span):016x}"
    if sampled == "1":
        fields["traceSampled"] = True
    return fields
