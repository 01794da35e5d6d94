"""What embedded Cloud Run is and is not, as rows for the site, taken from its own tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.cloud_run import knative_schema, v2_schema
from staging.cloud_run.messages import Message, Repeated, Unsupported
from staging.cloud_run.routes import KNATIVE_ENDPOINTS, V2_ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPARTURES = (
    ("services per project", "One; creating and deleting services is refused with 501."),
    (
        "scale to zero",
        "A revision with traffic keeps one instance at least: nothing wakes one on a request.",
    ),
    (
        "autoscaling",
        "60 % of CPU over a minute (scaled); the target of 60 % of the concurrency is not used.",
    ),
    (
        "traffic",
        (
            "Moves in one step when the new revision's instances are ready, not gradually;"
            " URLs of tags are shown but not served."
        ),
    ),
    (
        "timeout of requests",
        (
            "Applied by the ingress when it is below 5 s: 504, and the connection to the instance"
            " ends. Otherwise the ingress gives up after 5 s."
        ),
    ),
    (
        "concurrency",
        "A request beyond it is answered 503 by the instance; Cloud Run queues, then answers 429.",
    ),
    ("memory limit", "Shown by the service's metrics, not enforced: nothing dies of it."),
    ("startup probe", "TCP only; HTTP and gRPC probes are refused, and so are liveness probes."),
    (
        "back-off of crashing containers",
        (
            "At once, then 10, 20, 40 ... 300 s (scaled), as the Kubernetes kubelet does;"
            " Cloud Run publishes no values."
        ),
    ),
    (
        "images",
        (
            "Pulled from the registry at every start, where Cloud Run keeps a copy of its own:"
            " the fault lost-image takes that copy away."
        ),
    ),
    ("resourceVersion and etag", "Move with each change of the service, not with its status."),
    (
        "Ready after a pinned rollback",
        (
            "Stays False with the failed revision's message, as field reports have it; never seen"
            " on a real project."
        ),
    ),
    ("sign-in", "None: whoever reaches the loopback address may do everything."),
)


def _refused_fields(kind: object, path: str) -> Iterator[str]:
    if isinstance(kind, Repeated):
        yield from _refused_fields(kind.item, f"{path}[]")
    elif isinstance(kind, Message):
        for name, field in kind.fields.items():
            yield from _refused_fields(field, f"{path}.{name}" if path else name)
    elif isinstance(kind, Unsupported):
        yield path


def describe_fidelity() -> list[str]:
    """Return Markdown table rows: what is answered, what is refused, what differs."""
    answered = [
        f"| `{item.method} {item.path}` | answered: {item.title} |"
        for item in (*V2_ENDPOINTS, *KNATIVE_ENDPOINTS)
    ]
    refused = [
        f"| {face} `{path}` | refused with 501 |"
        for face, schema in (("v2", v2_schema.SERVICE), ("v1", knative_schema.SERVICE))
        for path in sorted(set(_refused_fields(schema, "")))
    ]
    different = [f"| {subject} | {text} |" for subject, text in DEPARTURES]
    return ["| Cloud Run | here |", "| --- | --- |", *answered, *refused, *different]
