"""Configuration of Prometheus and Alertmanager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from staging.addresses import INSTANCE_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

# A window of 5m is 2.5 s at time scale 120: ten scrapes.
INTERVAL = "250ms"
# A frozen instance accepts the connection and says nothing; it has to count as down at once.
TIMEOUT = "200ms"


def render_prometheus(
    *, addresses: Sequence[str], rules: Sequence[str], exporter: str, alertmanager: str
) -> str:
    """Return prometheus.yml for job convergence-api on every slot, used or not.

    The targets are static: Prometheus takes over a change of discovered targets only after
    seconds, which is minutes on staging's clock. `rules` are files, the others are host:port.
    """
    return yaml.safe_dump(
        {
            "global": {
                "scrape_interval": INTERVAL,
                "scrape_timeout": TIMEOUT,
                "evaluation_interval": INTERVAL,
            },
            "rule_files": list(rules),
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}],
            },
            "scrape_configs": [
                {
                    "job_name": "convergence-api",
                    "static_configs": [
                        {"targets": [f"{address}:{INSTANCE_PORT}" for address in addresses]}
                    ],
                },
                {
                    "job_name": "staging",
                    "honor_labels": True,
                    "static_configs": [{"targets": [exporter]}],
                },
            ],
        },
        sort_keys=False,
    )


def render_alertmanager() -> str:
    """Return alertmanager.yml: a route a severity, as facts about who gets told have them.

    The receivers keep nothing yet; an alert is read from Alertmanager's API.
    """
    severities = ("critical", "high", "warning")
    return yaml.safe_dump(
        {
            "route": {
                "receiver": "nobody",
                "group_by": ["alertname"],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
                "routes": [
                    {"receiver": severity, "matchers": [f'severity="{severity}"']}
                    for severity in severities
                ],
            },
            "receivers": [{"name": name} for name in ("nobody", *severities)],
        },
        sort_keys=False,
    )
