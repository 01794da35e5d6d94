"""The parts of a running staging, as faults, reset and status see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.addresses import Addresses
    from staging.cloud_armor.control_plane import CloudArmor
    from staging.cloud_logging.store import LogStore
    from staging.cloud_run.control_plane import CloudRun
    from staging.control.key_table import KeyTable
    from staging.control.platforms import Platforms
    from staging.ingress.balancer import Ingress
    from staging.load.load import Load
    from staging.model import Workload
    from staging.monitoring.alertmanager import Alertmanager
    from staging.monitoring.prometheus import Prometheus
    from staging.service.database_server import DatabaseServer
    from staging.service.fleet import ProcessFleet
    from staging.service.sources_server import SourcesServer


@dataclass
class Plant:
    """What there is to break, to mend and to look at."""

    time_scale: float
    addresses: Addresses
    fleet: ProcessFleet
    cloud_run: CloudRun
    ingress: Ingress
    prometheus: Prometheus
    alertmanager: Alertmanager
    logs: LogStore
    load: Load
    database: DatabaseServer
    sources: SourcesServer
    """The tenants' own systems."""
    keys: KeyTable
    platforms: Platforms
    cloud_armor: CloudArmor
    publish: Callable[[], None]
    """Writes the endpoints file anew."""
    faults: list[str] = field(default_factory=list)
    """The names of the faults in force, in the order in which they were caused."""

    @property
    def workload(self) -> Workload:
        """The service on the platform in force."""
        return self.platforms.workload
