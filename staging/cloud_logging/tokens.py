"""Words of SEARCH: BigQuery's LOG_ANALYZER, which Cloud Logging uses, in any letter case.

Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/text-analysis
"""

from __future__ import annotations

import re
from typing import Final

from staging.cloud_logging.values import fold

_DELIMITERS: Final = re.compile(
    r"%(?:21|26|2526|3[Bb]|7[Cc]|20|2[Bb]|3[Dd]|2520|5[DdBb]|3[Aa]|0[Aa]|2[Cc]|28|29)"
    r"|[\[\]<>(){}|!;,'\"*&?+/:=@.\-$%\\_\s]"
)
_PHRASE: Final = re.compile(r"`([^`]*)`")


def split_words(text: str) -> tuple[str, ...]:
    """Return the folded words of `text` between its delimiters, without empty ones."""
    return tuple(fold(word) for word in _DELIMITERS.split(text) if word)


def split_phrases(query: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the single words and the folded back-tick phrases of a SEARCH query."""
    phrases = tuple(fold(phrase) for phrase in _PHRASE.findall(query) if phrase.strip())
    return split_words(_PHRASE.sub(" ", query)), phrases


def contains_phrase(text: str, phrase: str) -> bool:
    """Return whether folded `text` holds `phrase` whole, between delimiters or the text's ends."""
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        before = start == 0 or _DELIMITERS.fullmatch(text, start - 1, start)
        after = end == len(text) or _DELIMITERS.fullmatch(text, end, end + 1)
        if before and after:
            return True
        start = text.find(phrase, start + 1)
    return False
