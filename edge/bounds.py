"""Bounds: the time from which, or before which, deals of a backfill were created, as a person writes it."""

from __future__ import annotations


def bound(text: str | None) -> str | None:
    """A bound as an instant; None is none. A day begins at midnight UTC; a time must say its zone.

    Raises `ValueError` saying what would be right.
    """
    if text is None:
        return None
    from connectors.times import instant

    found = instant(f"{text}T00:00:00.000Z" if len(text) == len("2026-01-31") else text)
    if found is None:
        raise ValueError(
            f"{text[:40]!r} is neither a day like 2026-01-31 nor a time with its zone like 2026-01-31T09:30:00Z"
        )
    return found
