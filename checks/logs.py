"""What the logs say: Cloud Logging's entries.list, always of this one service."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from checks.errors import ApiError, UnreachableError
from checks.http import DEADLINE_S, post_json
from checks.names import log_path
from checks.target import KUBERNETES

if TYPE_CHECKING:
    from checks.target import Target

REQUESTS_LOG = "run.googleapis.com/requests"
SYSTEM_LOG = "run.googleapis.com/varlog/system"
_POD_APP = "k8s-pod/app"
_POD_HASH = "k8s-pod/pod-template-hash"
_HOST = "https://logging.googleapis.com"
_PAGE_SIZE = 1000
_PLACEHOLDERS = (
    ("tenant_id", "<tenant>"),
    ("pipeline_id", "<pipeline>"),
    ("request_id", "<request>"),
    ("source_ip", "<address>"),
)
_VARIABLES = (
    (re.compile(r"(/pipelines/run/)[^/?\s]+"), r"\1<pipeline>"),
    (re.compile(r"(/pipelines/)[^/?\s]+(/retry\b)"), r"\1<pipeline>\2"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b(?:0x)?(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"(?<![\w<])\d+(?:\.\d+)?(?![\w>])"), "<n>"),
    (re.compile(r"(?<![\w<])\d+(?:\.\d+)?(?=ms\b|s\b|MB\b|MiB\b)"), "<n>"),
)
_PATTERN_INPUT = 2000


@dataclass(frozen=True)
class Entry:
    """A log entry; text is exactly what was logged, so clean it before a terminal sees it."""

    timestamp: str
    severity: str
    message: str
    revision: str
    fields: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Group:
    """Entries whose messages differ in nothing but variables; times are RFC 3339."""

    pattern: str
    count: int
    first_seen: str
    last_seen: str
    severity: str
    revisions: tuple[str, ...]
    tenants: tuple[str, ...]
    sample: Entry


def service_filter(target: Target, *clauses: str, minutes: float) -> str:
    """Return a filter for this service's own entries of the last `minutes` of real time.

    Each clause is a comparison of the Logging query language and is put in brackets.
    """
    return _join(_own_entries(target), clauses, minutes)


def edge_filter(target: Target, *clauses: str, minutes: float, denied: bool = False) -> str:
    """Return a filter for the requests of clients, by address, of the last `minutes`.

    On Cloud Run they stand in the service's own request log, and on Kubernetes in that of the load
    balancer, known by the host that was asked for. Those that Cloud Armor denied reach no service:
    with `denied` the load balancer's log is read beside Cloud Run's.
    """
    host = urlsplit(target.service_url).netloc
    balancer = f'resource.type="http_load_balancer" AND httpRequest.requestUrl:{quote(host)}'
    if target.platform == KUBERNETES:
        return _join((balancer,), clauses, minutes)
    own = " AND ".join((*_own_entries(target), is_request(target)))
    return _join((f"(({own}) OR ({balancer}))" if denied else own,), clauses, minutes)


def _join(own: tuple[str, ...], clauses: tuple[str, ...], minutes: float) -> str:
    since = datetime.now(UTC) - timedelta(minutes=minutes)
    moment = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    whole = (*own, f'timestamp>="{moment}"', *(f"({clause})" for clause in clauses))
    return " AND ".join(whole)


def _own_entries(target: Target) -> tuple[str, ...]:
    if target.platform == KUBERNETES:
        return (
            'resource.type="k8s_container"',
            f"resource.labels.namespace_name={quote(target.namespace)}",
            # A cluster's location is a region or one of its zones, so: holds.
            f"resource.labels.location:{quote(target.region)}",
            f"labels.{quote(_POD_APP)}={quote(target.deployment_name)}",
        )
    return (
        'resource.type="cloud_run_revision"',
        f"resource.labels.service_name={quote(target.service)}",
        f"resource.labels.location={quote(target.region)}",
    )


def revision_is(target: Target, revision: str) -> str:
    """Return the clause that an entry comes from the revision, or from the ReplicaSet, so named."""
    if target.platform == KUBERNETES:
        return f"labels.{quote(_POD_HASH)}={quote(revision.rpartition('-')[2])}"
    return f"resource.labels.revision_name={quote(revision)}"


def is_request(target: Target) -> str:
    """Return the clause that an entry stands in Cloud Run's own log of requests."""
    return log_is(target, REQUESTS_LOG)


def log_is(target: Target, log: str) -> str:
    """Return the clause that an entry stands in the log `log`, such as REQUESTS_LOG."""
    return f"logName={quote(log_path(target, log))}"


