"""Reads and writes JSON by a table of fields, as Google's front end does with its protos."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from staging.cloud_run.errors import invalid, unknown_name, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Scalar:
    """A string, a number, a boolean, a duration ("300s") or a map of strings."""

    kind: Literal["string", "bool", "int32", "int64", "duration", "map"]


@dataclass(frozen=True)
class Enum:
    """Names and numbers of an enumeration; inside the twin it is always the name."""

    values: Mapping[str, int]


@dataclass(frozen=True)
class Message:
    """An object with known fields."""

    fields: Mapping[str, FieldType]


@dataclass(frozen=True)
class Repeated:
    """A list of items of one type."""

    item: FieldType


@dataclass(frozen=True)
class OutputOnly:
    """The server's to write: accepted in a request and passed over, as the real API does."""

    written: FieldType | None = None


@dataclass(frozen=True)
class Unsupported:
    """Cloud Run has this field, the twin does not: refused as soon as it says something."""


FieldType = Scalar | Enum | Message | Repeated | OutputOnly | Unsupported

STRING, BOOL, INT32, INT64 = Scalar("string"), Scalar("bool"), Scalar("int32"), Scalar("int64")
DURATION, MAP = Scalar("duration"), Scalar("map")


def camel_case(name: str) -> str:
    """Return the JSON name of a proto field: `min_instance_count` becomes `minInstanceCount`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def read_value(value: Any, kind: FieldType, path: str) -> Any:  # noqa: ANN401
    """Return `value` with camelCase names and enum names.

    Raises:
        CloudRunError: INVALID_ARGUMENT for an unknown field or a wrong type, UNIMPLEMENTED for
            a field that only the real Cloud Run has.
    """
    if isinstance(kind, Unsupported):
        raise unsupported(path)
    if isinstance(kind, Message):
        return _read_message(value, kind, path)
    if isinstance(kind, Repeated):
        if not isinstance(value, list):
            raise invalid(f"{path}: must be a list.")
        return [read_value(item, kind.item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(kind, Enum):
        return _read_enum(value, kind, path)
    return _read_scalar(value, kind, path)


def _read_message(value: object, kind: Message, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{path}: must be an object.")
    result: dict[str, Any] = {}
    for given, item in value.items():
        name = given if given in kind.fields else camel_case(str(given))
        field = kind.fields.get(name)
        if field is None:
            raise unknown_name(str(given), path)
        if isinstance(field, OutputOnly) or is_default(item, field):
            continue
        result[name] = read_value(item, field, f"{path}.{name}")
    return result


_EMPTY: Mapping[str, tuple[object, ...]] = {
    "string": ("",),
    "bool": (False,),
    "int32": (0, "0"),
    "int64": (0, "0"),
    "duration": (),
    "map": ({},),
}


def is_default(value: object, kind: FieldType) -> bool:
    """Return whether a value says nothing, as proto3 clients send for fields never set."""
    if value is None:
        return True
    if isinstance(kind, Enum):
        return value == 0 or kind.values.get(str(value)) == 0
    if isinstance(kind, Scalar):
        return any(type(value) is type(empty) and value == empty for empty in _EMPTY[kind.kind])
    if isinstance(kind, Unsupported):
        return not value
    return isinstance(kind, Repeated) and value == []


def _read_enum(value: object, kind: Enum, path: str) -> str:
    if isinstance(value, str) and value in kind.values:
        return value
    for name, number in kind.values.items():
        if value == number and not isinstance(value, bool):
            return name
    raise invalid(f"Invalid value at '{path}': {value!r}.")


def _read_scalar(value: Any, kind: FieldType, path: str) -> Any:  # noqa: ANN401
    name = kind.kind if isinstance(kind, Scalar) else ""
    if name in ("int32", "int64"):
        return _read_integer(value, path)
    if name == "duration":
        match = re.fullmatch(r"(\d{1,9})(?:\.0*)?s", value) if isinstance(value, str) else None
        if match is None:
            raise invalid(f"Invalid value at '{path}' (type: Duration): {value!r}.")
        return int(match[1])
    if name == "map":
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise invalid(f"{path}: must be an object whose values are strings.")
        return dict(value)
    if not isinstance(value, {"string": str, "bool": bool}[name]):
        raise invalid(f"Invalid value at '{path}' (type: {name}): {value!r}.")
    return value


def _read_integer(value: object, path: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > INT32_MAX:
        raise invalid(f"Invalid value at '{path}' (type: integer): {value!r}.")
    return value


def encode_enums(value: Any, kind: FieldType) -> Any:  # noqa: ANN401
    """Return a copy with enums as numbers, for clients that ask `$alt=json;enum-encoding=int`."""
    if isinstance(kind, OutputOnly):
        return encode_enums(value, kind.written) if kind.written else value
    if isinstance(kind, Message):
        return {name: encode_enums(item, kind.fields[name]) for name, item in value.items()}
    if isinstance(kind, Repeated):
        return [encode_enums(item, kind.item) for item in value]
    return kind.values[value] if isinstance(kind, Enum) else value


def read_mask(mask: str, kind: Message, path: str) -> list[tuple[str, ...]]:
    """Return the paths of a field mask in camelCase.

    Raises:
        CloudRunError: INVALID_ARGUMENT for a path that names no field a user may set,
            UNIMPLEMENTED for one that only the real Cloud Run has.
    """
    return [_read_mask_path(item.strip(), kind, path) for item in mask.split(",") if item.strip()]


def _read_mask_path(given: str, kind: Message, path: str) -> tuple[str, ...]:
    names: list[str] = []
    field: FieldType = kind
    for part in given.split("."):
        known = field.fields if isinstance(field, Message) else {}
        name = part if part in known else camel_case(part)
        if name not in known:
            raise invalid(f"Invalid field mask for {path}: '{given}' names no settable field.")
        field = known[name]
        names.append(name)
    if isinstance(field, Unsupported):
        raise unsupported(f"{path}.{'.'.join(names)}")
    if isinstance(field, OutputOnly) and names != ["etag"]:
        raise invalid(f"Invalid field mask for {path}: '{given}' is output only.")
    return tuple(names)


def apply_mask(
    current: dict[str, Any], given: Mapping[str, Any], paths: list[tuple[str, ...]]
) -> dict[str, Any]:
    """Return `current` with the masked fields taken from `given`; absent there means cleared."""
    for path in paths:
        target, source = current, dict(given)
        for name in path[:-1]:
            target = target.setdefault(name, {})
            source = source.get(name) or {}
        target.pop(path[-1], None)
        if path[-1] in source:
            target[path[-1]] = source[path[-1]]
    return current
