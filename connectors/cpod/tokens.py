"""Tokens: a client's id and secret are swapped for a bearer token, renewed before it ends and once after a 401."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import msgspec

from connectors.cpod.options import CpodOptions
from connectors.envelopes import opened
from connectors.faults import Misconfigured, Refused, Unintelligible
from connectors.pacing import Timing
from connectors.source import Account
from connectors.transport import Answer, Ask, Transport, header_value

T = TypeVar("T")

RENEWED_AT = 0.8
"""A token is renewed after this part of its life, as the vendor's own SDK does (contracts/cpod.md section 2)."""

_NOT_ACCEPTED = frozenset({400, 401, 403, 422})
_LONGEST_LIFE_S = 7 * 86400.0


class _Token(NamedTuple):
    """A bearer token; `renew_at` is the reading of the monotonic clock from which on it is not used."""

    text: str
    renew_at: float

    def __repr__(self) -> str:
        return "_Token(...)"


class _Unauthorized:
    """What is read from a 401 that a renewed token may cure."""


class Tokens:
    """Asks with the connection's credentials. Several threads may ask; one of them renews.

    Raises `Misconfigured` for credentials that cannot work with the `auth_mode`.
    """

    def __init__(self, transport: Transport, account: Account, options: CpodOptions, timing: Timing) -> None:
        given = account.credentials
        mode = options.auth_mode or ("client_credentials" if "client_id" in given else "user_token")
        self._transport = transport
        self._monotonic = timing.monotonic
        self._path = options.token_path
        self._lock = Lock()
        self._swap: dict[str, str] | None = None
        self._token: _Token | None = None
        if mode == "client_credentials":
            if "client_id" not in given or "client_secret" not in given:
                raise Misconfigured("auth_mode = client_credentials needs client_id and client_secret; set both")
            names = ("client_id", "client_secret")
            self._swap = {name: _secret(given[name], name) for name in names} | {"grant_type": "client_credentials"}
        elif "token" not in given:
            raise Misconfigured(f"auth_mode = {mode} needs a token; set it in place of client_id and client_secret")
        else:
            self._token = _Token(header_value(given["token"], "token"), float("inf"))

    def __repr__(self) -> str:
        return "Tokens(...)"

    def ask(self, what: Ask, read: Callable[[Answer], T]) -> T:
        """As `Transport.ask`, with the token. After a 401 the token is renewed once and the same is asked again."""
        token = self._current()
        if self._swap is None:
            return self._transport.ask(_borne(what, token), read)

        def judged(answer: Answer) -> T | _Unauthorized:
            return _Unauthorized() if answer.status == 401 else read(answer)

        outcome = self._transport.ask(_borne(what, token, also=frozenset({401})), judged)
        if not isinstance(outcome, _Unauthorized):
            return outcome
        return self._transport.ask(_borne(what, self._renewed(token)), read)

    def claims(self) -> Mapping[str, Any]:
        """What the token says of itself, unverified: good for advice to people and for nothing else."""
        return claims(self._current().text)

    def _current(self) -> _Token:
        with self._lock:
            if self._token is None or self._monotonic() >= self._token.renew_at:
                self._token = self._fetch()
            return self._token

    def _renewed(self, stale: _Token) -> _Token:
        with self._lock:
            if self._token is None or self._token is stale:
                self._token = self._fetch()
            return self._token

    def _fetch(self) -> _Token:
        asked_at = self._monotonic()

        def read(answer: Answer) -> _Token:
            if answer.status != 200:
                raise Refused(
                    f"{self._transport.host} gives no token for this client_id and client_secret ({answer.status}); "
                    "compare both with what cPod shows for this client"
                )
            return _token(answer.body, asked_at)

        return self._transport.ask(Ask(path=self._path, method="POST", json=self._swap, accept=_NOT_ACCEPTED), read)


def claims(token: str) -> Mapping[str, Any]:
    """The payload of a JWT, without verifying anything; empty for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return {}


def _token(body: bytes, asked_at: float) -> _Token:
    parts = opened(body).parts
    text = _first(parts, "access_token", "accessToken")
    if not isinstance(text, str):
        raise Unintelligible("the answer bears no access_token")
    try:
        bearer = header_value(text, "access_token")
    except Misconfigured as fault:
        raise Unintelligible(str(fault)) from None
    life = _first(parts, "expires_in", "expiresIn")
    if not isinstance(life, int | float) or isinstance(life, bool):
        said = claims(bearer)
        issued, ends = said.get("iat"), said.get("exp")
        life = ends - issued if isinstance(issued, int) and isinstance(ends, int) else _LONGEST_LIFE_S
    return _Token(bearer, asked_at + RENEWED_AT * max(0.0, min(float(life), _LONGEST_LIFE_S)))


def _first(parts: Mapping[str, bytes], *names: str) -> Any:
    for name in names:
        if name in parts:
            try:
                return msgspec.json.decode(parts[name])
            except (msgspec.DecodeError, RecursionError):
                return None
    return None


def _secret(value: str, name: str) -> str:
    if not value.strip():
        raise Misconfigured(f"{name} is empty")
    return value.strip()


def _borne(what: Ask, token: _Token, *, also: frozenset[int] = frozenset()) -> Ask:
    headers = {**what.headers, "Authorization": f"Bearer {token.text}"}
    return replace(what, headers=headers, accept=what.accept | also)
