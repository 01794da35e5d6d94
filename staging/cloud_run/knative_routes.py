"""The requests of serving.knative.dev/v1, and two small ones that gcloud run makes elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from staging.cloud_run.errors import invalid
from staging.cloud_run.knative import LOCATION_LABEL, matches_selector, render_list
from staging.cloud_run.knative_render import render_revision, render_service, revision_labels
from staging.cloud_run.paging import take_page

if TYPE_CHECKING:
    from starlette.requests import Request

    from staging.cloud_run.control_plane import CloudRun
    from staging.cloud_run.models import Revision


class KnativeHandlers:
    """Answers v1 requests as plain JSON values; refusals are raised as CloudRunError."""

    def __init__(self, cloud_run: CloudRun) -> None:
        """Answer from this Cloud Run."""
        self._cloud_run = cloud_run
        self._store = cloud_run.store
        self._place = cloud_run.place

    def _revision(self, revision: Revision) -> dict[str, Any]:
        conditions = self._cloud_run.conditions_of(revision)
        return render_revision(revision, conditions, self._place, self._store.service.name)

    def _list(self, request: Request, kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        given = request.query_params
        page, token = take_page(items, given.get("limit", ""), given.get("continue", ""))
        answer = render_list(kind, page, self._store.service.version)
        if token:
            answer["metadata"]["continue"] = token
        return answer

    async def list_services(self, request: Request) -> dict[str, Any]:
        """Return the services that the label selector admits; there is one in all."""
        selector = request.query_params.get("labelSelector", "")
        items = [
            render_service(service, self._place)
            for service in self._store.list_services()
            if matches_selector(
                {**service.spec.labels, LOCATION_LABEL: self._place.region}, selector
            )
        ]
        return self._list(request, "Service", items)

    async def get_service(self, request: Request) -> dict[str, Any]:
        """Return a service. Raise NOT_FOUND."""
        service = self._store.find_service(request.path_params["service"])
        return render_service(service, self._place)

    async def replace_service(self, request: Request) -> dict[str, Any]:
        """Replace a service and return it. Raise what CloudRun.replace_service raises."""
        name = request.path_params["service"]
        self._store.find_service(name)
        dry_run = request.query_params.get("dryRun", "")
        if dry_run not in ("", "all"):
            raise invalid(f"dryRun: '{dry_run}' is not 'all'.")
        service = self._cloud_run.replace_service(name, request.state.body, dry_run=bool(dry_run))
        return render_service(service, self._place)

    async def list_revisions(self, request: Request) -> dict[str, Any]:
        """Return the revisions that the label selector admits, newest first."""
        selector, name = request.query_params.get("labelSelector", ""), self._store.service.name
        items = [
            self._revision(item)
            for item in self._store.newest_first()
            if matches_selector(revision_labels(item, self._place, name), selector)
        ]
        return self._list(request, "Revision", items)

    async def get_revision(self, request: Request) -> dict[str, Any]:
        """Return a revision. Raise NOT_FOUND."""
        return self._revision(self._store.find_revision(request.path_params["revision"]))

    async def get_api_state(self, _: Request) -> dict[str, Any]:
        """Return that the Cloud Run API is switched on."""
        parent = f"projects/{self._place.project_number}"
        name = "run.googleapis.com"
        return {
            "name": f"{parent}/services/{name}",
            "parent": parent,
            "state": "ENABLED",
            "config": {"name": name, "title": "Cloud Run Admin API"},
        }

    async def get_project(self, _: Request) -> dict[str, Any]:
        """Return the project's id and number."""
        return {
            "projectId": self._place.project,
            "projectNumber": self._place.project_number,
            "name": self._place.project,
            "lifecycleState": "ACTIVE",
        }
