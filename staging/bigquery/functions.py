"""GoogleSQL's functions and checked operators that SQLite has not, or has with another meaning.

Each takes no NULL: a NULL argument makes the result NULL before it is called. Each raises
BigQueryError with BigQuery's words where the value cannot be.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from staging.bigquery.errors import BigQueryError, invalid_query
from staging.bigquery.values import BadValueError, format_timestamp, parse_timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

Number = int | float
_INT64 = 2**63
# Those of BigQuery's TIMESTAMP type.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


class Failures:
    """Keeps the BigQueryError that a function raised: SQLite tells only that one did."""

    def __init__(self) -> None:
        """Start with none."""
        self._last: BigQueryError | None = None

    def note(self, error: BigQueryError) -> None:
        """Keep an error."""
        self._last = error

    def take(self) -> BigQueryError | None:
        """Return the last error and forget it."""
        error, self._last = self._last, None
        return error


def register(connection: sqlite3.Connection) -> Failures:
    """Add the functions to a connection; return where their errors are kept."""
    failures = Failures()
    for name, function in FUNCTIONS.items():
        guarded = _guard(function, failures)
        count = function.__code__.co_argcount
        connection.create_function(name, count, guarded, deterministic=True)
    connection.execute("PRAGMA case_sensitive_like = ON")
    return failures


def _guard(function: Callable[..., Any], failures: Failures) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*values: Any) -> Any:  # noqa: ANN401 - SQLite's values
        if None in values:
            return None
        try:
            return function(*values)
        except BigQueryError as error:
            failures.note(error)
            raise

    return call


def _check(result: Number, what: str) -> Number:
    if isinstance(result, int) and not -_INT64 <= result < _INT64:
        raise invalid_query(f"int64 overflow: {what}")
    return result


def _add(left: Number, right: Number) -> Number:
    return _check(left + right, f"{left} + {right}")


def _subtract(left: Number, right: Number) -> Number:
    return _check(left - right, f"{left} - {right}")


def _multiply(left: Number, right: Number) -> Number:
    return _check(left * right, f"{left} * {right}")


def _divide(left: Number, right: Number) -> float:
    if right == 0:
        raise invalid_query(f"division by zero: {left} / {right}")
    return left / right


def _safe_divide(left: Number, right: Number) -> float | None:
    return None if right == 0 else left / right


def _modulo(left: int, right: int) -> int:
    if right == 0:
        raise invalid_query(f"division by zero: MOD({left}, {right})")
    # The sign of the result is the dividend's.
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _shift(moment_us: int, count: int, unit_us: int) -> int:
    moved = moment_us + count * unit_us
    if not _FIRST_US <= moved <= _LAST_US:
        raise invalid_query("Timestamp overflow")
    return moved


def _read_timestamp(text: str) -> int:
    try:
        return parse_timestamp(text)
    except BadValueError:
        raise invalid_query(f"Invalid timestamp: '{text}'") from None


def _read_int64(text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?\d{1,19}\s*", text, re.ASCII):
        raise invalid_query(f"Bad int64 value: {text}")
    number = int(text)
    if not -_INT64 <= number < _INT64:
        raise invalid_query(f"Bad int64 value: {text}")
    return number


def _write_timestamp(moment_us: int) -> str:
    day, _, clock = format_timestamp(moment_us).removesuffix("Z").partition("T")
    whole, _, fraction = clock.partition(".")
    # BigQuery writes three digits, or six.
    shown = fraction.removesuffix("000") if fraction else ""
    return f"{day} {whole}{f'.{shown}' if shown else ''}+00"


def _write_bool(value: int) -> str:
    return "true" if value else "false"


def _starts_with(text: str, part: str) -> int:
    return int(text.startswith(part))


def _ends_with(text: str, part: str) -> int:
    return int(text.endswith(part))


def _upper(text: str) -> str:
    return text.upper()


def _lower(text: str) -> str:
    return text.lower()


def _length(text: str) -> int:
    return len(text)


def _concatenate(left: str, right: str) -> str:
    return left + right


FUNCTIONS: dict[str, Any] = {
    "bq_add": _add,
    "bq_subtract": _subtract,
    "bq_multiply": _multiply,
    "bq_divide": _divide,
    "bq_safe_divide": _safe_divide,
    "bq_modulo": _modulo,
    "bq_shift": _shift,
    "bq_read_timestamp": _read_timestamp,
    "bq_read_int64": _read_int64,
    "bq_write_timestamp": _write_timestamp,
    "bq_write_bool": _write_bool,
    "bq_starts_with": _starts_with,
    "bq_ends_with": _ends_with,
    "bq_upper": _upper,
    "bq_lower": _lower,
    "bq_length": _length,
    "bq_concatenate": _concatenate,
}
