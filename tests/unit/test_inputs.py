"""What a person may type: refused before anything is asked."""

from __future__ import annotations

import pytest

from checks import inputs
from checks.errors import UsageError

HOSTILE = [
    "",
    " ",
    "a;b",
    "$(id)",
    "a\n",
    "\na",
    "a b",
    "-a",
    "a/..",
    "`id`",
    "é",
    "a\x00",
    "a" * 200,
]


@pytest.mark.parametrize("value", [*HOSTILE, "A", "1a", "a-", "a_b", "a" * 64])
def test_bad_resource_names(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        inputs.check_revision_name(value)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["a", "api-00001-abc", "a" * 63])
def test_good_resource_names(value: str) -> None:
    assert inputs.check_revision_name(value) == value


@pytest.mark.parametrize("bounds", [(-1, 5), (5, 4), (0, 0), (0, 1001), (1001, 1002)])
def test_bad_instance_bounds(bounds: tuple[int, int]) -> None:
    with pytest.raises(UsageError):
        inputs.check_instance_bounds(*bounds)


@pytest.mark.parametrize("bounds", [(0, 1), (10, 10), (1000, 1000)])
def test_good_instance_bounds(bounds: tuple[int, int]) -> None:
    assert inputs.check_instance_bounds(*bounds) == bounds
