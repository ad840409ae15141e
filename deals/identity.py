"""Identity: the only place where a key or a digest is made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from deals.state import DealState, Json, wire

MAX_KEY = 255
"""The ledger's bound on `external_id` and `dedup_key` (contracts/openquota.md section 3.1)."""

_encoder = msgspec.json.Encoder(decimal_format="number", order="sorted")


def canonical(value: Json | Mapping[str, Json]) -> bytes:
    """Canonical JSON: keys sorted, no spaces, UTF-8, decimals as plain numbers. Equal values give equal bytes."""
    return _encoder.encode(value)


def state_bytes(state: DealState) -> bytes:
    """The canonical bytes of a state in its wire form: what is digested is exactly what is sent."""
    return _encoder.encode(wire(state))


def digest(data: bytes | bytearray | memoryview | msgspec.Raw) -> bytes:
    """SHA-256 of some bytes: 32 bytes. Records, states, pages and mappings are all named by it."""
    return hashlib.sha256(data).digest()


def external_id(prefix: str, source_id: str) -> str:
    """The deal's name in the ledger, where all connections share one namespace.

    Raises `ValueError` when it would be empty or longer than the ledger allows.
    """
    if not source_id:
        raise ValueError("the record has no id")
    name = f"{prefix}:{source_id}"
    if len(name) > MAX_KEY:
        raise ValueError(f"the deal's external id would be {len(name)} characters; the ledger allows {MAX_KEY}")
    return name


def dedup_key(
    *, epoch: str, connection: str, source_id: str, revision: int, previous: str, change: tuple[str, bytes]
) -> str:
    """The chained key of one event: a readable prefix, then a digest that no other event of this store can have.

    `change` is the event type and the state's digest; `previous` is the key of the deal's previous event ("" for the
    first). Chaining keeps 100 -> 200 -> 100 three events; `epoch`, drawn once per store, keeps a rebuilt store from
    using an old key for a new state. Each part is length-prefixed, so no two lists of parts share their bytes.
    """
    event_type, state_digest = change
    parts = (epoch, connection, source_id, str(revision), previous, event_type)
    told = "".join([f"{len(part)}:{part}" for part in parts]).encode() + state_digest
    tail = f":{revision}:{hashlib.sha256(told).hexdigest()[:40]}"
    return f"{connection}:{source_id}"[: MAX_KEY - len(tail)] + tail


def decode_json(data: bytes | str) -> Any:
    """JSON of our own making read back, numbers as int or Decimal."""
    return _decoder.decode(data)


_decoder = msgspec.json.Decoder(float_hook=Decimal)
