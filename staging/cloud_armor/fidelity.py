"""What embedded Cloud Armor is and is not, as rows for the site."""

from __future__ import annotations

from staging.cloud_armor.control_plane import POLICY
from staging.cloud_armor.routes import ENDPOINTS

DEPARTURES = (
    (
        "policies",
        f"One, `{POLICY}`, with the default rule that lets everybody in; others are not found.",
    ),
    (
        "requests that change the policy itself, other resources of Compute Engine",
        "Refused with 501.",
    ),
    (
        "rules",
        (
            "By source address (SRC_IPS_V1) with allow, deny(403), deny(404), deny(502), preview;"
            " expressions, rate limits, redirects and headers are refused with 501."
        ),
    ),
    (
        "address ranges",
        (
            "An address or a CIDR range without host bits, IPv4 or IPv6, ten a rule; kept as they"
            " were written. The source is that of the connection: nothing stands before it."
        ),
    ),
    (
        "refusals",
        (
            "The words about a priority that is taken, or holds no rule, are Compute Engine's;"
            " those about ranges, actions and the default rule are ours."
        ),
    ),
    (
        "operations",
        (
            "Done when the ingress follows the rules, after 20 s (scaled). The policy shows a rule"
            " at once. Several changes may be under way together."
        ),
    ),
    (
        "request log",
        (
            "In Cloud Run's request log with status, no revision and the load balancer's"
            " enforcedSecurityPolicy; previews are not logged."
        ),
    ),
    ("quotas on rules, sign-in", "None."),
)


def describe_fidelity() -> list[str]:
    """Return Markdown table rows: what is answered, and what differs."""
    answered = [f"| `{one.method} {one.path}` | answered: {one.title} |" for one in ENDPOINTS]
    different = [f"| {subject} | {text} |" for subject, text in DEPARTURES]
    return ["| Cloud Armor | here |", "| --- | --- |", *answered, *different]
