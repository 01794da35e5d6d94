"""Faults of access: guessed keys, wrong keys, and tenants that ask too much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from staging.control.fault import Fault
from staging.load.sources import ATTACKER, DISTRIBUTED_ATTACKER
from staging.service.tenants import LARGEST_TENANT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from staging.control.plant import Plant

# Of middle size: 11 of 60 requests a second together, and none of them 5.
ROLLOUT_TENANTS = ("cobalt_media", "delta_grid_energy", "evergreen_health")
GUESSED_TENANT = "blue_harbor_bank"
POLLING_TENANT = "willow_press"
POLLING_RATE = 60.0
SPIKE_FACTOR = 2.2
_MINUTE_S = 60
_YEAR_S = 365 * 86_400


def _attack_fault(
    name: str, sources: Sequence[str], tenant: str, description: str, alert: str
) -> Fault:
    async def engage(plant: Plant) -> None:
        await plant.load.set_attack(sources, tenant=tenant)

    return Fault(name, description, alert, engage, _end_attack)


async def _end_attack(plant: Plant) -> None:
    await plant.load.end_attack()


async def _roll_out_strange_keys(plant: Plant) -> None:
    for tenant in ROLLOUT_TENANTS:
        await plant.load.use_key(tenant, plant.keys.write_strange_key(tenant))


async def _distribute_right_keys(plant: Plant) -> None:
    for tenant in ROLLOUT_TENANTS:
        await plant.load.use_key(tenant, None)


def _move_expiry(seconds: float) -> Callable[[Plant], Awaitable[None]]:
    async def move(plant: Plant) -> None:
        plant.keys.set_expiry(ROLLOUT_TENANTS, time.time() + seconds)

    return move


async def _double_largest(plant: Plant) -> None:
    await plant.load.set_retries(LARGEST_TENANT, on=True)
    await plant.load.set_tenant_rate(LARGEST_TENANT, SPIKE_FACTOR)


async def _calm_largest(plant: Plant) -> None:
    await plant.load.set_tenant_rate(LARGEST_TENANT, 1.0)
    await plant.load.set_retries(LARGEST_TENANT, on=False)


async def _poll(plant: Plant) -> None:
    await plant.load.set_polling(POLLING_TENANT, POLLING_RATE)


async def _stop_polling(plant: Plant) -> None:
    await plant.load.set_polling(POLLING_TENANT, 0.0)


ACCESS_FAULTS = (
    _attack_fault(
        "credential-spray",
        (ATTACKER,),
        "",
        f"Somebody at {ATTACKER} guesses API keys of all tenants, 50 times a second.",
        "HighAuthFailureRate",
    ),
    _attack_fault(
        "distributed-spray",
        DISTRIBUTED_ATTACKER,
        "",
        "Somebody guesses API keys of all tenants, 50 times a second, from 16 addresses of as many"
        " networks.",
        "HighAuthFailureRate",
    ),
    Fault(
        "key-rollout",
        "Three tenants of middle size roll out new API keys that the service has never heard of.",
        "HighAuthFailureRate",
        _roll_out_strange_keys,
        _distribute_right_keys,
    ),
    Fault(
        "expired-keys",
        "The API keys of three tenants of middle size come to their end, and nobody renewed them.",
        "HighAuthFailureRate",
        _move_expiry(-_MINUTE_S),
        _move_expiry(_YEAR_S),
    ),
    _attack_fault(
        "brute-force",
        (ATTACKER,),
        GUESSED_TENANT,
        f"Somebody at {ATTACKER} guesses API keys of one tenant, 50 times a second.",
        "PotentialBruteForce",
    ),
    _attack_fault(
        "distributed-brute-force",
        DISTRIBUTED_ATTACKER,
        GUESSED_TENANT,
        "Somebody guesses API keys of one tenant, 50 times a second, from 16 addresses of as many"
        " networks.",
        "PotentialBruteForce",
    ),
    Fault(
        "tenant-spike",
        "The largest tenant sends more than twice its usual, to all its endpoints: more than its"
        " limit. Its clients try what was refused again at once, up to three times.",
        "RateLimitExceeded",
        _double_largest,
        _calm_largest,
    ),
    Fault(
        "abusive-tenant",
        "A small tenant's client asks one endpoint 60 times a second, whatever it is answered.",
        "RateLimitExceeded",
        _poll,
        _stop_polling,
    ),
)
