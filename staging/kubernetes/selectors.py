"""Label and field selectors, as lists and watches take them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from staging.kubernetes.errors import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.kubernetes.store import Object

_REQUIREMENT = re.compile(
    r"\s*(?P<absent>!)?\s*(?P<key>[A-Za-z0-9][\w./-]*)\s*"
    r"(?:(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)|(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?\s*"
)
_SPLIT = re.compile(r",(?![^(]*\))")
_FIELD = re.compile(r"(?P<key>[\w.]+)(?P<op>==|=|!=)(?P<value>.*)")
_COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
FIELDS = {
    "Pod": _COMMON_FIELDS
    | {
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
        "status.podIP",
    },
    "Event": _COMMON_FIELDS
    | {
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    },
}


def label_matcher(text: str) -> Callable[[Object], bool]:
    """Return a test of an object against a label selector. Raise StatusError BadRequest."""
    tests = [_label_test(part) for part in _SPLIT.split(text) if part.strip()]
    return lambda item: all(test(item["metadata"].get("labels", {})) for test in tests)


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    match = _REQUIREMENT.fullmatch(part)
    if match is None:
        raise bad_request(f"unable to parse requirement: cannot read '{part.strip()}'")
    key, op = match["key"], match["op"]
    if match["absent"]:
        return lambda labels: key not in labels
    if match["set"]:
        values = {value.strip() for value in match["values"].split(",")}
        if match["set"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if op is None:
        return lambda labels: key in labels
    value = match["value"]
    if op == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def field_matcher(text: str, kind: str) -> Callable[[Object], bool]:
    """Return a test of an object against a field selector. Raise StatusError BadRequest."""
    tests = []
    for part in filter(None, text.split(",")):
        match = _FIELD.fullmatch(part.strip())
        if match is None:
            raise bad_request(f'invalid selector: "{text}"; can\'t understand "{part}"')
        if match["key"] not in FIELDS.get(kind, _COMMON_FIELDS):
            raise bad_request(f'field label not supported: "{match["key"]}"')
        tests.append((match["key"], match["op"] != "!=", match["value"]))
    return lambda item: all((_read(item, key) == value) == equal for key, equal, value in tests)


def _read(item: Object, path: str) -> str:
    found: Any = item
    for step in path.split("."):
        found = found.get(step, "") if isinstance(found, dict) else ""
    return found.get("component", "") if isinstance(found, dict) else str(found)
