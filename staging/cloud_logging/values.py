"""Text to typed values, by the table in "Values and conversions" of the query language."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

SEVERITIES: Final = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}

_NANOSECONDS: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d{2}):?(\d{2})))?",
    re.ASCII,
)
_DURATION: Final = re.compile(r"([+-]?)(\d{1,12})(?:\.(\d{1,9}))?(ns|us|ms|s|m|h)", re.ASCII)
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": _NANOSECONDS,
    "m": 60 * _NANOSECONDS,
    "h": 3600 * _NANOSECONDS,
}
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_FLOAT: Final = re.compile(
    r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?(?:e[+-]?\d{1,4})?|nan|infinity)", re.ASCII | re.IGNORECASE
)
_INT64: Final = range(-(2**63), 2**63)


def fold(text: str) -> str:
    """Return `text` in NFKC_Casefold, the form in which the language compares strings."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def parse_timestamp(text: str) -> int | None:
    """Return nanoseconds since 1970 for RFC 3339 or a bare date; None if it is neither.

    The offset may come without its colon: google-cloud-logging writes it so.
    """
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        return None
    date, time, fraction, _, sign, hours, minutes = match.groups()
    zone: timezone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        moment = datetime.fromisoformat(f"{date}T{time or '00:00:00'}").replace(tzinfo=zone)
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        return None
    whole = since.days * 86_400 + since.seconds
    return whole * _NANOSECONDS + int((fraction or "0").ljust(9, "0"))


def format_timestamp(nanoseconds: int) -> str:
    """Return RFC 3339 in UTC with microseconds or, where there are more digits, nanoseconds."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    moment = _EPOCH + timedelta(seconds=seconds)
    digits = f"{rest:09d}" if rest % 1000 else f"{rest // 1000:06d}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{digits}Z"


def parse_duration(text: str) -> int | None:
    """Return nanoseconds for a number with a unit from ns to h; None if it is none."""
    match = _DURATION.fullmatch(text)
    if not match:
        return None
    sign, whole, fraction, unit = match.groups()
    scale = _UNITS[unit]
    part = int((fraction or "0").ljust(9, "0")) * scale // _NANOSECONDS
    total = int(whole) * scale + part
    return -total if sign == "-" else total


def parse_integer(text: str) -> int | None:
    """Return a 64-bit integer, None if `text` is none."""
    value = int(text) if _INTEGER.fullmatch(text) else None
    return value if value is not None and value in _INT64 else None


def parse_float(text: str) -> float | None:
    """Return a double (`nan` and `infinity` in any case included), None if `text` is none."""
    return float(text) if _FLOAT.fullmatch(text) else None


def parse_bool(text: str) -> bool | None:
    """Return True or False for those words in any letter case, else None."""
    return {"true": True, "false": False}.get(text.lower())


def parse_severity(text: str) -> int | None:
    """Return a LogSeverity's number for its name in any letter case, else None."""
    return SEVERITIES.get(text.upper())
