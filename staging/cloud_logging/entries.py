"""Log entries as entries.write accepts them: checked, and in the API's canonical JSON.

Source: https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from staging.cloud_logging.errors import InvalidEntryError
from staging.cloud_logging.fields import HTTP_REQUEST, LOG_ENTRY, OPERATION, SOURCE_LOCATION, Schema
from staging.cloud_logging.values import (
    SEVERITIES,
    parse_duration,
    parse_integer,
    parse_timestamp,
)

MAX_JSON_DEPTH: Final = 100

_LOG_NAME: Final = re.compile(r"projects/([\w.:-]+)/logs/([\w.%-]{1,512})", re.ASCII)
_PAYLOADS: Final = ("textPayload", "jsonPayload", "protoPayload")
_INT32_FIELDS: Final = frozenset({"status", "index", "totalSplits"})
_SEVERITY_NAMES: Final = {number: name for name, number in SEVERITIES.items()}
_MESSAGES: Final[Mapping[str, Schema]] = {
    "httpRequest": HTTP_REQUEST,
    "operation": OPERATION,
    "sourceLocation": SOURCE_LOCATION,
    "split": {"uid": "string", "index": "int", "totalSplits": "int"},
}


def check_entry(entry: object, project: str) -> dict[str, Any]:
    """Return `entry` in canonical JSON: enums by name, 64-bit integers as strings.

    Raises InvalidEntryError for a field that LogEntry does not have or a value of another type,
    and for a log outside of `project`.
    """
    if not isinstance(entry, Mapping):
        raise InvalidEntryError("a log entry is not a JSON object")
    known = {name: value for name, value in entry.items() if value is not None}
    _check_log_name(known.get("logName"), project)
    if sum(name in known for name in _PAYLOADS) > 1:
        raise InvalidEntryError("a log entry with more than one payload")
    resource = known.get("resource")
    if not isinstance(resource, Mapping) or not isinstance(resource.get("type"), str):
        raise InvalidEntryError("a log entry without resource.type")
    return {name: _check_field(name, value) for name, value in known.items()}


def check_depth(value: object) -> None:
    """Raise InvalidEntryError when JSON is nested deeper than the API's limit or not finite."""
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        if any(isinstance(part, float) and not math.isfinite(part) for part in level):
            raise InvalidEntryError("a number that JSON does not have")
        level = [
            inner
            for part in level
            if isinstance(part, (Mapping, list))
            for inner in (part.values() if isinstance(part, Mapping) else part)
        ]
        if not level:
            return
    raise InvalidEntryError(f"JSON nested deeper than {MAX_JSON_DEPTH} levels")


def _check_log_name(name: object, project: str) -> None:
    match = _LOG_NAME.fullmatch(name) if isinstance(name, str) else None
    if not match:
        raise InvalidEntryError(
            "logName is not in the form projects/PROJECT/logs/LOG_ID, LOG_ID being URL-encoded"
        )
    if match.group(1) != project:
        raise InvalidEntryError(f"logName is not of project '{project}'")


def _check_field(name: str, value: object) -> object:
    if name == "severity":
        return _check_severity(value)
    if name in _MESSAGES:
        return check_message(name, value, _MESSAGES[name])
    if name in {"jsonPayload", "protoPayload", "metadata"}:
        if not isinstance(value, Mapping):
            raise InvalidEntryError(f"{name} is not a JSON object")
        check_depth(value)
        return value
    if name == "labels":
        return _check_labels(name, value)
    if name == "resource":
        return _check_resource(value)
    kind = LOG_ENTRY.get(name)
    if not isinstance(kind, str):
        raise InvalidEntryError(f'Unknown name "{name}" of a log entry: Cannot find field.')
    return _check_scalar(name, value, kind)


def _check_severity(value: object) -> str:
    if isinstance(value, str) and value.upper() in SEVERITIES:
        return value.upper()
    if isinstance(value, int) and value in _SEVERITY_NAMES:
        return _SEVERITY_NAMES[value]
    raise InvalidEntryError("severity is no LogSeverity")


def _check_labels(name: str, value: object) -> object:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise InvalidEntryError(f"{name} is not a map of strings")
    return value


def _check_resource(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or not value.keys() <= {"type", "labels"}:
        raise InvalidEntryError("resource is not a monitored resource")
    labels = _check_labels("resource.labels", value.get("labels") or {})
    return {"type": value["type"], "labels": labels}


def check_message(name: str, value: object, schema: Schema) -> dict[str, object]:
    """Return the message `value` of field `name` in canonical JSON. Raises InvalidEntryError."""
    if not isinstance(value, Mapping):
        raise InvalidEntryError(f"{name} is not a JSON object")
    checked: dict[str, object] = {}
    for part, inner in value.items():
        kind = schema.get(part)
        if not isinstance(kind, str):
            raise InvalidEntryError(f'Unknown name "{part}" at {name}: Cannot find field.')
        if inner is not None:
            checked[part] = _check_scalar(f"{name}.{part}", inner, kind)
    return checked


def _check_scalar(name: str, value: object, kind: str) -> object:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and not isinstance(value, bool):
        number = parse_integer(str(value)) if isinstance(value, (int, str)) else None
        if number is not None:
            return number if name.rpartition(".")[2] in _INT32_FIELDS else str(number)
    elif isinstance(value, str):
        parse = {"timestamp": parse_timestamp, "duration": parse_duration}.get(kind)
        if kind == "string" or (parse and parse(value) is not None):
            return value
    raise InvalidEntryError(f"{name} is no {kind}")
