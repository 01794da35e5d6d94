"""How much capacity was asked for: what was typed, checked, and made a wish."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError, UsageError
from checks.inputs import (
    MAX_INSTANCES,
    check_cloud_run_size,
    check_cpu,
    check_instance_bounds,
    check_memory,
    check_number,
)
from checks.target import CLOUD_RUN
from runbook.changes.settings import LIMITS, Wish, read_settings
from runbook.changes.state import parse_scaling

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP = "mitigate.scale-up"
_DEFAULT_SCALING = {"min": 10, "max": 20}
_DEFAULT_REPLICAS = 10
_FACTORS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
}


def check_typed(
    platform: str,
    *,
    least: str | None,
    most: str | None,
    replicas: str | None,
    cpu: str | None,
    memory: str | None,
) -> dict[str, Any]:
    """Return what was typed by field; the platform's own default number where nothing was.

    Raises:
        UsageError: A value is out of range, or an option belongs to the other platform.
    """
    found: dict[str, Any] = {
        "min": check_number("--min-instances", least, minimum=0, maximum=MAX_INSTANCES),
        "max": check_number("--max-instances", most, minimum=1, maximum=MAX_INSTANCES),
        "replicas": check_number("--replicas", replicas, minimum=1, maximum=MAX_INSTANCES),
        "cpu": None if cpu is None else check_cpu(cpu),
        "memory": None if memory is None else check_memory(memory),
    }
    typed = {name: value for name, value in found.items() if value is not None}
    foreign = {"replicas"} if platform == CLOUD_RUN else {"min", "max"}
    if foreign & set(typed):
        wanted = "--min-instances" if platform == CLOUD_RUN else "--replicas"
        given = "--replicas" if platform == CLOUD_RUN else "--min-instances and --max-instances"
        raise UsageError(
            f"{given} is not for {platform}. Nothing was changed.",
            next_step=f"give {wanted}, or another --platform",
        )
    if {"min", "max"} <= set(typed):
        check_instance_bounds(typed["min"], typed["max"])
    if typed:
        return typed
    return dict(_DEFAULT_SCALING) if platform == CLOUD_RUN else {"replicas": _DEFAULT_REPLICAS}


def make_wish(
    platform: str,
    typed: Mapping[str, Any],
    template: Mapping[str, Any],
    *,
    symptoms: tuple[str, ...] = (),
    force: bool = False,
) -> Wish:
    """Return the wish for what was typed, out of the template that serves.

    Raises:
        UsageError: Cloud Run does not take the sizes together.
        RefusedError: A limit in force would be lowered, and `force` is not set.
    """
    fields: dict[str, Any] = {name: typed[name] for name in LIMITS if name in typed}
    told = []
    if {"min", "max"} & set(typed):
        have = parse_scaling(template)
        fields["scaling"] = _widen(have, typed)
        told.append("{min} to {max} instances".format(**fields["scaling"]))
    if "replicas" in typed:
        fields["replicas"] = typed["replicas"]
        told.append(f"{typed['replicas']} pods")
    if {"cpu", "memory"} & set(typed):
        size = {**read_settings(template, LIMITS), **fields}
        if platform == CLOUD_RUN:
            check_cloud_run_size(str(size["cpu"]), str(size["memory"]))
        if not force:
            _refuse_smaller(read_settings(template, LIMITS), fields)
        told.append(f"{size['cpu']} vCPU and {size['memory']} each")
    return Wish(
        STEP,
        fields,
        f"Run {', '.join(told)}, of what serves now.",
        symptoms=("errors", *symptoms),
        force=force,
    )


def _refuse_smaller(have: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in LIMITS:
        old, new = have[name], wanted.get(name)
        if old is not None and new is not None and measure(new) < measure(str(old)):
            raise RefusedError(
                f"What serves has {old} of {name}; {new} would lower it. Nothing was changed.",
                next_step=f"Name a larger --{name}, or add --force to lower it.",
            )


def measure(quantity: str) -> float:
    """Return a quantity of Kubernetes' kind as a number: `500m` is 0.5; 0 where it is none."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|Ki|Mi|Gi|)", quantity)
    return float(found[1]) * _FACTORS[found[2]] if found else 0.0


def _widen(have: Mapping[str, int], typed: Mapping[str, Any]) -> dict[str, int]:
    wanted = {"min": typed.get("min", have["min"]), "max": typed.get("max", have["max"])}
    if wanted["max"] and wanted["min"] > wanted["max"]:
        raise UsageError(
            f"--min-instances ({wanted['min']}) is above the {wanted['max']} that may run at most.",
            next_step=f"give --max-instances={wanted['min'] * 2} as well",
        )
    return wanted
