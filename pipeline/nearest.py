"""Nearest: the known name that somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 12


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name closest to `word`, or None when none is close."""
    names = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown `word`: the nearest known name, or else all of them."""
    names = sorted(known)
    if close := nearest(word, names):
        return f"did you mean {close!r}?"
    if not names:
        return "there is none"
    return f"known: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
