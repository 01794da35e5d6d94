"""Pages of a list: how both APIs hand out a long one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from staging.cloud_run.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 1000
_Item = TypeVar("_Item")


def take_page(items: Sequence[_Item], size: str, token: str) -> tuple[Sequence[_Item], str]:
    """Return the page after `token` and the token of the next one, empty on the last page.

    Raises:
        CloudRunError: INVALID_ARGUMENT for a size that is no number or a token never given out.
    """
    if not re.fullmatch(r"\d{0,9}", size):
        raise invalid(f"page size: '{size}' is no number of items.")
    if not re.fullmatch(r"(after-\d{1,9})?", token):
        raise invalid("page token: not one that this API gave out.")
    start = int(token.removeprefix("after-") or 0)
    end = start + min(int(size or 0) or MOST, MOST)
    return items[start:end], f"after-{end}" if end < len(items) else ""
