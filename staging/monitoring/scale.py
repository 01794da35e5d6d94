"""Run production's alert rules on a shorter clock: divide their durations, touch nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

_UNIT_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
# A string or a comment is copied as it stands; a bracket holds a range; a word may hide a time.
_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<comment>\#[^\n]*)
    |\[(?P<range>[^\]]*)\]
    |(?P<at>@)
    |(?P<word>[A-Za-z_:][A-Za-z0-9_:]*)""",
    re.VERBOSE,
)
# These compare with wall-clock seconds or shift in time, and a number beside them is a duration
# that no syntax marks: scaled in part, such a rule would mean something else.
_TIME_WORDS = frozenset(
    {
        "offset",
        "time",
        "timestamp",
        "predict_linear",
        "holt_winters",
        "minute",
        "hour",
        "day_of_week",
        "day_of_month",
        "days_in_month",
        "month",
        "year",
    }
)
_FILE_KEYS = frozenset({"groups"})
_GROUP_KEYS = frozenset({"name", "rules"})
_RULE_DURATIONS = frozenset({"for", "keep_firing_for"})
_RULE_KEYS = frozenset({"alert", "record", "expr", "labels", "annotations"}) | _RULE_DURATIONS


class UnscalableRuleError(ValueError):
    """A rule holds a duration in a form that the scaling does not know."""


def scale_rules(text: str, scale: float) -> str:
    """Return the Prometheus rule file `text` with every duration divided by `scale`.

    Durations are each rule's `for` and `keep_firing_for` and the ranges in its `expr`; thresholds,
    labels and annotations stay. Raise UnscalableRuleError for what would change the rule's meaning:
    an offset, a subquery, `@`, time functions, a group's own interval, an unknown key.
    """
    document = yaml.safe_load(text)
    _refuse_unknown("rule file", document, _FILE_KEYS)
    for group in document["groups"]:
        _refuse_unknown(f"group {group.get('name')}", group, _GROUP_KEYS)
        for rule in group["rules"]:
            name = rule.get("alert") or rule.get("record")
            _refuse_unknown(f"rule {name}", rule, _RULE_KEYS)
            rule["expr"] = scale_expression(str(rule["expr"]), scale)
            for key in _RULE_DURATIONS & rule.keys():
                rule[key] = scale_duration(str(rule[key]), scale)
    return yaml.safe_dump(document, sort_keys=False, width=1000)


def scale_duration(duration: str, scale: float) -> str:
    """Return a PromQL duration (`1h30m`) divided by `scale`, in whole milliseconds (`90000ms`).

    Raise UnscalableRuleError when it is no duration or nothing would be left of it.
    """
    if not _DURATION.fullmatch(duration):
        raise UnscalableRuleError(f"not a duration: {duration!r}")
    milliseconds = sum(int(n) * _UNIT_MS[unit] for n, unit in _PART.findall(duration))
    scaled = round(milliseconds / scale)
    if milliseconds and not scaled:
        raise UnscalableRuleError(f"{duration} divided by {scale:g} leaves less than a millisecond")
    return f"{scaled}ms"


def scale_expression(expression: str, scale: float) -> str:
    """Return the PromQL `expression` with its ranges divided by `scale`, else letter for letter.

    Raise UnscalableRuleError for offset, `@`, subqueries and time functions.
    """
    return _TOKEN.sub(_token_scaler(scale), expression)


def _token_scaler(scale: float) -> Callable[[re.Match[str]], str]:
    def scale_token(token: re.Match[str]) -> str:
        if token["at"] or (token["word"] or "").lower() in _TIME_WORDS:
            raise UnscalableRuleError(f"cannot scale {token[0]!r}: it depends on the time itself")
        if token["range"] is not None:
            if ":" in token["range"]:
                raise UnscalableRuleError(f"cannot scale the subquery {token[0]}")
            return f"[{scale_duration(token['range'].strip(), scale)}]"
        return token[0]

    return scale_token


def _refuse_unknown(what: str, mapping: dict[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(mapping) - known)
    if unknown:
        raise UnscalableRuleError(f"{what}: cannot scale the unknown key {', '.join(unknown)}")
