"""Signatures: whether a delivery comes from whom it says, decided over its raw bytes before anything reads them."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hmac import HMAC, compare_digest
from hmac import new as hmac_new
from typing import Literal, NamedTuple, TypeAlias

from connectors.hints import Heard, Webhooks
from connectors.times import instant

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values as they came."""

Reason: TypeAlias = Literal["unsigned", "ambiguous", "wrong", "untimed", "too_old", "too_early", "foreign"]
"""Why a delivery was not believed: for counters and logs; its sender is told none of it."""

_PREFIX = b"sha256="
_EPOCH = re.compile(r"[0-9]{1,12}", re.ASCII)


class Unproven(Exception):
    """The delivery does not prove where it comes from."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Proof(NamedTuple):
    """A verified delivery's name, and whether that name can only ever be the same happening told again.

    Without a delivery id and without a time in the signed bytes two happenings may look alike: a deal that is deleted,
    restored and deleted again.
    """

    name: bytes
    lasting: bool


class Verifier:
    """What one connection's deliveries must prove.

    `secrets` are those in force: any of them verifies. `scope` keeps the names of two connections apart. `workspace` is
    the tenant that a delivery must say it comes from, if any. `kept_headers` are those worth keeping with a delivery,
    none that bears a secret itself. Raises `ValueError` where nothing could ever be verified.
    """

    def __init__(self, rules: Webhooks, secrets: Sequence[str], scope: str, workspace: str | None = None) -> None:
        self.rules = rules
        self._secrets = [secret.encode() for secret in secrets]
        # Copied for each delivery: quicker than to begin with the key, and other threads are not let in between.
        self._keyed = [hmac_new(secret, digestmod="sha256") for secret in self._secrets]
        self._scope = len(scope.encode()).to_bytes(4) + scope.encode()
        self._workspace = workspace
        self._timed_inside = rules.scheme == "leadlex"
        self._carrier = (rules.header if rules.scheme == "header" else rules.signature_header).lower().encode()
        self._time = rules.timestamp_header.lower().encode()
        self._delivery = rules.delivery_header.lower().encode()
        kept = {b"content-type", b"user-agent", self._time, self._delivery, self._carrier}
        self.kept_headers = frozenset(kept - {b"", self._carrier if rules.scheme == "header" else b""})
        hold(rules, workspace is not None)
        if not self._secrets or not all(self._secrets):
            raise ValueError("a secret is empty: anybody could sign with it")
        if rules.scheme == "header" and any(secret != secret.strip(b" \t") for secret in self._secrets):
            raise ValueError(
                "a secret begins or ends with a blank, which no header can bear; take it away on both sides"
            )

    @property
    def reads_body(self) -> bool:
        """Whether `admit` must see what the body says before the delivery may be accepted."""
        return self._workspace is not None or (self._timed_inside and self.rules.past is not None)

    def verify(self, headers: Headers, body: bytes, at: float) -> Proof:
        """Prove a delivery, received `at` (seconds since 1970, UTC). Raises `Unproven`.

        Every comparison takes the same time whatever the bytes are, and every secret is tried.
        """
        said = dict(headers)
        if len(said) != len(headers):
            self._refuse_twins(headers)
        shown = said.get(self._carrier, b"").strip(b" \t")
        if not shown:
            raise Unproven("unsigned")
        if self.rules.scheme == "header":
            signed, timed = body, False
            genuine = self._is_secret(shown)
        else:
            signed, timed = self._signed(said, body)
            genuine = self._is_signature(shown, signed)
        if not genuine:
            raise Unproven("wrong")
        if timed:
            self._in_time(_seconds(said[self._time]), at)
        delivery = said.get(self._delivery, b"") if self._delivery else b""
        return Proof(self._name(delivery, body if delivery else signed), bool(delivery) or timed or self._timed_inside)

    def admit(self, heard: Heard, at: float) -> None:
        """Hold what a verified body says against the connection: its workspace, its signed time. Raises `Unproven`."""
        if self._workspace is not None and heard.workspace != self._workspace:
            raise Unproven("foreign")
        if self._timed_inside and heard.said_at is not None:
            self._in_time(datetime.fromisoformat(heard.said_at).timestamp(), at)

    def _refuse_twins(self, headers: Headers) -> None:
        """Of two headers of one name, who reads which? None may decide."""
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in (self._carrier, self._time, self._delivery) if name):
            raise Unproven("ambiguous")

    def _is_secret(self, shown: bytes) -> bool:
        mine = hashlib.sha256(shown).digest()
        return sum(compare_digest(mine, hashlib.sha256(secret).digest()) for secret in self._secrets) > 0

    def _is_signature(self, shown: bytes, signed: bytes) -> bool:
        """Hex or base64, with `sha256=` before it or without."""
        if shown[: len(_PREFIX)].lower() == _PREFIX:
            shown = shown[len(_PREFIX) :]
        macs = [_mac(keyed, signed) for keyed in self._keyed]
        if len(shown) == 64:
            shown = shown.lower()
            return sum(compare_digest(shown, mac.hex().encode()) for mac in macs) > 0
        shown = shown.rstrip(b"=")
        return sum(compare_digest(shown, b64encode(mac).rstrip(b"=")) for mac in macs) > 0

    def _signed(self, said: Mapping[bytes, bytes], body: bytes) -> tuple[bytes, bool]:
        """The bytes that the signature covers, and whether a time is among them."""
        if self._timed_inside or self.rules.signed == "body":
            return body, False
        time = said.get(self._time, b"") if self._time else b""
        if time:
            return time + b"." + body, True
        if self.rules.signed == "auto":
            return body, False
        raise Unproven("untimed")

    def _in_time(self, said: float | None, at: float) -> None:
        if said is None:
            raise Unproven("untimed")
        if self.rules.past is not None and at - said > self.rules.past.total_seconds():
            raise Unproven("too_old")
        if self.rules.ahead is not None and said - at > self.rules.ahead.total_seconds():
            raise Unproven("too_early")

    def _name(self, delivery: bytes, content: bytes) -> bytes:
        """Each part but the last with its length before it, so that no two lists of parts share their bytes."""
        before = self._scope + len(delivery).to_bytes(4) + delivery
        return hashlib.blake2b(before + content, digest_size=16).digest()


def _mac(keyed: HMAC, signed: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(signed)
    return mac.digest()


def hold(rules: Webhooks, workspace: bool) -> None:
    """Whether any delivery could ever prove itself under these rules, with or without a `workspace_id` to be held
    against. Raises `ValueError` saying which key to mend.
    """
    key = "header" if rules.scheme == "header" else "signature_header"
    carrier = rules.header if rules.scheme == "header" else rules.signature_header
    if not carrier:
        raise ValueError(f"scheme {rules.scheme!r} needs {key}: the header that the sender proves itself with")
    if rules.scheme == "hmac" and rules.signed == "timestamp.body" and not rules.timestamp_header:
        raise ValueError("signed = 'timestamp.body' needs timestamp_header: the header that bears the time")
    for other in ("timestamp_header", "delivery_header"):
        if getattr(rules, other).lower() == carrier.lower() and other not in idle(rules):
            raise ValueError(f"{other} and {key} name one header, {carrier[:64]!r}; it can bear one of them")
    if rules.scheme == "leadlex" and not rules.tells_time:
        raise ValueError("scheme 'leadlex' bounds the time inside the body, and deliveries of this source bear none")
    if workspace and not rules.tells_workspace:
        raise ValueError("deliveries of this source do not say which workspace they come from; remove workspace_id")


def idle(rules: Webhooks) -> frozenset[str]:
    """The settings of a connection's webhook that decide nothing under these rules."""
    if rules.scheme == "header":
        return frozenset({"signature_header", "timestamp_header", "signed", "tolerance"})
    if rules.scheme == "leadlex":
        return frozenset({"header", "timestamp_header", "signed"})
    if rules.signed == "body":
        return frozenset({"header", "timestamp_header", "tolerance"})
    return frozenset({"header"} if rules.timestamp_header else {"header", "tolerance"})


def tolerating(rules: Webhooks, tolerance: timedelta) -> tuple[timedelta, timedelta | None]:
    """How far back and ahead of us a signed time may lie, where a connection sets its `tolerance`.

    A time inside the body was written once, however late the attempt: there only the past is meant.
    """
    return tolerance, rules.ahead if rules.scheme == "leadlex" else tolerance


def _seconds(said: bytes) -> float | None:
    """A timestamp header: seconds since 1970, or ISO 8601 with its zone."""
    text = said.decode("latin-1").strip()
    if _EPOCH.fullmatch(text):
        return float(text)
    moment = instant(text)
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
