"""Container images by reference: which exist, and what their digests are."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from staging.model import ImageNotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection


def digest_of(image: str) -> str:
    """Return the sha256 digest of an image; here it stands for the reference itself."""
    named = image.partition("@")[2]
    return named or f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def resolve_image(image: str, registry: Collection[str]) -> str:
    """Return the tagged reference that `image`, a tag or a digest, stands for.

    Raises:
        ImageNotFoundError: when the registry does not have it (any more).
    """
    if image in registry:
        return image
    repository, _, digest = image.partition("@")
    for reference in registry if digest else ():
        if reference.rsplit(":", 1)[0] == repository and digest_of(reference) == digest:
            return reference
    raise ImageNotFoundError(f"Image '{image}' not found.")
