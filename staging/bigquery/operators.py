"""GoogleSQL's literals, parameters, columns, comparisons and logic as SQLite's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from staging.bigquery.errors import invalid_query
from staging.bigquery.store import quote
from staging.bigquery.typed import COMPARISONS, Typed, combine, only, place_of, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.bigquery.expressions import Compiler


def _literal(compiler: Compiler, node: exp.Literal) -> Typed:
    text = str(node.this)
    if node.is_string:
        return Typed(compiler.bind(text), "STRING", loose=True, constant=text)
    if text.isdigit():
        if int(text) >= 2**63:
            raise invalid_query(f"Invalid integer literal: {text}", place_of(node))
        return Typed(compiler.bind(int(text)), "INTEGER", loose=True)
    return Typed(compiler.bind(float(text)), "FLOAT", loose=True)


def _boolean(_compiler: Compiler, node: exp.Boolean) -> Typed:
    return Typed(str(int(bool(node.this))), "BOOLEAN")


def _null(_compiler: Compiler, _: exp.Null) -> Typed:
    return Typed("NULL", None)


def _paren(compiler: Compiler, node: exp.Paren) -> Typed:
    inner = compiler.compile(node.this)
    return combine(f"({inner.sql})", inner.kind, [inner])


def _parameter(compiler: Compiler, node: exp.Parameter) -> Typed:
    found = compiler.find_parameter(node)
    if found.array:
        raise refuse(node, "an array outside of IN UNNEST(@name)")
    value = found.values[0]
    constant = value if isinstance(value, str) else None
    return Typed(compiler.bind(value), found.kind, loose=True, constant=constant)


def _column(compiler: Compiler, node: exp.Column) -> Typed:
    only(node, "this", "table")
    name, table = node.name, node.text("table")
    found = compiler.table.column(name) if compiler.table else None
    alias = None if table else compiler.aliases.get(name.lower())
    if alias is not None and (found is None or alias.sql == quote(found.name)):
        return alias
    if (table and table != compiler.alias) or found is None:
        shown = table if table and table != compiler.alias else name
        raise invalid_query(f"Unrecognized name: {shown}", place_of(node))
    compiler.read.add(found.name)
    columns = {} if compiler.in_aggregate else {found.name: place_of(node)}
    return Typed(quote(found.name), found.kind, columns)


def _comparison(compiler: Compiler, node: exp.Binary) -> Typed:
    left, right = compiler.align(
        node, [compiler.compile(node.this), compiler.compile(node.expression)]
    )
    sql = f"({left.sql} {COMPARISONS[type(node)]} {right.sql})"
    return combine(sql, "BOOLEAN", [left, right])


def _connective(compiler: Compiler, node: exp.Connector) -> Typed:
    name = "AND" if isinstance(node, exp.And) else "OR"
    left, right = compiler.demand(node, name, ["BOOLEAN"], node.this, node.expression)
    return combine(f"({left.sql} {name} {right.sql})", "BOOLEAN", [left, right])


def _not(compiler: Compiler, node: exp.Not) -> Typed:
    (inner,) = compiler.demand(node, "NOT", ["BOOLEAN"], node.this)
    return combine(f"(NOT {inner.sql})", "BOOLEAN", [inner])


def _is(compiler: Compiler, node: exp.Is) -> Typed:
    inner = compiler.compile(node.this)
    if isinstance(node.expression, exp.Null):
        return combine(f"({inner.sql} IS NULL)", "BOOLEAN", [inner])
    if not isinstance(node.expression, exp.Boolean) or inner.kind not in ("BOOLEAN", None):
        raise refuse(node)
    value = int(bool(node.expression.this))
    return combine(f"({inner.sql} IS {value})", "BOOLEAN", [inner])


def _in(compiler: Compiler, node: exp.In) -> Typed:
    only(node, "this", "expressions", "unnest")
    inner = compiler.compile(node.this)
    unnest = node.args.get("unnest")
    if unnest is None:
        members = [compiler.compile(one) for one in node.expressions]
    else:
        members = _unnest(compiler, unnest)
    inner, *members = compiler.align(node, [inner, *members], "IN")
    listed = ", ".join(one.sql for one in members)
    # SQLite's `NULL IN ()` is false, as GoogleSQL's `NULL IN UNNEST([])`.
    return combine(f"({inner.sql} IN ({listed}))", "BOOLEAN", [inner, *members])


def _unnest(compiler: Compiler, unnest: exp.Unnest) -> list[Typed]:
    arrays = unnest.expressions
    if len(arrays) != 1 or not isinstance(arrays[0], exp.Parameter):
        raise refuse(unnest, "UNNEST of anything but an array parameter")
    found = compiler.find_parameter(arrays[0])
    if not found.array:
        raise invalid_query("Values referenced in UNNEST must be arrays", place_of(unnest))
    return [Typed(compiler.bind(value), found.kind, loose=True) for value in found.values]


def _between(compiler: Compiler, node: exp.Between) -> Typed:
    only(node, "this", "low", "high")
    parts = [compiler.compile(node.args[name]) for name in ("this", "low", "high")]
    this, low, high = compiler.align(node, parts, "BETWEEN")
    sql = f"({this.sql} BETWEEN {low.sql} AND {high.sql})"
    return combine(sql, "BOOLEAN", [this, low, high])


def _like(compiler: Compiler, node: exp.Like) -> Typed:
    only(node, "this", "expression")
    left, right = compiler.demand(node, "LIKE", ["STRING"], node.this, node.expression)
    sql = f"({left.sql} LIKE {right.sql} ESCAPE '\\')"
    return combine(sql, "BOOLEAN", [left, right])


OPERATORS: dict[type[Any], Callable[[Compiler, Any], Typed]] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Paren: _paren,
    exp.Parameter: _parameter,
    exp.Column: _column,
    exp.And: _connective,
    exp.Or: _connective,
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    **dict.fromkeys(COMPARISONS, _comparison),
}
