"""Who asks for what, and how often: tenants and endpoints by weight."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from itertools import accumulate, cycle
from typing import TYPE_CHECKING

from staging.load.sources import find_address
from staging.service.tenants import list_pipelines, list_tenants

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

USUAL_ROWS = 1000
MAX_ROWS = 1_000_000
LARGEST_SHARE = 0.15
_FLATTENING = 4
_MOST_FACTOR = 1000

_ENDPOINTS = {
    ("GET", "/api/v1/pipelines?rows={rows}"): 45,
    ("GET", "/api/v1/pipelines/executions?status=completed&rows={rows}"): 10,
    ("GET", "/api/v1/pipelines/executions?status=failed&rows={rows}"): 10,
    ("POST", "/api/v1/pipelines/run/{pipeline}"): 30,
    ("POST", "/api/v1/pipelines/{pipeline}/retry"): 5,
}
_POLLED = "/api/v1/pipelines/executions?status=failed"
_GUESSED = "/api/v1/pipelines"
_SECRET_LETTERS = string.ascii_letters + string.digits + "-_"
_SECRET_LENGTH = 32


@dataclass(frozen=True)
class PlannedRequest:
    """One request as it goes out, from its client's address; `tenant` is who it claims to be."""

    tenant: str
    source: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


class Profile:
    """Draws requests: the largest tenant sends 15 %, the others fall off with their rank."""

    def __init__(self, keys: Mapping[str, str], chance: random.Random) -> None:
        """Take the API keys by tenant and the source of chance; a seeded one repeats itself."""
        self._chance = chance
        self._usual_keys = dict(keys)
        self._tenants = list_tenants()
        falling = [1 / (rank + _FLATTENING) for rank in range(1, len(self._tenants))]
        rest = 1 - LARGEST_SHARE
        self._weights = [LARGEST_SHARE, *(rest * share / sum(falling) for share in falling)]
        self.reset()

    def reset(self) -> None:
        """Let every tenant send its usual share, with its usual key."""
        self._keys = dict(self._usual_keys)
        self._factors = dict.fromkeys(self._tenants, 1.0)
        self._sum_up()

    @property
    def volume(self) -> float:
        """What all tenants send together, 1 as long as each sends its usual share."""
        return self._steps[-1]

    def set_factor(self, tenant: str, factor: float) -> None:
        """Let a tenant send `factor` times its usual; raise ValueError for a senseless one."""
        self._check(tenant)
        if not 0 <= factor <= _MOST_FACTOR:
            raise ValueError("a tenant's factor must be from 0 to 1000")
        self._factors[tenant] = factor
        self._sum_up()

    def set_key(self, tenant: str, key: str | None) -> None:
        """Let a tenant's clients use this key, None: the usual one. Raise ValueError."""
        self._check(tenant)
        if key is not None and not (key.isascii() and key.isprintable() and key):
            raise ValueError("a key must be printable ASCII")
        self._keys[tenant] = self._usual_keys[tenant] if key is None else key

    def draw(self, weight_factor: float) -> PlannedRequest:
        """Return a request over `weight_factor` times the usual 1000 rows."""
        [tenant] = self._chance.choices(self._tenants, cum_weights=self._steps)
        [(method, template)] = self._chance.choices(list(_ENDPOINTS), list(_ENDPOINTS.values()))
        pipeline = self._chance.choice(list_pipelines(tenant)).pipeline_id
        rows = max(1, min(MAX_ROWS, round(USUAL_ROWS * weight_factor)))
        headers = {"x-api-key": self._keys[tenant]}
        body = b""
        if method == "POST":
            headers["content-type"] = "application/json"
            body = json.dumps({"rows": rows}).encode()
        target = template.format(rows=rows, pipeline=pipeline)
        return PlannedRequest(tenant, find_address(tenant), method, target, headers, body)

    def plan_poll(self, tenant: str) -> PlannedRequest:
        """Return what a tenant's runaway client asks for, always the same; raise ValueError."""
        self._check(tenant)
        headers = {"x-api-key": self._keys[tenant]}
        return PlannedRequest(tenant, find_address(tenant), "GET", _POLLED, headers)

    def _check(self, tenant: str) -> None:
        if tenant not in self._factors:
            raise ValueError(f"there is no tenant {tenant!r}")

    def _sum_up(self) -> None:
        factors = self._factors.values()
        shares = (w * f for w, f in zip(self._weights, factors, strict=True))
        self._steps = list(accumulate(shares))


class Attack:
    """Guesses keys: from its addresses in turn, for all tenants or for one."""

    def __init__(self, sources: Sequence[str], tenant: str, chance: random.Random) -> None:
        """Take addresses of this machine and a tenant, "" for all; raise ValueError."""
        if not sources:
            raise ValueError("an attack comes from somewhere")
        if tenant and tenant not in list_tenants():
            raise ValueError(f"there is no tenant {tenant!r}")
        self.sources = tuple(sources)
        self.tenant = tenant
        self._chance = chance
        self._turns = cycle(self.sources)

    def draw(self) -> PlannedRequest:
        """Return an attempt with a key that was not tried before."""
        tenant = self.tenant or self._chance.choice(list_tenants())
        secret = "".join(self._chance.choices(_SECRET_LETTERS, k=_SECRET_LENGTH))
        headers = {"x-api-key": f"cda.{tenant}.{secret}"}
        return PlannedRequest(tenant, next(self._turns), "GET", _GUESSED, headers)
