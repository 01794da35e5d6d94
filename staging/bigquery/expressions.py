"""GoogleSQL's expressions, type-checked as BigQuery does, as SQLite's.

What is not listed here is refused: nothing is passed on in the hope that it means the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from staging.bigquery.calls import CALLS
from staging.bigquery.errors import invalid_query
from staging.bigquery.operators import OPERATORS
from staging.bigquery.typed import COMPARISONS, NUMBERS, Typed, mismatch, place_of, refuse
from staging.bigquery.values import BadValueError, Stored, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlglot import exp

    from staging.bigquery.parameters import Parameter
    from staging.bigquery.store import Table


class Compiler:
    """Compiles the expressions of one query over one table, or over none."""

    def __init__(
        self, table: Table | None, alias: str, parameters: Mapping[str, Parameter], now_us: int
    ) -> None:
        """Take the table with the name that the query gives it, and the time of the query."""
        self.table = table
        self.alias = alias
        self._parameters = parameters
        self.now_us = now_us
        self.in_aggregate = False
        self.arguments: dict[str, Stored] = {}
        self.read: set[str] = set()
        self.aliases: Mapping[str, Typed] = {}

    def bind(self, value: Stored) -> str:
        """Return a placeholder for a value."""
        name = f"v{len(self.arguments)}"
        self.arguments[name] = value
        return f":{name}"

    def compile(self, node: Any) -> Typed:  # noqa: ANN401 - sqlglot's trees
        """Return an expression. Raises BigQueryError where BigQuery would, or cannot be met."""
        handler = OPERATORS.get(type(node)) or CALLS.get(type(node))
        if handler is None:
            raise refuse(node)
        return handler(self, node)

    def find_parameter(self, node: exp.Parameter) -> Parameter:
        """Return the parameter that a query names. Raises BigQueryError when there is none."""
        name = str(node.this.this)
        found = self._parameters.get(name.lower())
        if found is None:
            raise invalid_query(f"Query parameter '{name}' not found", place_of(node))
        return found

    def align(self, node: exp.Expr, parts: Sequence[Typed], name: str = "") -> list[Typed]:
        """Return parts that can be compared with one another. Raises BigQueryError otherwise."""
        kinds = {part.kind for part in parts if part.kind}
        if len(kinds) <= 1 or kinds == set(NUMBERS):
            return list(parts)
        if kinds == {"STRING", "TIMESTAMP"} and all(
            part.loose for part in parts if part.kind == "STRING"
        ):
            return [self._as_timestamp(node, part) for part in parts]
        raise mismatch(node, name or COMPARISONS.get(type(node), node.key.upper()), parts)

    def _as_timestamp(self, node: exp.Expr, part: Typed) -> Typed:
        if part.kind != "STRING":
            return part
        try:
            moment = None if part.constant is None else parse_timestamp(part.constant)
        except BadValueError:
            message = f'Could not cast literal "{part.constant}" to type TIMESTAMP'
            raise invalid_query(message, place_of(node)) from None
        return Typed(self.bind(moment), "TIMESTAMP", loose=True)

    def demand(
        self,
        node: exp.Expr,
        name: str,
        kinds: Sequence[str],
        *parts: Any,  # noqa: ANN401
    ) -> list[Typed]:
        """Return compiled parts, each of one of `kinds` or NULL. Raises BigQueryError."""
        compiled = [self.compile(part) for part in parts]
        if any(part.kind is not None and part.kind not in kinds for part in compiled):
            raise mismatch(node, name, compiled)
        return compiled
