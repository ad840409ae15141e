"""Transport: the one HTTP client of the connectors, with timeouts, retries, size caps and faults by who must act."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeAlias, TypeVar

import httpx
import structlog

from connectors.body import TooLarge, drain, read_body
from connectors.faults import Denied, Fault, Misconfigured, RateLimited, Refused, Unavailable, Unintelligible
from connectors.pacing import News, Permits, Timing, backoff
from connectors.permits import HeldPermits, OwnPurse
from connectors.source import Account
from connectors.spending import Terms
from connectors.times import http_date, iso, shifted

T = TypeVar("T")

Told: TypeAlias = Callable[[int, httpx.Headers, str], News | None]
"""Reads what an answer tells of the account's budget, from its status, its headers and the database's time just before
it was asked for; None when it tells nothing."""

MAX_BYTES = 32 * 1024 * 1024
"""No answer may be larger than this once decompressed."""

LONGEST_RETRY_AFTER_S = 900.0
PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses that may be gone on the next attempt (contracts/planhat.md section 13)."""

_UNREADABLE_RETRIES = 2
_LONGEST_PACING_S = 65.0
"""A minute's limit is waited for in the middle of a run, and for as long as permits of others may lie unused."""

_LONGEST_STARVING_S = 600.0
_LIMITED_S = 60.0
_PATIENCE = 4
_SKEW = timedelta(days=1)
_SECONDS = re.compile(r"-?\d+", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:_-]+", re.ASCII)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `requested_at` is the time just before this attempt was sent, by the database's clock."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    requested_at: str
    took_ms: float

    @property
    def source_time(self) -> str | None:
        """The other side's own clock, where its `Date` header tells."""
        moment = http_date(self.headers.get("date", ""))
        return None if moment is None else iso(moment)

    @property
    def trusted_until(self) -> str:
        """A record stamped later than this is stamped wrongly: a day beyond the later of both clocks."""
        return shifted(max(self.requested_at, self.source_time or ""), _SKEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: `path` below the base URL, percent-encoded; `accept` lists statuses beside 200 to be handed back.

    Every request is taken for a read that may be sent again, whatever its method. `headers` are added to those of the
    connection: a credential that is renewed while the connection is open.
    """

    path: str
    method: str = "GET"
    params: Mapping[str, str | int] = field(default_factory=dict)
    json: Any = field(default=None, repr=False)
    accept: frozenset[int] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Passing(Exception):
    """An attempt failed in a way that may pass; `wait_s` is what the other side asked for."""

    def __init__(self, fault: Fault, wait_s: float | None = None, *, limited: bool = False) -> None:
        super().__init__()
        self.fault = fault
        self.wait_s = wait_s
        self.limited = limited


def base_url(text: str) -> httpx.URL:
    """The base URL of a connection, checked: https (plain http to this machine only), no user, no query.

    Raises `Misconfigured`, naming what is wrong.
    """
    try:
        url = httpx.URL(text.strip().rstrip("/"))
    except httpx.InvalidURL as error:
        raise Misconfigured(f"base_url is no URL ({error}); write one like https://api.example.com") from None
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host.decode("ascii", "replace")):
        raise Misconfigured("base_url must begin with https:// and name a host, like https://api.example.com")
    if url.userinfo:
        raise Misconfigured("base_url must not carry a user or a password; put the secret into its own setting")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise Misconfigured("base_url must not carry a query or a fragment; end it with the host or a path")
    if url.scheme == "http" and not _loopback(url.host):
        raise Misconfigured(f"base_url would send the credentials to {url.host} unencrypted; write https://")
    return url


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def header_value(secret: str, name: str) -> str:
    """A secret fit for a header, without the white space a file may leave at its ends; raises `Misconfigured`."""
    value = secret.strip()
    if not value:
        raise Misconfigured(f"{name} is empty")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise Misconfigured(
            f"{name} has characters that no credential has (a line break, a space or a letter beyond ASCII)"
        )
    return value


class Transport:
    """One account's HTTP. `hints` adds advice to the messages of a status, such as what a 401 may mean there; `told`
    reads the vendor's own headers about the budget of requests.

    A permit of the account is taken for every request, and what answers tell of the budget is told to all who share it.
    A failed request is sent again with full jitter until `give_up_after_s` is over, and `Retry-After` is honoured.
    """

    def __init__(
        self,
        account: Account,
        headers: Mapping[str, str],
        *,
        hints: Mapping[int, str] | None = None,
        timing: Timing | None = None,
        max_bytes: int = MAX_BYTES,
        told: Told | None = None,
    ) -> None:
        url = base_url(account.base_url)
        self.host = url.host
        self._shown = f"{url.scheme}://{url.netloc.decode('ascii')}{url.path.rstrip('/')}"
        self._now = account.now
        self._give_up_after_s = account.give_up_after_s
        self._hints = hints or {}
        self._timing = timing or Timing()
        self._max_bytes = max_bytes
        self._told = told
        self._quiet_until = float("-inf")
        self._timeout_s = account.options.timeout.total_seconds()
        self._permits = account.permits or _own_permits(account, self._timing)
        self._under_way = False
        self._client = httpx.Client(
            base_url=url,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "dealsync", **headers},
            timeout=httpx.Timeout(self._timeout_s),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
            follow_redirects=False,
            trust_env=False,
            transport=account.transport,
            verify=url.scheme == "https",  # redirects are never followed: without TLS no certificate need be read
        )

    def __repr__(self) -> str:
        return f"Transport({self._shown!r})"

    def close(self) -> None:
        """Close the connections, and give back the permits that were not used."""
        self._client.close()
        self._permits.close()

    def ask(self, what: Ask, read: Callable[[Answer], T]) -> T:
        """Send a request until it is answered, and return what `read` makes of the answer.

        `read` sees answers of status 200 and of the accepted statuses; when it raises `Unintelligible`, the request is
        sent again twice at most. Raises `Refused` (401), `Denied` (403), `RateLimited` (a wait beyond what is left of
        `give_up_after_s`), `Unavailable` (5xx, timeouts, no connection) and `Unintelligible` (everything else).
        """
        self._pace()
        started = self._timing.monotonic()
        attempt, unreadable = 0, 0
        while True:
            attempt += 1
            left = self._give_up_after_s - (self._timing.monotonic() - started)
            try:
                answer = self._attempt(what, attempt, left)
                try:
                    return read(answer)
                except Unintelligible as fault:
                    unreadable += 1
                    raise _Passing(self._unreadable(what, answer, fault)) from None
            except _Passing as passing:
                if unreadable > _UNREADABLE_RETRIES:
                    raise passing.fault from None
                self._wait(passing, attempt, started)

    def _wait(self, passing: _Passing, attempt: int, started: float) -> None:
        wait = passing.wait_s if passing.wait_s is not None else backoff(attempt, self._timing.chance)
        spent = self._timing.monotonic() - started
        if passing.limited or passing.wait_s is not None:
            self._permits.learned(News(0, wait))
        if spent + wait > self._give_up_after_s:
            if passing.limited or passing.wait_s is not None:
                stated = _LIMITED_S if passing.wait_s is None else passing.wait_s
                message = f"{passing.fault}; it may be asked again in {stated:.0f} s"
                raise RateLimited(message, retry_after_s=stated) from None
            if attempt > 1 and not isinstance(passing.fault, Unintelligible):
                raise type(passing.fault)(f"{passing.fault} ({attempt} attempts in {spent:.0f} s)") from None
            raise passing.fault from None
        self._timing.sleep(wait)
        self._pace()

    def _pace(self) -> None:
        """Take a permit. A run under way is paced by up to a minute; whoever comes to a spent budget is told so."""
        waited = 0.0
        while (wait := self._permits.take()) > 0:
            if waited + wait > self._give_up_after_s and not self._is_paced_by(wait, waited):
                until = shifted(self._now(), timedelta(seconds=wait))
                raise RateLimited(
                    f"the budget of requests to {self.host} is used up for another {wait:.0f} s; it goes on at {until}",
                    retry_after_s=wait,
                )
            self._timing.sleep(wait)
            waited += wait
        self._under_way = True

    def _is_paced_by(self, wait: float, waited: float) -> bool:
        return self._under_way and wait <= _LONGEST_PACING_S and waited <= _LONGEST_STARVING_S

    def _attempt(self, what: Ask, attempt: int, left: float) -> Answer:
        timeout = self._timeout_s if attempt == 1 else min(self._timeout_s, max(1.0, left))
        requested_at = self._now()
        begun = self._timing.monotonic()
        status = 0
        request = self._client.build_request(
            what.method,
            what.path,
            params=dict(what.params) or None,
            json=what.json,
            headers=dict(what.headers),
            timeout=timeout,
        )
        try:
            response = self._client.send(request, stream=True)
            try:
                status = response.status_code
                self._heed(status, response.headers, requested_at)
                body = self._receive(what, response, begun + _PATIENCE * timeout)
            finally:
                response.close()
        except httpx.TransportError as error:
            self._failed(what, error, timeout)
        except TooLarge:
            raise Unintelligible(
                f"{self._name(what)} answered more than {self._max_bytes:,} bytes; that is too large for one page. "
                "Lower page_size"
            ) from None
        finally:
            took = (self._timing.monotonic() - begun) * 1000
            _log.debug("request", method=what.method, path=what.path, status=status, ms=round(took), attempt=attempt)
        return Answer(status, response.headers, body, requested_at, took)

    def _heed(self, status: int, headers: httpx.Headers, requested_at: str) -> None:
        news = None if self._told is None else self._told(status, headers, requested_at)
        if news is None:
            return
        self._permits.learned(news)
        if news.left <= 0:
            self._quiet_until = max(self._quiet_until, self._timing.monotonic() + news.seconds)

    def _receive(self, what: Ask, response: httpx.Response, deadline: float) -> bytes:
        status = response.status_code
        if status == 200:
            return read_body(response, self._max_bytes, lambda: self._timing.monotonic() > deadline)
        drain(response)
        if status not in what.accept:
            self._judge(what, response)
        return b""

    def _judge(self, what: Ask, response: httpx.Response) -> NoReturn:
        status = response.status_code
        message = f"{self._name(what)} answered {status}"
        if hint := self._hints.get(status):
            message = f"{message}: {hint}"
        if status in PASSING:
            wait = self._retry_after(response.headers)
            if wait is None and status == 429 and (quiet := self._quiet_until - self._timing.monotonic()) > 0:
                wait = quiet
            raise _Passing(Unavailable(message), wait, limited=status == 429)
        if status in (401, 403):
            raise Denied(message) if status == 403 else Refused(message)
        if status >= 500 or status == 408:
            raise _Passing(Unavailable(message))
        if 300 <= status < 400:
            target = _host(response.headers.get("location", ""))
            raise Unintelligible(f"{message}, a redirect to {target}; redirects are not followed. Correct base_url")
        raise Unintelligible(message)

    def _failed(self, what: Ask, error: httpx.TransportError, timeout: float) -> NoReturn:
        name = self._name(what)
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            raise Misconfigured(f"{name} cannot be sent: check base_url and the credentials") from None
        if isinstance(error, httpx.TimeoutException):
            raise _Passing(Unavailable(f"{name} was not answered within {timeout:g} s")) from None
        if isinstance(error, httpx.ConnectError):
            if reason := _certificate(error):
                message = (
                    f"the certificate of {self.host} cannot be trusted: {reason}. Correct base_url or tell its owner"
                )
                raise Unavailable(message) from None
            raise _Passing(Unavailable(f"{self._shown} cannot be reached: {error}")) from None
        raise _Passing(Unavailable(f"{name}: the connection broke off before the answer was complete")) from None

    def _unreadable(self, what: Ask, answer: Answer, fault: Unintelligible) -> Unintelligible:
        kind = answer.headers.get("content-type", "no content type").partition(";")[0][:80]
        came = f"{len(answer.body):,} bytes of {kind}" if answer.body else f"an empty body ({kind})"
        return Unintelligible(f"{self._name(what)} answered {answer.status} with {came}: {fault}")

    def _name(self, what: Ask) -> str:
        return f"{what.method} {self._shown}{what.path}"

    def _retry_after(self, headers: httpx.Headers) -> float | None:
        text = headers.get("retry-after", "").strip()
        if _SECONDS.fullmatch(text):
            wait = float(text[:12])
        elif moment := http_date(text):
            here = http_date(headers.get("date", "")) or datetime.fromisoformat(self._now())
            wait = (moment - here).total_seconds()
        else:
            return None
        return min(max(wait, 0.0), LONGEST_RETRY_AFTER_S)


def _host(location: str) -> str:
    try:
        host = httpx.URL(location).host
    except httpx.InvalidURL:
        return "nowhere"
    if not host:
        return "another path"
    return host[:100] if _HOST.fullmatch(host) else "nowhere"


def _own_permits(account: Account, timing: Timing) -> Permits:
    """Permits of nobody but us, on the database's clock as it was when we began."""
    began, at = timing.monotonic(), datetime.fromisoformat(account.now()).timestamp()
    purse = OwnPurse(lambda: at + timing.monotonic() - began)
    return HeldPermits(purse, Terms(account.options.limits()), monotonic=timing.monotonic)


def _certificate(error: BaseException | None) -> str | None:
    """Why a certificate was not accepted, where that is what lies behind a failed connection."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
