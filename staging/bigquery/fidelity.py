"""What embedded BigQuery is and is not, as rows for the site."""

from __future__ import annotations

from staging.bigquery.api import PREFIX, BigQuery
from staging.bigquery.store import Store

DEPARTURES = (
    (
        "datasets and tables",
        (
            "`metadata.x_meta_api_keys`, and `x_meta_pipeline_runs` in a dataset for each tenant;"
            " none can be made, changed or deleted. Of each table of runs the newest 200 rows are"
            " kept. Datasets have no access entries."
        ),
    ),
    (
        "types of columns",
        "STRING, INT64, FLOAT64, BOOL and TIMESTAMP, required or nullable.",
    ),
    (
        "GoogleSQL",
        (
            "One SELECT over one table or none: WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, DISTINCT;"
            " or one UPDATE. Joins, subqueries, WITH, windows, scripts and all other statements are"
            " refused with invalidQuery."
        ),
    ),
    (
        "functions",
        (
            "COUNT, COUNTIF, MIN, MAX, SUM, AVG, TIMESTAMP arithmetic up to DAY in UTC, CAST among"
            " these types, IF, CASE, COALESCE, some of text; all others are refused."
        ),
    ),
    (
        "refusals of queries",
        (
            "Types are checked as BigQuery does. Most words are BigQuery's, without the list of"
            " supported signatures; syntax errors have the reason in the parser's words."
        ),
    ),
    (
        "jobs",
        (
            "Queries alone, done when the request is answered; the newest 50 are kept, and cannot"
            " be listed or cancelled. No cache, no destination table, no legacy SQL, no quota."
        ),
    ),
    (
        "tabledata.insertAll",
        (
            "All rows or none; insertId removes no duplicates. A row can be updated at once, where"
            " production makes it wait in the streaming buffer."
        ),
    ),
    ("fields", "Accepted and without effect: answers are whole."),
    ("bytes processed", "The logical size of the columns read; nothing is billed."),
    ("sign-in", "None: whoever reaches the loopback address may do everything."),
)


def describe_fidelity() -> list[str]:
    """Return Markdown table rows: what is answered, and what differs."""
    methods = BigQuery(Store("project", ())).methods
    answered = [f"| `{one.verb} {PREFIX}{one.path}` | answered: {one.name} |" for one in methods]
    different = [f"| {subject} | {text} |" for subject, text in DEPARTURES]
    return ["| BigQuery | here |", "| --- | --- |", *answered, *different]
