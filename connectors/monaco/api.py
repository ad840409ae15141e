"""Monaco's reader: full reads by `created_at`, changes by filter or by sort where that is offered, single reads."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace as with_fields
from datetime import timedelta
from functools import partial

import msgspec
from msgspec.structs import replace

from connectors.chunks import ChunkPlan
from connectors.committed import UNREAD
from connectors.faults import Misconfigured
from connectors.monaco import chunks
from connectors.monaco.check import findings
from connectors.monaco.cursor import Full, Seen, State, newest
from connectors.monaco.fields import Schemas
from connectors.monaco.lists import KIND, Lists, NotOffered, Which
from connectors.monaco.options import MonacoOptions
from connectors.monaco.references import accounts, choices, users
from connectors.monaco.single import Singles
from connectors.monaco.walk import NEWEST_CHANGE_FIRST, OLDEST_FIRST, Order, PageWalk, Place, Step
from connectors.pacing import Timing
from connectors.paging import PagedBadly
from connectors.source import Absent, Account, Cursor, Entry, Finding, Found, Page, Record
from connectors.times import instant, shifted

EMPTY = "the list is empty"
UNSORTED = "Monaco did not keep sort=-updated_at, so everything was read"
UNDATED = "an opportunity has no updated_at, so changes cannot be told by it and everything is read each time"
FILTERED_OUT = "the filter on updated_at left out what was changed last, so everything was read"
REFUSED = "Monaco refused what its schema offers, so changes were read another way"
NO_SCHEMA = "the schema cannot be read, so custom fields go by their keys and everything is read each time"

_LEAST_OVERLAP = timedelta(seconds=1)


class MonacoReader:
    """An opened Monaco connection (contracts/monaco.md); see `connectors.source.Reader` for what is promised.

    `timing` is for tests, which do not sleep.
    """

    def __init__(self, account: Account, *, timing: Timing | None = None) -> None:
        options = account.options
        if not isinstance(options, MonacoOptions):
            raise Misconfigured("the options given are not those of the source 'monaco'")
        self._options = options
        self._now = account.now
        self._lists = Lists(account, options, timing)
        self._schemas = Schemas(self._lists)
        claimed = account.fields.get(KIND, frozenset())
        self._singles = Singles(self._lists, self._schemas, claimed, account.known)
        self._notes: dict[str, None] = {}

    def close(self) -> None:
        """Close the connections."""
        self._lists.transport.close()

    def changed(self, cursor: Cursor | None) -> Iterator[Page]:
        """What changed since the cursor; everything when there is none, or when Monaco offers no way to ask for it."""
        self._notes = {}
        given = State.read(cursor)
        state = self._informed(given or State())
        if given is None:
            self._note(UNREAD)
        if state.full is not None and state.full.sweep:
            state = replace(state, full=None)
        way = self._way(state.seen)
        if state.full is not None or state.watermark is None or way == "scan":
            yield from self._everything(state)
        else:
            yield from self._since(state, state.watermark)

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        """A complete read; its pages' doubts say why it may be no witness of absence."""
        self._notes = {}
        state = self._informed(State.read(cursor) or State())
        full = state.full if state.full is not None and state.full.sweep else None
        place, doubts = (Place(), ()) if full is None else (full.place, full.doubts)
        met = place.end > 0
        try:
            for step in self._walk(Which(), OLDEST_FIRST, place):
                met = met or bool(step.listed.rows.keys)
                doubts = _joined(doubts, step.doubts)
                after = replace(state, full=Full(step.place, step.listed.began, doubts=doubts, sweep=True))
                yield self._page(step, after, doubts=doubts)
        except PagedBadly as fault:
            doubts = _joined(doubts, (str(fault),))
        yield Page(records=(), requested_at=self._now(), doubts=doubts if met else _joined(doubts, (EMPTY,)))

    def one(self, source_id: str) -> Found | Absent:
        """One opportunity by its id, in the shape that the list has.

        A 403 raises `Refused` when the list is refused as well; else it hides this record alone, and proves nothing.
        """
        answer = self._singles.one(source_id, self._now())
        if isinstance(answer, Absent) and answer.answer == "403":
            self._lists.page(Which(), 1, 1)
        return answer

    def reference(self, name: str) -> Iterator[Sequence[Entry]]:
        """Accounts and users by their ids (of users names only: Monaco shows no e-mail), choices by their field."""
        if name == "accounts":
            return accounts(self._lists)
        if name == "users":
            return users(self._lists, self._schemas.schema(self._now()))
        if name == "choices":
            return choices(self._lists)
        raise Misconfigured(f"monaco has no reference data called {name[:40]!r}; it has accounts, users and choices")

    def chunks(self, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
        """Ranges of `created_at`; see `connectors.chunks`."""
        return chunks.plan(self._lists, since, until)

    def chunk(self, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
        """The opportunities of one range; see `connectors.chunks`."""
        self._notes = {}
        self._informed(State())
        for step, rows in chunks.steps(self._lists, chunk, cursor):
            self._note(*step.doubts)
            page = self._page(step, None)
            yield with_fields(page, records=rows.records, spoiled=rows.spoiled, cursor=chunks.cursor_of(step))

    def check(self) -> Iterator[Finding]:
        """Address, credentials, rights, clocks, first page, amount, changes, stages, single reads: each a finding."""
        return findings(self._lists)

    # -- which way

    def _informed(self, state: State) -> State:
        seen = self._schemas.at(state.seen, self._now())
        if self._schemas.missing:
            self._note(NO_SCHEMA)
        return replace(state, seen=seen)

    def _way(self, seen: Seen | None) -> str:
        """How changes are read: `filter`, `sort` or `scan`. Raises `Misconfigured` for a way that is not offered."""
        wanted = self._options.incremental
        offered = {"filter": bool(seen and seen.bound), "sort": bool(seen and seen.sorts), "scan": True}
        if wanted == "auto":
            return next(way for way in offered if offered[way])
        if not offered[wanted]:
            raise Misconfigured(
                f"incremental is {wanted!r}, but Monaco does not {wanted} by updated_at here; set it to 'auto'"
            )
        return wanted

    # -- reading

    def _everything(self, state: State) -> Iterator[Page]:
        """A full read for a pull. It leaves no watermark, so the next one reads everything too, when a row bore no
        `updated_at`, or when there is a doubt that some were missed.

        One that was cut off may have begun long ago, so what changed since then is read as well.
        """
        full, resumed = state.full, state.full is not None
        for step in self._walk(Which(), OLDEST_FIRST, full.place if full is not None else Place()):
            records = step.listed.rows.records
            full = full or Full(Place(), step.listed.began)
            dated = full.dated and not any(map(_undated, records))
            doubts = _joined(full.doubts, step.doubts)
            full = Full(step.place, full.began, newest(records, full.began, full.newest), dated, doubts)
            self._note(*doubts)
            after = replace(state, full=full)
            if step.done:
                self._note(*(() if dated else (UNDATED,)))
                mark = full.newest if dated and not doubts else None
                after = State(watermark=mark, seen=state.seen)
            yield self._page(step, after)
            state = replace(after, seen=self._schemas.at(state.seen, self._now()))
        if resumed and state.watermark is not None and self._way(state.seen) != "scan":
            yield from self._since(state, state.watermark)

    def _since(self, state: State, watermark: str) -> Iterator[Page]:
        """What changed since the watermark less the overlap; the watermark moves with the last page only."""
        floor = shifted(watermark, -max(self._options.overlap, _LEAST_OVERLAP))
        way = self._way(state.seen)
        try:
            done = yield from self._filtered(state, floor) if way == "filter" else self._sorted(state, floor)
        except NotOffered:
            if self._options.incremental != "auto":
                raise Misconfigured(f"Monaco refuses to {way} by updated_at; set incremental to 'auto'") from None
            self._note(REFUSED)
            seen = self._schemas.without(bound=None) if way == "filter" else self._schemas.without(sorts=False)
            state = replace(state, seen=seen)
            if self._way(seen) != "scan":
                yield from self._since(state, watermark)
                return
            done = False
        if not done:
            yield from self._everything(replace(state, watermark=None, full=None))

    def _filtered(self, state: State, floor: str) -> Generator[Page, None, bool]:
        """Walk the rows changed after `floor`, oldest first: those that change meanwhile only push others back.

        False when one may have been missed, and when there are none, since the row that bore the watermark should be
        among them: either it was deleted, or the filter cannot be trusted. A full read settles both.
        """
        assert state.seen is not None
        which = Which(filters=({"field": "updated_at", "condition": state.seen.bound or "", "value": floor},))
        began, mark = None, state.watermark
        for step in self._walk(which, OLDEST_FIRST):
            rows = step.listed.rows
            began = began or step.listed.began
            if step.done and not step.place.end and not rows.keys:
                self._note(FILTERED_OUT)
                return False
            if step.doubts:
                self._note(*step.doubts)
                yield self._page(step, None)
                return False
            mark = newest(rows.records, began, mark)
            yield self._page(step, replace(state, watermark=mark) if step.done else None)
        return True

    def _sorted(self, state: State, floor: str) -> Generator[Page, None, bool]:
        """Walk down from the newest change to `floor`; False when the order breaks, or a row has no place in it."""
        began, mark = None, state.watermark
        for step in self._walk(Which("-updated_at"), NEWEST_CHANGE_FIRST):
            records = step.listed.rows.records
            began = began or step.listed.began
            mark = newest(records, began, mark)
            trouble = UNSORTED if step.doubts else UNDATED if any(map(_undated, records)) else None
            if trouble is not None:
                self._note(trouble, *step.doubts)
                yield self._page(step, None)
                return False
            done = step.done or any(record.version is not None and record.version < floor for record in records)
            yield self._page(step, replace(state, watermark=mark) if done else None)
            if done:
                return True
        return True

    def _note(self, *notes: str) -> None:
        self._notes |= dict.fromkeys(notes)

    def _walk(self, which: Which, order: Order, start: Place | None = None) -> Iterator[Step]:
        fetch = partial(self._lists.page, which)
        return PageWalk(fetch, size=self._options.page_size, order=order, start=start).steps()

    def _page(self, step: Step, after: State | None, *, doubts: tuple[str, ...] = ()) -> Page:
        """One page, with the custom fields it needs defined; asking for those may renew what the cursor remembers."""
        listed = step.listed
        fields = self._schemas.defining(listed.rows.records, self._now())
        if after is not None:
            after = replace(after, seen=self._schemas.at(after.seen, self._now()))
        return Page(
            records=listed.rows.records,
            spoiled=listed.rows.spoiled,
            requested_at=listed.answer.requested_at,
            cursor=None if after is None else after.cursor(),
            notes=tuple(self._notes),
            doubts=doubts,
            fields=fields,
        )


def _undated(record: Record) -> bool:
    """Whether a row bears no `updated_at` that can be read: neither a filter nor a sort would find its changes."""
    if record.version is not None:
        return False
    try:
        return instant(_stamp.decode(record.raw).updated_at) is None
    except msgspec.DecodeError:
        return True


def _joined(*lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for group in lines for line in group))


class _Stamp(msgspec.Struct):
    updated_at: str | None = None


_stamp = msgspec.json.Decoder(_Stamp)
