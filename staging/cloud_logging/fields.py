"""The fields of a LogEntry and their types.

Source: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, Literal

FieldKind = Literal[
    "string", "int", "bool", "duration", "timestamp", "severity", "label", "json", "message"
]
Schema = Mapping[str, "FieldKind | Schema"]

HTTP_REQUEST: Final[Schema] = {
    "requestMethod": "string",
    "requestUrl": "string",
    "requestSize": "int",
    "status": "int",
    "responseSize": "int",
    "userAgent": "string",
    "remoteIp": "string",
    "serverIp": "string",
    "referer": "string",
    "latency": "duration",
    "cacheLookup": "bool",
    "cacheHit": "bool",
    "cacheValidatedWithOriginServer": "bool",
    "cacheFillBytes": "int",
    "protocol": "string",
}
OPERATION: Final[Schema] = {"id": "string", "producer": "string", "first": "bool", "last": "bool"}
SOURCE_LOCATION: Final[Schema] = {"file": "string", "line": "int", "function": "string"}

LOG_ENTRY: Final[Schema] = {
    "httpRequest": HTTP_REQUEST,
    "insertId": "string",
    "jsonPayload": "json",
    "labels": "label",
    "logName": "string",
    "metadata": {"systemLabels": "json", "userLabels": "label"},
    "operation": OPERATION,
    "protoPayload": "json",
    "receiveTimestamp": "timestamp",
    "resource": {"type": "string", "labels": "label"},
    "severity": "severity",
    "sourceLocation": SOURCE_LOCATION,
    "spanId": "string",
    "split": {"uid": "string", "index": "int", "totalSplits": "int"},
    "textPayload": "string",
    "timestamp": "timestamp",
    "trace": "string",
    "traceSampled": "bool",
}

_DEFAULTS: Final[Mapping[FieldKind, object]] = {
    "string": "",
    "int": 0,
    "bool": False,
    "duration": "0s",
    "timestamp": "1970-01-01T00:00:00Z",
    "severity": "DEFAULT",
}


class UnknownFieldError(Exception):
    """A path that leads to no field of a LogEntry."""


def resolve(path: tuple[str, ...]) -> FieldKind:
    """Return the type of the field at `path`; a message or whole map is a `message`.

    Inside payloads the type is the value's own ("json"). Raises UnknownFieldError.
    """
    schema: Schema = LOG_ENTRY
    for depth, name in enumerate(path):
        kind = schema.get(name)
        if kind is None:
            raise UnknownFieldError(_describe(path[: depth + 1], schema))
        if isinstance(kind, Mapping):
            schema = kind
            continue
        rest = path[depth + 1 :]
        if kind == "json":
            return "json"
        if kind == "label":
            return "message" if not rest else _resolve_label(path, rest)
        if rest:
            raise UnknownFieldError(f"Field not found: '{'.'.join(path)}'")
        return kind
    return "message"


def _resolve_label(path: tuple[str, ...], rest: tuple[str, ...]) -> FieldKind:
    if len(rest) > 1:
        raise UnknownFieldError(
            f"Field not found: '{'.'.join(path)}' (a label's name with dots stands in quotes)"
        )
    return "label"


def _describe(path: tuple[str, ...], schema: Schema) -> str:
    """Say that the field is unknown, and name the one that was probably meant."""
    name = path[-1]
    lowered = {known.lower(): known for known in schema}
    close = difflib.get_close_matches(name.replace("_", "").lower()[:40], lowered, n=1, cutoff=0.8)
    hint = f" (did you mean '{lowered[close[0]]}'?)" if close else ""
    return f"Field not found: '{'.'.join(path)}'{hint}"


def default_of(kind: FieldKind) -> object | None:
    """Return what a field of this type counts as when an entry does not set it; None if missing.

    Labels and payload fields have no default: every comparison with a missing one fails.
    """
    return _DEFAULTS.get(kind)
