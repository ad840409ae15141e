"""Budget: how many requests an API key may still make, told by our own setting and by the ledger's answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

_MINUTE = 60.0
_LONGEST_WAIT_S = 3600.0


class Budget:
    """Shared by all threads that use a key.

    `per_minute` is a limit of our own (None: none). The ledger's is a fixed window (contracts/openquota.md section 7):
    `X-RateLimit-Remaining` is used to its end and `X-RateLimit-Reset` waited for, so that no request earns a 429; when
    one comes all the same, since other processes share the key, `Retry-After` counts for everybody.
    """

    def __init__(
        self,
        per_minute: int | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        epoch: Callable[[], float] = time.time,
    ) -> None:
        self._sent: deque[float] = deque(maxlen=per_minute) if per_minute else deque(maxlen=0)
        self._monotonic = monotonic
        self._epoch = epoch
        self._alone = threading.Lock()
        self._not_before = 0.0
        self._window = 0
        self._window_ends = 0.0
        self._left: int | None = None

    def take(self) -> float:
        """Seconds until a request may go; 0 when it may go now, and then it is counted."""
        with self._alone:
            now = self._monotonic()
            wait = self._not_before - now
            if self._sent.maxlen and len(self._sent) == self._sent.maxlen:
                wait = max(wait, self._sent[0] + _MINUTE - now)
            if self._left == 0:
                wait = max(wait, self._window_ends - now)
            if wait > 0:
                return wait
            if self._left is not None:
                self._left = self._left - 1 if self._left > 0 else None  # a new window: its size is not known yet
            self._sent.append(now)
            return 0.0

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer says of the window."""
        remaining, reset = _whole(headers.get("x-ratelimit-remaining")), _whole(headers.get("x-ratelimit-reset"))
        if remaining is None or reset is None:
            return
        with self._alone:
            if reset < self._window:
                return  # a late answer from the window before
            same = reset == self._window and self._left is not None
            self._left = min(self._left or 0, remaining) if same else remaining
            self._window = reset
            self._window_ends = self._monotonic() + min(reset - self._now_there(headers), _LONGEST_WAIT_S)

    def hold(self, seconds: float) -> None:
        """Let nobody ask before `seconds` have passed."""
        with self._alone:
            self._not_before = max(self._not_before, self._monotonic() + min(seconds, _LONGEST_WAIT_S))

    def _now_there(self, headers: Mapping[str, str]) -> float:
        """The ledger's own clock, where it tells it: ours may be wrong."""
        try:
            return parsedate_to_datetime(headers.get("date", "")).timestamp()
        except ValueError:
            return self._epoch()


def retry_after(headers: Mapping[str, str], otherwise: float = 0.0) -> float:
    """The seconds an answer asks us to wait."""
    seconds = _whole(headers.get("retry-after"))
    return otherwise if seconds is None else min(float(seconds), _LONGEST_WAIT_S)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 12 else None
