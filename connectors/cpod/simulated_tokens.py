"""The simulated token endpoint: short-lived JWTs for a client's id and secret, and the callers they stand for."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

import msgspec

from connectors.cpod.simulated_data import SUBJECT, TENANT
from connectors.cpod.simulated_switches import Switches
from connectors.simulated_wire import Request
from connectors.simulation import SimClock

CLIENT_ID: Final = "client-of-the-sandbox"
CLIENT_SECRET: Final = "sandbox"  # noqa: S105 - opens simulated doors only
API_KEY: Final = "sk-sandbox"
"""A raw API key that is taken as a bearer, and stands for a person as well (`api_key_bearer`, `user_token`)."""


class Desk:
    """Hands out tokens and knows those that are still good."""

    def __init__(self, clock: SimClock, switches: Switches, seed: int) -> None:
        self._clock = clock
        self._switches = switches
        self._seed = seed
        self._good: dict[str, float] = {API_KEY: float("inf")}
        self.issued = 0

    def issue(self, request: Request) -> dict[str, Any] | None:
        """The answer to a request for a token; None when the client is not known."""
        try:
            asked = msgspec.json.decode(request.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return None
        given = (asked.get("client_id"), asked.get("client_secret"), asked.get("grant_type"))
        if given != (CLIENT_ID, CLIENT_SECRET, "client_credentials"):
            return None
        self.issued += 1
        now, life = self._clock.now.timestamp(), self._switches.token_life_s
        token = self._jwt(int(now), life)
        self._good[token] = now + life
        names = _CAMEL if self._switches.camel_token else _SNAKE
        told = (token, "Bearer", life, *((f"refresh-{self.issued}",) if self._switches.refresh_token else ()))
        return dict(zip(names, told, strict=False))

    def accepts(self, request: Request) -> bool:
        """Whether the request bears a good token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and self._good.get(token, 0.0) > self._clock.now.timestamp()

    def revoke(self) -> None:
        """All tokens handed out so far end at once."""
        self._good = {API_KEY: float("inf")}

    def _jwt(self, issued: int, life: int) -> str:
        claims: dict[str, Any] = {"sub": SUBJECT, "tenant_id": TENANT, "iat": issued, "exp": issued + life}
        if self._switches.app_id is not None:
            claims["app_id"] = self._switches.app_id
        parts = (_packed({"alg": "RS256", "typ": "JWT"}), _packed({**claims, "jti": self.issued}))
        seal = hashlib.sha256(f"{self._seed}/{'.'.join(parts)}".encode()).hexdigest()
        return ".".join((*parts, seal))


_SNAKE = ("access_token", "token_type", "expires_in", "refresh_token")
_CAMEL = ("accessToken", "tokenType", "expiresIn", "refreshToken")


def _packed(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")
