"""Line: one request at a time for each thread, over a connection of its own that is kept open."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx

from ledger.port import LedgerUnavailable
from ledger.wire import read_capped

_KEPT_OPEN_S = 30.0

TIMEOUT_S = 30.0
"""Nobody waits longer for a word from the ledger."""


class Lines:
    """The connections of a process to one ledger: a thread that asks often keeps its own.

    A pool that all threads share costs twice as much CPU at 64 threads as the requests themselves; the transport is
    asked directly for the same reason. Redirects and the environment's proxies are not followed: the key would go
    along.
    """

    def __init__(self, url: str, key: str, opened: Callable[[], httpx.BaseTransport]) -> None:
        self._url = url
        self._headers = {
            "Authorization": f"Bearer {key}",
            "User-Agent": "dealsync",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        self._timeout = httpx.Timeout(TIMEOUT_S).as_dict()
        self._open = opened
        self._mine = threading.local()
        self._all: list[httpx.BaseTransport] = []

    def exchange(
        self, method: str, path: str, content: bytes | None = None, within_s: float = TIMEOUT_S
    ) -> tuple[int, httpx.Headers, bytes]:
        """Ask, and read the whole answer: status, headers, body. Raises `LedgerUnavailable` when there is none.

        `within_s` is how long the ledger may be silent, in seconds.
        """
        timeout = self._timeout if within_s >= TIMEOUT_S else httpx.Timeout(within_s).as_dict()
        headers = self._headers if content is None else {**self._headers, "Content-Type": "application/json"}
        request = httpx.Request(
            method, self._url + path, content=content, headers=headers, extensions={"timeout": timeout}
        )
        try:
            response = self._transport().handle_request(request)
            try:
                response.request = request
                return response.status_code, response.headers, read_capped(response)
            finally:
                response.close()
        except httpx.TimeoutException:
            raise LedgerUnavailable(f"the ledger at {self._url} did not answer in time") from None
        except httpx.HTTPError as error:
            raise LedgerUnavailable(f"the ledger at {self._url} cannot be reached ({type(error).__name__})") from None

    def close(self) -> None:
        """Close every connection; no thread may be asking any more."""
        while self._all:
            self._all.pop().close()

    def _transport(self) -> httpx.BaseTransport:
        mine: httpx.BaseTransport | None = getattr(self._mine, "transport", None)
        if mine is None:
            mine = self._mine.transport = self._open()
            self._all.append(mine)
        return mine


def over_tcp() -> httpx.BaseTransport:
    """One connection, opened when it is first used and again after it broke."""
    return httpx.HTTPTransport(
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT_OPEN_S),
        trust_env=False,
    )
