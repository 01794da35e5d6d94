"""What queries come to, over the wire, and what is refused instead of guessed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.staging.bigquery_support import TENANTS, BigQueryServer

FIRST, SECOND = TENANTS


@pytest.fixture(scope="module")
def server() -> Iterator[BigQueryServer]:
    server = BigQueryServer()
    server.start()
    server.fill()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            (
                "SELECT tenant_id, COUNT(*) as key_count FROM `metadata.x_meta_api_keys`"
                " WHERE is_active = true GROUP BY tenant_id ORDER BY key_count DESC"
            ),
            [(SECOND, "3"), (FIRST, "2")],
        ),
        (
            (
                "SELECT tenant_id, COUNTIF(expires_at < CURRENT_TIMESTAMP()) AS expired,"
                " COUNTIF(expires_at IS NULL) AS lasting FROM x_meta_api_keys AS k"
                " WHERE k.is_active GROUP BY 1 HAVING expired > 0 ORDER BY 1 LIMIT 5"
            ),
            [(FIRST, "1", "0"), (SECOND, "1", "1")],
        ),
        (
            (
                "SELECT key_id, TIMESTAMP_DIFF(expires_at, CURRENT_TIMESTAMP(), DAY) AS days"
                " FROM x_meta_api_keys WHERE expires_at BETWEEN"
                " TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)"
                " AND CURRENT_TIMESTAMP() + INTERVAL 48 HOUR ORDER BY days"
            ),
            [("key-1", "0"), ("key-2", "0"), ("key-3", "1")],
        ),
        (
            (
                "SELECT key_id FROM x_meta_api_keys WHERE tenant_id IN ('acme_logistics', 'x')"
                " AND NOT is_active OR key_prefix IS NULL ORDER BY key_id DESC"
            ),
            [("key-4",), ("key-3",)],
        ),
        ("SELECT MIN(key_id), MAX(key_id) FROM x_meta_api_keys", [("key-0", "key-5")]),
        ("SELECT DISTINCT tenant_id FROM x_meta_api_keys ORDER BY 1 DESC", [(SECOND,), (FIRST,)]),
        (
            "SELECT key_prefix FROM x_meta_api_keys ORDER BY key_prefix LIMIT 2",
            [(None,), ("cda.0",)],
        ),
        ("SELECT key_prefix FROM x_meta_api_keys ORDER BY 1 DESC LIMIT 1 OFFSET 5", [(None,)]),
        ("SELECT COUNT(DISTINCT tenant_id), COUNT(expires_at) FROM x_meta_api_keys", [("2", "5")]),
        ("SELECT COUNT(*) FROM x_meta_api_keys WHERE key_prefix LIKE 'CDA.%'", [("0",)]),
        ("SELECT COUNT(*) FROM x_meta_api_keys WHERE expires_at > '2026-01-01'", [("5",)]),
        ("SELECT COUNT(*) FROM x_meta_api_keys WHERE expires_at > '9999-01-01'", [("0",)]),
        ("SELECT COUNT(*) FROM x_meta_api_keys WHERE 1 = 0", [("0",)]),
        ("SELECT 1 FROM x_meta_api_keys GROUP BY 1", [("1",)]),
        (
            "SELECT 7 / 2, 7 * 2, -3, MOD(-7, 3), SAFE_DIVIDE(1, 0), NULL, 'it\\'s', 1.5",
            [("3.5", "14", "-3", "-1", None, None, "it's", "1.5")],
        ),
        (
            (
                "SELECT CONCAT('a', 'b', 'c'), UPPER('é'), LENGTH('é'), IF(TRUE, 1, 2),"
                " IFNULL(NULL, 'x'), STARTS_WITH('ab', 'a'), CASE WHEN FALSE THEN 1 ELSE 2.5 END"
            ),
            [("abc", "É", "1", "1", "x", "true", "2.5")],
        ),
        (
            (
                "SELECT CAST(5 AS STRING), CAST(' 7 ' AS INT64),"
                " TIMESTAMP '1970-01-01 01:00:01+01',"
                " CAST(TIMESTAMP('2026-01-01 00:00:00.5') AS STRING)"
            ),
            [("5", "7", "1.0E0", "2026-01-01 00:00:00.500+00")],
        ),
        (
            (
                "SELECT TIMESTAMP_TRUNC(TIMESTAMP '1969-12-31 23:59:59', DAY),"
                " UNIX_SECONDS(TIMESTAMP '1969-12-31 23:59:59.5'),"
                " TIMESTAMP_DIFF(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02 12:00:00', DAY)"
            ),
            [("-8.64E4", "-1", "-1")],
        ),
        (
            "SELECT NULL = NULL, NULL IS NULL, TRUE AND NULL, FALSE AND NULL",
            [(None, "true", None, "false")],
        ),
    ],
)
def test_a_query_answers_as_googlesql_says(
    server: BigQueryServer, text: str, rows: list[tuple[str | None, ...]]
) -> None:
    assert server.rows(text) == rows


def test_columns_have_names_and_types(server: BigQueryServer) -> None:
    text = "SELECT tenant_id, COUNT(*), MAX(created_at) AS last, 1.5, TRUE FROM x_meta_api_keys"
    fields = server.query(f"{text} GROUP BY 1").json()["schema"]["fields"]
    assert [(one["name"], one["type"]) for one in fields] == [
        ("tenant_id", "STRING"),
        ("f0_", "INTEGER"),
        ("last", "TIMESTAMP"),
        ("f1_", "FLOAT"),
        ("f2_", "BOOLEAN"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT nope FROM x_meta_api_keys", "Unrecognized name: nope at [1:8]"),
        ("SELECT k.tenant_id FROM x_meta_api_keys", "Unrecognized name: k at [1:8]"),
        (
            "SELECT tenant_id,\n key_id FROM x_meta_api_keys GROUP BY tenant_id",
            (
                "SELECT list expression references column key_id which is neither grouped nor"
                " aggregated at [2:2]"
            ),
        ),
        (
            "SELECT 1 FROM x_meta_api_keys WHERE tenant_id = 5",
            "No matching signature for operator = for argument types: STRING, INT64 at",
        ),
        (
            "SELECT 1 FROM x_meta_api_keys WHERE is_active = 'true'",
            "No matching signature for operator = for argument types: BOOL, STRING at",
        ),
        (
            "SELECT 1 FROM x_meta_api_keys WHERE tenant_id > created_at",
            "No matching signature for operator > for argument types: STRING, TIMESTAMP at",
        ),
        ("SELECT 1 FROM x_meta_api_keys WHERE tenant_id", "WHERE clause should return type BOOL"),
        (
            "SELECT 1 FROM x_meta_api_keys WHERE created_at > 'soon'",
            'literal "soon" to type TIMESTAMP',
        ),
        ("SELECT 1 FROM x_meta_api_keys WHERE COUNT(*) > 1", "not allowed in WHERE clause"),
        ("SELECT MAX(COUNT(*)) FROM x_meta_api_keys", "Aggregations of aggregations"),
        ("SELECT SUM(key_id) FROM x_meta_api_keys", "No matching signature for function SUM"),
        ("SELECT DISTINCT tenant_id FROM x_meta_api_keys ORDER BY key_id", "not visible after"),
        ("SELECT tenant_id FROM x_meta_api_keys ORDER BY 2", "out of SELECT column number range"),
        ("SELECT key_id, key_id FROM x_meta_api_keys", "Duplicate column names"),
        ("SELECT key_id FROM x_meta_api_keys LIMIT -1", "LIMIT expects a non-negative integer"),
        ("SELECT UPPER(1)", "No matching signature for function UPPER for argument types: INT64"),
        (
            "SELECT 'a' + 1",
            "No matching signature for operator + for argument types: STRING, INT64",
        ),
        ("SELECT 1 / 0", "division by zero: 1 / 0"),
        ("SELECT 9223372036854775807 + 1", "int64 overflow"),
        ("SELECT CAST('x' AS INT64)", "Bad int64 value: x"),
        ("SELECT @missing", "Query parameter 'missing' not found"),
        ("SELEC 1", "Syntax error: "),
        ("SELECT COUNT(* FROM x_meta_api_keys", "Syntax error: "),
        ("SELECT 'open", "Syntax error: "),
    ],
)
def test_a_wrong_query_is_refused_in_bigquerys_words(
    server: BigQueryServer, text: str, message: str
) -> None:
    status, reason, found = server.refusal(text)
    assert (status, reason) == (400, "invalidQuery")
    assert message in found


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a.key_id FROM x_meta_api_keys a JOIN x_meta_api_keys b ON a.key_id = b.key_id",
        "SELECT a.key_id FROM x_meta_api_keys a, x_meta_api_keys b",
        "WITH x AS (SELECT 1) SELECT * FROM x_meta_api_keys",
        "SELECT * FROM (SELECT key_id FROM x_meta_api_keys)",
        "SELECT (SELECT MAX(key_id) FROM x_meta_api_keys)",
        "SELECT key_id FROM x_meta_api_keys UNION ALL SELECT key_id FROM x_meta_api_keys",
        "SELECT * EXCEPT (key_hash) FROM x_meta_api_keys",
        "SELECT AS STRUCT key_id FROM x_meta_api_keys",
        "SELECT ROW_NUMBER() OVER (ORDER BY key_id) FROM x_meta_api_keys",
        "SELECT key_id FROM x_meta_api_keys QUALIFY ROW_NUMBER() OVER (ORDER BY key_id) = 1",
        "SELECT tenant_id FROM x_meta_api_keys GROUP BY ROLLUP (tenant_id)",
        "SELECT COUNT(*) FROM x_meta_api_keys FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
        "SELECT COUNT(*) FROM x_meta_api_keys TABLESAMPLE SYSTEM (10 PERCENT)",
        "SELECT STRING_AGG(key_id) FROM x_meta_api_keys",
        "SELECT FARM_FINGERPRINT(key_id) FROM x_meta_api_keys",
        "SELECT COUNT(DISTINCT key_id LIMIT 3) FROM x_meta_api_keys",
        "SELECT EXTRACT(HOUR FROM created_at) FROM x_meta_api_keys",
        "SELECT TIMESTAMP_TRUNC(created_at, MONTH) FROM x_meta_api_keys",
        "SELECT TIMESTAMP_TRUNC(created_at, DAY, 'Europe/Zurich') FROM x_meta_api_keys",
        "SELECT CAST(created_at AS DATE) FROM x_meta_api_keys",
        "SELECT SAFE_CAST(key_id AS INT64) FROM x_meta_api_keys",
        "SELECT [1, 2]",
        "SELECT CURRENT_DATE()",
        "SELECT * FROM metadata.INFORMATION_SCHEMA.TABLES",
        "SELECT 1; SELECT 2",
        "DECLARE x INT64",
        "DELETE FROM x_meta_api_keys WHERE TRUE",
        "DROP TABLE x_meta_api_keys",
        "CREATE TABLE metadata.other AS SELECT 1 AS x FROM x_meta_api_keys",
        "INSERT INTO x_meta_api_keys (key_id) VALUES ('x')",
    ],
)
def test_what_is_not_understood_is_refused_and_never_guessed(
    server: BigQueryServer, text: str
) -> None:
    status, reason, message = server.refusal(text)
    assert (status, reason) == (400, "invalidQuery")
    assert "not supported by embedded staging" in message, message
    assert server.rows("SELECT COUNT(*) FROM x_meta_api_keys") == [("6",)]


def test_without_a_default_dataset_a_table_must_name_its_own(server: BigQueryServer) -> None:
    status, _, message = server.refusal("SELECT 1 FROM x_meta_api_keys", defaultDataset=None)
    assert (status, "must be qualified with a dataset" in message) == (400, True)


@pytest.mark.parametrize(
    ("text", "status", "reason", "message"),
    [
        (
            "SELECT 1 FROM metadata.no",
            404,
            "notFound",
            "Table convergence-local:metadata.no was not found",
        ),
        ("SELECT 1 FROM no.no", 404, "notFound", "Dataset convergence-local:no was not found"),
        (
            "SELECT 1 FROM `p.metadata.x_meta_api_keys`",
            403,
            "accessDenied",
            "Access Denied: Table p:metadata.",
        ),
    ],
)
def test_a_table_that_is_not_there_is_told_so(
    server: BigQueryServer, text: str, status: int, reason: str, message: str
) -> None:
    found = server.refusal(text)
    assert found[:2] == (status, reason)
    assert message in found[2]


def test_update_changes_the_rows_of_its_where(server: BigQueryServer) -> None:
    server.fill()
    text = (
        "UPDATE metadata.x_meta_api_keys SET is_active = FALSE, expires_at = CURRENT_TIMESTAMP()"
        " WHERE key_id = @key"
    )

    def update(key: str) -> str:
        parameter = {"name": "key", "parameterType": {"type": "STRING"}}
        named = [parameter | {"parameterValue": {"value": key}}]
        return str(server.query(text, queryParameters=named).json()["numDmlAffectedRows"])

    assert (update("key-1"), update("none")) == ("1", "0")
    inactive = "SELECT key_id FROM x_meta_api_keys WHERE NOT is_active ORDER BY 1"
    assert server.rows(inactive) == [("key-1",), ("key-4",)]
    for wrong in (
        "UPDATE x_meta_api_keys SET is_active = FALSE",
        "UPDATE x_meta_api_keys SET is_active = 1 WHERE TRUE",
        "UPDATE x_meta_api_keys SET key_id = NULL WHERE TRUE",
        "UPDATE x_meta_api_keys SET nope = 1 WHERE TRUE",
        "UPDATE x_meta_api_keys SET key_id = 'x' WHERE COUNT(*) = 1",
    ):
        assert server.refusal(wrong)[:2] == (400, "invalidQuery")
    assert server.rows(inactive) == [("key-1",), ("key-4",)]
