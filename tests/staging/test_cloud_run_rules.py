"""Cloud Run's rules without a server: fields, label selectors, images, the autoscaler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.cloud import run_v2

from staging.cloud_run import describe_fidelity, v2_schema
from staging.cloud_run.autoscaler import Autoscaler, Bounds, bounds_for, instances_for
from staging.cloud_run.errors import CloudRunError
from staging.cloud_run.knative import matches_selector
from staging.cloud_run.messages import Enum, Message, Repeated, read_mask
from staging.cloud_run.models import Place, ServiceScaling, ServiceSpec
from staging.cloud_run.registry import digest_of, resolve_image
from staging.cloud_run.store import baseline_template
from staging.cloud_run.validation import read_cpu, read_memory
from staging.model import ImageNotFoundError

if TYPE_CHECKING:
    from staging.cloud_run.messages import FieldType

PLACE = Place("p", "1", "us-central1", time_scale=60.0)
TEMPLATE = baseline_template("repository/api:1", PLACE)


@pytest.mark.parametrize(
    ("message", "schema"),
    [
        (run_v2.Service, v2_schema.SERVICE),
        (run_v2.Revision, v2_schema.REVISION),
        (run_v2.RevisionTemplate, v2_schema.TEMPLATE),
        (run_v2.Container, v2_schema.CONTAINER),
        (run_v2.Probe, v2_schema.PROBE),
        (run_v2.TrafficTarget, v2_schema.TRAFFIC_TARGET),
    ],
)
def test_every_field_of_the_real_message_is_known(message: type, schema: Message) -> None:
    fields = message.pb(message()).DESCRIPTOR.fields  # type: ignore[attr-defined]
    assert {field.json_name for field in fields} == set(schema.fields)
    for field in fields:
        known: FieldType = schema.fields[field.json_name]
        if isinstance(known, Enum):
            assert known.values == {item.name: item.number for item in field.enum_type.values}
        if isinstance(known, Repeated):
            assert field.is_repeated


def test_condition_enums_have_the_real_numbers() -> None:
    real = run_v2.Condition
    states = run_v2.Condition.State.__members__
    assert v2_schema.STATE.values == {name: item.value for name, item in states.items()}
    assert v2_schema.REASON.values["REVISION_FAILED"] == real.CommonReason.REVISION_FAILED
    assert v2_schema.REVISION_REASON.values["RETIRED"] == real.RevisionReason.RETIRED


def test_masks_name_settable_fields_only() -> None:
    read = read_mask("template.scaling.min_instance_count, labels", v2_schema.SERVICE, "service")
    assert read == [("template", "scaling", "minInstanceCount"), ("labels",)]
    for mask in ("template.nothing", "uid", "labels.team", "."):
        with pytest.raises(CloudRunError, match="field mask"):
            read_mask(mask, v2_schema.SERVICE, "service")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("a=1", True),
        ("a = 1", True),
        ("a==1,b=2", True),
        ("a=1,b=3", False),
        ("a!=2", True),
        ("x.dev/c in (one, two)", True),
        ("x.dev/c notin (one,two)", False),
        ("a", True),
        ("z", False),
        ("!z", True),
        ("!a", False),
    ],
)
def test_label_selectors(selector: str, expected: bool) -> None:
    assert matches_selector({"a": "1", "b": "2", "x.dev/c": "two"}, selector) is expected


@pytest.mark.parametrize("selector", ["a=1=2", "a b", "a in 1", "=", "a=9,,"])
def test_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(CloudRunError, match="labelSelector"):
        matches_selector({}, selector)


def test_quantities() -> None:
    assert [read_cpu(text) for text in ("2", "1000m", "0.5")] == [2.0, 1.0, 0.5]
    assert [read_memory(text) for text in ("512Mi", "4Gi", "1G")] == [2**29, 2**32, 10**9]
    for text in ("", "many", "-1", "1e9"):
        with pytest.raises(CloudRunError):
            read_memory(text)


def test_digest_resolves_to_the_tag_while_the_registry_has_it() -> None:
    image = "host/team/api:1.4.2"
    digest = f"host/team/api@{digest_of(image)}"
    assert digest_of(digest) == digest_of(image)
    assert resolve_image(digest, {image}) == image
    for missing in (digest, image, "host/team/api@sha256:0"):
        with pytest.raises(ImageNotFoundError, match="not found"):
            resolve_image(missing, {"host/team/api:other"})


def test_bounds_share_service_scaling_by_traffic() -> None:
    def bounds(percent: int, scaling: ServiceScaling, *, listed: bool = True) -> Bounds:
        spec = ServiceSpec(template=TEMPLATE, scaling=scaling)
        return bounds_for(TEMPLATE, spec, percent, listed=listed)

    assert bounds(100, ServiceScaling()) == Bounds(2, 10)
    assert bounds(0, ServiceScaling()) == Bounds(2, 10)
    assert bounds(100, ServiceScaling(), listed=False) == Bounds(0, 0)
    assert bounds(50, ServiceScaling(min_instances=9)) == Bounds(5, 10)
    assert bounds(100, ServiceScaling(max_instances=4)) == Bounds(2, 4)
    assert bounds(10, ServiceScaling(max_instances=5)) == Bounds(1, 1)
    assert bounds(50, ServiceScaling(manual=True, manual_instances=4)) == Bounds(2, 2)


def test_autoscaler_aims_at_60_percent_and_keeps_idle_instances_a_while() -> None:
    assert [instances_for(demand, 2.0) for demand in (0, 1.2, 1.3, 12)] == [0, 1, 2, 10]
    scaler = Autoscaler(PLACE, 2.0)
    for tick in range(8):
        scaler.observe(tick / 4, 12.0)
    assert scaler.recommend() == 10
    # Scaled by 60 the window is 1 s and the idle time 15 s.
    for tick in range(8, 64):
        scaler.observe(tick / 4, 0.0)
    assert scaler.demand() == 0.0
    assert scaler.recommend() == 10
    for tick in range(64, 90):
        scaler.observe(tick / 4, 0.0)
    assert scaler.recommend() == 0


def test_fidelity_statement_names_requests_and_gaps() -> None:
    rows = describe_fidelity()
    assert all(row.count("|") == 3 for row in rows)
    text = "\n".join(rows)
    assert "services.patch" in text
    assert "template.vpcAccess" in text
    assert "spec.template.spec.volumes" in text
