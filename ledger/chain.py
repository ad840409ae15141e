"""Chain: the digests that tie every event to the one before it, so that a change of any byte shows."""

from __future__ import annotations

import hashlib

from ledger.rows import Source

GENESIS = bytes(32)
"""What the first event of an org is chained to."""


def source_hash(row: Source) -> bytes:
    """SHA-256 over every column of a source event; the domain event carries it, so the chain covers both tables."""
    one, org, source, deal, key, raw, at = row
    # Each part is length-prefixed: no two rows share their bytes.
    parts = f"{len(one)}:{one}{len(org)}:{org}{len(source)}:{source}{len(deal)}:{deal}{len(key)}:{key}{len(at)}:{at}"
    return hashlib.sha256(parts.encode() + raw).digest()


def event_hash(fields: tuple[str, int, str, str, str, str, str, str, bytes, bytes]) -> bytes:
    """SHA-256 over a domain event's columns in their order, all but `hash` itself: the previous hash is among them."""
    org, sequence, one, source, deal, kind, state, at, source_digest, previous = fields
    parts = (
        f"{len(org)}:{org}{sequence}:{len(one)}:{one}{len(source)}:{source}{len(deal)}:{deal}"
        f"{len(kind)}:{kind}{len(at)}:{at}{state}"
    )
    return hashlib.sha256(previous + source_digest + parts.encode()).digest()
