"""BigQuery's column types: how a value comes in, is kept, and goes out again.

A TIMESTAMP is kept as whole microseconds since 1970, a BOOLEAN as 0 or 1, as SQLite has neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["STRING", "INTEGER", "FLOAT", "BOOLEAN", "TIMESTAMP"]
Stored = str | int | float | None
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Those of BigQuery: 0001-01-01 to the end of 9999.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
_INT64 = 2**63
_REPEATED = "Array specified for non-repeated field."
_MOMENT = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[Tt ](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?)?"
    r" ?(?:([Zz]|UTC)|([+-])(\d{1,2})(?::?(\d{2}))?)?",
    re.ASCII,
)


class BadValueError(ValueError):
    """A value that its column's type cannot hold; the text is BigQuery's."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind = "STRING"
    required: bool = False


def read_value(value: object, kind: Kind) -> Stored:
    """Return a JSON value as it is kept in a column of `kind`. Raises BadValueError."""
    if value is None:
        return None
    if isinstance(value, (dict, list)):
        raise BadValueError("This field is not a record." if isinstance(value, dict) else _REPEATED)
    return _READERS[kind](value)


def parse_timestamp(text: str) -> int:
    """Return a timestamp's microseconds since 1970; UTC unless it names an offset.

    Raises:
        BadValueError: `text` is no timestamp of the years 1 to 9999.
    """
    match = _MOMENT.fullmatch(text.strip())
    if not match:
        raise BadValueError(f"Invalid timestamp string {text!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    fraction, _, sign, offset_h, offset_m = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise BadValueError(f"Invalid timestamp string {text!r}") from None
    offset = timedelta(hours=int(offset_h or 0), minutes=int(offset_m or 0))
    delta = moment - EPOCH - (-offset if sign == "-" else offset)
    return delta // timedelta(microseconds=1) + int((fraction or "").ljust(6, "0"))


def format_timestamp(moment_us: int) -> str:
    """Return microseconds since 1970 as RFC 3339 text in UTC."""
    return (EPOCH + timedelta(microseconds=moment_us)).isoformat().replace("+00:00", "Z")


def render_value(value: Stored, kind: Kind, *, whole_microseconds: bool = False) -> str | None:
    """Return a kept value as the API's answers hold it.

    A TIMESTAMP is in seconds, as a float, or with `whole_microseconds` in those.
    """
    if value is None:
        return None
    if kind == "BOOLEAN":
        return "true" if value else "false"
    if kind == "TIMESTAMP" and not whole_microseconds:
        return _render_seconds(int(value))
    return repr(value) if kind == "FLOAT" else str(value)


def _render_seconds(moment_us: int) -> str:
    digits, _, exponent = f"{Decimal(moment_us).scaleb(-6).normalize():E}".partition("E")
    return f"{digits if '.' in digits else f'{digits}.0'}E{int(exponent)}"


def _read_string(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_integer(value: object) -> int:
    whole = isinstance(value, float) and value.is_integer()
    if not whole and not re.fullmatch(r"[+-]?\d{1,19}", str(value), re.ASCII):
        raise BadValueError(f"Cannot convert value to integer (bad value): {value}")
    number = int(value) if isinstance(value, float) else int(str(value))
    if not -_INT64 <= number < _INT64:
        raise BadValueError(f"Cannot convert value to integer (bad value): {value}")
    return number


def _read_float(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise BadValueError(
            f"Cannot convert value to floating point (bad value): {value}"
        ) from None


def _read_boolean(value: object) -> int:
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise BadValueError(f"Cannot convert value to boolean (bad value): {value}")
    return int(text == "true")


def _read_timestamp(value: object) -> int:
    if isinstance(value, bool):
        raise BadValueError(f"Cannot convert value to timestamp (bad value): {value}")
    moment_us = round(value * 10**6) if isinstance(value, (int, float)) else None
    if moment_us is None:
        moment_us = parse_timestamp(str(value))
    if not _FIRST_US <= moment_us <= _LAST_US:
        raise BadValueError(f"Timestamp out of range: {value}")
    return moment_us


_READERS: dict[Kind, Callable[[object], Stored]] = {
    "STRING": _read_string,
    "INTEGER": _read_integer,
    "FLOAT": _read_float,
    "BOOLEAN": _read_boolean,
    "TIMESTAMP": _read_timestamp,
}
