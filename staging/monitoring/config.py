"""Configuration of Prometheus and Alertmanager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from staging.addresses import INSTANCE_PORT
from staging.monitoring.scale import scale_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

# A window of 5m is 2.5 s at time scale 120: ten scrapes.
INTERVAL = "250ms"
# A frozen instance accepts the connection and says nothing; it has to count as down at once.
TIMEOUT = "200ms"
_ROUTE_DURATIONS = frozenset({"group_wait", "group_interval", "repeat_interval"})


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


def render_alertmanager(text: str, scale: float) -> str:
    """Return production's alertmanager.yml with its times divided by `scale` and no addresses.

    Routes and inhibitions stay; receivers keep their names alone, for nobody is to be told. Raise
    UnscalableRuleError for a duration in an unknown form.
    """
    config = yaml.safe_load(text)
    return yaml.safe_dump(
        {
            "route": _scale_route(config["route"], scale),
            "inhibit_rules": config.get("inhibit_rules", []),
            "receivers": [{"name": receiver["name"]} for receiver in config["receivers"]],
        },
        sort_keys=False,
    )


def _scale_route(route: dict[str, Any], scale: float) -> dict[str, Any]:
    scaled = {
        key: scale_duration(value, scale) if key in _ROUTE_DURATIONS else value
        for key, value in route.items()
    }
    if "routes" in route:
        scaled["routes"] = [_scale_route(inner, scale) for inner in route["routes"]]
    return scaled
