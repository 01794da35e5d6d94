"""Datasets, tables and rows as the API's answers show them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from staging.bigquery.values import render_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from staging.bigquery.store import Table
    from staging.bigquery.values import Column, Stored

LOCATION = "US"


def render_schema(columns: Iterable[Column]) -> dict[str, Any]:
    """Return a TableSchema."""
    return {
        "fields": [
            {
                "name": one.name,
                "type": one.kind,
                "mode": "REQUIRED" if one.required else "NULLABLE",
            }
            for one in columns
        ]
    }


def render_rows(
    rows: Iterable[Sequence[Stored]], columns: Sequence[Column], *, whole_microseconds: bool
) -> list[dict[str, Any]]:
    """Return rows of values in the columns' order as the API's `f` and `v` objects."""
    return [
        {
            "f": [
                {"v": render_value(value, one.kind, whole_microseconds=whole_microseconds)}
                for value, one in zip(row, columns, strict=True)
            ]
        }
        for row in rows
    ]


def render_dataset(project: str, dataset: str, *, short: bool) -> dict[str, Any]:
    """Return a dataset; `short` as datasets.list has it."""
    found: dict[str, Any] = {
        "kind": "bigquery#dataset",
        "id": f"{project}:{dataset}",
        "datasetReference": {"datasetId": dataset, "projectId": project},
        "location": LOCATION,
        "type": "DEFAULT",
    }
    return found if short else found | {"etag": make_etag(dataset)}


def render_table(project: str, table: Table, *, rows: int, short: bool) -> dict[str, Any]:
    """Return a table with `rows` rows; `short` as tables.list has it."""
    created = str(int(table.created.timestamp() * 1000))
    found: dict[str, Any] = {
        "kind": "bigquery#table",
        "id": f"{project}:{table.dataset}.{table.name}",
        "tableReference": {
            "projectId": project,
            "datasetId": table.dataset,
            "tableId": table.name,
        },
        "type": "TABLE",
        "creationTime": created,
    }
    if short:
        return found
    return found | {
        "etag": make_etag(table.dataset, table.name, str(rows)),
        "schema": render_schema(table.columns),
        "numRows": str(rows),
        "lastModifiedTime": created,
        "location": LOCATION,
    }


def make_etag(*parts: str) -> str:
    """Return an etag that changes when one of `parts` does."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:22] + "=="
