"""Who asks for what, and how often: tenants and endpoints by weight."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.service.tenants import list_pipelines, list_tenants

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

USUAL_ROWS = 1000
MAX_ROWS = 1_000_000
LARGEST_SHARE = 0.15
_FLATTENING = 4

_ENDPOINTS = {
    ("GET", "/api/v1/pipelines?rows={rows}"): 45,
    ("GET", "/api/v1/pipelines/executions?status=completed&rows={rows}"): 10,
    ("GET", "/api/v1/pipelines/executions?status=failed&rows={rows}"): 10,
    ("POST", "/api/v1/pipelines/run/{pipeline}"): 30,
    ("POST", "/api/v1/pipelines/{pipeline}/retry"): 5,
}


@dataclass(frozen=True)
class PlannedRequest:
    """One request as it goes out."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Profile:
    """Draws requests: the largest tenant sends 15 %, the others fall off with their rank."""

    def __init__(self, keys: Mapping[str, str], chance: random.Random) -> None:
        """Take the API keys by tenant and the source of chance; a seeded one repeats itself."""
        self._chance = chance
        self._keys = keys
        self._tenants = list_tenants()
        falling = [1 / (rank + _FLATTENING) for rank in range(1, len(self._tenants))]
        rest = 1 - LARGEST_SHARE
        self._weights = [LARGEST_SHARE, *(rest * share / sum(falling) for share in falling)]

    def draw(self, weight_factor: float) -> PlannedRequest:
        """Return a request over `weight_factor` times the usual 1000 rows."""
        [tenant] = self._chance.choices(self._tenants, self._weights)
        [(method, template)] = self._chance.choices(list(_ENDPOINTS), list(_ENDPOINTS.values()))
        pipeline = self._chance.choice(list_pipelines(tenant)).pipeline_id
        rows = max(1, min(MAX_ROWS, round(USUAL_ROWS * weight_factor)))
        headers = {"x-api-key": self._keys[tenant]}
        body = b""
        if method == "POST":
            headers["content-type"] = "application/json"
            body = json.dumps({"rows": rows}).encode()
        target = template.format(rows=rows, pipeline=pipeline)
        return PlannedRequest(method, target, headers, body)