def quote(text: str) -> str:
    """Return `text` as a string of the Logging query language: on one line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def read_entries(
    target: Target,
    expression: str,
    limit: int = 100,
    *,
    newest_first: bool = True,
    deadline_s: float = DEADLINE_S,
) -> list[Entry]:
    """Return up to `limit` entries that match `expression`, from entries.list.

    Each thousand entries may take `deadline_s`. A search that is not done answers with an empty
    page and the token of the next, so pages alone are no end.

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: An error, or an answer that is no list of entries.
    """
    payload: dict[str, Any] = {
        "resourceNames": [f"projects/{target.project}"],
        "filter": expression,
        "orderBy": "timestamp desc" if newest_first else "timestamp asc",
    }
    found: list[Entry] = []
    end = time.monotonic() + deadline_s * (1 + (limit - 1) // _PAGE_SIZE)
    while len(found) < limit:
        payload["pageSize"] = min(_PAGE_SIZE, limit - len(found))
        left_s = min(deadline_s, end - time.monotonic())
        entries, token = _read_page_in_time(target, payload, left_s)
        found += entries
        if not token:
            break
        payload["pageToken"] = token
    return found[:limit]


def _read_page_in_time(
    target: Target, payload: dict[str, Any], left_s: float
) -> tuple[list[Entry], str]:
    unfinished = UnreachableError(
        "Cloud Logging did not finish its search in time.",
        next_step="look back over less time, or read fewer entries",
        subject=target.service,
    )
    if left_s <= 0:
        raise unfinished
    try:
        return _read_page(target, payload, left_s)
    except UnreachableError as error:
        if "pageToken" in payload:  # it did answer; the time left was too short for a page more
            raise unfinished from error
        raise


def _read_page(
    target: Target, payload: dict[str, Any], deadline_s: float
) -> tuple[list[Entry], str]:
    url = f"{(target.api or _HOST).rstrip('/')}/v2/entries:list"
    page = post_json(url, payload, deadline_s=deadline_s, google=True)
    try:
        return [parse_entry(raw) for raw in page.get("entries", [])], page.get("nextPageToken", "")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApiError(
            f"{url} answered with JSON that is no list of log entries.",
            status=200,
            next_step="check the address in invoke.yaml; something else answers there",
            subject=url,
        ) from error


def parse_entry(raw: dict[str, Any]) -> Entry:
    """Return the entry in the JSON `raw`; raises TypeError, ValueError or AttributeError."""
    fields = dict(raw.get("jsonPayload") or {})
    request = dict(raw.get("httpRequest") or {})
    labels = (raw.get("resource") or {}).get("labels") or {}
    return Entry(
        timestamp=str(raw.get("timestamp", "")),
        severity=str(raw.get("severity", "DEFAULT")),
        message=_message(raw, fields, request),
        revision=str(labels.get("revision_name") or _replica_set(raw.get("labels") or {})),
        fields=fields,
        request=request,
        raw=raw,
    )


def _replica_set(labels: dict[str, Any]) -> str:
    app, pod_hash = labels.get(_POD_APP), labels.get(_POD_HASH)
    return f"{app}-{pod_hash}" if app and pod_hash else ""


def find_pattern(entry: Entry) -> str:
    """Return the entry's message with its variables taken out, such as ids, times and numbers."""
    text = entry.message[:_PATTERN_INPUT]
    for name, placeholder in _PLACEHOLDERS:
        value = entry.fields.get(name)
        if isinstance(value, str) and value:
            text = text.replace(value, placeholder)
    for variable, placeholder in _VARIABLES:
        text = variable.sub(placeholder, text)
    return " ".join(text.split())


def group_entries(entries: list[Entry]) -> list[Group]:
    """Return the entries grouped by pattern, the most frequent group first."""
    by_pattern: dict[str, list[Entry]] = {}
    for entry in entries:
        by_pattern.setdefault(find_pattern(entry), []).append(entry)
    groups = []
    for pattern, members in by_pattern.items():
        ordered = sorted(members, key=lambda entry: entry.timestamp)
        newest = ordered[-1]
        groups.append(
            Group(
                pattern=pattern,
                count=len(ordered),
                first_seen=ordered[0].timestamp,
                last_seen=newest.timestamp,
                severity=newest.severity,
                revisions=_distinct(entry.revision for entry in reversed(ordered)),
                tenants=_distinct(str(entry.fields.get("tenant_id", "")) for entry in ordered),
                sample=newest,
            )
        )
    return sorted(groups, key=lambda group: (-group.count, group.pattern))


def _distinct(values: Any) -> tuple[str, ...]:  # noqa: ANN401 - any iterable of texts
    return tuple(dict.fromkeys(value for value in values if value))


def _message(raw: dict[str, Any], fields: dict[str, Any], request: dict[str, Any]) -> str:
    if "textPayload" in raw:
        return str(raw["textPayload"])
    if "message" in fields:
        return str(fields["message"])
    if request:
        path = urlsplit(str(request.get("requestUrl", ""))).path
        told = f"{request.get('requestMethod', '')} {path} answered {request.get('status', '')}"
        return told.strip()
    status = (raw.get("protoPayload") or {}).get("status") or {}
    return str(status.get("message", "")) or "(an entry without a message)"
