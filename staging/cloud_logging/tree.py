"""The syntax tree of a query. Right sides in brackets are spread over their comparisons already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

Operator = Literal["=", "!=", "<", "<=", ">", ">=", ":", "=~", "!~"]
CastType = Literal["STRING", "INT64", "FLOAT64", "BOOL", "TIMESTAMP", "DURATION"]


@dataclass(frozen=True, slots=True)
class Field:
    """A path into a log entry, as `jsonPayload.user.id`."""

    path: tuple[str, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Cast:
    """`CAST(operand, TYPE)`."""

    operand: Operand
    to: CastType
    offset: int


@dataclass(frozen=True, slots=True)
class Extract:
    """`REGEXP_EXTRACT(operand, "pattern")`: the pattern's only group, of its first match."""

    operand: Operand
    pattern: str
    offset: int


Operand = Field | Cast | Extract


@dataclass(frozen=True, slots=True)
class Value:
    """A value on a comparison's right side; `text` is None for NULL_VALUE."""

    text: str | None
    offset: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`operand OP value`."""

    operand: Operand
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Present:
    """`field:*`."""

    field: Field


@dataclass(frozen=True, slots=True)
class Anywhere:
    """A bare value: some field of the entry has it (a global restriction)."""

    text: str


@dataclass(frozen=True, slots=True)
class Search:
    """`SEARCH("words")`, or `SEARCH(field, "words")`."""

    field: Field | None
    words: tuple[str, ...]
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogId:
    """`log_id("run.googleapis.com/stdout")`, which is not URL-encoded."""

    name: str


@dataclass(frozen=True, slots=True)
class Source:
    """`source(projects/NAME)`."""

    resource: str


@dataclass(frozen=True, slots=True)
class Sample:
    """`sample(field, fraction)`, 0 < fraction <= 1."""

    field: Field
    fraction: float


@dataclass(frozen=True, slots=True)
class InNetwork:
    """`ip_in_net(field, "10.1.2.0/24")`."""

    field: Field
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT x` or `-x`."""

    node: Node


@dataclass(frozen=True, slots=True)
class And:
    """All of them hold; of none, that is true (the empty filter)."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them holds."""

    nodes: tuple[Node, ...]


Node = Compare | Present | Anywhere | Search | LogId | Source | Sample | InNetwork | Not | And | Or
