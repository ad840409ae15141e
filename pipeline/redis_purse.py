"""Redis purse: an account's spending in Redis, on its clock, lent by the database, which is fallen back to.

The rules are those of every purse (`connectors.spending`), worked out here. All that Redis does is to keep a value, to
say what time it is, and to exchange the value for another one if nobody was faster.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog

from connectors.lending import LOAN_S, RENEW_S, Loan, borrowed, lend, news_of
from connectors.pacing import Limit, News
from connectors.permits import Purse, Step, T
from connectors.spending import LONGEST_S, Spending, free_now, learned

if TYPE_CHECKING:
    from redis import Redis

log = structlog.get_logger()

AWAY_S = 5.0
"""A Redis that could not be had is not asked again sooner."""

_PATIENCE_S = 0.5
_TRIES = 50
_EXCHANGE = """
local at = redis.call('TIME')
local kept = redis.call('GET', KEYS[1]) or ''
local done = 0
if ARGV[2] ~= '' and kept == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  done = 1
end
return {kept, at[1], at[2], done}
"""
"""The value, the time and whether it was exchanged; nothing is exchanged for nothing."""

_NOTHING = b"null"
"""Lies where no loan has arrived yet, and is no spending."""

_decoder = msgspec.json.Decoder(Spending)


class _Seen(NamedTuple):
    """What Redis holds, as it lies there and read, and its time."""

    text: bytes
    value: Spending | None
    now: float


class RedisAway(Exception):
    """Redis cannot be had, or cannot keep anything now."""


class Keeper:
    """The one client of a process, opened by its first use; who finds it away says so once, for all."""

    def __init__(self, url: str, epoch: str) -> None:
        self._url = url
        self._epoch = epoch
        self._client: Redis | None = None
        self._script: Any = None
        self._alone = threading.Lock()
        self._back_at = float("-inf")
        self._away = False

    def purse(
        self, own: Purse, account: str, limits: Sequence[Limit], clock: Callable[[], float] | None = None
    ) -> LentPurse:
        """The purse of an account, which falls back to `own`; `clock` (epoch seconds) takes the place of Redis's."""
        name = hashlib.sha256(f"budget of {self._epoch} {account}".encode()).hexdigest()[:32]
        return LentPurse(self, own, f"dealsync:budget:{name}", limits, clock)

    def rests(self) -> bool:
        """Whether it was away a moment ago."""
        return time.monotonic() < self._back_at

    def exchange(self, key: str, old: bytes, new: bytes, seconds: float) -> tuple[bytes, float, bool]:
        """Put a value in the place of the old one, kept for so long; the value before, the time, and whether.

        With an empty new value it only looks. Raises `RedisAway`.
        """
        from redis.exceptions import RedisError

        try:
            kept, at, micros, done = self._call()(keys=[key], args=[old, new, max(1, round(seconds * 1000))])
        except (RedisError, OSError, ValueError) as error:
            raise RedisAway(type(error).__name__) from None
        if self._away and done:  # one that can only be read is not back
            self._away = False
            log.info("budgets.redis_is_back")
        return kept, int(at) + int(micros) / 1e6, bool(done)

    def gone(self, why: RedisAway) -> None:
        """Leave it alone for a while."""
        self._back_at = time.monotonic() + AWAY_S
        if not self._away:
            self._away = True
            log.warning("budgets.redis_is_away", reason=str(why), instead="the database gives out a tenth")

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _call(self) -> Any:
        with self._alone:
            if self._script is None:
                from redis import Redis
                from redis.backoff import NoBackoff
                from redis.retry import Retry

                self._client = Redis.from_url(
                    self._url,
                    socket_timeout=_PATIENCE_S,
                    socket_connect_timeout=_PATIENCE_S,
                    retry=Retry(NoBackoff(), 0),  # a permit waits for nobody
                )
                self._script = self._client.register_script(_EXCHANGE)
        return self._script


class LentPurse:
    """The spending of one account; see `connectors.permits.Purse`.

    Raises what the purse raises that it falls back to.
    """

    def __init__(
        self, keeper: Keeper, own: Purse, key: str, limits: Sequence[Limit], clock: Callable[[], float] | None
    ) -> None:
        self._keeper = keeper
        self._own = own
        self._key = key
        self._limits = limits
        self._clock = clock
        self._kept_s = max([LONGEST_S, *(limit.seconds for limit in limits)]) + 2 * LOAN_S

    def change(self, step: Step[T]) -> T:
        """Take a step at Redis, or where that cannot be had, at the lender: only what that one has for itself."""
        if not self._keeper.rests():
            try:
                found = self._at_redis(step)
            except RedisAway as why:
                self._keeper.gone(why)
            else:
                if found is not None:
                    return found[0]
        return self._own.change(step)

    def free_now(self) -> int | None:
        """How many requests Redis might give out at this moment; None while it cannot be had or is lent nothing."""
        try:
            seen = None if self._keeper.rests() else self._look()
        except RedisAway as why:
            self._keeper.gone(why)
            return None
        return None if seen is None or seen.value is None else free_now(seen.value, seen.now, self._limits)

    def _at_redis(self, step: Step[T]) -> tuple[T] | None:
        """What the step found; None where Redis is lent nothing now."""
        seen, loan, asked = self._look(), None, 0.0
        if seen.value is None or seen.value.due - seen.now < RENEW_S:
            self._keep(seen.text or _NOTHING, seen)  # to one that can be read only, nothing is lent
            loan, asked = self._borrow(seen), seen.now
            seen = self._look()  # to ask may have taken a while
        for _ in range(_TRIES):
            if loan is not None and (loan.anew or seen.value is not None):
                value = borrowed(seen.value, seen.now, self._limits, loan, asked)
            elif seen.value is not None and seen.now < seen.value.due:
                value = seen.value
            else:
                return None
            changed, found = step(value, seen.now)
            put = self._put(seen, changed)
            if put is None:
                self._warn(value, changed, seen.now)
                return (found,)
            seen = put
        raise RedisAway("too many at once")

    def _borrow(self, seen: _Seen) -> Loan | None:
        return self._own.change(lambda own, now: lend(own, now, self._limits, seen.value, seen.now))

    def _look(self) -> _Seen:
        kept, now, _ = self._keeper.exchange(self._key, b"", b"", 1.0)
        return self._seen(kept, now)

    def _put(self, seen: _Seen, changed: Spending) -> _Seen | None:
        """Keep a value in the place of the one seen; None when that was done, else what lies there now."""
        new = msgspec.json.encode(changed)
        return None if new == seen.text else self._keep(new, seen)

    def _keep(self, new: bytes, seen: _Seen) -> _Seen | None:
        kept, now, done = self._keeper.exchange(self._key, seen.text, new, self._kept_s)
        return None if done else self._seen(kept, now)

    def _seen(self, kept: bytes, now: float) -> _Seen:
        value = None
        if kept:
            with suppress(msgspec.DecodeError):  # what cannot be read is as good as lost
                value = _decoder.decode(kept)
        return _Seen(kept, value, now if self._clock is None else self._clock())

    def _warn(self, before: Spending, after: Spending, now: float) -> None:
        """Whoever falls back is to know of a hold at once; of what is left, with the next renewal."""
        if after.held_until > max(before.held_until, now):
            hold = news_of(after, now)[0]
            self._own.change(lambda own, at: (learned(own, at, News(0, hold.seconds)), None))
