"""Values out of a log entry, as a query's left side names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from staging.cloud_logging.fields import HTTP_REQUEST, FieldKind, default_of, resolve
from staging.cloud_logging.patterns import compile_pattern
from staging.cloud_logging.tree import Cast, Extract, Field, Operand
from staging.cloud_logging.values import (
    parse_bool,
    parse_duration,
    parse_float,
    parse_integer,
    parse_severity,
    parse_timestamp,
)

Entry = Mapping[str, Any]
Reader = Callable[[Entry], list[object]]
ValueKind = FieldKind | str

_CAST_KINDS: Final = {
    "STRING": "string",
    "INT64": "int",
    "FLOAT64": "float",
    "BOOL": "bool",
    "TIMESTAMP": "timestamp",
    "DURATION": "duration",
}
_NOT_TEXT: Final = frozenset({"timestamp", "receiveTimestamp", "severity", "traceSampled"})


def kind_of(operand: Operand) -> ValueKind:
    """Return the type of what `operand` gives: a FieldKind, or `float` for a CAST to FLOAT64."""
    if isinstance(operand, Field):
        return resolve(operand.path)
    return _CAST_KINDS[operand.to] if isinstance(operand, Cast) else "string"


def find_values(entry: object, path: tuple[str, ...]) -> list[object]:
    """Return what stands at `path`: one value a matching array element, none if it is missing."""
    found = [entry]
    for name in path:
        found = [
            member[name]
            for value in found
            for member in (value if isinstance(value, list) else (value,))
            if isinstance(member, Mapping) and name in member
        ]
    while any(isinstance(value, list) for value in found):
        found = [
            member for value in found for member in (value if isinstance(value, list) else (value,))
        ]
    return found


def find_leaves(value: object) -> Iterator[object]:
    """Yield the scalars inside `value`, which may be nested as deep as it likes."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
        else:
            yield current


def find_searchable(entry: Entry) -> Iterator[object]:
    """Yield the scalars that a bare value looks at, with the type that their field has.

    Times, durations and the severity are no text and are left out.
    """
    for name, value in entry.items():
        if name == "httpRequest" and isinstance(value, Mapping):
            for part, inner in value.items():
                kind = HTTP_REQUEST.get(part)
                if kind == "string":
                    yield inner
                elif kind == "int":
                    yield convert(inner, "int")
        elif name not in _NOT_TEXT:
            yield from find_leaves(value)


def make_reader(operand: Operand) -> Reader:
    """Return the function that reads `operand`'s values, defaults of unset fields included."""
    if isinstance(operand, Field):
        return _field_reader(operand)
    inner = make_reader(operand.operand)
    if isinstance(operand, Extract):
        return _extract_reader(inner, operand.pattern)
    kind = _CAST_KINDS[operand.to]
    return lambda entry: [
        cast for value in inner(entry) if (cast := _cast(value, kind)) is not None
    ]


def _cast(value: object, kind: ValueKind) -> object:
    """Return `value` in the JSON form of `kind`, None where it cannot be cast."""
    if kind == "string":
        return _to_text(value)
    converted = convert(value, kind)
    # Times keep their text, which is their JSON form.
    return value if converted is not None and kind in {"timestamp", "duration"} else converted


def _field_reader(field: Field) -> Reader:
    path = field.path
    default = default_of(resolve(path))
    if len(path) == 1:
        name = path[0]

        def read_member(entry: Entry) -> list[object]:
            value = entry.get(name, default)
            if value is None:
                return []
            return find_values(value, ()) if isinstance(value, list) else [value]

        return read_member

    def read_path(entry: Entry) -> list[object]:
        found = find_values(entry, path)
        return [default] if not found and default is not None else found

    return read_path


def _extract_reader(inner: Reader, pattern: str) -> Reader:
    expression = compile_pattern(pattern)

    def read(entry: Entry) -> list[object]:
        matches = (expression.search(value) for value in inner(entry) if isinstance(value, str))
        return [match.group(1) for match in matches if match and match.group(1) is not None]

    return read


def _to_text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (str, int, float)) else None


def convert(value: object, kind: ValueKind) -> Any:  # noqa: ANN401 - compared by what the kind is
    """Return an entry's value in the form in which its kind is compared, None if it is none.

    Timestamps and durations become nanoseconds, severities their number.
    """
    if kind in {"int", "float"}:
        return _convert_number(value, kind)
    if kind == "bool" and isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    return PARSERS[kind](value) if kind in PARSERS else value


def _convert_number(value: object, kind: ValueKind) -> int | float | None:
    if isinstance(value, str):
        return parse_integer(value) if kind == "int" else parse_float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind == "int":
        return int(value) if value == value and abs(value) < 2**63 else None  # noqa: PLR0124 - NaN
    return float(value)


PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "int": parse_integer,
    "float": parse_float,
    "bool": parse_bool,
    "duration": parse_duration,
    "timestamp": parse_timestamp,
    "severity": parse_severity,
}
