"""RE2, the language's regular expressions: linear in the text, bounded in memory."""

from __future__ import annotations

from typing import Any

import re2  # type: ignore[import-untyped] # the package ships no types

_MEMORY_BYTES = 2 << 20


class PatternError(Exception):
    """RE2 refuses the pattern; the text is RE2's reason."""


def compile_pattern(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    """Return `pattern` compiled, with `search` and `groups` as in `re`. Raises PatternError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "no reason given"
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        raise PatternError(str(reason)) from None
