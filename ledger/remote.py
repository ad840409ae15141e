"""The remote ledger: events over HTTP, one at a time for each deal, many deals at once (contracts/openquota.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx

from deals.events import Event, body
from ledger.budget import Budget, retry_after
from ledger.errand import Errand, outcome, receipt, together
from ledger.line import TIMEOUT_S, Lines, over_tcp
from ledger.listing import PAGE, every_deal
from ledger.port import (
    Answer,
    LedgerDeal,
    LedgerFault,
    LedgerPaced,
    LedgerRefused,
    LedgerUnavailable,
    Receipt,
    Rejected,
    Unsettled,
)
from ledger.wire import BatchAnswer, Capable, DealsPage, Ids, Introspection, address, complaint, decoded, header_value

_ATTEMPTS, _PAUSE_S = 4, 0.2
_LEAST_S = 1.0  # in less time a sound ledger may not answer

IN_FLIGHT = 64
"""Requests open at once: enough for a thousand events a second at 20 ms each, measured."""

LOOK_S = 5.0
"""Whoever only looks whether the ledger is there waits about so long: for requests, answers, another try."""

_REJECTED = frozenset({400, 413, 415, 422})
_NO_BATCH = frozenset({400, 404, 405, 413, 415, 422})
_AGAIN_S = 1.0
_NOT_TRIED = "not tried: an earlier event of this deal is not settled"


class RemoteLedger:
    """An OpenQuota-style ledger at `url` (with its version path, like `https://api.openquota.ai/v1`).

    `budget` counts the key's requests (default: one of our own, with no limit but what the ledger's headers say).
    `in_flight` bounds how many requests are open at once. `batches` are used where the ledger says that it takes them.
    Nothing is retried here but reads: an event whose fate is unknown comes back `Unsettled`. Raises `ValueError` for an
    address or a key that cannot work. `transport` is for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        budget: Budget | None = None,
        in_flight: int = IN_FLIGHT,
        batches: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = address(url)
        self._key = header_value(api_key)
        self._in_flight = in_flight
        self._budget = budget or Budget()
        self._batches = None if batches else False
        self._threads = ThreadPoolExecutor(in_flight, thread_name_prefix="ledger")
        opened = over_tcp if transport is None else lambda: transport
        self._lines = Lines(self._url, self._key, opened=opened)

    def __repr__(self) -> str:
        return f"RemoteLedger({self._url!r})"

    def append(self, events: Sequence[Event]) -> list[Answer]:
        """Send events; see `ledger.port.Ledger.append`.

        When the key is refused, its budget used up or the ledger away, the rest is not tried and comes back
        `Unsettled`; the fault itself is raised only when no event at all was settled.
        """
        errand = Errand(events, patience=2 * self._in_flight)
        if len(events) > 1 and self._takes_batches() and self._send_batches(errand):
            return self._ended(errand)
        lanes: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            lanes.setdefault(event.external_id, []).append(place)
        ways = list(lanes.values())
        alone = 0 if self._budget.known else 1  # the first answer tells the limits
        for places in ways[:alone]:
            self._send_lane(errand, places)
        list(self._threads.map(lambda places: self._send_lane(errand, places), ways[alone:]))
        return self._ended(errand)

    def _ended(self, errand: Errand) -> list[Answer]:
        self._rest()
        if errand.fault is not None and not any(isinstance(one, Receipt | Rejected) for one in errand.answers):
            raise errand.fault
        return errand.answers

    def deals(self) -> Iterator[LedgerDeal]:
        """Every deal once, whatever changes meanwhile; see `ledger.listing.every_deal`."""
        try:
            for deal in every_deal(lambda offset: self._get(f"/deals?limit={PAGE}&offset={offset}", DealsPage)):
                yield LedgerDeal(
                    id=deal.id,
                    external_id=deal.external_id,
                    state=deal.state,
                    last_event_at=deal.last_event_at,
                    updated_at=deal.updated_at,
                )
        finally:
            self._rest()

    def check(self) -> str:
        """One line with the address and the key's scopes. Raises `LedgerRefused` when the key may not write events.

        Somebody waits for it: what takes longer than `LOOK_S` counts as an outage, and requests that are used up for
        longer raise `LedgerPaced` at once.
        """
        try:
            said = self._get("/", Introspection, patience_s=LOOK_S)
        finally:
            self._rest()
        key = said.authenticated_as
        if "deals:write" not in key.scopes:
            raise LedgerRefused(
                f"the key {key.key_prefix}… of the ledger at {self._url} lacks the scope deals:write: "
                "ask for a key that has it"
            )
        return f"ledger at {self._url}, key {key.key_prefix}…, scopes {', '.join(sorted(key.scopes))}"

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown()
        self._rest()
        self._lines.close()

    def _takes_batches(self) -> bool:
        """Whether the ledger says that it takes several events at once; asked until it has answered."""
        if self._batches is None:
            if self._no_budget() is not None:
                return False
            with suppress(LedgerFault):
                status, _, data = self._exchange("GET", "/")
                said = decoded(data, Capable) if status == 200 else None
                self._batches = said is not None and "batch" in said.capabilities
        return bool(self._batches)

    def _send_batches(self, errand: Errand) -> bool:
        """Send events a batch at a time, in their order; False when the ledger does not take batches after all."""
        for places, data in together(errand.events):
            if halted := self._no_budget():
                errand.put(range(places[0], len(errand.events)), halted)
                break
            try:
                status, headers, said = self._exchange("POST", "/deals/events/batch", data)
            except LedgerUnavailable as fault:
                errand.fault = fault
                errand.put(places, Unsettled(str(fault)))
                break
            results = decoded(said, BatchAnswer) if status == 200 else None
            if results is not None and len(results.results) == len(places):
                for place, one in zip(places, results.results, strict=True):
                    errand.answers[place] = outcome(one, self._key)
                if errand.stops_after(places):
                    break
            elif status in _NO_BATCH:
                self._batches = False
                return places[0] > 0
            else:
                errand.put(places, self._failed(errand, status, headers, said))
                break
        return True

    def _send_lane(self, errand: Errand, places: Sequence[int]) -> None:
        """Send one deal's events in their order, until one of them is not settled."""
        for number, place in enumerate(places):
            if errand.halted is not None:
                return errand.put(places[number:], errand.halted)
            if halted := self._no_budget():
                errand.halted = halted
                return errand.put(places[number:], halted)
            answer = self._post(errand, errand.events[place])
            errand.answers[place] = answer
            if not isinstance(answer, Receipt):
                return errand.put(places[number + 1 :], Unsettled(_NOT_TRIED, tried=False))
        return None

    def _no_budget(self) -> Unsettled | None:
        """Take a request out of the budget, or say why none may go."""
        try:
            wait = self._budget.take()
        except LedgerFault as fault:
            return Unsettled(f"not tried: the budget of the key cannot be read: {fault}", _AGAIN_S, tried=False)
        return (
            Unsettled("not tried: the key's requests for this minute are used up", wait, tried=False) if wait else None
        )

    def _rest(self) -> None:
        """Let others have what is left of the requests we took; not to be able to costs them a minute at most."""
        with suppress(LedgerFault):
            self._budget.rest()

    def _post(self, errand: Errand, event: Event) -> Answer:
        try:
            status, headers, data = self._exchange("POST", "/deals/events", body(event))
        except LedgerUnavailable as fault:
            return errand.failed(fault)
        if 200 <= status < 300 or status == 409:
            ids = decoded(data, Ids)
            if ids is not None and ids.source_event_id and ids.domain_event_id and ids.deal_id:
                errand.went_well()
                return receipt(ids, status)
            if status != 409:
                return errand.failed(LedgerUnavailable(f"the ledger answered {status} without the ids of the event"))
        if status in _REJECTED or status == 409:
            errand.went_well()
            return Rejected("conflict" if status == 409 else f"http_{status}", complaint(data, status, self._key))
        return self._failed(errand, status, headers, data)

    def _failed(self, errand: Errand, status: int, headers: httpx.Headers, data: bytes) -> Unsettled:
        """What an answer that is no verdict on the event means for it and for all others."""
        if 200 <= status < 300:
            return errand.failed(LedgerUnavailable(f"the ledger answered {status}, unreadably"))
        if status == 429:
            wait = self._held(headers)
            errand.halted = Unsettled("not tried: the ledger asks us to wait (429)", wait, tried=False)
            return errand.halted
        if status >= 500 or status == 408:
            return errand.failed(LedgerUnavailable(f"the ledger answered {status}"), retry_after(headers))
        return errand.refused(self._refusal(status, data))

    def _get(self, path: str, shape: type[Any], patience_s: float = math.inf) -> Any:
        """Read something, again if it did not work and patience lasts. Raises `LedgerRefused`, `LedgerUnavailable`."""
        until_s, fault = time.monotonic() + patience_s, LedgerUnavailable()
        for attempt in range(_ATTEMPTS):
            self._await_budget(until_s)
            try:
                status, headers, data = self._exchange("GET", path, within_s=until_s - time.monotonic())
            except LedgerUnavailable as error:
                fault = error
            else:
                if status == 200 and (found := decoded(data, shape)) is not None:
                    return found
                if status == 429:
                    self._held(headers)
                elif 400 <= status < 500 and status != 408:
                    raise self._refusal(status, data)
                fault = LedgerUnavailable(f"the ledger at {self._url} answered GET {path} with {status}, unreadably")
            pause_s = _PAUSE_S * 2**attempt
            if attempt + 1 == _ATTEMPTS or time.monotonic() + pause_s + _LEAST_S > until_s:
                break
            time.sleep(pause_s)
        raise fault

    def _await_budget(self, until_s: float) -> None:
        """Take a request out of the budget, when that is possible in time."""
        while wait_s := self._budget.take():
            if time.monotonic() + wait_s + _LEAST_S > until_s:
                raise LedgerPaced(
                    f"the ledger at {self._url} was not asked: the requests of its key are used up "
                    f"for another {math.ceil(wait_s):,} s",
                    wait_s,
                )
            time.sleep(wait_s)

    def _exchange(
        self, method: str, path: str, content: bytes | None = None, within_s: float = TIMEOUT_S
    ) -> tuple[int, httpx.Headers, bytes]:
        try:
            status, headers, data = self._lines.exchange(method, path, content, max(within_s, _LEAST_S))
        except BaseException:
            self._budget.answered(None)
            raise
        self._budget.answered(headers)
        return status, headers, data

    def _held(self, headers: httpx.Headers) -> float:
        """The ledger said 429: nobody who uses this key asks before the time it gave."""
        wait = retry_after(headers, 60)
        with suppress(LedgerFault):  # then the others are told by the ledger, each with a 429 of its own
            self._budget.hold(wait)
        return wait

    def _refusal(self, status: int, data: bytes) -> LedgerRefused:
        said = complaint(data, status, self._key)
        if status == 401:
            return LedgerRefused(f"the ledger at {self._url} does not accept the API key ({said}): give it a valid one")
        if status == 403:
            return LedgerRefused(f"the ledger at {self._url} does not allow it ({said}): ask for a key with that scope")
        return LedgerRefused(
            f"{self._url} answered {status}, which no ledger does: check [ledger] url; it ends with the version (/v1)"
        )
