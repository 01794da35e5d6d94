"""The clauses of a SELECT."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from staging.bigquery.errors import invalid_query
from staging.bigquery.store import quote
from staging.bigquery.typed import NAMES, Typed, only, place_of, refuse
from staging.bigquery.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from staging.bigquery.expressions import Compiler

_CLAUSES = (
    *("expressions", "from_", "where", "group", "having", "order", "limit", "offset"),
    "distinct",
)


def check_clauses(tree: exp.Select) -> None:
    """Refuse a SELECT with a clause that is not understood. Raises BigQueryError."""
    only(tree, *_CLAUSES)


def compile_select(compiler: Compiler, tree: exp.Select) -> tuple[str, list[Column]]:
    """Return SQLite's SQL of a SELECT and the columns of its answer. Raises BigQueryError."""
    selection = _Selection(compiler, tree)
    where = _compile_condition(compiler, tree.args.get("where"), "WHERE")
    groups = selection.compile_groups()
    having = selection.compile_having()
    order = selection.compile_order()
    selection.check_groups(groups)
    distinct = "DISTINCT " if _is_distinct(tree) else ""
    listed = ", ".join(one.sql for _, one in selection.items)
    clauses = [f"SELECT {distinct}{listed}"]
    clauses += [f"FROM {compiler.table.quoted}"] if compiler.table else []
    clauses += [f"WHERE {where}"] if where else []
    clauses += [f"GROUP BY {', '.join(one.sql for one in groups)}"] if groups else []
    clauses += [f"HAVING {having}"] if having else []
    clauses += [f"ORDER BY {', '.join(order)}"] if order else []
    clauses.append(f"LIMIT {_compile_count(compiler, tree, 'limit')}")
    clauses.append(f"OFFSET {_compile_count(compiler, tree, 'offset')}")
    return " ".join(clauses), selection.columns()


def _is_distinct(tree: exp.Select) -> bool:
    distinct = tree.args.get("distinct")
    if distinct is not None:
        only(distinct)
    return distinct is not None


def _compile_condition(compiler: Compiler, clause: Any, name: str) -> str:  # noqa: ANN401
    if clause is None:
        return ""
    found = compiler.compile(clause.this)
    if found.aggregate and name == "WHERE":
        message = "Aggregate function not allowed in WHERE clause"
        raise invalid_query(message, place_of(clause.this))
    if found.kind not in ("BOOLEAN", None):
        message = f"{name} clause should return type BOOL, but returns {NAMES[found.kind]}"
        raise invalid_query(message, place_of(clause.this))
    return found.sql


def _compile_count(compiler: Compiler, tree: exp.Select, name: str) -> str:
    clause = tree.args.get(name)
    if clause is None:
        return "-1" if name == "limit" else "0"
    only(clause, "expression")
    found = compiler.compile(clause.expression)
    number = compiler.arguments.get(found.sql[1:])
    if not found.loose or not isinstance(number, int) or number < 0:
        raise invalid_query(f"{name.upper()} expects a non-negative integer literal or parameter")
    return found.sql


