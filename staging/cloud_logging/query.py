"""A filter, ready to be asked of many entries.

The parts of a conjunction are told apart, so that a store can answer most of them cheaply: bounds
on the timestamp, tests of what many entries share (log, resource, labels, severity), the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from staging.cloud_logging.evaluator import Evaluator, Predicate
from staging.cloud_logging.parser import parse
from staging.cloud_logging.tree import (
    And,
    Cast,
    Compare,
    Extract,
    Field,
    InNetwork,
    LogId,
    Node,
    Not,
    Operand,
    Or,
    Present,
    Sample,
    Search,
    Source,
)
from staging.cloud_logging.values import parse_timestamp

SHARED_FIELDS: Final = frozenset({"logName", "resource", "labels", "severity"})
"""Fields that few distinct combinations of exist, so that a store may keep them apart."""

_FIRST: Final = -(2**63)
_LAST: Final = 2**63


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled filter.

    An entry matches when its timestamp in nanoseconds is from `first` to `last`, `shared` holds for
    its SHARED_FIELDS and `rest` for all of it.
    """

    first: int
    last: int
    shared: Predicate
    rest: Predicate
    matches: Predicate


def compile_query(text: str) -> Query:
    """Return the query that `text` stands for. Raises QueryError, and no other error.

    `matches` of the result is the whole filter as one predicate.
    """
    tree = parse(text)
    whole = Evaluator(text).compile(tree)
    parts = tree.nodes if isinstance(tree, And) else (tree,)
    first, last = _FIRST, _LAST
    shared: list[Node] = []
    rest: list[Node] = []
    for part in parts:
        bounds = _time_bounds(part)
        if bounds:
            first, last = max(first, bounds[0]), min(last, bounds[1])
        else:
            roots = _roots(part)
            (shared if roots is not None and roots <= SHARED_FIELDS else rest).append(part)
    compile_part = Evaluator(text).compile
    return Query(
        first,
        last,
        compile_part(And(tuple(shared))),
        compile_part(And(tuple(rest))),
        whole,
    )


def _time_bounds(node: Node) -> tuple[int, int] | None:
    match node:
        case Compare(Field(("timestamp",)), name, value) if value.text is not None:
            moment = parse_timestamp(value.text)
            if moment is None:
                return None
            return {
                "=": (moment, moment),
                "<": (_FIRST, moment - 1),
                "<=": (_FIRST, moment),
                ">": (moment + 1, _LAST),
                ">=": (moment, _LAST),
            }.get(name)
    return None


def _operand_root(operand: Operand) -> str:
    while isinstance(operand, (Cast, Extract)):
        operand = operand.operand
    return operand.path[0]


def _roots(node: Node) -> frozenset[str] | None:
    """Return the top-level fields that `node` looks at, None when it looks at all of them."""
    match node:
        case And(nodes) | Or(nodes):
            found = [_roots(part) for part in nodes]
            known = [roots for roots in found if roots is not None]
            return frozenset().union(*known) if len(known) == len(found) else None
        case Not(inner):
            return _roots(inner)
        case Compare(operand) | Present(operand) | Sample(operand) | InNetwork(operand):
            return frozenset({_operand_root(operand)})
        case LogId() | Source():
            return frozenset({"logName"})
        case Search(Field(path)):
            return frozenset({path[0]})
    return None
