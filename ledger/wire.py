"""Wire: the ledger's answers as typed values, read without trust; shared by nobody but the remote ledger."""

from __future__ import annotations

import ipaddress
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import msgspec

_MAX_ANSWER = 64 * 1024 * 1024
_MAX_QUOTE = 200

T = TypeVar("T")


class Ids(msgspec.Struct, frozen=True):
    """The answer to an event. `conflict` is an addition of our own service: the key was used with another payload."""

    source_event_id: str
    domain_event_id: str
    deal_id: str
    conflict: bool = False


class Listed(msgspec.Struct, frozen=True):
    """A deal in a list."""

    id: str
    external_id: str
    state: dict[str, Any]
    last_event_at: str
    updated_at: str


class Pagination(msgspec.Struct, frozen=True):
    """`next_offset` is null on the last page."""

    next_offset: int | None


class DealsPage(msgspec.Struct, frozen=True):
    """A page of deals."""

    deals: list[Listed]
    pagination: Pagination


class KeyInfo(msgspec.Struct, frozen=True):
    """Who we are to the ledger."""

    key_prefix: str
    scopes: list[str]


class Capable(msgspec.Struct, frozen=True):
    """What `GET /v1/` of a ledger like ours says that it can do beyond the contract."""

    capabilities: list[str] = []


class Introspection(Capable, frozen=True, kw_only=True):
    """The answer of `GET /v1/`."""

    authenticated_as: KeyInfo


class Outcome(msgspec.Struct, frozen=True):
    """What became of one event of a batch: the answer it would have had alone."""

    status: int
    source_event_id: str = ""
    domain_event_id: str = ""
    deal_id: str = ""
    conflict: bool = False
    error: str = ""
    reason: str = ""


class BatchAnswer(msgspec.Struct, frozen=True):
    """An outcome for each event, in their order."""

    results: list[Outcome]


class _Complaint(msgspec.Struct, frozen=True):
    error: str
    reason: str = ""


def decoded(data: bytes, shape: type[T]) -> T | None:
    """An answer read into its shape, unknown keys ignored; None when it is not of that shape."""
    try:
        return msgspec.json.Decoder(shape, float_hook=Decimal).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def complaint(data: bytes, status: int, secret: str) -> str:
    """What an error answer says for itself, as `explained` has it."""
    said = decoded(data, _Complaint)
    return f"status {status}" if said is None else explained(said.error, said.reason, status, secret)


def explained(error: str, reason: str, status: int, secret: str) -> str:
    """The ledger's own words of why, fit for a message: cut short, printable, without our key."""
    text = ": ".join(part for part in (error, reason) if part) or f"status {status}"
    return printable(text.replace(secret, "[key]"))


def printable(text: str) -> str:
    """What somebody else wrote, fit for a message: cut short, and nothing in it but letters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_MAX_QUOTE])


def read_capped(response: httpx.Response) -> bytes:
    """The body of a streamed answer, up to a size no ledger needs; what is beyond it counts as a broken connection."""
    parts, size = [], 0
    for part in response.iter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER:
            raise httpx.RemoteProtocolError("the answer is too large")
    return b"".join(parts)


def address(text: str) -> str:
    """The ledger's base address without a slash at its end.

    Raises `ValueError` when it is no http(s) address, carries a password, or would send the key over the open network
    unencrypted: plain http is for this machine, private networks and names without a dot.
    """
    try:
        url = httpx.URL(text.strip().rstrip("/"))
    except httpx.InvalidURL:
        raise ValueError("the ledger's url cannot be read; write one like https://api.openquota.ai/v1") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("the ledger's url must begin with https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("the ledger's url must not carry a user, a query or a fragment")
    if url.scheme == "http" and not _private(url.host):
        raise ValueError(f"the ledger's url would send the key to {url.host} unencrypted; write https://")
    return str(url)


def header_value(secret: str) -> str:
    """An API key fit for a header. Raises `ValueError`, without repeating it, when it is none."""
    value = secret.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("the ledger's API key is empty or has characters that no key has")
    return value


def _private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host
