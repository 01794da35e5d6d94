"""What the platform knows and the service does not: which slots should be serving."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.addresses import INSTANCE_PORT

if TYPE_CHECKING:
    from staging.control.plant import Plant

_HEAD = """\
# HELP slot_expected Whether an instance lives at this address according to the platform.
# TYPE slot_expected gauge
"""


def render_metrics(plant: Plant) -> str:
    """Return `slot_expected` for every slot in Prometheus' text format.

    The label `instance` is the target's own, so that it joins with `up` (honor_labels).
    """
    revisions = {
        instance.address.partition(":")[0]: instance.spec.revision
        for instance in plant.fleet.instances()
        if instance.state in {"starting", "ready"}
    }
    lines = (
        f'slot_expected{{instance="{address}:{INSTANCE_PORT}",'
        f'revision="{revisions.get(address, "")}"}} {int(address in revisions)}\n'
        for address in plant.addresses.instances
    )
    return _HEAD + "".join(lines)
