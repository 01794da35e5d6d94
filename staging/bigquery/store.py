"""The tables of one project, in memory, with typed columns; the newest rows of each are kept."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from staging.bigquery.errors import invalid, not_found
from staging.bigquery.functions import register
from staging.bigquery.values import BadValueError, Column, Stored, read_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

METADATA_DATASET = "metadata"
KEYS_TABLE = "x_meta_api_keys"
RUNS_TABLE = "x_meta_pipeline_runs"
KEYS_COLUMNS = (
    Column("tenant_id", required=True),
    Column("key_id", required=True),
    Column("key_hash", required=True),
    Column("key_prefix"),
    Column("is_active", "BOOLEAN", required=True),
    Column("created_at", "TIMESTAMP", required=True),
    Column("expires_at", "TIMESTAMP"),
)
RUNS_COLUMNS = (
    Column("pipeline_logging_id", required=True),
    Column("pipeline_id", required=True),
    Column("tenant_id", required=True),
    Column("status"),
    Column("started_at", "TIMESTAMP"),
    Column("completed_at", "TIMESTAMP"),
    Column("error_message"),
    Column("retry_attempt", "INTEGER"),
)
KEPT_RUNS = 200
KEPT_KEYS = 10_000
_SQLITE_TYPES = {
    "STRING": "TEXT",
    "INTEGER": "INTEGER",
    "FLOAT": "REAL",
    "BOOLEAN": "INTEGER",
    "TIMESTAMP": "INTEGER",
}
Row = dict[str, Stored]


@dataclass(frozen=True)
class Table:
    """One table: its place, its columns and how many of its newest rows are kept."""

    dataset: str
    name: str
    columns: tuple[Column, ...]
    kept: int
    created: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    @property
    def quoted(self) -> str:
        """Return the table's name in SQLite, quoted."""
        return quote(f"{self.dataset}.{self.name}")

    def column(self, name: str) -> Column | None:
        """Return a column by its name in any case, or None."""
        return next((one for one in self.columns if one.name.lower() == name.lower()), None)


