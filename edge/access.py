"""Access: who asks, by a bearer token or by the session that a browser began with one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipeline.faults import SettingsError
from pipeline.sections import ApiToken

SHORTEST = 24
"""Characters of a token. Nobody guesses one of that length, so that guesses need not be counted."""

SESSION_S = 8 * 3600
"""Seconds after which a browser has to sign in again."""


class Visitor(NamedTuple):
    """Who asks: the name of their token, and whether they may act or only look."""

    name: str
    may_act: bool


class Session(NamedTuple):
    """A browser that signed in. `proof` is what each of its forms must carry, and no other site can know."""

    visitor: Visitor
    proof: str


class _Known(NamedTuple):
    """A configured token: its digest, and what the sessions begun with it are named and signed by."""

    visitor: Visitor
    digest: bytes
    name: str
    key: bytes


class Access:
    """The tokens of a configuration, and the sessions begun with them.

    A session is kept by the browser alone, signed with a key that is derived from its token: it is good in every
    process of the configuration, after a restart too, and ends when its token is taken away.
    """

    def __init__(self, tokens: Sequence[ApiToken], clock_s: Callable[[], float]) -> None:
        """`clock_s` tells the seconds since 1970. Raises `SettingsError` for a token that is not there or too short."""
        self._clock_s = clock_s
        self._known = [_known(one) for one in tokens]

    def by_token(self, presented: str) -> Visitor | None:
        """Who bears this token. Every configured token is compared, in a time that tells nothing about any."""
        found = self._bearer(presented)
        return None if found is None else found.visitor

    def begin(self, presented: str) -> str | None:
        """A new session for whoever bears this token, as a cookie's value; None for a token that nobody has."""
        found = self._bearer(presented)
        if found is None:
            return None
        said = f"{found.name}.{int(self._clock_s()) + SESSION_S}.{secrets.token_hex(16)}"
        return f"{said}.{_signed(found.key, 'session', said)}"

    def by_session(self, cookie: str) -> Session | None:
        """The session of a cookie's value; None for one that is over, or that we never began."""
        said, _, signature = cookie.rpartition(".")
        name, _, rest = said.partition(".")
        found = next((one for one in self._known if one.name == name), None)
        if found is None or not _same(signature, _signed(found.key, "session", said)):
            return None
        if int(rest.partition(".")[0]) <= self._clock_s():
            return None
        return Session(found.visitor, _signed(found.key, "form", said))

    def _bearer(self, presented: str) -> _Known | None:
        digest = hashlib.sha256(presented.encode("utf-8", errors="replace")).digest()
        found = None
        for one in self._known:
            if hmac.compare_digest(one.digest, digest):
                found = one
        return found


def proven(session: Session, presented: str) -> bool:
    """Whether a form was sent from a page of ours to this very session."""
    return _same(presented, session.proof)


def _known(token: ApiToken) -> _Known:
    text = token.secret.reveal()
    if len(text) < SHORTEST:
        raise SettingsError(
            [
                f"{token.secret.place}: the token {token.name!r} is shorter than {SHORTEST} characters and could be "
                "guessed; `openssl rand -hex 32` makes one"
            ]
        )
    key = hmac.digest(text.encode(), b"dealsync session key", "sha256")
    visitor = Visitor(token.name, not token.read_only)
    return _Known(visitor, hashlib.sha256(text.encode()).digest(), _signed(key, "name", "")[:16], key)


def _signed(key: bytes, purpose: str, said: str) -> str:
    return hmac.digest(key, f"{purpose} {said}".encode("utf-8", errors="replace"), "sha256").hex()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", errors="replace"), other.encode())
