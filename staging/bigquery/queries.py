"""One GoogleSQL statement over the store: parsed, checked, run on SQLite."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from staging.bigquery.errors import BigQueryError, invalid_query
from staging.bigquery.expressions import Compiler
from staging.bigquery.selections import check_clauses, compile_select
from staging.bigquery.store import quote
from staging.bigquery.typed import mismatch, only, place_of, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from staging.bigquery.parameters import Parameter
    from staging.bigquery.store import Store, Table
    from staging.bigquery.values import Column, Stored


@dataclass(frozen=True)
class Statement:
    """A statement ready to run: SQLite's SQL, and the columns of its answer (of a SELECT)."""

    kind: str
    sql: str
    arguments: Mapping[str, Stored]
    columns: Sequence[Column]
    bytes_processed: int


@dataclass(frozen=True)
class Answer:
    """What a statement came to: the rows of a SELECT, or how many rows an UPDATE changed."""

    rows: Sequence[tuple[Stored, ...]] = ()
    affected: int | None = None


@dataclass(frozen=True)
class Question:
    """A statement's text, its parameters, the dataset of unqualified tables, and the time."""

    text: str
    parameters: Mapping[str, Parameter]
    dataset: str
    now_us: int


def prepare(store: Store, question: Question) -> Statement:
    """Return a statement that may be run. Raises BigQueryError as BigQuery would."""
    tree = _parse(question.text)
    try:
        if isinstance(tree, exp.Select):
            return _prepare_select(store, question, tree)
        if isinstance(tree, exp.Update):
            return _prepare_update(store, question, tree)
    except RecursionError:
        raise invalid_query("The query is too deeply nested") from None
    raise refuse(tree, f"the statement {tree.key.upper()}")


def run(store: Store, statement: Statement) -> Answer:
    """Return a statement's answer. Raises BigQueryError when a value cannot be."""
    try:
        with store.connection as connection:
            cursor = connection.execute(statement.sql, dict(statement.arguments))
            rows = cursor.fetchall()
    except sqlite3.Error as error:
        raise store.failures.take() or invalid_query(f"Query error: {error}") from None
    if statement.kind == "SELECT":
        return Answer(rows=rows)
    return Answer(affected=cursor.rowcount)


def _parse(text: str) -> Any:  # noqa: ANN401 - sqlglot's trees
    try:
        trees = sqlglot.parse(text, dialect="bigquery")
    except SqlglotError as error:
        first: dict[str, Any] = next(iter(getattr(error, "errors", None) or ()), {})
        place = f"[{first['line']}:{first['col']}]" if first.get("line") else ""
        why = first.get("description") or str(error)
        raise invalid_query(f"Syntax error: {why}", place) from None
    except RecursionError:
        raise invalid_query("The query is too deeply nested") from None
    if len(trees) != 1 or trees[0] is None:
        what = "a script of several statements" if len(trees) > 1 else "an empty query"
        raise invalid_query(f"not supported by embedded staging: {what}")
    trees[0].meta["text"] = text
    return trees[0]


def _find_table(store: Store, question: Question, node: exp.Table) -> tuple[Table, str]:
    """Return a table and the name that the query gives it. Raises BigQueryError."""
    only(node, "this", "db", "catalog", "alias")
    if isinstance(node.args.get("alias"), exp.TableAlias):
        only(node.args["alias"], "this")
    name, dataset = node.name, node.text("db") or question.dataset
    project = node.text("catalog") or store.project
    if not dataset:
        message = f'Table "{name}" must be qualified with a dataset (e.g. dataset.table).'
        raise invalid_query(message)
    if not re.fullmatch(r"[\w-]+", dataset) or not re.fullmatch(r"[\w-]+", name):
        raise refuse(node, f"the table {dataset}.{name}")
    if project != store.project:
        message = (
            f"Access Denied: Table {project}:{dataset}.{name}: User does not have permission to"
            f" query table {project}:{dataset}.{name}, or perhaps it does not exist."
        )
        raise BigQueryError("accessDenied", message)
    try:
        return store.find(dataset, name), node.alias_or_name
    except BigQueryError as error:
        raise BigQueryError(error.reason, f"{error.message} was not found in location US") from None


def _prepare_select(store: Store, question: Question, tree: exp.Select) -> Statement:
    check_clauses(tree)
    source = tree.args.get("from_")
    table, alias = None, ""
    if source is not None:
        if not isinstance(source.this, exp.Table):
            raise refuse(source.this)
        table, alias = _find_table(store, question, source.this)
    compiler = Compiler(table, alias, question.parameters, question.now_us)
    sql, columns = compile_select(compiler, tree)
    size = sum(store.column_bytes(table, name) for name in compiler.read) if table else 0
    return Statement("SELECT", sql, compiler.arguments, columns, size)


def _prepare_update(store: Store, question: Question, tree: exp.Update) -> Statement:
    only(tree, "this", "expressions", "where")
    where = tree.args.get("where")
    if where is None:
        raise invalid_query("UPDATE must have a WHERE clause")
    table, alias = _find_table(store, question, tree.this)
    compiler = Compiler(table, alias, question.parameters, question.now_us)
    settings = [_compile_setting(compiler, one) for one in tree.expressions]
    condition = compiler.compile(where.this)
    if condition.kind not in ("BOOLEAN", None) or condition.aggregate:
        raise refuse(where.this, "a WHERE that is no plain condition")
    sql = f"UPDATE {table.quoted} SET {', '.join(settings)} WHERE {condition.sql}"  # noqa: S608
    return Statement("UPDATE", sql, compiler.arguments, (), 0)


def _compile_setting(compiler: Compiler, node: exp.Expr) -> str:
    if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column):
        raise refuse(node, "a setting of anything but a column")
    left, value = compiler.compile(node.this), compiler.compile(node.expression)
    column = compiler.table.column(node.this.name) if compiler.table else None
    if column is None or value.aggregate:
        raise refuse(node)
    target, value = compiler.align(node, [left, value])
    if value.kind not in (column.kind, None):
        raise mismatch(node, "=", [target, value])
    if value.kind is None and column.required:
        message = f"Required field {column.name} cannot be null"
        raise invalid_query(message, place_of(node))
    return f"{quote(column.name)} = {value.sql}"