class Store:
    """A project's datasets and tables.

    `connection` runs compiled queries; `failures` keeps what went wrong in their functions.
    """

    def __init__(self, project: str, tenants: Sequence[str]) -> None:
        """Create `metadata.x_meta_api_keys` and one table of runs for each tenant, all empty."""
        self.project = project
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.failures = register(self.connection)
        self._tables: dict[tuple[str, str], Table] = {}
        self._add(Table(METADATA_DATASET, KEYS_TABLE, KEYS_COLUMNS, KEPT_KEYS))
        for tenant in tenants:
            self._add(Table(tenant, RUNS_TABLE, RUNS_COLUMNS, KEPT_RUNS))

    def _add(self, table: Table) -> None:
        columns = ", ".join(f"{quote(one.name)} {_SQLITE_TYPES[one.kind]}" for one in table.columns)
        self.connection.execute(f"CREATE TABLE {table.quoted} ({columns}) STRICT")
        self._tables[table.dataset, table.name] = table

    def close(self) -> None:
        """Give the memory back."""
        self.connection.close()

    def clear(self) -> None:
        """Empty every table."""
        with self.connection:
            for table in self._tables.values():
                self.connection.execute(f"DELETE FROM {table.quoted}")  # noqa: S608 - our own name

    def datasets(self) -> list[str]:
        """Return the names of all datasets, in order."""
        return sorted({dataset for dataset, _ in self._tables})

    def tables(self, dataset: str) -> list[Table]:
        """Return a dataset's tables. Raises BigQueryError `notFound`."""
        found = [table for table in self._tables.values() if table.dataset == dataset]
        if not found:
            raise not_found(f"Dataset {self.project}:{dataset}")
        return found

    def find(self, dataset: str, name: str) -> Table:
        """Return a table. Raises BigQueryError `notFound`, for its dataset first."""
        self.tables(dataset)
        table = self._tables.get((dataset, name))
        if table is None:
            raise not_found(f"Table {self.project}:{dataset}.{name}")
        return table

    def insert(
        self, dataset: str, name: str, rows: Sequence[Mapping[str, object]]
    ) -> list[tuple[int, str, str]]:
        """Add rows of JSON values, all or none.

        Return what is wrong with them as (row's index, column, BigQuery's words); nothing was
        added unless that is empty. Raises BigQueryError `notFound`.
        """
        table = self.find(dataset, name)
        read: list[tuple[Stored, ...]] = []
        refused: list[tuple[int, str, str]] = []
        for index, row in enumerate(rows):
            try:
                values = _read_row(table, row)
            except _RefusedRowError as error:
                refused.append((index, error.column, str(error)))
            else:
                read.append(tuple(values.get(one.name) for one in table.columns))
        if not refused:
            self._append(table, read)
        return refused

    def _append(self, table: Table, rows: Sequence[tuple[Stored, ...]]) -> None:
        places = ", ".join("?" for _ in table.columns)
        with self.connection as connection:
            connection.executemany(f"INSERT INTO {table.quoted} VALUES ({places})", rows)  # noqa: S608
            connection.execute(
                f"DELETE FROM {table.quoted} WHERE rowid <="  # noqa: S608 - our own name
                f" (SELECT MAX(rowid) FROM {table.quoted}) - ?",
                (table.kept,),
            )

    def update(
        self, dataset: str, name: str, where: Mapping[str, object], values: Mapping[str, object]
    ) -> int:
        """Set columns in the rows that hold all values of `where`; return how many those are.

        Raises BigQueryError `notFound`, and `invalid` for a column or a value it cannot hold.
        """
        table = self.find(dataset, name)
        try:
            new, old = _read_cells(table, values), _read_cells(table, where)
        except _RefusedRowError as error:
            raise invalid(str(error)) from None
        setting = ", ".join(f"{quote(column)} = ?" for column in new)
        holding = " AND ".join(f"{quote(column)} IS ?" for column in old) or "TRUE"
        with self.connection as connection:
            done = connection.execute(
                f"UPDATE {table.quoted} SET {setting} WHERE {holding}",  # noqa: S608 - quoted names
                (*new.values(), *old.values()),
            )
        return done.rowcount

    def count(self, table: Table) -> int:
        """Return how many rows a table holds."""
        query = f"SELECT COUNT(*) FROM {table.quoted}"  # noqa: S608 - our own name
        return int(self.connection.execute(query).fetchone()[0])

    def column_bytes(self, table: Table, name: str) -> int:
        """Return the logical size of a column, by BigQuery's table of data type sizes."""
        column = table.column(name)
        if column is None:
            return 0
        form = {"STRING": "LENGTH(CAST({} AS BLOB)) + 2", "BOOLEAN": "1"}.get(column.kind, "8")
        value = quote(column.name)
        query = (
            f"SELECT SUM(CASE WHEN {value} IS NULL THEN 0"  # noqa: S608 - our own names
            f" ELSE {form.format(value)} END) FROM {table.quoted}"
        )
        return int(self.connection.execute(query).fetchone()[0] or 0)

    def rows(self, table: Table, limit: int, start: int = 0) -> list[Row]:
        """Return at most `limit` rows from place `start` on, the newest first.

        BigQuery promises no order here; this one keeps what the service shows useful.
        """
        names = [one.name for one in table.columns]
        query = f"SELECT * FROM {table.quoted} ORDER BY rowid DESC LIMIT ? OFFSET ?"  # noqa: S608
        found = self.connection.execute(query, (limit, start))
        return [dict(zip(names, row, strict=True)) for row in found]


def quote(name: str) -> str:
    """Return a name as SQLite takes it literally."""
    return '"' + name.replace('"', '""') + '"'


class _RefusedRowError(ValueError):
    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def _read_row(table: Table, row: Mapping[str, object]) -> Row:
    """Return a row's values as they are kept; raise ValueError in BigQuery's words."""
    values = _read_cells(table, row)
    for column in table.columns:
        if column.required and values.get(column.name) is None:
            raise _RefusedRowError(column.name, f"Missing required field: {column.name}.")
    return values


def _read_cells(table: Table, cells: Mapping[str, object]) -> Row:
    values: Row = {}
    for name, value in cells.items():
        column = table.column(name)
        if column is None:
            raise _RefusedRowError(name, f"no such field: {name}.")
        try:
            values[column.name] = read_value(value, column.kind)
        except BadValueError as error:
            raise _RefusedRowError(column.name, str(error)) from None
    return values
