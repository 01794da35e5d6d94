"""BigQuery's REST API over the wire, by hand and with Google's own client."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
import requests
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery

from tests.staging.bigquery_support import KEYS, TENANTS, BigQueryServer, make_key

RUNS = f"/datasets/{TENANTS[0]}/tables/x_meta_pipeline_runs"
TABLE = "/datasets/metadata/tables/x_meta_api_keys"


@pytest.fixture(scope="module")
def running() -> Iterator[BigQueryServer]:
    server = BigQueryServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running: BigQueryServer) -> BigQueryServer:
    running.fill()
    return running


def test_datasets_and_tables_are_listed_and_shown(server: BigQueryServer) -> None:
    client = server.client()
    assert [one.dataset_id for one in client.list_datasets()] == sorted((*TENANTS, "metadata"))
    assert [one.dataset_id for one in client.list_datasets(page_size=1)] == sorted(
        (*TENANTS, "metadata")
    )
    assert [one.table_id for one in client.list_tables("metadata")] == ["x_meta_api_keys"]
    table = client.get_table(KEYS)
    assert (table.num_rows, table.schema[4].name, table.schema[4].field_type) == (
        6,
        "is_active",
        "BOOLEAN",
    )
    assert table.schema[4].mode == "REQUIRED"
    assert client.get_dataset("metadata").location == "US"
    with pytest.raises(NotFound, match=r"Not found: Dataset convergence-local:nope"):
        client.get_dataset("nope")
    with pytest.raises(NotFound, match=r"Not found: Table convergence-local:metadata\.nope"):
        client.get_table("metadata.nope")


def test_googles_client_queries_with_parameters(server: BigQueryServer) -> None:
    client = server.client()
    settings = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("tenant", "STRING", TENANTS[1]),
            bigquery.ScalarQueryParameter(
                "since", "TIMESTAMP", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
            ),
            bigquery.ScalarQueryParameter("active", "BOOL", True),
            bigquery.ScalarQueryParameter("most", "INT64", 2),
            bigquery.ArrayQueryParameter("keys", "STRING", ["key-1", "key-3", "key-5", "x"]),
        ]
    )
    text = (
        "SELECT key_id, is_active, created_at, expires_at"
        " FROM `convergence-local.metadata.x_meta_api_keys` WHERE tenant_id = @tenant"
        " AND created_at > @since AND is_active = @active AND key_id IN UNNEST(@keys)"
        " ORDER BY key_id LIMIT @most"
    )
    rows = [dict(row) for row in client.query(text, job_config=settings).result()]
    assert [row["key_id"] for row in rows] == ["key-1", "key-3"]
    assert rows[0]["is_active"] is True
    lasts = rows[0]["expires_at"] - rows[0]["created_at"]
    assert lasts.total_seconds() == pytest.approx(0.5 * 86_400, abs=1e-3)
    again = client.query_and_wait(text, job_config=settings)
    assert [row["key_id"] for row in again] == ["key-1", "key-3"]


def test_the_clients_pages_hold_every_row_once(server: BigQueryServer) -> None:
    rows = (
        server.client()
        .query("SELECT key_id FROM metadata.x_meta_api_keys ORDER BY 1")
        .result(page_size=4)
    )
    assert [row["key_id"] for row in rows] == [f"key-{number}" for number in range(6)]
    page = server.query(
        "SELECT key_id FROM metadata.x_meta_api_keys ORDER BY 1", maxResults=5
    ).json()
    path = f"/queries/{page['jobReference']['jobId']}?pageToken={page['pageToken']}"
    rest = server.ask("GET", path).json()
    assert ([row["f"][0]["v"] for row in rest["rows"]], "pageToken" in rest) == (["key-5"], False)
    first = server.ask("GET", f"{TABLE}/data?maxResults=4&selectedFields=key_id").json()
    assert (len(first["rows"]), first["totalRows"], first["pageToken"]) == (4, "6", "4")
    assert len(server.ask("GET", f"{TABLE}/data?pageToken=4").json()["rows"]) == 2


def test_a_failing_query_is_a_failed_job(server: BigQueryServer) -> None:
    client = server.client()
    job = client.query(
        "SELECT nope FROM metadata.x_meta_api_keys", job_id="fails-once", job_retry=None
    )
    with pytest.raises(BadRequest, match=r"Unrecognized name: nope at \[1:8\]"):
        job.result()
    shown = server.ask("GET", "/jobs/fails-once").json()["status"]
    assert shown["errorResult"]["reason"] == "invalidQuery"
    assert server.ask("GET", "/queries/fails-once").status_code == 400
    with pytest.raises(NotFound, match="was not found in location US"):
        client.query("SELECT 1 FROM metadata.nope").result()
    configuration = {"query": {"query": "SELECT 1", "useLegacySql": False}}
    body = {"configuration": configuration, "jobReference": {"jobId": "fails-once"}}
    assert server.ask("POST", "/jobs", json=body).status_code == 409


def test_a_dry_run_tells_the_size_and_runs_nothing(server: BigQueryServer) -> None:
    client = server.client()
    settings = bigquery.QueryJobConfig(dry_run=True)
    job = client.query(
        "SELECT key_id, created_at FROM metadata.x_meta_api_keys", job_config=settings
    )
    # Six texts of 5 characters and 2 bytes each, six timestamps of 8.
    assert job.total_bytes_processed == 6 * 7 + 6 * 8
    client.query(
        "UPDATE metadata.x_meta_api_keys SET is_active = FALSE WHERE TRUE", job_config=settings
    )
    assert server.rows("SELECT COUNTIF(is_active) FROM metadata.x_meta_api_keys") == [("5",)]
    with pytest.raises(BadRequest, match="Unrecognized name"):
        client.query("SELECT nope FROM metadata.x_meta_api_keys", job_config=settings)


def test_rows_come_in_as_their_columns_types_and_go_out_again(server: BigQueryServer) -> None:
    client = server.client()
    row = {
        "pipeline_logging_id": "r-2",
        "pipeline_id": "daily_cost",
        "tenant_id": TENANTS[0],
        "started_at": "2026-11-23T06:12:00.5Z",
        "retry_attempt": 3,
    }
    assert client.insert_rows_json(f"{TENANTS[0]}.x_meta_pipeline_runs", [row]) == []
    found = list(client.list_rows(client.get_table(f"{TENANTS[0]}.x_meta_pipeline_runs")))
    assert [one["pipeline_logging_id"] for one in found] == ["r-2", "r-1"]
    moment = dt.datetime(2026, 11, 23, 6, 12, 0, 500_000, tzinfo=dt.UTC)
    assert (found[0]["started_at"], found[0]["retry_attempt"]) == (moment, 3)
    raw = server.ask("GET", f"{RUNS}/data?selectedFields=started_at").json()["rows"][0]
    assert raw["f"][0]["v"] == "1.7954143205E9"


@pytest.mark.parametrize(
    ("change", "location", "message"),
    [
        ({"colour": "red"}, "colour", "no such field: colour."),
        ({"is_active": "yes"}, "is_active", "Cannot convert value to boolean (bad value): yes"),
        ({"key_id": None}, "key_id", "Missing required field: key_id."),
        ({"created_at": "soon"}, "created_at", "Invalid timestamp string 'soon'"),
        ({"created_at": "2026-02-30"}, "created_at", "Invalid timestamp string '2026-02-30'"),
        ({"key_prefix": {}}, "key_prefix", "This field is not a record."),
    ],
)
def test_a_wrong_row_stops_the_whole_request(
    server: BigQueryServer, change: dict[str, object], location: str, message: str
) -> None:
    good = make_key(9, 0.0)
    answer = server.ask(
        "POST", f"{TABLE}/insertAll", json={"rows": [{"json": good}, {"json": good | change}]}
    )
    errors = answer.json()["insertErrors"]
    assert [one["errors"][0]["reason"] for one in errors] == ["stopped", "invalid"]
    assert (errors[1]["errors"][0]["location"], errors[1]["errors"][0]["message"]) == (
        location,
        message,
    )
    assert server.rows("SELECT COUNT(*) FROM metadata.x_meta_api_keys") == [("6",)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/queries", {"query": "SELECT 1"}, 501),
        ("POST", "/queries", {"useLegacySql": False}, 400),
        ("POST", "/queries", {"query": "SELECT 1", "useLegacySql": False, "x": 1}, 501),
        ("POST", "/queries", {"query": "SELECT 1", "useLegacySql": False, "maxResults": -1}, 400),
        ("POST", "/jobs", {"configuration": {"load": {}}}, 501),
        ("GET", "/jobs/none", None, 404),
        ("GET", "/jobs", None, 501),
        ("POST", "/datasets", {}, 501),
        ("DELETE", "/datasets/metadata", None, 501),
        ("PATCH", TABLE, {}, 501),
        ("POST", f"{TABLE}/insertAll", {"rows": []}, 400),
        ("GET", f"{TABLE}/data?maxResults=many", None, 400),
        ("GET", f"{TABLE}/data?selectedFields=nope", None, 400),
        ("GET", "/datasets/nope/tables", None, 404),
    ],
)
def test_what_is_not_there_or_not_supported_is_refused(
    server: BigQueryServer, method: str, path: str, body: object, status: int
) -> None:
    answer = server.ask(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == status


def test_positional_parameters_are_refused(server: BigQueryServer) -> None:
    parameter = {"parameterType": {"type": "STRING"}, "parameterValue": {"value": "x"}}
    status, _, message = server.refusal("SELECT ?", queryParameters=[parameter])
    assert (status, "positional" in message) == (501, True)


def test_another_project_is_not_found(server: BigQueryServer) -> None:
    answer = requests.get(f"{server.url}/bigquery/v2/projects/other/datasets", timeout=5)
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (404, "notFound")


def test_only_so_many_runs_are_kept(server: BigQueryServer) -> None:
    row = {"pipeline_id": "p", "tenant_id": TENANTS[0]}
    rows = [{"json": row | {"pipeline_logging_id": f"r-{n}"}} for n in range(300)]
    assert "insertErrors" not in server.ask("POST", f"{RUNS}/insertAll", json={"rows": rows}).json()
    newest = "SELECT COUNT(*), MIN(pipeline_logging_id) FROM acme_logistics.x_meta_pipeline_runs"
    assert server.rows(newest) == [("200", "r-100")]
