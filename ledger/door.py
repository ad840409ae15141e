"""Door: who may ask, how often and for what; the order of checks is the contract's: key, limit, scope."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine

from ledger import keys
from ledger.keys import ApiKey

WINDOW_S = 60


class Reply(NamedTuple):
    """An answer that is ready to be sent; its body is JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class Passed(NamedTuple):
    """A key that may ask, and the headers that tell of its limit."""

    key: ApiKey
    headers: dict[str, str]


def problem(status: int, code: str, headers: Mapping[str, str] = MappingProxyType({}), **more: Any) -> Reply:
    """The error envelope of contracts/openquota.md section 6: a flat object, `error` first."""
    return Reply(status, msgspec.json.encode({"error": code, **more}), headers)


UNAVAILABLE = problem(
    503, "unavailable", {"Retry-After": "1"}, reason="send the same request again; an event under the same key"
)


class Windows:
    """Fixed windows of a minute, one counter a key, in this process (contracts/openquota.md section 7)."""

    def __init__(self, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._counts: dict[str, tuple[int, int]] = {}
        self._alone = threading.Lock()

    def count(self, key: ApiKey) -> tuple[bool, dict[str, str], int]:
        """Count a request: whether it may pass, the headers that say so, and the seconds until the window ends."""
        now = self._epoch()
        window = int(now // WINDOW_S)
        with self._alone:
            since, used = self._counts.get(key.key_id, (window, 0))
            used = used + 1 if since == window else 1
            self._counts[key.key_id] = window, used
        end = (window + 1) * WINDOW_S
        headers = {
            "X-RateLimit-Limit": str(key.rpm),
            "X-RateLimit-Remaining": str(max(0, key.rpm - used)),
            "X-RateLimit-Reset": str(end),
        }
        return used <= key.rpm, headers, math.ceil(end - now)


class Door:
    """Lets requests pass. A 401 carries no limiter's headers: there is no key to count on."""

    def __init__(self, engine: Engine, epoch: Callable[[], float]) -> None:
        self._engine = engine
        self._windows = Windows(epoch)

    def known(self, tokens: Iterable[str]) -> dict[str, ApiKey]:
        """The keys in force among these tokens, as the database says now. Raises a `LedgerFault`."""
        return keys.found(self._engine, set(tokens))

    def judge(self, token: str | None, known: Mapping[str, ApiKey], scope: str | None = None) -> Passed | Reply:
        """Whether a request may pass, counted when its key is known; `scope` is what it needs."""
        if token is None:
            return problem(401, "unauthenticated", reason="send the header Authorization: Bearer <key>")
        key = known.get(token)
        if key is None:
            return problem(401, "invalid_key", reason="the key is unknown or revoked")
        passes, headers, wait = self._windows.count(key)
        if not passes:
            return problem(429, "rate_limited", {**headers, "Retry-After": str(wait)}, retry_after_seconds=wait)
        if scope is not None and scope not in key.scopes:
            return problem(403, "forbidden", headers, reason=f"missing scope: {scope}")
        return Passed(key, headers)


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of a request, None unless there is exactly one that could be a key."""
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
