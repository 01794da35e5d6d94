"""The one store behind both faces: the service, its revisions, and the rules of a change."""

from __future__ import annotations

import secrets
import string
import time
import uuid
from dataclasses import replace

from staging.baseline import (
    BASELINE_AGES,
    BASELINE_IMAGES,
    CPU,
    ENVIRONMENT,
    INSTANCES,
    MEMORY,
    PORT,
    SERVICE,
)
from staging.cloud_run.errors import CloudRunError, conflict, not_found
from staging.cloud_run.models import (
    Condition,
    Container,
    Place,
    Revision,
    Service,
    ServiceSpec,
    StartupProbe,
    Template,
    TrafficTarget,
    utc_now,
)
from staging.cloud_run.registry import digest_of
from staging.cloud_run.validation import NAME_MAX, check_new_name, check_spec


def baseline_template(image: str, place: Place) -> Template:
    """Return the template of the service in its normal state."""
    return Template(
        container=Container(
            image=image,
            name="api",
            env=ENVIRONMENT,
            limits={"cpu": CPU, "memory": MEMORY},
            port=PORT,
            port_name="http1",
            startup_probe=StartupProbe(port=PORT),
        ),
        min_instances=INSTANCES,
        max_instances=10,
        timeout_s=300,
        concurrency=100,
        service_account=f"pipeline@{place.project}.iam.gserviceaccount.com",
        client="gcloud",
        client_version="528.0.0",
    )


class Store:
    """Keeps one service with its revisions; every change passes `apply`."""

    service: Service
    revisions: dict[str, Revision]
    exists: bool
    """Whether the service is there at all: it is not while it runs on another platform."""

    def __init__(self, place: Place) -> None:
        """Start at the baseline."""
        self.place = place
        self.deployer = f"deployer@{place.project}.iam.gserviceaccount.com"
        self._version = 0
        self.reset()

    def reset(self) -> None:
        """Go back to the baseline: two healthy revisions, all traffic to the latest."""
        self.exists = True
        self.revisions = {}
        for number, image in enumerate(BASELINE_IMAGES, 1):
            template = baseline_template(image, self.place)
            revision = self._new_revision(f"{SERVICE}-{number:05d}-{'abk'[number]}q7", template)
            revision.phase = "ready"
            revision.created = revision.changed = utc_now() - BASELINE_AGES[number - 1]
            self.revisions[revision.name] = revision
        first, latest = self.revisions.values()
        first.active = False
        created = first.created
        self.service = Service(
            name=SERVICE,
            uid=str(uuid.uuid4()),
            created=created,
            updated=latest.created,
            spec=ServiceSpec(template=latest.template, client="gcloud", client_version="528.0.0"),
            version=self._next_version(),
            creator=self.deployer,
            modifier=self.deployer,
            generation=len(BASELINE_IMAGES),
            observed_generation=len(BASELINE_IMAGES),
            latest_created=latest.name,
            latest_ready=latest.name,
            served=(TrafficTarget(latest=True, revision=latest.name, percent=100),),
            configurations_ready=Condition("ConfigurationsReady", changed=latest.created),
            routes_ready=Condition("RoutesReady", changed=latest.created),
            ready=Condition("Ready", changed=latest.created),
        )

    def _next_version(self) -> int:
        # Microseconds, as the real resourceVersion once was; strictly rising whatever the clock.
        self._version = max(self._version + 1, time.time_ns() // 1000)
        return self._version

    def delete(self) -> None:
        """Hold no service any more, until the next reset."""
        self.exists = False
        self.revisions = {}

    def list_services(self) -> list[Service]:
        """Return every service: one, or none."""
        return [self.service] if self.exists else []

    def find_service(self, name: str) -> Service:
        """Return the service called `name`. Raise NOT_FOUND."""
        if not self.exists or name != self.service.name:
            raise not_found("SERVICE", name, self.place.region, self.place.project)
        return self.service

    def find_revision(self, name: str) -> Revision:
        """Return the revision called `name`. Raise NOT_FOUND."""
        if name not in self.revisions:
            raise not_found("REVISION", name, self.place.region, self.place.project)
        return self.revisions[name]

    def newest_first(self) -> list[Revision]:
        """Return all revisions in the order in which Cloud Run lists them."""
        return sorted(self.revisions.values(), key=lambda item: item.created, reverse=True)

    def check(self, spec: ServiceSpec, version: str) -> None:
        """Refuse a change that may not be made; an empty `version` means: whatever is there.

        Raises:
            CloudRunError: ABORTED on a stale version, INVALID_ARGUMENT, ALREADY_EXISTS.
        """
        if version and version != str(self.service.version):
            raise conflict(self.service.name, version, str(self.service.version))
        check_spec(spec, self.service.name)
        if spec.template != self.service.spec.template:
            check_new_name(spec.template.name, self.revisions)

    def preview(self, spec: ServiceSpec) -> Service:
        """Return the service as it would read after a change, for a dry run."""
        return replace(self.service, spec=spec)

    def apply(self, spec: ServiceSpec, version: str, modifier: str) -> Revision | None:
        """Make a change; return the new revision when the template differs.

        Raises:
            CloudRunError: as `check` does; nothing has changed then.
        """
        self.check(spec, version)
        service = self.service
        before, service.spec = service.spec, spec
        if spec == before:
            return None
        service.generation += 1
        service.version = self._next_version()
        service.updated, service.modifier = utc_now(), modifier
        if spec.template == before.template:
            return None
        name = spec.template.name or self._free_name()
        revision = self._new_revision(name, spec.template)
        self.revisions[name] = revision
        service.latest_created = name
        return revision

    def _new_revision(self, name: str, template: Template) -> Revision:
        return Revision(
            name=name,
            uid=str(uuid.uuid4()),
            generation=self._generation(),
            created=utc_now(),
            template=template,
            digest=digest_of(template.container.image),
            creator=self.deployer,
        )

    def _generation(self) -> int:
        return max((item.generation for item in self.revisions.values()), default=0) + 1

    def _free_name(self) -> str:
        number = self._generation()
        for _ in range(100):
            letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(3))
            name = f"{self.service.name[: NAME_MAX - 10]}-{number:05d}-{letters}"
            if name not in self.revisions:
                return name
        raise CloudRunError("INTERNAL", "no free revision name was found")
