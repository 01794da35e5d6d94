"""What embedded staging's Cloud Logging does, and where it is not the real one."""

from __future__ import annotations

from typing import Final

_ROWS: Final = (
    (
        "entries.list",
        (
            "as the API: filter, order by timestamp, page tokens that later writes do not disturb,"
            " pages that may be cut short"
        ),
        "projects only: folders, organizations, buckets and views are refused",
    ),
    (
        "entries.write",
        "as the API: defaults of the request, partial success, dry run, duplicates by insertId",
        "no retention limits, no quotas; a text may be larger than the API's 256 KB",
    ),
    (
        "entries.tail, entries.copy, logs, sinks, metrics, buckets",
        "refused with 501",
        "not there",
    ),
    (
        "query: AND, OR, NOT, grouping, comments, strings, NULL_VALUE, `:`, `:*`",
        "as the documentation of the language",
        (
            "escapes by code of bytes above 127, backslashes in unquoted text and other cases that"
            " the documentation leaves open are refused"
        ),
    ),
    (
        "query: types of fields",
        (
            "as LogEntry declares them; payload values have the type of their JSON value; fields of"
            " LogEntry that are not set have their default"
        ),
        (
            "a value that is none of the field's type is refused, where the real one may match"
            " nothing;"
            " protoPayload counts as JSON; field names in snake_case are refused"
        ),
    ),
    (
        "query: bare words",
        "a part of any text, equal to any number or boolean",
        "severity and times are no text (recalled, not proven)",
    ),
    (
        "query: regular expressions",
        "RE2 itself, at most 50 in a filter",
        "the real limit is not known",
    ),
    (
        "query: SEARCH, log_id, source, ip_in_net, REGEXP_EXTRACT, CAST",
        "as the documentation of the language",
        "CAST with TIMEZONE, and CAST of times and severities to STRING, are refused",
    ),
    (
        "query: sample",
        "a deterministic share of the field's values",
        "the hash is another one, so other entries are in the sample",
    ),
    (
        "query: limits",
        "20,000 characters",
        "500 comparisons and 40 levels of brackets; the real limits are not known",
    ),
    (
        "container output",
        "a JSON object becomes jsonPayload, its special fields move to the entry; all else is text",
        "standard error is in the log of standard output; lines beyond 2 MB are truncated",
    ),
    (
        "request log",
        "one entry a request, from the ingress, with httpRequest and the revision",
        (
            "texts about requests that no instance answered are recalled, not re-read; one that"
            " Cloud Armor refused bears the load balancer's jsonPayload here, where production has"
            " a log of its own for it (resource.type http_load_balancer)"
        ),
    ),
    (
        "how much is kept",
        "the newest 20,000 entries, at most 48 MiB",
        "the real one keeps 30 days",
    ),
)


def describe_fidelity() -> list[str]:
    """Return a Markdown table's rows: what, how it behaves here, how the real one differs."""
    head = ["| Cloud Logging | here | where it differs |", "| --- | --- | --- |"]
    return [*head, *(f"| {what} | {here} | {differs} |" for what, here, differs in _ROWS)]
