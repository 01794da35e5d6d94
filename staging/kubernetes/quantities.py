"""Resource quantities: `500m`, `2`, `4Gi`; `k8s.io/apimachinery/pkg/api/resource`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

NOT_A_QUANTITY: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
UNKNOWN_SUFFIX: Final = "unable to parse quantity's suffix"
_QUANTITY = re.compile(r"([+-]?(?:\d{1,18}(?:\.\d{0,9})?|\.\d{1,9}))([a-zA-Z]*[+-]?\d*)")
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,2})")
_KIBI = 1024
_KILO = 1000


def parse_quantity(text: str) -> Decimal:
    """Return the number that `text` means. Raise ValueError in the words of the real API."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(NOT_A_QUANTITY)
    number, suffix = Decimal(match[1]), match[2]
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    exponent = _EXPONENT.fullmatch(suffix)
    if exponent is None:
        raise ValueError(UNKNOWN_SUFFIX)
    return number.scaleb(int(exponent[1]))


def canonical(text: str) -> str:
    """Return the quantity as the real API stores it: `4000m` is `4`, `8192Mi` is `8Gi`."""
    value = parse_quantity(text)
    suffix = re.sub(r"^[+-]?[\d.]+", "", text)
    if suffix in _BINARY and value == value.to_integral_value():
        whole, unit = int(value), ""
        for name in _BINARY:
            if not whole or whole % _KIBI:
                break
            whole, unit = whole // _KIBI, name
        return f"{whole}{unit}"
    # Nothing is finer than a nano; the API rounds up.
    nanos, units = int(-(-value.scaleb(9) // 1)), list(_DECIMAL)
    position = 0
    while nanos and nanos % _KILO == 0 and position < len(units) - 1:
        nanos, position = nanos // _KILO, position + 1
    return f"{nanos}{units[position]}" if nanos else "0"


def to_cores(text: str) -> float:
    """Return the vCPUs of a CPU quantity."""
    return float(parse_quantity(text))


def to_bytes(text: str) -> int:
    """Return the bytes of a memory quantity."""
    return int(parse_quantity(text))
