"""The raw vault: records exactly as their source said them, a batch to a compressed block, named by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import zstandard
from sqlalchemy import Connection, select, text

from deals.identity import digest
from ledger import bulk
from pipeline.store.tables import raw_blocks

_AT_ONCE = 16
"""Blocks that are read in one statement: each holds a page's records, compressed."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode
_KEEP = text(
    "INSERT INTO raw_blocks (digest, records, body, stored_at) VALUES (:digest, :records, :body, :stored_at) "
    "ON CONFLICT (digest) DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True)
class RawRef:
    """Where a record's bytes lie, and the digest they must have."""

    digest: bytes
    block: int
    position: int


def keep(tx: Connection, raws: Sequence[bytes], at: str) -> int:
    """Store records as one block and return its number; the same records again are the same block."""
    packed = _pack(raws)
    name = digest(packed)
    known = tx.execute(select(raw_blocks.c.id).where(raw_blocks.c.digest == name)).scalar_one_or_none()
    if known is not None:
        return int(known)
    body = zstandard.ZstdCompressor(level=3).compress(packed)
    values = {"digest": name, "records": len(raws), "body": body, "stored_at": at}
    made = tx.execute(_KEEP, values).scalar_one_or_none()
    if made is None:  # somebody else kept them since we looked: another connection that shows the same, or a fetch
        made = tx.execute(select(raw_blocks.c.id).where(raw_blocks.c.digest == name)).scalar_one()
    return int(made)


def fetch(tx: Connection, ref: RawRef) -> bytes:
    """One record's bytes, verified against its digest. Raises `ValueError` when the vault does not hold them."""
    return fetch_all(tx, [ref])[ref]


def fetch_all(tx: Connection, refs: Iterable[RawRef]) -> dict[RawRef, bytes]:
    """Records' bytes, each block opened once and one at a time. Raises as `fetch`."""
    found = {}
    blocks = ((number, list(wanted)) for number, wanted in groupby(sorted(refs, key=_block), key=_block))
    for some in bulk.in_chunks(blocks, _AT_ONCE):
        chosen = raw_blocks.c.id.in_([number for number, _ in some])
        rows = tx.execute(select(raw_blocks.c.id, raw_blocks.c.body).where(chosen))
        bodies: dict[int, bytes] = {row.id: row.body for row in rows}
        for number, wanted in some:
            records = _opened(bodies.get(number))
            for ref in wanted:
                raw = found[ref] = records[ref.position] if ref.position < len(records) else b""
                if digest(raw) != ref.digest:
                    raise ValueError(f"raw block {number} does not hold the record it is said to hold")
    return found


def _opened(body: bytes | None) -> list[bytes]:
    return [] if body is None else _unpack(zstandard.ZstdDecompressor().decompress(body))


def _block(ref: RawRef) -> int:
    return ref.block
