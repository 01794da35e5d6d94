"""An expression of a query with its type, and how what cannot be compiled is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from staging.bigquery.errors import BigQueryError, invalid_query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from staging.bigquery.values import Kind

NAMES: dict[Kind | None, str] = {
    "STRING": "STRING",
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "BOOLEAN": "BOOL",
    "TIMESTAMP": "TIMESTAMP",
    None: "NULL",
}
NUMBERS = ("INTEGER", "FLOAT")
COMPARISONS: dict[type[Any], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}


@dataclass(frozen=True)
class Typed:
    """An expression in SQLite's SQL, with its type; None is the type of a bare NULL.

    Attributes:
        columns: The columns that it reads outside of aggregates, with their place.
        aggregate: Whether it holds an aggregate.
        loose: Whether it is a literal or a parameter, which BigQuery converts where it must.
        constant: The value of such a one, if it is a text.
    """

    sql: str
    kind: Kind | None
    columns: dict[str, str] = field(default_factory=dict)
    aggregate: bool = False
    loose: bool = False
    constant: str | None = None


def refuse(node: exp.Expr, what: str = "") -> BigQueryError:
    """Return the refusal of what BigQuery has and this has not."""
    name = what or (str(node.this) if isinstance(node, exp.Anonymous) else node.key.upper())
    return invalid_query(f"not supported by embedded staging: {name}", place_of(node))


def place_of(node: exp.Expr) -> str:
    """Return where an expression stands, as `[line:column]`, or "" when it is not known."""
    starts = [one.meta["start"] for one in node.walk() if "start" in one.meta]
    if not starts:
        return ""
    start: int = min(starts)
    before = node.root().meta.get("text", "")[:start]
    return f"[{before.count(chr(10)) + 1}:{start - before.rfind(chr(10))}]"


def only(node: exp.Expr, *names: str) -> None:
    """Refuse a node that has more parts than `names`. Raises BigQueryError."""
    for name, value in node.args.items():
        if name not in names and value not in (None, False, []):
            raise refuse(node, f"{node.key.upper()} with {name.strip('_').upper()}")


def mismatch(node: exp.Expr, name: str, parts: Sequence[Typed]) -> BigQueryError:
    """Return the refusal of an operator or a function for its arguments' types."""
    kinds = ", ".join(NAMES[part.kind] for part in parts)
    operator = not name.isidentifier() or name in {"AND", "OR", "NOT", "IN", "LIKE", "BETWEEN"}
    return invalid_query(
        f"No matching signature for {'operator' if operator else 'function'} {name}"
        f" for argument types: {kinds}",
        place_of(node),
    )


def combine(
    sql: str, kind: Kind | None, parts: Sequence[Typed], *, aggregate: bool = False
) -> Typed:
    """Return an expression made of parts; an aggregate reads no column outside of itself."""
    columns: dict[str, str] = {}
    for part in parts:
        columns |= part.columns
    holds = aggregate or any(part.aggregate for part in parts)
    return Typed(sql, kind, {} if aggregate else columns, holds)
