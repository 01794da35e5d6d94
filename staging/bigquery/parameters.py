"""Query parameters, from the request's JSON to typed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staging.bigquery.errors import invalid, invalid_query, unsupported
from staging.bigquery.values import BadValueError, Kind, Stored, read_value

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: dict[str, Kind] = {
    "STRING": "STRING",
    "INT64": "INTEGER",
    "INTEGER": "INTEGER",
    "FLOAT64": "FLOAT",
    "FLOAT": "FLOAT",
    "BOOL": "BOOLEAN",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMP",
}


@dataclass(frozen=True)
class Parameter:
    """One value of a kind, or an array of such values."""

    kind: Kind
    values: tuple[Stored, ...]
    array: bool = False


def read_parameters(given: object) -> dict[str, Parameter]:
    """Return a request's `queryParameters` by their names in lower case. Raises BigQueryError."""
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise invalid("queryParameters must be a list of objects.")
    if not all(one.get("name") for one in given):
        raise unsupported("positional query parameters")
    named = {str(one["name"]).lower(): _read_one(one) for one in given}
    if len(named) < len(given):
        raise invalid("Duplicate query parameter names.")
    return named


def _read_one(given: Mapping[str, Any]) -> Parameter:
    kind, value = given.get("parameterType") or {}, given.get("parameterValue") or {}
    try:
        if kind.get("type") == "ARRAY":
            items = value.get("arrayValues", [])
            element = _read_kind((kind.get("arrayType") or {}).get("type"))
            values = tuple(read_value(item.get("value"), element) for item in items)
            return Parameter(element, values, array=True)
        found = _read_kind(kind.get("type"))
        return Parameter(found, (read_value(value.get("value"), found),))
    except AttributeError:
        raise invalid("Invalid query parameter.") from None
    except BadValueError as error:
        raise invalid_query(f"Query parameter '{given['name']}': {error}") from None


def _read_kind(name: object) -> Kind:
    kind = _KINDS.get(str(name).upper())
    if kind is None:
        raise unsupported(f"a query parameter of type {name}")
    return kind
