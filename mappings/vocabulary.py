"""Vocabulary: a source's words turned into ours, and labels turned into keys."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal, TypeAlias

Compare: TypeAlias = Literal["exact", "slug"]
"""How two words are found to be one: as they are written, or by their slugs."""

LONGEST_SLUG = 64
"""A slug is at most so long."""

_REMEMBERED = 200
"""Slugs of texts up to this long are remembered; longer ones are no words, and must not fill the memory."""

_GAPS = re.compile(r"[^a-z0-9]+")


def slug(text: str) -> str:
    """`text` as a snake_case ASCII key: "Forecast Category" is `forecast_category`, "Größe (m²)" is `grosse_m2`.

    Accents and punctuation go. Where letters would go that ASCII cannot show (Cyrillic, Chinese, ...), or the key would
    be too long or empty, eight hexadecimal digits of the text's digest are added, so different labels keep different
    keys. The same text gives the same slug on every machine, for ever.
    """
    return _remembered(text) if len(text) <= _REMEMBERED else _slug(text)


def _slug(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFKD", folded)
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    key = _GAPS.sub("_", bare).strip("_")
    lost = any(not char.isascii() and char.isalnum() for char in plain)
    if key and not lost and len(key) <= LONGEST_SLUG:
        return key
    mark = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{key[: LONGEST_SLUG - 9].rstrip('_') or 'x'}_{mark}"


_remembered = lru_cache(maxsize=4096)(_slug)


def plain_word(word: str) -> str:
    """A word as it is compared: without the blanks around it, accents in composed form (NFC), case as written."""
    word = word.strip()
    return word if word.isascii() else unicodedata.normalize("NFC", word)


def form(compare: Compare) -> Callable[[str], str]:
    """What is equal for two words exactly when they are one word under a way to compare."""
    return slug if compare == "slug" else plain_word


class Vocabulary:
    """A source's words and what each means to us; of two entries for one word the later counts.

    A word is known when it is written exactly so, blanks around it aside. Case counts: Planhat vouches for exactly
    `Closed Won` and `Closed Lost` (contracts/planhat.md, "What a careful connector must handle"), and a tenant may
    have both `Demo` and `DEMO`. A near miss parks the record with the nearest known word in the message, which costs a
    line in the table; a guess would cost a commission.
    A table whose source writes one stage in several ways says so with `compare = "slug"`.
    """

    __slots__ = ("_form", "_spelt", "_words")

    def __init__(self, words: Mapping[str, str], compare: Compare = "exact") -> None:
        self._form = form(compare)
        self._words = {self._form(word): meaning for word, meaning in words.items()}
        self._spelt = tuple(map(plain_word, words))

    def find(self, word: str) -> str | None:
        """What a word means to us; None when it is not known."""
        return self._words.get(word) or self._words.get(self._form(word))

    def near(self, word: str) -> str:
        """A hint at the nearest known word: ` (nearest known: 'Closed Won')`, or nothing."""
        return near(plain_word(word), self._spelt)


def near(word: str, known: Iterable[str]) -> str:
    """A hint at the known word nearest to `word`, to be put behind a message; empty when none is near."""
    by_fold = {name.casefold(): name for name in sorted(known)}
    found = get_close_matches(word[:200].casefold(), by_fold, n=1)
    return f" (nearest known: {by_fold[found[0]]!r})" if found else ""