class _Selection:
    """The items of the SELECT list, and the clauses that refer to them."""

    def __init__(self, compiler: Compiler, tree: exp.Select) -> None:
        self._compiler = compiler
        self._tree = tree
        self.items: list[tuple[str, Typed]] = []
        self._sorted: list[Typed] = []
        self._having: Typed | None = None
        unnamed = 0
        for node in tree.expressions:
            if isinstance(node, exp.Star) or (
                isinstance(node, exp.Column) and isinstance(node.this, exp.Star)
            ):
                self._add_all(node)
                continue
            name = node.output_name if isinstance(node, (exp.Alias, exp.Column)) else ""
            if not name:
                name, unnamed = f"f{unnamed}_", unnamed + 1
            inner = node.this if isinstance(node, exp.Alias) else node
            self.items.append((name, compiler.compile(inner)))
        counted = Counter(name.lower() for name, _ in self.items)
        twice = [name for name, count in counted.items() if count > 1]
        if twice:
            raise invalid_query(
                "Duplicate column names in the result are not supported when a destination table"
                f" is present. Found duplicate(s): {', '.join(twice)}"
            )

    def _add_all(self, node: Any) -> None:  # noqa: ANN401 - sqlglot's trees
        if not isinstance(node, exp.Star):
            raise refuse(node, "a table's name before *")
        only(node)
        if self._compiler.table is None:
            raise invalid_query("SELECT * must have a FROM clause")
        for one in self._compiler.table.columns:
            self._compiler.read.add(one.name)
            self.items.append((one.name, Typed(quote(one.name), one.kind, {one.name: ""})))

    def columns(self) -> list[Column]:
        """Return the columns of the answer; a bare NULL is an INT64, as in BigQuery."""
        return [Column(name, item.kind or "INTEGER") for name, item in self.items]

    def _refer(self, node: Any) -> Typed:  # noqa: ANN401 - sqlglot's trees
        """Return what an ordinal, an alias or any other expression stands for."""
        if isinstance(node, exp.Literal) and not node.is_string:
            place = int(node.this) if str(node.this).isdigit() else 0
            if not 1 <= place <= len(self.items):
                message = f"ORDER BY or GROUP BY is out of SELECT column number range: {node.this}"
                raise invalid_query(message)
            return self.items[place - 1][1]
        if isinstance(node, exp.Column) and not node.text("table"):
            for name, item in self.items:
                if name.lower() == node.name.lower():
                    return item
        return self._compiler.compile(node)

    def compile_groups(self) -> list[Typed]:
        """Return what the rows are grouped by."""
        group = self._tree.args.get("group")
        if group is None:
            return []
        only(group, "expressions")
        found = [self._refer(node) for node in group.expressions]
        for node, one in zip(group.expressions, found, strict=True):
            if one.aggregate:
                message = "Aggregate functions are not allowed in GROUP BY"
                raise invalid_query(message, place_of(node))
        return found

    def compile_having(self) -> str:
        """Return the condition on groups; aliases of the SELECT list count there."""
        clause = self._tree.args.get("having")
        if clause is None:
            return ""
        aliases = {name.lower(): item for name, item in self.items}
        self._compiler.aliases = aliases
        try:
            self._having = self._compiler.compile(clause.this)
        finally:
            self._compiler.aliases = {}
        if self._having.kind not in ("BOOLEAN", None):
            raise invalid_query("HAVING clause should return type BOOL", place_of(clause.this))
        return self._having.sql

    def compile_order(self) -> list[str]:
        """Return the terms of the order; NULL comes first, and last in descending order."""
        order = self._tree.args.get("order")
        if order is None:
            return []
        only(order, "expressions")
        terms = []
        for node in order.expressions:
            only(node, "this", "desc", "nulls_first")
            found = self._refer(node.this)
            self._sorted.append(found)
            if _is_distinct(self._tree) and found not in [item for _, item in self.items]:
                message = "ORDER BY clause expression is not visible after SELECT DISTINCT"
                raise invalid_query(message, place_of(node))
            way = "DESC" if node.args.get("desc") else "ASC"
            nulls = "FIRST" if node.args.get("nulls_first") else "LAST"
            terms.append(f"{found.sql} {way} NULLS {nulls}")
        return terms

    def check_groups(self, groups: Sequence[Typed]) -> None:
        """Refuse a column that is neither grouped nor aggregated. Raises BigQueryError."""
        used = [item for _, item in self.items] + self._sorted
        used += [self._having] if self._having else []
        if not groups and not any(one.aggregate for one in used):
            if self._having:
                raise invalid_query("The HAVING clause requires GROUP BY or aggregation")
            return
        same = {one.sql for one in groups}
        names = {name for one in groups for name in one.columns if one.sql == quote(name)}
        for one in used:
            free = {} if one.sql in same else one.columns
            for name, place in free.items():
                if name not in names:
                    raise invalid_query(
                        f"SELECT list expression references column {name} which is neither"
                        " grouped nor aggregated",
                        place,
                    )
