"""Door: who may ask, how often and for what; the order of checks is the contract's: key, limit, scope."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from ledger import keys
from ledger.engine import reading
from ledger.faults import translated
from ledger.keys import ApiKey

WINDOW_S = 60

RawHeaders = tuple[tuple[bytes, bytes], ...]
"""Headers as they go over the wire, the names in lower case."""


class Reply(NamedTuple):
    """An answer that is ready to be sent; its body is JSON."""

    status: int
    body: bytes
    headers: RawHeaders = ()


class Passed(NamedTuple):
    """A key that may ask, and the headers that tell of its limit."""

    key: ApiKey
    headers: RawHeaders


def problem(status: int, code: str, headers: RawHeaders = (), **more: Any) -> Reply:
    """The error envelope of contracts/openquota.md section 6: a flat object, `error` first."""
    return Reply(status, msgspec.json.encode({"error": code, **more}), headers)


class Windows:
    """Fixed windows of a minute, one counter a key, in this process (contracts/openquota.md section 7)."""

    def __init__(self, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._counts: dict[str, tuple[int, int]] = {}
        self._alone = threading.Lock()

    def count(self, key: ApiKey) -> tuple[bool, RawHeaders, int]:
        """Count a request: whether it may pass, the headers that say so, and the seconds until the window ends."""
        now = self._epoch()
        window = int(now // WINDOW_S)
        with self._alone:
            since, used = self._counts.get(key.key_id, (window, 0))
            used = used + 1 if since == window else 1
            self._counts[key.key_id] = window, used
        end = (window + 1) * WINDOW_S
        headers = (
            (b"x-ratelimit-limit", b"%d" % key.rpm),
            (b"x-ratelimit-remaining", b"%d" % max(0, key.rpm - used)),
            (b"x-ratelimit-reset", b"%d" % end),
        )
        return used <= key.rpm, headers, math.ceil(end - now)


class Door:
    """Lets requests pass. A 401 carries no limiter's headers: there is no key to count on."""

    def __init__(self, engine: Engine, epoch: Callable[[], float]) -> None:
        self._engine = engine
        self._windows = Windows(epoch)
        self._familiar: frozenset[str] = frozenset()

    def familiar(self, tokens: Iterable[str]) -> bool:
        """Whether one of these was in force when it was last looked up: it may be worth a transaction that writes."""
        return not self._familiar.isdisjoint(tokens)

    def known(self, tokens: Iterable[str], tx: Connection | None = None) -> dict[str, ApiKey]:
        """The keys in force among these tokens, as the database says now, in `tx` or alone. Raises a `LedgerFault`.

        Nothing is remembered of a key that would let it pass: one that is revoked is refused at once.
        """
        asked = set(tokens)
        if not asked:
            return {}
        if tx is None:
            with translated(), reading(self._engine) as alone:
                found = keys.in_force(alone, asked)
        else:
            found = keys.in_force(tx, asked)
        self._familiar = self._familiar - asked | found.keys()
        return found

    def judge(self, token: str | None, known: Mapping[str, ApiKey], scope: str | None = None) -> Passed | Reply:
        """Whether a request may pass, counted when its key is known; `scope` is what it needs."""
        if token is None:
            return problem(401, "unauthenticated", reason="send the header Authorization: Bearer <key>")
        key = known.get(token)
        if key is None:
            return problem(401, "invalid_key", reason="the key is unknown or revoked")
        passes, headers, wait = self._windows.count(key)
        if not passes:
            told = (*headers, (b"retry-after", b"%d" % wait))
            return problem(429, "rate_limited", told, retry_after_seconds=wait)
        if scope is not None and scope not in key.scopes:
            return problem(403, "forbidden", headers, reason=f"missing scope: {scope}")
        return Passed(key, headers)


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of a request, None unless there is exactly one that could be a key."""
    values = [value for name, value in headers if name == b"authorization"]
    return token_of(values[0]) if len(values) == 1 else None


def token_of(authorization: bytes) -> str | None:
    """The token that the header's value carries, if it is of the scheme that keys are sent in."""
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
